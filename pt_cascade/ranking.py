"""PyTerrier's tie rule (``pt.model.add_ranks``): ranks from 0 by score descending, equal scores by row order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"

_LARGEST = float(np.finfo(np.float32).max) / 2  # beyond it float32, and so trec_eval, has only infinity


def ranks(qid: pd.Series[str] | Sequence[str], score: Floats) -> Ints:
    """Return each row's rank in its query, from 0, by score descending, ties by row order."""
    query = pd.factorize(qid if isinstance(qid, pd.Series) else np.asarray(qid, dtype=object))[0]
    step = np.diff(query)
    ranked = ((step == 1) | ((step == 0) & (score[1:] <= score[:-1]))).all()  # so that ordered results need no sort
    order = np.arange(len(query)) if ranked else np.lexsort((-score, query))
    by_query = query[order]
    starts = np.flatnonzero(np.r_[True, by_query[1:] != by_query[:-1]][: len(by_query)])
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    rank = np.empty(len(order), np.int64)
    rank[order] = within
    return rank


def rescore(results: pd.DataFrame, score: Floats) -> pd.DataFrame:
    """Return the results with new scores and ranks; other columns and the row order stay."""
    return results.assign(score=score, rank=ranks(results["qid"], score))


def pair_codes(qid: pd.Series[str] | NDArray[np.object_], docno: pd.Series[str] | NDArray[np.object_]) -> Ints:
    """Number the (qid, docno) pairs: equal pairs get equal numbers."""
    query, document = pd.factorize(qid)[0], pd.factorize(docno)[0]
    return query * np.int64(document.max(initial=0) + 1) + document


def is_alike(frame: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames have the same (qid, docno) in the same order."""
    pairs = ((frame[name].to_numpy(object), other[name].to_numpy(object)) for name in ("qid", "docno"))
    return len(frame) == len(other) and all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def locate(frame: pd.DataFrame, among: pd.DataFrame) -> Ints:
    """Return the row of each (qid, docno) in another frame, -1 where it has none."""
    columns = [[one[name].to_numpy(object) for one in (among, frame)] for name in ("qid", "docno")]
    if all(np.array_equal(theirs, mine) for theirs, mine in columns):
        return np.arange(len(frame))
    codes = pair_codes(*map(np.concatenate, columns))
    found: Ints = pd.Index(codes[: len(among)]).get_indexer(pd.Index(codes[len(among) :])).astype(np.int64)
    return found


def same_pairs(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Whether two frames, each without repeated pairs, hold the same (qid, docno) pairs in any order."""
    return len(left) == len(right) and bool((locate(left, right) >= 0).all())


def score_below(query: Ints, score: Floats, place: Ints | Floats) -> Floats:
    """Replace NaN and -inf by scores below all others of the query, in steps that float32, and so trec_eval, can tell apart.

    Args:
        query: Shape (n,). The number of each row's query.
        score: Shape (n,). NaN or -inf where there is none.
        place: Shape (n,). The order of the rows in their query.
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
    """Append the rows of a tail, without its scores and ranks, below the ranking of their query; see ``score_below``."""
    both = pd.concat([head, tail.drop(columns=["score", "rank"], errors="ignore")], ignore_index=True)
    query, row = pd.factorize(both["qid"])[0].astype(np.int64), np.arange(len(both))
    score = score_below(query, both["score"].to_numpy(np.float64), row)
    rank = np.where(row < len(head), both["rank"].fillna(0), both.groupby(query).cumcount()).astype(np.int64)
    return both.assign(score=score, rank=rank)


def is_ranking(qid: pd.Series[str], score: Floats, rank: Floats) -> bool:
    """Whether the ranks of each query are 0, 1, ... by score descending, equal scores in any order."""
    query, right = pd.factorize(qid)[0], ranks(qid, score)
    given, wanted = np.lexsort((rank, query)), np.lexsort((right, query))
    return bool((rank[given] == right[wanted]).all() and (score[given] == score[wanted]).all())
