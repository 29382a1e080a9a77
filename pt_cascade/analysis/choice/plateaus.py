"""Each stage's smallest cut-off at which recall has stopped rising, given the cut-offs of the stages before.

For one stage at fixed cut-offs before it, the true loss of recall at the cut-off found exceeds the margin in at most 1 - level of
the samples, however many cut-offs are tried: a deeper cut-off never has less recall, query by query, so the true loss and its bound
both fall as k grows, and an error needs the bound of one certain cut-off, the deepest whose true loss exceeds the margin, to be
within it. That is one test. The cut-offs before a later stage were found on the same queries, so for it this does not follow; its
measured error rate is in experiments/README.md. The losses of two stages may add up, and neither is a statement on the measure of
the whole cascade.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.certificates.fixed_sequence import fewest_queries
from pt_cascade.analysis.choice.intervals import bounds_above

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True)
class Plateau:
    """Where a stage's recall stops rising."""

    stage: str
    k: int  # the smallest cut-off shown to lose no more than the margin; at most the longest list, as is ``deepest``
    deepest: int  # the deepest cut-off tried
    recall: float  # mean recall at k
    most: float  # mean recall at the deepest
    bound: float  # upper bound of the loss against the deepest; infinite where only the deepest is safe
    margin: float  # how much mean recall may be lost
    queries: int
    tried: int  # how many cut-offs were tried
    needed: int  # how many queries could show a loss within the margin, if none of them lost anything

    def __str__(self) -> str:
        if self.tried == 1:
            return f"{self.stage}: only cut-off {self.k} was tried (recall {self.most:.3f})"
        if self.k < self.deepest:
            reached = f"recall {self.recall:.3f} at {self.k}, {self.most:.3f} at {self.deepest}"
            return (
                f"{self.stage}: {reached}; the loss is at most {self.bound:.3f} (one-sided), within the margin of {self.margin:g}"
            )
        if self.queries < self.needed:
            few = f"{self.queries} queries cannot show that a cut-off below {self.deepest} loses {self.margin:g} or less"
            return f"{self.stage}: {few}: use at least {self.needed} queries, or a larger margin"
        found = f"recall {self.most:.3f} still rises there, or there are too few queries"
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
    """Find the plateau of every stage but the last (of a single stage, its own), each given the cut-offs found before it.

    ``recall`` gives, for a stage and the cut-offs before it, each query's recall@1, recall@2, ...: shape (queries, depth).
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
    """Find the smallest cut-off of an ascending axis whose loss, bounded from above, is within the margin; and its position.

    ``recall`` has shape (queries, depth); its last column holds for all deeper cut-offs.
    """
    last = recall.shape[1]
    at = np.minimum(axis, last) - 1
    most = recall[:, at[-1]]

    def bound(n: int) -> float:
        return float(bounds_above((most - recall[:, at[n]])[:, None], level=level, seed=seed)[0])

    found = bisect_left(range(len(axis) - 1), x=True, key=lambda n: bound(n) <= margin)
    lost = bound(found) if found < len(axis) - 1 else np.inf
    k, deepest = (min(int(value), last) for value in (axis[found], axis[-1]))
    means = (float(recall[:, at[found]].mean()), float(most.mean()))
    return found, Plateau(stage, k, deepest, *means, lost, margin, len(recall), len(axis), fewest_queries(margin, 1 - level))
