"""The shape of a measure over one stage's cut-off: increasing, on a plateau, or peaked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import subsample
from pt_cascade.analysis.choice.cross_validation import excess_variance, wild_bootstrap
from pt_cascade.analysis.choice.intervals import estimate

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.choice.intervals import Estimate
    from pt_cascade.ranking import Floats, Ints

Kind: TypeAlias = Literal["increasing", "plateau", "peaked"]
_FEWEST = 3
_SAME = 5e-5  # as printed


@dataclass(frozen=True)
class Curve:
    """The measure over one cut-off, the other cut-offs as chosen."""

    stage: str
    # peaked: the peak, found on other queries, is better than the deepest cut-off, by an interval that excludes 0; increasing: the
    # deepest is better than half as deep, likewise; plateau: neither is shown
    kind: Kind
    peak: int  # the cut-off with the best measure, in-sample
    deepest: int
    best: float  # the measure at the peak, in-sample: the best of many, so too high
    last: float  # the measure at the deepest cut-off
    lead: Estimate  # the peak less the deepest, on held-out queries

    def __str__(self) -> str:
        at, end = f"{self.stage} → {self.peak} ({self.best:.4f})", f"{self.deepest} ({self.last:.4f})"
        if self.kind == "peaked":
            return f"peaks at {at} and falls to {end}, held out {self.lead}: deeper lists are worse"
        if self.kind == "increasing":
            return f"still increases at {self.stage} → {end}: a deeper list may be better"
        if self.peak == self.deepest:
            return f"levels off: {self.stage} → {end} is not shown to be better than half as deep"
        if self.best - self.last < _SAME:
            return f"levels off: {at} is as good as {end}"
        return f"levels off: {at} is not shown to be better than {end}, held out {self.lead}"


def trace_curves(candidates: Candidates, chosen: int) -> tuple[Curve, ...]:
    """Follow the measure along the cut-off of each stage but the last that has three values or more, the others as in one vector.

    For each stage, a peak where there is none is reported with a chance of half of 1 - level, and so is an increase.
    """
    curves: list[Curve] = []
    vector, stages = candidates.vectors[chosen], len(candidates.replayer.path.stages)
    for stage in range(max(stages - 1, 1)):
        others = np.arange(len(vector)) != stage
        others[stages - 1] = False  # the last cut-off may have followed this one down
        line = np.flatnonzero((candidates.vectors[:, others] == vector[others]).all(axis=1))
        line = line[np.r_[candidates.vectors[line][1:, stage] != candidates.vectors[line][:-1, stage], True]]
        if len(line) >= _FEWEST:
            name, k = candidates.replayer.path.stages[stage], candidates.depths[line, stage]
            curves.append(classify_curve(name, k, candidates.values(line), candidates.folds, level=candidates.level))
    return tuple(curves)


def classify_curve(stage: str, k: Ints, values: Floats, folds: Ints, *, level: float = 0.95) -> Curve:
    """Classify one curve: k ascending, shape (cut-offs,); values of shape (queries, cut-offs); folds of shape (repeats, queries).

    The peak is the best of many, so for each fold it is found on the other folds.
    """
    means = values.mean(axis=0)
    top, half = int(means.argmax()), max(int(np.searchsorted(k, k[-1] / 2, side="right")) - 1, 0)
    leads = np.zeros(len(values))
    for fold in folds:
        for held in range(int(fold.max()) + 1):
            peak = int(values[fold != held].mean(axis=0).argmax())
            leads[fold == held] += (values[:, peak] - values[:, -1])[fold == held] / len(folds)
    errors, _ = wild_bootstrap(values[:, subsample(k[:, None])] - values[:, [-1]], folds[0])
    lead = estimate(leads, level=level, more=excess_variance(errors, leads))
    rise = estimate(values[:, -1] - values[:, half], level=level)
    kind: Kind = "peaked" if lead.low > 0 else "increasing" if rise.low > 0 else "plateau"
    return Curve(stage, kind, int(k[top]), int(k[-1]), float(means[top]), float(means[-1]), lead)
