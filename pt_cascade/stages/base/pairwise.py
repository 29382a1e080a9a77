"""What every pairwise re-ranking stage shares: it asks who wins of each two documents, and adds up the answers."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from pt_cascade.analysis.fusion.pair_aggregation import aggregate
from pt_cascade.errors import FrameError, StageError
from pt_cascade.stages.base.reranker import Reranker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pt_cascade.analysis.fusion.pair_aggregation import Aggregation
    from pt_cascade.ranking import Floats, Ints

_SHOWN = 3


class PairReranker(Reranker):
    """A re-ranker that compares each document with each other of its query, in both orders: n(n - 1) comparisons a query.

    The score of a document depends on which others it is compared with, but each answer depends on its own query and two
    documents alone. So answers that are kept give the scores of any subset of the documents, without another comparison.

    Attributes:
        depends: ``pairwise``.
        aggregation: How the answers add up to a score, see ``analysis.preferences``; a field of each subclass.
    """

    depends: ClassVar[str] = "pairwise"
    aggregation: Aggregation

    @abstractmethod
    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Tell how sure it is that one document beats another.

        Args:
            results: Frame[qid, query, docno, ...] with the columns of ``needs``.
            first: Shape (m,). Numbers of rows of ``results``, from 0.
            second: Shape (m,). Another row of the same query for each.

        Returns:
            Shape (m,). The probability that the first document, shown first, is the more relevant of the two, 0 to 1. Whatever
            else is compared in the same call, and in what order, moves it by 1e-5 at most.
        """

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row by its comparisons with every other row of its query.

        Args:
            results: Frame[qid, query, docno, ...], at least one row.

        Returns:
            Shape (n,), in row order; higher is better. The only document of a query scores 0.

        Raises:
            FrameError: A row has no qid.
            StageError: A comparison did not give a probability.
        """
        return self.score_by(self.compare, results)

    def score_by(self, compare: Callable[[pd.DataFrame, Ints, Ints], Floats], results: pd.DataFrame) -> Floats:
        """Score as ``score`` does, by the answers of ``compare`` instead of its own, e.g. those of a cache."""
        if (lost := results["qid"].isna().to_numpy(bool)).any():
            problem = (
                f"qid is missing in {int(lost.sum())} of {len(lost)} row(s), first docno {results['docno'].iloc[lost.argmax()]!r}"
            )
            fix = 'results.dropna(subset=["qid"])'
            raise FrameError(f"stage {self.stage_name!r} cannot tell which documents to compare", [problem], fix=fix)
        first, second = list_pairs(results["qid"])
        answers = compare(results, first, second) if len(first) else np.zeros(0)
        answers = check_wins(answers, results, first, second, self.stage_name)
        scores, start = np.zeros(len(results)), 0
        for rows in _group(results["qid"]):
            n = len(rows)
            wins = np.full((n, n), np.nan)
            wins[~np.eye(n, dtype=bool)] = answers[start : start + n * (n - 1)]
            scores[rows] = aggregate(wins, self.aggregation)
            start += n * (n - 1)
        return scores


def check_wins(answers: object, results: pd.DataFrame, first: Ints, second: Ints, stage: str) -> Floats:
    """Refuse what ``compare`` may not answer.

    Args:
        answers: What it answered, expected shape (m,).
        results: Frame[qid, docno, ...]: what it was asked about.
        first: Shape (m,). Rows of them.
        second: Shape (m,). Others.
        stage: Who was asked, for the error.

    Returns:
        Shape (m,). The answers as float64.

    Raises:
        StageError: They are no numbers, too many or too few, or not from 0 to 1.

    Example:
        >>> results = pd.DataFrame({"qid": ["q", "q"], "docno": ["a", "b"]})
        >>> check_wins([0.5, 1], results, np.array([0, 1]), np.array([1, 0]), "duo").tolist()
        [0.5, 1.0]
    """
    what = f"stage {stage!r} gave comparisons that are not usable"
    try:
        p = np.asarray(answers, np.float64)
    except (TypeError, ValueError) as error:
        raise StageError(what, [f"they are no numbers: {error}"]) from error
    if p.shape != first.shape:
        raise StageError(what, [f"their shape is {p.shape}, expected {first.shape}"])
    if (bad := np.flatnonzero(~((p >= 0) & (p <= 1)))).size:
        shown = "; ".join(f"{say_duel(results, first[n], second[n])} is {p[n]}" for n in bad[:_SHOWN])
        raise StageError(what, [f"{bad.size} of {p.size} are not between 0 and 1, e.g. {shown}"])
    return p


def say_duel(results: pd.DataFrame, first: int, second: int) -> str:
    """Write a comparison down.

    Args:
        results: Frame[qid, docno].
        first: A row.
        second: Another.

    Example:
        >>> say_duel(pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b"]}), 0, 1)
        "qid '1': p('a' beats 'b')"
    """
    docno = results["docno"]
    return f"qid {results['qid'].iloc[first]!r}: p({docno.iloc[first]!r} beats {docno.iloc[second]!r})"


def list_pairs(qid: pd.Series[str] | Sequence[str]) -> tuple[Ints, Ints]:
    """List every two rows of one query, in both orders.

    Args:
        qid: Shape (n,). The query of each row, in any order.

    Returns:
        Two arrays of shape (m,), m = Σ n(n - 1) over the queries: the rows that stand first, and those that stand second. Query
        by query as they first appear, then by the first row, then by the second.

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
