"""The base class of pairwise re-ranking stages: every two documents are compared, and the results are summed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from pt_cascade.analysis.fusion.pair_aggregation import aggregate
from pt_cascade.stages.base.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pt_cascade.analysis.fusion.pair_aggregation import Aggregation
    from pt_cascade.ranking import Floats, Ints


class PairReranker(Reranker):
    """A re-ranker that compares each document with each other of its query, in both orders: n(n - 1) comparisons a query.

    Attributes:
        depends: ``pairwise``: a document's score depends on which others it is compared with.
        aggregation: How the answers add up to a score, see ``analysis.fusion.pair_aggregation``; a field of each subclass.
    """

    depends: ClassVar[str] = "pairwise"
    aggregation: Aggregation

    @abstractmethod
    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Give the probability that the first document, shown first, is the more relevant of two: shape (m,).

        It changes by 1e-5 at most with what else is compared in the same call, and in what order.

        Args:
            results: Frame[qid, query, docno, ...] with the columns of ``needs``.
            first: Shape (m,). Numbers of rows of ``results``, from 0.
            second: Shape (m,). Another row of the same query for each.
        """

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row by its comparisons with every other row of its query; the only document of a query scores 0."""
        return self.score_by(self.compare, results)

    def score_by(self, compare: Callable[[pd.DataFrame, Ints, Ints], Floats], results: pd.DataFrame) -> Floats:
        """Score as ``score`` does, with another ``compare``, e.g. that of a cache."""
        first, second = list_pairs(results["qid"])
        answers = compare(results, first, second) if len(first) else np.zeros(0)
        scores, start = np.zeros(len(results)), 0
        for rows in _group(results["qid"]):
            n = len(rows)
            wins = np.full((n, n), np.nan)
            wins[~np.eye(n, dtype=bool)] = answers[start : start + n * (n - 1)]
            scores[rows] = aggregate(wins, self.aggregation)
            start += n * (n - 1)
        return scores


def list_pairs(qid: pd.Series[str] | Sequence[str]) -> tuple[Ints, Ints]:
    """List every two rows of one query, in both orders: the rows that stand first, and those that stand second.

    Queries stand as they first appear; then pairs stand by the first row, then by the second.

    Example:
        >>> first, second = list_pairs(["q1", "q2", "q1", "q1"])
        >>> first.tolist(), second.tolist()
        ([0, 0, 2, 2, 3, 3], [2, 3, 0, 3, 0, 2])
    """
    grids = [np.meshgrid(rows, rows, indexing="ij") for rows in _group(qid)]
    first, second = (np.concatenate([np.zeros(0, np.int64), *(grid[side].ravel() for grid in grids)]) for side in (0, 1))
    apart = first != second
    return first[apart], second[apart]


def _group(qid: pd.Series[str] | Sequence[str]) -> list[Ints]:
    """Give the rows of each query, the queries as they first appear."""
    query = pd.factorize(qid if isinstance(qid, pd.Series) else np.asarray(qid, dtype=object))[0]
    by_query = np.argsort(query, kind="stable")
    return np.split(by_query, np.cumsum(np.bincount(query))[:-1]) if len(query) else []
