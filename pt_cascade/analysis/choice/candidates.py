"""The candidate vectors: each query's measure at each of them, their costs, and the best one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.analysis.grid.descents import descend
from pt_cascade.analysis.sweep.losses import recall_per_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.certificates.fixed_sequence import Test
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.replay.replayer import Replayer
    from pt_cascade.ranking import Floats, Ints

Method: TypeAlias = Literal["plateau", "budget", "certified"]
_SAME = 1e-12
_STEP = 1.1
_FEW = 2000  # up to so many vectors are all measured query by query
_CELLS = 4_000_000  # queries x vectors measured together, 32 MB


@dataclass(frozen=True, eq=False)
class Candidates:
    """The vectors of one path, under one measure, and how one of them is chosen; vectors and queries go by their positions."""

    replayer: Replayer  # with the measure to choose by and no other
    vectors: Vectors  # (vectors, stages), as of a Grid; with fusions (vectors, stages + 1), as the rows of a sweep
    affordable: NDArray[np.bool_]  # (vectors,): within the budget, at least one
    costs: Floats  # (vectors,): of equally good vectors the cheaper one is preferred
    folds: Ints  # (repeats, judged queries): the fold of each query, from 0, each time drawn anew
    reference: int = -1  # what is kept where nothing is shown; fixed before any judgment is seen
    method: Method = "budget"
    margin: float = 0.02  # how much may be lost, absolute
    alpha: float = 0.05  # the chance that a certificate is wrong
    test: Test = "dirichlet"  # of a certificate
    level: float = 0.95  # of all intervals and one-sided bounds
    seed: int = 0
    rel: int = 1  # the lowest label that is relevant, for recall

    def per_query(self, vector: int) -> Floats:
        """Give each query's measure at one vector."""
        return self.values(np.array([vector]))[:, 0]

    def values(self, vectors: Ints) -> Floats:
        """Give each query's measure at some vectors, in any order of positions: shape (queries, vectors)."""
        positions, place = np.unique(vectors, return_inverse=True)
        queries = np.arange(self.folds.shape[1])
        return self.replayer.sums(self.vectors[positions], queries)[:, place, 0]

    def recall(self, stage: int, given: tuple[int, ...]) -> Floats:
        """Give each query's recall@1, recall@2, ... of one stage: shape (queries, depth)."""
        if (stage, given) not in self._curves:
            self._curves[stage, given] = recall_per_query(self.replayer, stage, as_cutoffs(given), rel=self.rel)[0]
        return self._curves[stage, given]

    def best(self, means: Floats) -> int:
        """Return the best affordable vector, see ``best_of``."""
        return best_of(means, self.affordable, self.costs)

    @cached_property
    def sums(self) -> Floats:
        """Shape (repeats, folds, vectors): the measure, summed over the queries of each fold."""
        repeats, queries = self.folds.shape
        inside = np.equal.outer(self.folds, np.arange(int(self.folds.max()) + 1)).transpose(0, 2, 1).reshape(-1, queries)
        every, size = np.arange(len(self.vectors)), max(_CELLS // queries, 1)
        parts = [inside.astype(np.float64) @ self._measure(every[at : at + size]) for at in range(0, len(every), size)]
        return np.hstack(parts).reshape(repeats, -1, len(every))

    @property
    def cutoffs(self) -> Vectors:
        """Shape (vectors, stages): the cut-offs alone."""
        return self.vectors[:, : len(self.replayer.path.stages)]

    @cached_property
    def fusions(self) -> Ints:
        """Shape (vectors,): the number of each one's fusion; 0 where there are none."""
        return self.vectors[:, -1].astype(np.int64) if self.replayer.fusions else np.zeros(len(self.vectors), np.int64)

    def name(self, vector: int) -> str:
        """Name one vector as a cascade."""
        return name_cascade(self.replayer.path.stages, as_cutoffs(self.cutoffs[vector].tolist()), self.fusion(vector))

    def fusion(self, vector: int) -> StageFusion | None:
        """Return the fusion of one vector."""
        return self.replayer.fusions[self.fusions[vector]] if self.replayer.fusions else None

    @cached_property
    def depths(self) -> Vectors:
        """Shape (vectors, stages): the cut-offs, but at most the longest list that any query retrieves."""
        return np.minimum(self.cutoffs, max(int(self.replayer.table.retrieved.max(initial=1)), 1))

    @cached_property
    def deepest(self) -> int:
        """The vector with the largest product of cut-offs, with the first fusion; of equal ones the last."""
        depth = np.where(self.fusions == 0, np.log(self.depths).sum(axis=1), -np.inf)
        return int(np.flatnonzero(depth >= depth.max() - _SAME)[-1])

    @cached_property
    def sequence(self) -> Ints:
        """The affordable vectors that are tested one after the other, from the reference down, with its fusion."""
        own = np.flatnonzero(self.fusions == self.fusions[self.reference])
        way = own[descend(self.depths[own], self.depths[self.reference])]
        return way[self.affordable[way]]

    @cached_property
    def losses(self) -> Floats:
        """Shape (vectors of the sequence, queries): the measure of the reference less that of each."""
        values = self.values(np.r_[self.reference, self.sequence])
        return (values[:, :1] - values[:, 1:]).T

    @cached_property
    def representatives(self) -> tuple[Ints, Floats]:
        """Affordable vectors, of a large grid a subsample, and each query's measure there: shape (queries, these vectors)."""
        inside = np.flatnonzero(self.affordable)
        at = inside[subsample(self.depths[inside])] if len(self.vectors) > _FEW else inside
        return at, self._measure(at)

    @cached_property
    def _curves(self) -> dict[tuple[int, tuple[int, ...]], Floats]:
        return {}

    def _measure(self, at: Ints) -> Floats:
        """Give ``values``; those of a small grid are measured once."""
        return self.values(at) if len(self.vectors) > _FEW else self._all[:, at]

    @cached_property
    def _all(self) -> Floats:
        """Shape (queries, vectors): each query's measure at each vector of a small grid."""
        return self.values(np.arange(len(self.vectors)))


def best_of(means: Floats, allowed: NDArray[np.bool_], costs: Floats) -> int:
    """Return the best allowed vector; of equally good ones the cheapest, then the first. Arguments have shape (vectors,)."""
    top = np.flatnonzero(allowed & (means >= means[allowed].max() - _SAME))
    return int(top[np.argmin(costs[top])])


def subsample(vectors: NDArray[np.integer]) -> Ints:
    """Keep vectors whose cut-offs are a tenth or more apart, each stage's deepest among them; all, where none is left.

    Example:
        >>> subsample(np.arange(1, 41).reshape(-1, 1)).tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 17, 19, 22, 25, 28, 31, 35, 39]
    """
    keep = np.ones(len(vectors), np.bool_)
    for column in vectors.T:
        kept: list[int] = []
        for value in np.unique(column)[::-1].tolist():
            if not kept or value * _STEP <= kept[-1]:
                kept.append(value)
        keep &= np.isin(column, kept)
    return np.flatnonzero(keep if keep.any() else ~keep)
