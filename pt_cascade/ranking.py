"""The tie rule: rank by score descending, equal scores by row order, from 0; rows stay where they are.

It is PyTerrier's own (``pt.model.add_ranks``), stated once, without PyTerrier, so that frames and replay can share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"

_LARGEST = float(np.finfo(np.float32).max) / 2  # beyond it float32, and with it trec_eval, sees nothing but infinity


def ranks(qid: pd.Series[str] | Sequence[str], score: Floats) -> Ints:
    """Rank as PyTerrier does: per query, score descending, ties by row order, from 0.

    Args:
        qid: Shape (n,). The query of each row, in any order.
        score: Shape (n,). No NaN.

    Returns:
        Shape (n,). The rank of each row within its query.

    Example:
        >>> ranks(["q", "q", "q"], np.array([1.0, 2.0, 1.0])).tolist()
        [1, 0, 2]
    """
    query = pd.factorize(qid if isinstance(qid, pd.Series) else np.asarray(qid, dtype=object))[0]
    order = np.arange(len(query)) if _is_ranked(query, score) else np.lexsort((-score, query))
    by_query = query[order]
    starts = np.flatnonzero(np.r_[True, by_query[1:] != by_query[:-1]][: len(by_query)])
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    rank = np.empty(len(order), np.int64)
    rank[order] = within
    return rank


def rescore(results: pd.DataFrame, score: Floats) -> pd.DataFrame:
    """Return the results with new scores and the ranks that follow, every other column and the row order kept.

    Args:
        results: Frame[qid, ...], n rows.
        score: Shape (n,). One score a row.

    Returns:
        Frame[..., score: float64, rank: int64].

    Example:
        >>> rescore(pd.DataFrame({"qid": ["q", "q"]}), np.array([0.1, 0.2]))["rank"].tolist()
        [1, 0]
    """
    return results.assign(score=score, rank=ranks(results["qid"], score))


def pair_codes(qid: pd.Series[str], docno: pd.Series[str]) -> Ints:
    """Number each (qid, docno) so that equal pairs, and only they, have equal numbers.

    Args:
        qid: Shape (n,).
        docno: Shape (n,).

    Returns:
        Shape (n,).

    Example:
        >>> pair_codes(pd.Series(["1", "10", "1"]), pd.Series(["0a", "a", "0a"])).tolist()
        [0, 3, 0]
    """
    query, document = pd.factorize(qid)[0], pd.factorize(docno)[0]
    return query * np.int64(document.max(initial=0) + 1) + document


def is_alike(frame: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Tell whether two frames have the same (qid, docno) in the same order.

    Args:
        frame: Frame[qid, docno].
        other: Frame[qid, docno].

    Example:
        >>> one = pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b"]})
        >>> is_alike(one, one), is_alike(one, one.iloc[::-1])
        (True, False)
    """
    pairs = ((frame[name].to_numpy(object), other[name].to_numpy(object)) for name in ("qid", "docno"))
    return len(frame) == len(other) and all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def locate(frame: pd.DataFrame, among: pd.DataFrame) -> Ints:
    """Find each row's (qid, docno) in another frame.

    Args:
        frame: Frame[qid, docno], n rows.
        among: Frame[qid, docno], each pair once.

    Returns:
        Shape (n,). The row in ``among``; -1 where it is not there.

    Example:
        >>> one = pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b"]})
        >>> locate(one.iloc[::-1], one).tolist()
        [1, 0]
    """
    if is_alike(frame, among):
        return np.arange(len(frame))
    both = pd.concat([among[["qid", "docno"]], frame[["qid", "docno"]]], ignore_index=True)
    codes = pair_codes(both["qid"], both["docno"])
    found: Ints = pd.Index(codes[: len(among)]).get_indexer(pd.Index(codes[len(among) :])).astype(np.int64)
    return found


def same_pairs(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Tell whether two frames hold the same (qid, docno) pairs, in whatever order.

    Args:
        left: Frame[qid, docno], each pair once.
        right: Frame[qid, docno], each pair once.

    Example:
        >>> one = pd.DataFrame({"qid": ["1", "1"], "docno": ["a", "b"]})
        >>> same_pairs(one, one.iloc[::-1]), same_pairs(one, one.head(1))
        (True, False)
    """
    if len(left) != len(right):
        return False
    if is_alike(left, right):
        return True
    both = pd.concat([left[["qid", "docno"]], right[["qid", "docno"]]])
    return not bool((pd.Series(pair_codes(both["qid"], both["docno"])).value_counts() != 2).any())  # noqa: PLR2004


def score_below(query: Ints, score: Floats, place: Ints | Floats) -> Floats:
    """Give what has no score one below all scores of its query, in steps that float32 can tell apart (trec_eval reads float32).

    This is how a document ranks that a stage could not score or that a cut-off removed; a query without any score starts below 0.

    Args:
        query: Shape (n,). The number of each row's query.
        score: Shape (n,). NaN or -inf where there is none.
        place: Shape (n,). The order of the rows of a query that have no score.

    Returns:
        Shape (n,), finite.

    Example:
        >>> score_below(np.zeros(3, np.int64), np.array([np.nan, 2.0, np.nan]), np.array([2, 1, 0])).tolist()
        [0.0, 2.0, 1.0]
    """
    lost = np.flatnonzero(~np.isfinite(score))
    lost = lost[np.lexsort((place[lost], query[lost]))]
    group = pd.Series(query[lost]).groupby(query[lost])
    known = pd.Series(np.where(np.isfinite(score), score, np.nan)).groupby(query).min()
    lowest = known.reindex(query[lost]).fillna(0.0).to_numpy().astype(np.float64)
    count, size = (one.to_numpy().astype(np.float64) for one in (group.cumcount(), group.transform("size")))
    reach = np.minimum(np.abs(lowest) + size + 2, _LARGEST).astype(np.float32)
    scores = score.copy()
    scores[lost] = lowest - (count + 1) * np.maximum(1.0, 4 * np.spacing(reach).astype(np.float64))
    return scores


def append_below(head: pd.DataFrame, tail: pd.DataFrame) -> pd.DataFrame:
    """Append rows below the ranking of their query, in their order, with the scores of ``score_below``.

    Args:
        head: Frame[qid, score, rank, ...].
        tail: Frame[qid, ...]; a score or rank in it is not read.

    Returns:
        The rows of the head, then those of the tail.

    Example:
        >>> head = pd.DataFrame({"qid": ["q"], "docno": ["a"], "score": [0.5], "rank": [0]})
        >>> append_below(head, pd.DataFrame({"qid": ["q", "q"], "docno": ["c", "b"]})).to_numpy().tolist()
        [['q', 'a', 0.5, 0], ['q', 'c', -0.5, 1], ['q', 'b', -1.5, 2]]
    """
    both = pd.concat([head, tail.drop(columns=["score", "rank"], errors="ignore")], ignore_index=True)
    query, row = pd.factorize(both["qid"])[0].astype(np.int64), np.arange(len(both))
    score = score_below(query, both["score"].to_numpy(np.float64), row)
    rank = np.where(row < len(head), both["rank"].fillna(0), both.groupby(query).cumcount()).astype(np.int64)
    return both.assign(score=score, rank=rank)


def _is_ranked(query: Ints, score: Floats) -> bool:
    if len(query) < 2:  # noqa: PLR2004 - one row is in order
        return True
    step = np.diff(query)
    return bool(((step == 1) | ((step == 0) & (score[1:] <= score[:-1]))).all())


def is_ranking(qid: pd.Series[str], score: Floats, rank: Floats) -> bool:
    """Tell whether ranks order each query by score, descending, from 0 without gaps; equal scores may stand in any order.

    Args:
        qid: Shape (n,).
        score: Shape (n,). No NaN.
        rank: Shape (n,).

    Returns:
        Whether they do.

    Example:
        >>> query, score = pd.Series(["q", "q", "q"]), np.array([1.0, 2.0, 1.0])
        >>> is_ranking(query, score, np.array([2.0, 0.0, 1.0])), is_ranking(query, score, np.array([1.0, 2.0, 0.0]))
        (True, False)
    """
    query, right = pd.factorize(qid)[0], ranks(qid, score)
    given, wanted = np.lexsort((rank, query)), np.lexsort((right, query))
    return bool((rank[given] == right[wanted]).all() and (score[given] == score[wanted]).all())
