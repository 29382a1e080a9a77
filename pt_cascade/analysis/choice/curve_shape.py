"""How a measure goes with one stage's cut-off: it rises, levels off, or peaks and then falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import thin
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.selection_noise import shake, vary_more

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.intervals import Estimate
    from pt_cascade.analysis.choice.selection import Rules
    from pt_cascade.ranking import Floats, Ints

Kind: TypeAlias = Literal["rises", "levels", "falls"]
_FEWEST = 3
_SAME = 5e-5  # as printed


@dataclass(frozen=True)
class Shape:
    """A curve of the measure over one cut-off, the others as chosen.

    Attributes:
        stage: Whose cut-off.
        kind: ``falls``: the peak, found on other queries, is better than the deepest, by an interval that excludes 0; ``rises``:
            the deepest is better than half as deep, likewise; ``levels``: neither can be told.
        peak: The cut-off where it is best, in-sample.
        deepest: The deepest cut-off.
        best: The measure at the peak, in-sample: the best of many, and so too high.
        last: The measure at the deepest.
        lead: How much better the peak is than the deepest, on held-out queries.
    """

    stage: str
    kind: Kind
    peak: int
    deepest: int
    best: float
    last: float
    lead: Estimate

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


def trace_shapes(rules: Rules, chosen: int) -> tuple[Shape, ...]:
    """Follow the measure along each stage's cut-off, the other cut-offs as in one vector.

    The peak is the best of many, so its lead is measured on held-out queries: for each fold it is found by the others. For each
    stage, a fall where there is none is reported with a chance of half of 1 - level, and so is a rise.

    Args:
        rules: The grid and the measure.
        chosen: The position of the vector.

    Returns:
        One for each stage but the last (for one stage, its own) whose cut-off has three values or more in the grid.
    """
    shapes, contest = [], rules.contest
    vector = contest.vectors[chosen]
    for stage in range(max(len(vector) - 1, 1)):
        others = np.arange(len(vector)) != stage
        others[-1] = False  # the last cut-off may have followed this one down
        line = np.flatnonzero((contest.vectors[:, others] == vector[others]).all(axis=1))
        line = line[np.r_[contest.vectors[line][1:, stage] != contest.vectors[line][:-1, stage], True]]
        if len(line) >= _FEWEST:
            name, k = contest.replayer.path.stages[stage], contest.depths[line, stage]
            shapes.append(name_shape(name, k, contest.values(line), contest.fold, level=rules.level, seed=rules.seed))
    return tuple(shapes)


def name_shape(stage: str, k: Ints, values: Floats, fold: Ints, *, level: float = 0.95, seed: int = 0) -> Shape:
    """Name the shape of one curve.

    Args:
        stage: Whose cut-offs they are.
        k: Shape (cut-offs,), rising.
        values: Shape (queries, cut-offs). The measure.
        fold: Shape (queries,). The fold of each.
        level: Of the intervals.
        seed: For what choosing the peak adds to their width.

    Example:
        >>> values = np.random.default_rng(0).normal([0.3, 0.5, 0.3], 0.1, (50, 3))
        >>> name_shape("bm25", np.array([10, 100, 1000]), values, np.arange(50) % 5).kind
        'falls'
    """
    means = values.mean(axis=0)
    top, half = int(means.argmax()), max(int(np.searchsorted(k, k[-1] / 2, side="right")) - 1, 0)
    leads = np.zeros(len(fold))
    for held in range(int(fold.max()) + 1):
        peak = int(values[fold != held].mean(axis=0).argmax())
        leads[fold == held] = (values[:, peak] - values[:, -1])[fold == held]
    kept: Ints = thin(k[:, None])
    off, _ = shake(values[:, kept] - values[:, [-1]], fold, seed=seed)
    lead = estimate(leads, level=level, more=vary_more(off, leads))
    rise = estimate(values[:, -1] - values[:, half], level=level)
    kind: Kind = "falls" if lead.low > 0 else "rises" if rise.low > 0 else "levels"
    return Shape(stage, kind, int(k[top]), int(k[-1]), float(means[top]), float(means[-1]), lead)
