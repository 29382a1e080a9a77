"""The designer's procedure: each stage's smallest cut-off at which recall has stopped rising, given the stages before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.choice.intervals import bounds_above, fewest_queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints

_AT_ONCE = 32


@dataclass(frozen=True)
class Plateau:
    """Where a stage's recall stops rising."""

    stage: str  # Its name
    # The smallest cut-off whose recall is shown to be below the deepest's by no more than the margin; at most the longest
    # list, as is the deepest
    k: int
    deepest: int  # The deepest cut-off looked at
    recall: float  # Mean recall at k
    most: float  # Mean recall at the deepest
    # What the loss against the deepest does not exceed, at the level asked for; infinite where only the deepest is safe
    bound: float
    margin: float  # How much mean recall may be lost
    queries: int  # By how many queries
    tried: int  # How many cut-offs were looked at
    needed: int  # How few queries could show a loss within the margin, if none of them lost anything

    def __str__(self) -> str:
        """Say it, and what to do where there is none."""
        if self.tried == 1:
            return f"{self.stage}: only {self.k} was tried (recall {self.most:.3f})"
        if self.k < self.deepest:
            reached = f"recall {self.recall:.3f} at {self.k}, {self.most:.3f} at {self.deepest}"
            return f"{self.stage}: {reached}; the loss is at most {self.bound:.3f} (one-sided), the margin {self.margin:g}"
        if self.queries < self.needed:
            more = f"that takes {self.needed} queries or a larger margin, and there are {self.queries}"
            return f"{self.stage}: below {self.deepest} no cut-off can be shown to lose {self.margin:g} or less: {more}"
        found = f"recall {self.most:.3f} still rises, or too few queries tell"
        return f"{self.stage}: no plateau up to {self.deepest}: {found}; a smaller cut-off may lose more than {self.margin:g}"


def find_plateaus(
    recall: Callable[[int, tuple[int, ...]], Floats],
    stages: Sequence[str],
    vectors: Vectors,
    margin: float,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Plateau, ...]:
    """Find the plateau of every stage but the last, each given the cut-offs found before it."""
    found: list[Plateau] = []
    given: tuple[int, ...] = ()
    for stage in range(max(vectors.shape[1] - 1, 1)):
        axis = np.unique(vectors[(vectors[:, :stage] == given).all(axis=1), stage])
        curve = recall(stage, given)
        n, plateau = find_plateau(curve, axis, margin, stage=stages[stage], level=level, seed=seed)
        given = (*given, int(axis[n]))
        found.append(plateau)
    return tuple(found)


def find_plateau(
    recall: Floats, axis: Ints, margin: float, *, stage: str = "", level: float = 0.95, seed: int = 0
) -> tuple[int, Plateau]:
    """Find one plateau: the smallest cut-off whose loss, bounded from above, is within the margin."""
    last = recall.shape[1]
    at = np.minimum(axis, last) - 1
    most = recall[:, at[-1]]
    low, high, bound = 0, len(axis) - 1, np.inf
    while low < high:  # the plateau is at low, or at high, or between
        tried = np.unique(np.linspace(low, high - 1, _AT_ONCE).astype(np.int64))
        bounds = bounds_above(most[:, None] - recall[:, at[tried]], level=level, seed=seed)
        first = int(np.argmax(np.r_[bounds <= margin, True]))
        low = int(tried[first - 1]) + 1 if first else low
        high, bound = (int(tried[first]), float(bounds[first])) if first < len(tried) else (high, bound)
    k, deepest = (min(int(value), last) for value in (axis[high], axis[-1]))
    means = (float(recall[:, at[high]].mean()), float(most.mean()))
    return high, Plateau(stage, k, deepest, *means, bound, margin, len(recall), len(axis), fewest_queries(margin, level))
