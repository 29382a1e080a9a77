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
    """Where a stage's recall stops rising.

    Attributes:
        stage: Its name.
        k: The smallest cut-off whose recall is shown to be below the deepest's by no more than the margin; at most the longest
            list, as is the deepest.
        deepest: The deepest cut-off looked at.
        recall: Mean recall at k.
        most: Mean recall at the deepest.
        bound: What the loss against the deepest does not exceed, at the level asked for; infinite where only the deepest is safe.
        margin: How much mean recall may be lost.
        queries: By how many queries.
        tried: How many cut-offs were looked at.
        needed: How few queries could show a loss within the margin, if none of them lost anything.
    """

    stage: str
    k: int
    deepest: int
    recall: float
    most: float
    bound: float
    margin: float
    queries: int
    tried: int
    needed: int

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
    """Find the plateau of every stage but the last, each given the cut-offs found before it.

    For the first stage, and for a later one at fixed cut-offs before it, the share of samples in which recall at k truly is below
    the deepest's by more than the margin is at most 1 - level, see ``find_plateau``. The cut-offs before a later stage were found
    on the same queries, so that for it this does not follow; its rate, measured, is in experiments/README.md. That one or the other
    of two stages errs may happen twice as often. And each stage is compared with itself, deeper, at the same cut-offs before it:
    what two stages lose may add up, and neither is a statement on the measure of the whole cascade.

    Args:
        recall: Gives, for a stage and the cut-offs before it, shape (queries, depth): each query's recall@1, recall@2, ...
        stages: Their names.
        vectors: Shape (vectors, stages): the grid, whose cut-offs are tried.
        margin: How much mean recall may be lost, absolute, above 0, below 1.
        level: How sure, above 0, below 1.
        seed: For the resamples.

    Returns:
        One a stage but the last; for a cascade of one stage, its own.

    Example:
        >>> half = lambda stage, given: np.tile([0.5, 1.0, 1.0], (100, 1))
        >>> print(*find_plateaus(half, ["bm25", "t5"], np.array([[1, 1], [2, 1], [3, 1]]), 0.05))
        bm25: recall 1.000 at 2, 1.000 at 3; the loss is at most 0.030 (one-sided), the margin 0.05
    """
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
    """Find one plateau: the smallest cut-off whose loss, bounded from above, is within the margin.

    A deeper cut-off never has less recall, query by query, so both the true loss and its bound fall as k grows. An error needs the
    bound of one certain cut-off, the deepest whose true loss is beyond the margin, to be within it. That is one test, which errs in
    at most 1 - level of the samples (the conjecture of ``bound_above``), however many cut-offs are tried.

    Args:
        recall: Shape (queries, depth): each query's recall@1, recall@2, ...; the last holds for whatever is deeper.
        axis: Shape (cut-offs,), rising: those to try.
        margin: How much mean recall may be lost, absolute, above 0, below 1.
        stage: Its name.
        level: How sure, above 0, below 1.
        seed: For the resamples.

    Returns:
        Where on the axis it is, and the plateau.

    Example:
        >>> find_plateau(np.tile([0.5, 1.0, 1.0], (100, 1)), np.array([1, 2, 3]), 0.05)[0]
        1
    """
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
