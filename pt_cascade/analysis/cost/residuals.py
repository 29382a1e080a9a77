"""The queries that a cost is known for: how many documents each retrieved, and how its times differ from the fitted ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

_GOLDEN = (5**0.5 - 1) / 2  # its multiples fill [0, 1) evenly


@dataclass(frozen=True, eq=False)
class Residuals:
    """How one stage's measured times differ from its fitted ones: a factor for each row at each depth it was profiled at."""

    documents: Floats  # (rows, depths): ascending. Documents the stage was given
    factors: Floats  # (rows, depths): Measured over fitted time; equal depths of a row hold their average
    sampled: Floats  # (rows, depths): The same, but equal depths of a row hold one of theirs

    @classmethod
    def of(cls, documents: Floats, factors: Floats) -> Residuals:
        """Sort the depths of each row, and settle which of several equal ones it takes."""
        order = np.argsort(documents, axis=1, kind="stable")
        documents, factors = np.take_along_axis(documents, order, 1), np.take_along_axis(factors, order, 1)
        means, sampled = np.empty_like(factors), np.empty_like(factors)
        row = np.arange(len(documents))
        for n in range(documents.shape[1]):
            equal = documents == documents[:, [n]]
            count = equal.sum(axis=1)
            means[:, n] = np.where(equal, factors, 0.0).sum(axis=1) / count
            sampled[:, n] = factors[row, equal.argmax(axis=1) + row % count]
        return cls(documents, means, sampled)

    def interpolate(self, documents: Floats) -> Floats:
        """Give each row's expected factor, linear in documents between the profiled depths."""
        factors = np.broadcast_to(self.factors[:, 0], documents.shape)
        for n, towards in enumerate(self._progress(documents)):
            factors = factors + towards * (self.factors[:, n + 1] - self.factors[:, n])
        return factors

    def sample_factors(self, documents: Floats) -> Floats:
        """Give each row one of its factors; which one it is depends on the row and the depth alone, not on chance."""
        factors = np.broadcast_to(self.sampled[:, 0], documents.shape)
        switch = (np.arange(len(self.documents)) + 0.5) * _GOLDEN % 1.0
        for n, towards in enumerate(self._progress(documents)):
            factors = np.where(towards > switch, self.sampled[:, n + 1], factors)
        return factors

    def _progress(self, documents: Floats) -> list[Floats]:
        """Tell how far each depth lies from one profiled depth to the next: 0 before the one, 1 from the other on."""
        gaps = np.diff(self.documents, axis=1)
        wide = np.where(gaps > 0, gaps, np.inf)
        return [np.clip((documents - self.documents[:, n]) / wide[:, n], 0.0, 1.0) for n in range(gaps.shape[1])]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows that stand for the queries to come; a row is one query, run once, through all stages, so that sums over stages are real."""

    retrieved: Ints  # (rows,): Documents that the first stage found
    queries: int  # How many different queries the rows are of
    residuals: tuple[Residuals, ...] = ()  # One a stage; empty: the fitted times are taken as they are
    percentiles: bool = True  # Whether the rows tell single queries' times: not so where queries were timed together

    def times(self, stage: int, fitted: Floats, documents: Floats, *, means: bool) -> Floats:
        """Give a stage's time for each row: the fitted one times the row's factor."""
        if not self.residuals:
            return fitted
        residuals = self.residuals[stage]
        return fitted * (residuals.interpolate(documents) if means else residuals.sample_factors(documents))


def sample_from_counts(docs: Sequence[int] | NDArray[np.generic] | None) -> Sample:
    """Make a sample of how many documents each query retrieved."""
    if docs is None:
        return Sample(np.array([NO_CUT]), 1, percentiles=False)
    counts = np.asarray(docs)
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or counts.min() < 0:
        found = f"it is {counts.tolist()!r:.60}, expected a whole number from 0 for each query"
        raise SweepError("docs cannot be read", [found], fix="docs=table.retrieved")
    return Sample(counts.astype(np.int64), len(counts))
