"""How a measure goes with one stage's cut-off: it rises, levels off, or peaks and then falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import subsample
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.selection_noise import excess_variance, wild_bootstrap

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.intervals import Estimate
    from pt_cascade.analysis.choice.selection import Rules
    from pt_cascade.ranking import Floats, Ints

Kind: TypeAlias = Literal["rises", "levels", "falls"]
_FEWEST = 3
_SAME = 5e-5  # as printed


@dataclass(frozen=True)
class Curve:
    """A curve of the measure over one cut-off, the others as chosen."""

    stage: str  # Whose cut-off
    # ``falls``: the peak, found on other queries, is better than the deepest, by an interval that excludes 0; ``rises``: the
    # deepest is better than half as deep, likewise; ``levels``: neither can be told
    kind: Kind
    peak: int  # The cut-off where it is best, in-sample
    deepest: int  # The deepest cut-off
    best: float  # The measure at the peak, in-sample: the best of many, and so too high
    last: float  # The measure at the deepest
    lead: Estimate  # How much better the peak is than the deepest, on held-out queries

    def __str__(self) -> str:
        at, end = f"{self.stage} → {self.peak} ({self.best:.4f})", f"{self.deepest} ({self.last:.4f})"
        lead = f"held out {self.lead}"
        if self.kind == "falls":
            return f"peaks at {at} and falls to {end}, {lead}: a deeper list hurts here"
        if self.kind == "rises":
            return f"still rises with {self.stage}, up to {end}: a deeper list may help"
        if self.peak == self.deepest:
            return f"levels off: {self.stage} → {end} is not shown to be better than half as deep"
        if self.best - self.last < _SAME:
            return f"levels off: {at} is as good as {end}"
        return f"levels off: {at} is not shown to be better than {end}: {lead}"


def trace_curves(rules: Rules, chosen: int) -> tuple[Curve, ...]:
    """Follow the measure along each stage's cut-off, the other cut-offs as in one vector."""
    curves, candidates = [], rules.candidates
    vector = candidates.vectors[chosen]
    for stage in range(max(len(vector) - 1, 1)):
        others = np.arange(len(vector)) != stage
        others[-1] = False  # the last cut-off may have followed this one down
        line = np.flatnonzero((candidates.vectors[:, others] == vector[others]).all(axis=1))
        line = line[np.r_[candidates.vectors[line][1:, stage] != candidates.vectors[line][:-1, stage], True]]
        if len(line) >= _FEWEST:
            name, k = candidates.replayer.path.stages[stage], candidates.depths[line, stage]
            curves.append(classify_curve(name, k, candidates.values(line), candidates.fold, level=rules.level, seed=rules.seed))
    return tuple(curves)


def classify_curve(stage: str, k: Ints, values: Floats, fold: Ints, *, level: float = 0.95, seed: int = 0) -> Curve:
    """Name the shape of one curve."""
    means = values.mean(axis=0)
    top, half = int(means.argmax()), max(int(np.searchsorted(k, k[-1] / 2, side="right")) - 1, 0)
    leads = np.zeros(len(fold))
    for held in range(int(fold.max()) + 1):
        peak = int(values[fold != held].mean(axis=0).argmax())
        leads[fold == held] = (values[:, peak] - values[:, -1])[fold == held]
    kept: Ints = subsample(k[:, None])
    off, _ = wild_bootstrap(values[:, kept] - values[:, [-1]], fold, seed=seed)
    lead = estimate(leads, level=level, more=excess_variance(off, leads))
    rise = estimate(values[:, -1] - values[:, half], level=level)
    kind: Kind = "falls" if lead.low > 0 else "rises" if rise.low > 0 else "levels"
    return Curve(stage, kind, int(k[top]), int(k[-1]), float(means[top]), float(means[-1]), lead)
