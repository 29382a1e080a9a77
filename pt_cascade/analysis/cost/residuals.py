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
    """How one stage's measured times differ from its fitted ones: a factor for each row at each depth it was profiled at.

    Between two profiled depths a row takes the factor of one of the two, the nearer the likelier, and outside them that of the
    nearest. One of the two keeps the spread that was measured; their average, which ``blend`` gives for means, would halve its
    variance.

    Attributes:
        documents: Shape (rows, depths), ascending. Documents the stage was given.
        factors: Shape (rows, depths). Measured over fitted time; equal depths of a row hold their average.
        picks: Shape (rows, depths). The same, but equal depths of a row hold one of theirs.
    """

    documents: Floats
    factors: Floats
    picks: Floats

    @classmethod
    def of(cls, documents: Floats, factors: Floats) -> Residuals:
        """Sort the depths of each row, and settle which of several equal ones it takes.

        Args:
            documents: Shape (rows, depths). Documents the stage was given.
            factors: Shape (rows, depths). Measured over fitted time, finite.

        Example:
            >>> Residuals.of(np.array([[10.0, 5.0, 5.0]]), np.array([[1.0, 2.0, 4.0]])).factors.tolist()
            [[3.0, 3.0, 1.0]]
        """
        order = np.argsort(documents, axis=1, kind="stable")
        documents, factors = np.take_along_axis(documents, order, 1), np.take_along_axis(factors, order, 1)
        means, picks = np.empty_like(factors), np.empty_like(factors)
        row = np.arange(len(documents))
        for n in range(documents.shape[1]):
            equal = documents == documents[:, [n]]
            count = equal.sum(axis=1)
            means[:, n] = np.where(equal, factors, 0.0).sum(axis=1) / count
            picks[:, n] = factors[row, equal.argmax(axis=1) + row % count]
        return cls(documents, means, picks)

    def blend(self, documents: Floats) -> Floats:
        """Give each row's expected factor, linear in documents between the profiled depths.

        Args:
            documents: Shape (depths, rows).

        Returns:
            Shape (depths, rows).
        """
        factors = np.broadcast_to(self.factors[:, 0], documents.shape)
        for n, towards in enumerate(self._progress(documents)):
            factors = factors + towards * (self.factors[:, n + 1] - self.factors[:, n])
        return factors

    def draw(self, documents: Floats) -> Floats:
        """Give each row one of its factors; which one it is depends on the row and the depth alone, not on chance.

        Args:
            documents: Shape (depths, rows).

        Returns:
            Shape (depths, rows).
        """
        factors = np.broadcast_to(self.picks[:, 0], documents.shape)
        switch = (np.arange(len(self.documents)) + 0.5) * _GOLDEN % 1.0
        for n, towards in enumerate(self._progress(documents)):
            factors = np.where(towards > switch, self.picks[:, n + 1], factors)
        return factors

    def _progress(self, documents: Floats) -> list[Floats]:
        """Tell how far each depth lies from one profiled depth to the next: 0 before the one, 1 from the other on."""
        gaps = np.diff(self.documents, axis=1)
        wide = np.where(gaps > 0, gaps, np.inf)
        return [np.clip((documents - self.documents[:, n]) / wide[:, n], 0.0, 1.0) for n in range(gaps.shape[1])]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows that stand for the queries to come; a row is one query, run once, through all stages, so that sums over stages are real.

    Attributes:
        retrieved: Shape (rows,). Documents that the first stage found.
        queries: How many different queries the rows are of.
        residuals: One a stage; empty: the fitted times are taken as they are.
        percentiles: Whether the rows tell single queries' times: not so where queries were timed together.
    """

    retrieved: Ints
    queries: int
    residuals: tuple[Residuals, ...] = ()
    percentiles: bool = True

    def times(self, stage: int, fitted: Floats, documents: Floats, *, means: bool) -> Floats:
        """Give a stage's time for each row: the fitted one times the row's factor.

        Args:
            stage: Which, from 0.
            fitted: Shape (depths, rows). Milliseconds.
            documents: Shape (depths, rows). What it is given.
            means: The expected time; else a single one.

        Returns:
            Shape (depths, rows), milliseconds.
        """
        if not self.residuals:
            return fitted
        residuals = self.residuals[stage]
        return fitted * (residuals.blend(documents) if means else residuals.draw(documents))


def sample_of(docs: Sequence[int] | NDArray[np.generic] | None) -> Sample:
    """Make a sample of how many documents each query retrieved.

    Args:
        docs: Shape (queries,), 0 or more; None: one query that retrieves whatever it is asked for, and tells no percentiles.

    Raises:
        SweepError: It is empty, not one-dimensional, or holds anything but whole numbers from 0.

    Example:
        >>> sample_of([1000, 7]).queries
        2
    """
    if docs is None:
        return Sample(np.array([NO_CUT]), 1, percentiles=False)
    counts = np.asarray(docs)
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu" or counts.min() < 0:
        found = f"it is {counts.tolist()!r:.60}, expected a whole number from 0 for each query"
        raise SweepError("docs cannot be read", [found], fix="docs=table.retrieved")
    return Sample(counts.astype(np.int64), len(counts))
