"""The columns of a fused run: what belongs to the query from the topics, everything else from the first run that has a value.

``docid`` is an exception: it numbers a document in one index, and means another document in any other. PyTerrier's loaders look it
up before the docno. Where more than one run is fused, nobody knows whose it would be, so it is left out.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pt_cascade.analysis.fusion.pooling import Pool
    from pt_cascade.ranking import Floats, Ints

Columns: TypeAlias = "dict[Hashable, pd.Series[Any]]"

_OWN = ("qid", "docno", "score", "rank")
_PRIVATE = ("docid",)


def merge_columns(pool: Pool, runs: Sequence[pd.DataFrame], pairs: Ints, score: Floats, rank: Ints) -> pd.DataFrame:
    """Make the frame of some pairs of a pool."""
    of_query, of_pair = _fill(pool, runs, pairs)
    docno = _take(pool.docnos, pool.docno_of[pairs])
    return pd.DataFrame({**of_query, "docno": docno, "score": score, "rank": rank, **of_pair})


def _fill(pool: Pool, runs: Sequence[pd.DataFrame], pairs: Ints) -> tuple[Columns, Columns]:
    """Give some pairs the columns that belong to their query, and those that belong to them."""
    pair = np.empty(len(pool.row), np.int64)
    pair[pool.row] = pool.pair
    query, asked = pool.query_of[pairs], pool.topics
    of_query: Columns = {name: _take(asked[name], query) for name in asked}
    of_pair: Columns = {}
    spoken_for = (*asked, *_OWN, *(_PRIVATE if len(runs) > 1 else ()))
    for name in dict.fromkeys(name for run in runs for name in run if name not in spoken_for):
        if "query" in asked and re.fullmatch(r"query_\d+", str(name)):
            continue  # how a run's query was called before it was rewritten
        if str(name).startswith("query"):
            of_query[name] = _take(_first_values(runs, name, pool.query_of[pair], len(asked)), query)
        else:
            of_pair[name] = _take(_first_values(runs, name, pair, len(pool.query_of)), pairs)
    return of_query, of_pair


def _first_values(runs: Sequence[pd.DataFrame], name: Hashable, group: Ints, groups: int) -> pd.Series[Any]:
    """Give each group of rows, numbered as the runs stand end to end, the value of its first row that has one."""
    ends = accumulate(map(len, runs))
    having = [(run[name], group[end - len(run) : end]) for run, end in zip(runs, ends, strict=True) if name in run]
    having = [(column, group) for column, group in having if len(column)] or having[:1]  # an empty run's dtype has no say
    column = pd.concat([column for column, _ in having], ignore_index=True)
    rows = np.flatnonzero(column.notna())[::-1]
    first = np.full(groups, -1)
    first[np.concatenate([group for _, group in having])[rows]] = rows  # from the last to the first, so that the first stays
    return _take(column, first)


def _take(column: pd.Series[Any], rows: Ints) -> pd.Series[Any]:
    """Give some rows of a column, numbered anew; a missing value for -1."""
    if (rows >= 0).all():
        return column.take(rows).reset_index(drop=True)
    return column.reset_index(drop=True).reindex(rows).reset_index(drop=True)
