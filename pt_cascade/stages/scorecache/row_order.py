"""The ways in which a re-ranker may put its scores on a frame: which row comes first, and who wins a tie; told by its answers."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.errors import StageError
from pt_cascade.ranking import ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.ranking import Floats, Ints


class Arrangement(NamedTuple):
    """One way to put scores on a frame.

    Attributes:
        queries: ``mixed``: the rows of different queries stay mixed as they are; ``seen``: each query's rows together, queries as
            they first appear; ``sorted``: likewise, queries by qid.
        rows: ``keeps``: the rows of a query stay as they were given; ``sorts``: they stand by rank.
        ties: ``rows``: equal scores are ranked in the order of the rows; ``rank``: in that of the ranks that were given.
    """

    queries: Literal["mixed", "seen", "sorted"] = "mixed"
    rows: Literal["keeps", "sorts"] = "keeps"
    ties: Literal["rows", "rank"] = "rows"

    def place(self, given: pd.DataFrame, score: Floats) -> tuple[Ints, Ints]:
        """Say where each row goes, and how it ranks.

        Args:
            given: Frame[qid, ...], n rows; with ``rank`` where that decides ties.
            score: Shape (n,). No NaN.

        Returns:
            The row numbers in the order in which they are returned, and the rank of each row of ``given``, both shape (n,).

        Example:
            >>> given = pd.DataFrame({"qid": ["q", "q"], "rank": [1, 0]})
            >>> [part.tolist() for part in Arrangement("seen", "sorts", "rank").place(given, np.zeros(2))]
            [[1, 0], [1, 0]]
        """
        rank = _rank(self.ties, given, score)
        return _order(self.queries, self.rows, given, rank), rank


PLAIN = Arrangement()
_WHOLE = 2**53
_ORDERS = (("mixed", "keeps"), ("seen", "keeps"), ("seen", "sorts"), ("sorted", "keeps"), ("sorted", "sorts"))
ALL = frozenset(Arrangement(*order, ties) for order, ties in product(_ORDERS, ("rows", "rank")))  # type: ignore[arg-type]


def narrow(
    possible: frozenset[Arrangement], given: pd.DataFrame, answer: pd.DataFrame, place: Ints, stage: str
) -> frozenset[Arrangement]:
    """Keep the arrangements by which a stage may have made its answer.

    Args:
        possible: What was possible until now.
        given: Frame[qid, docno, ...], n rows: what it was given.
        answer: Frame[score, rank, ...]: what it made of it, the same documents.
        place: Shape (n,). The row of ``given`` that each row of the answer is of.
        stage: Its name, for the error.

    Returns:
        What is possible still.

    Raises:
        StageError: Nothing is.
    """
    score, rank = np.empty(len(given)), np.empty(len(given), np.int64)
    score[place], rank[place] = read_scores(answer, stage), answer["rank"].to_numpy(np.int64)
    ties = {one.ties for one in possible}
    ties = {rule for rule in ties if (_rank(rule, given, score) == rank).all()}
    orders = {(one.queries, one.rows) for one in possible}
    orders = {order for order in orders if (_order(*order, given, rank) == place).all()}
    left = frozenset(one for one in possible if one.ties in ties and (one.queries, one.rows) in orders)
    if left:
        return left
    problem = "it orders its rows, or equal scores, in a way of its own, or now so, now so; scores alone cannot repeat that"
    order = "found.sort_values(['qid', 'score'], ascending=[True, False])"
    stage_fix = f"stage >> pt.apply.generic(lambda found: pt.model.add_ranks({order}))"
    fix = f"cached({stage_fix}, path, identity='its model, version and settings', depends='pointwise')"
    raise StageError(f"the scores of stage {stage!r} cannot be kept", [problem], fix=fix)


def read_scores(answer: pd.DataFrame, stage: str) -> Floats:
    """Read the scores of an answer, of whatever type they are.

    Args:
        answer: Frame[score, ...], n rows.
        stage: Its name, for the error.

    Returns:
        Shape (n,). NaN where one is missing.

    Raises:
        StageError: They are no numbers, or whole numbers that a float64 does not tell apart.

    Example:
        >>> read_scores(pd.DataFrame({"score": pd.array([1.5, None], dtype="Float64")}), "toy").tolist()
        [1.5, nan]
    """
    what = f"the scores of stage {stage!r} cannot be kept"
    try:
        score: Floats = answer["score"].to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise StageError(what, [f"they are no numbers: {error}"], fix="give a column score of floats") from error
    if pd.api.types.is_integer_dtype(answer["score"].dtype) and (np.abs(score) > _WHOLE).any():
        problem = f"they are whole numbers beyond {_WHOLE}, which float64 does not tell apart"
        raise StageError(what, [problem], fix="give a column score of floats")
    return score


def settle(
    possible: frozenset[Arrangement],
    given: pd.DataFrame,
    score: Floats,
    ask: Callable[[frozenset[Arrangement], pd.DataFrame], frozenset[Arrangement]],
) -> frozenset[Arrangement]:
    """Where it matters which of two arrangements a stage follows, ask it for a few rows that tell them apart.

    Args:
        possible: What is possible still.
        given: Frame[qid, docno, ...], n rows.
        score: Shape (n,).
        ask: Gives the stage some of the rows, 2 to 4, and says which arrangements are left.

    Returns:
        Arrangements that all make the same of these rows, unless the stage gives a pair now this score, now that.
    """
    while (rows := _tell_apart(possible, given, score)) is not None:
        left = ask(possible, given.iloc[rows])
        if left == possible:
            break
        possible = left
    return possible


def _rank(ties: Literal["rows", "rank"], given: pd.DataFrame, score: Floats) -> Ints:
    if ties == "rows" or "rank" not in given:
        return ranks(given["qid"], score)
    rank, order = np.empty(len(given), np.int64), np.argsort(given["rank"].to_numpy(), kind="stable")
    rank[order] = ranks(given["qid"].iloc[order], score[order])
    return rank


def _order(queries: Literal["mixed", "seen", "sorted"], rows: Literal["keeps", "sorts"], given: pd.DataFrame, rank: Ints) -> Ints:
    if queries == "mixed":
        return np.arange(len(given))
    query = pd.factorize(given["qid"], sort=queries == "sorted")[0]
    return np.argsort(query, kind="stable") if rows == "keeps" else np.lexsort((rank, query))


def _tell_apart(possible: frozenset[Arrangement], given: pd.DataFrame, score: Floats) -> list[int] | None:
    """Give two rows that two of the arrangements rank, or order, in opposite ways, and the first of their queries; else None."""
    query, first = pd.factorize(given["qid"])[0], np.flatnonzero(~given["qid"].duplicated().to_numpy())
    ranked = [_rank(ties, given, score) for ties in sorted({one.ties for one in possible})]
    orders = sorted({(one.queries, one.rows) for one in possible})
    for ways in ([np.lexsort((rank, query)) for rank in ranked], [_order(*order, given, ranked[0]) for order in orders]):
        for other in ways[1:]:
            if (differ := np.flatnonzero(ways[0] != other)).size:
                two = (ways[0][differ[0]], other[differ[0]])
                return sorted({int(row) for row in (*two, *first[query[list(two)]])})
    return None
