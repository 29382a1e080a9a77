"""The queries whose cost is known: how many documents each retrieved, and its measured times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.cost.stage_cost import StageCost
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True, eq=False)
class StageTimes:
    """One stage's time for each row at any number of documents; it never falls as the documents grow.

    At its deepest profiled depth a row has its measured time. At each other depth the measured times, relative to the fitted ones,
    are given to the rows in the order that they have at the deepest, so that each depth keeps its distribution and a slow row is
    slow everywhere; what would exceed the time at a deeper depth is lowered to it.
    """

    documents: Floats  # (rows, depths), ascending: documents the stage was given
    ms: Floats  # (rows, depths), ascending

    @classmethod
    def measured(cls, stage: StageCost, documents: Floats, ms: Floats) -> StageTimes:
        """Make the times of a fitted stage from measurements, shape (rows, depths); of a row's equal depths the last one counts."""
        order = np.argsort(documents, axis=1, kind="stable")
        documents, ms = np.take_along_axis(documents, order, 1), np.take_along_axis(ms, order, 1)
        fitted = stage.ms(documents)
        ran = (fitted > 0) & ((documents >= stage.least) | ~documents.any())  # a retriever gets no documents
        factors = np.divide(ms, fitted, out=np.full(ms.shape, np.nan), where=ran)
        ranked = np.sort(factors, axis=0)[factors[:, -1].argsort().argsort()]
        ms = fitted * np.where(np.isnan(ranked), 1.0, ranked)
        for n in reversed(range(ms.shape[1] - 1)):
            ms[:, n] = np.where(documents[:, n] < documents[:, n + 1], np.minimum(ms[:, n], ms[:, n + 1]), ms[:, n + 1])
        return cls(documents, ms)

    def at(self, documents: Floats, stage: StageCost) -> Floats:
        """Give each row's time, shape (depths, rows) both: linear in the pairs between the depths, beyond them as the fit grows."""
        inside = np.clip(documents, self.documents[:, 0], self.documents[:, -1])
        pairs, known = stage.pairs(inside), stage.pairs(self.documents)
        ms = np.broadcast_to(self.ms[:, 0], documents.shape)
        for n in range(known.shape[1] - 1):
            gap = np.maximum(known[:, n + 1] - known[:, n], 1.0)
            ms = ms + np.clip((pairs - known[:, n]) / gap, 0.0, 1.0) * (self.ms[:, n + 1] - self.ms[:, n])
        fitted = stage.ms(inside)
        return ms * np.divide(stage.ms(documents), fitted, out=np.ones(documents.shape), where=fitted > 0)


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows that stand for the queries to come; a row is one run of one query through all stages."""

    retrieved: Ints  # (rows,): documents that the first stage found
    queries: int  # how many different queries the rows are of
    times: tuple[StageTimes, ...] = ()  # one a stage; empty: the fitted times hold
    usd: tuple[StageTimes, ...] = ()  # likewise for the dollars that stages counted
    percentiles: bool = True  # whether single queries' times are known; not where queries were timed together


def sample_from_counts(docs: Sequence[int] | NDArray[np.generic] | None) -> Sample:
    """Make a sample from each query's number of documents; None: one query that retrieves all it is asked for, no percentiles."""
    if docs is None:
        return Sample(np.array([NO_CUT]), 1, percentiles=False)
    counts = np.asarray(docs)
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or counts.min() < 0:
        found = f"found {counts.tolist()!r:.60}, expected a whole number, 0 or more, for each query"
        raise SweepError("docs is not a number of documents for each query", [found], fix="docs=table.retrieved")
    return Sample(counts.astype(np.int64), len(counts))
