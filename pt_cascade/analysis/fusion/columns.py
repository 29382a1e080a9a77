"""The columns of a fused run: those of the query from the topics, all others from the first run that has a value.

``docid`` numbers a document in one index, and another document in another index; PyTerrier's loaders look it up before the docno.
So it is left out where more than one run is fused.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pt_cascade.analysis.fusion.pooling import Pool
    from pt_cascade.ranking import Floats, Ints

_OWN = ("qid", "docno", "score", "rank")


def merge_columns(pool: Pool, runs: Sequence[pd.DataFrame], pairs: Ints, score: Floats, rank: Ints) -> pd.DataFrame:
    """Make the frame of some pairs of a pool, with their scores and ranks: shape (m,) each.

    Returns Frame[<topics>..., query..., docno, score, rank, ...]: the columns of the topics and those that begin with ``query``,
    one value a qid; then those of the documents, one value a (qid, docno). Where the topics have a query, ``query_0`` and the like,
    a run's own record of its rewriting, are left out.
    """
    pair = np.empty(len(pool.row), np.int64)
    pair[pool.row] = pool.pair
    query, topics = pool.query_of[pairs], pool.topics
    of_query: dict[Hashable, pd.Series[Any]] = {name: _take(topics[name], query) for name in topics}
    of_pair: dict[Hashable, pd.Series[Any]] = {}
    reserved = (*topics, *_OWN, *(("docid",) if len(runs) > 1 else ()))
    for name in dict.fromkeys(name for run in runs for name in run if name not in reserved):
        if "query" in topics and re.fullmatch(r"query_\d+", str(name)):
            continue
        if str(name).startswith("query"):
            of_query[name] = _take(_first_values(runs, name, pool.query_of[pair], len(topics)), query)
        else:
            of_pair[name] = _take(_first_values(runs, name, pair, len(pool.query_of)), pairs)
    docno = _take(pool.docnos, pool.docno_of[pairs])
    return pd.DataFrame({**of_query, "docno": docno, "score": score, "rank": rank, **of_pair})


def _first_values(runs: Sequence[pd.DataFrame], name: Hashable, group: Ints, groups: int) -> pd.Series[Any]:
    """Give each group the value of its first row that has one; ``group`` numbers the rows of all runs, end to end."""
    ends = accumulate(map(len, runs))
    having = [(run[name], group[end - len(run) : end]) for run, end in zip(runs, ends, strict=True) if name in run]
    having = [(column, group) for column, group in having if len(column)] or having[:1]  # the dtype of an empty run is ignored
    column = pd.concat([column for column, _ in having], ignore_index=True)
    rows = np.flatnonzero(column.notna())[::-1]
    first = np.full(groups, -1)
    first[np.concatenate([group for _, group in having])[rows]] = rows  # from the last to the first, so that the first stays
    return _take(column, first)


def _take(column: pd.Series[Any], rows: Ints) -> pd.Series[Any]:
    """Give some rows of a column, a missing value for -1."""
    if (rows >= 0).all():
        return column.take(rows).reset_index(drop=True)
    return column.reset_index(drop=True).reindex(rows).reset_index(drop=True)
