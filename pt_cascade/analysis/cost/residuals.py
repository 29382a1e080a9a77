"""The queries whose cost is known: how many documents each retrieved, and how its times differ from the fitted ones."""

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
    """One stage's measured times over its fitted ones, for each row at each profiled depth.

    Between two profiled depths ``sample`` takes the factor of one of them, the nearer the likelier, which keeps the measured
    variance; the average that ``interpolate`` gives, for means, would halve it. Outside them the nearest depth holds.
    """

    documents: Floats  # (rows, depths), ascending: documents the stage was given
    factors: Floats  # (rows, depths): measured over fitted time; equal depths of a row hold their average
    single: Floats  # (rows, depths): the same, but equal depths of a row hold one of theirs

    @classmethod
    def of(cls, documents: Floats, factors: Floats) -> Residuals:
        """Sort the depths of each row and merge equal ones; both arguments have shape (rows, depths).

        Example:
            >>> Residuals.of(np.array([[10.0, 5.0, 5.0]]), np.array([[1.0, 2.0, 4.0]])).factors.tolist()
            [[3.0, 3.0, 1.0]]
        """
        order = np.argsort(documents, axis=1, kind="stable")
        documents, factors = np.take_along_axis(documents, order, 1), np.take_along_axis(factors, order, 1)
        means, single = np.empty_like(factors), np.empty_like(factors)
        row = np.arange(len(documents))
        for n in range(documents.shape[1]):
            equal = documents == documents[:, [n]]
            count = equal.sum(axis=1)
            means[:, n] = np.where(equal, factors, 0.0).sum(axis=1) / count
            single[:, n] = factors[row, equal.argmax(axis=1) + row % count]
        return cls(documents, means, single)

    def interpolate(self, documents: Floats) -> Floats:
        """Give each row's expected factor at some depths, linear between the profiled ones: shape (depths, rows) to the same."""
        factors = np.broadcast_to(self.factors[:, 0], documents.shape)
        for n, towards in enumerate(self._progress(documents)):
            factors = factors + towards * (self.factors[:, n + 1] - self.factors[:, n])
        return factors

    def sample(self, documents: Floats) -> Floats:
        """Give each row one of its factors, which depends on the row and the depth alone: shape (depths, rows) to the same."""
        factors = np.broadcast_to(self.single[:, 0], documents.shape)
        switch = (np.arange(len(self.documents)) + 0.5) * _GOLDEN % 1.0
        for n, towards in enumerate(self._progress(documents)):
            factors = np.where(towards > switch, self.single[:, n + 1], factors)
        return factors

    def _progress(self, documents: Floats) -> list[Floats]:
        """Give how far each depth lies between two profiled depths: 0 up to the first, 1 from the second on."""
        gaps = np.diff(self.documents, axis=1)
        wide = np.where(gaps > 0, gaps, np.inf)
        return [np.clip((documents - self.documents[:, n]) / wide[:, n], 0.0, 1.0) for n in range(gaps.shape[1])]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows that stand for the queries to come; a row is one run of one query through all stages."""

    retrieved: Ints  # (rows,): documents that the first stage found
    queries: int  # how many different queries the rows are of
    residuals: tuple[Residuals, ...] = ()  # one a stage; empty: the fitted times hold
    percentiles: bool = True  # whether single queries' times are known; not where queries were timed together

    def times(self, stage: int, fitted: Floats, documents: Floats, *, means: bool) -> Floats:
        """Give a stage's expected (``means``) or single time for each row; arrays have shape (depths, rows), milliseconds."""
        if not self.residuals:
            return fitted
        residuals = self.residuals[stage]
        return fitted * (residuals.interpolate(documents) if means else residuals.sample(documents))


def sample_from_counts(docs: Sequence[int] | NDArray[np.generic] | None) -> Sample:
    """Make a sample from each query's number of documents; None: one query that retrieves all it is asked for, no percentiles."""
    if docs is None:
        return Sample(np.array([NO_CUT]), 1, percentiles=False)
    counts = np.asarray(docs)
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or counts.min() < 0:
        found = f"found {counts.tolist()!r:.60}, expected a whole number, 0 or more, for each query"
        raise SweepError("docs is not a number of documents for each query", [found], fix="docs=table.retrieved")
    return Sample(counts.astype(np.int64), len(counts))
