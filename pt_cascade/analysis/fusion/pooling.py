"""Runs pooled: their rows list by list, each (qid, docno) numbered once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError
from pt_cascade.frames import canonical_results, check_topics
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_cascade.ranking import Floats, Ints

_WHAT = "the runs cannot be fused"


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows of several runs, one list (a run's results for a query) after the other, each by rank.

    Rows are numbered as the runs stand end to end, pairs in order of appearance in the pool, so that within a query the first run's
    order comes first.
    """

    topics: pd.DataFrame  # Frame[qid, ...]: the queries
    row: Ints  # (n,): the number of each row
    rank: Ints  # (n,), from 0
    score: Floats  # (n,), descending in each list
    pair: Ints  # (n,): the number of its (qid, docno)
    sizes: Ints  # (lists,): the length of each list, 1 or more
    run: Ints  # (lists,): the position of its run
    query: Ints  # (lists,): the position of its query among the topics
    query_of: Ints  # (pairs,): the position of its query among the topics
    docno_of: Ints  # (pairs,): the position of its docno in ``docnos``
    docnos: pd.Series[str]  # (documents,): each docno once


def check_runs(runs: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return canonical runs, with ranks by the tie rule (a rank column is not read), or raise all problems of any of them."""
    checked, problems, fixes = {}, [], []
    for name, run in runs.items():
        try:
            checked[name] = canonical_results(run.drop(columns="rank", errors="ignore") if hasattr(run, "columns") else run)
        except FrameError as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
            fixes += [error.fix] if error.fix else []
    if problems:
        raise FrameError(_WHAT, problems, fix="; ".join(dict.fromkeys(fixes)))
    return checked


def pool_runs(runs: Mapping[str, pd.DataFrame], topics: pd.DataFrame | None = None) -> Pool:
    """Pool canonical runs; without topics, queries come in the order in which the runs have them.

    Example:
        >>> one = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "score": [1.0, 2.0], "rank": [1, 0]})
        >>> two = pd.DataFrame({"qid": "1", "docno": ["c", "a"], "score": [9.0, 8.0], "rank": [0, 1]})
        >>> pool = pool_runs({"one": one, "two": two})
        >>> pool.row.tolist(), pool.pair.tolist()
        ([1, 0, 2, 3], [0, 1, 2, 1])
    """
    count = len(runs)
    both = pd.concat([run[["qid", "docno", "rank", "score"]] for run in runs.values()], ignore_index=True)
    code, qids = pd.factorize(both["qid"])
    asked = pd.Series(qids, name="qid", dtype=qids.dtype).to_frame() if topics is None else check_topics(topics)
    position = pd.Index(asked["qid"]).get_indexer(qids)
    if len(unknown := qids[position < 0]):
        raise _unknown_qids_error(runs, unknown)
    query = position[code]
    document, docnos = pd.factorize(both["docno"])
    rank = both["rank"].to_numpy(np.int64)
    lists = np.repeat(np.arange(count), [len(run) for run in runs.values()]) * len(asked) + query
    sizes = np.bincount(lists, minlength=count * len(asked))
    row = np.empty(len(rank), np.int64)
    row[(np.cumsum(sizes) - sizes)[lists] + rank] = np.arange(len(rank))
    pair, pairs = pd.factorize((query * np.int64(len(docnos)) + document)[row])
    full = np.flatnonzero(sizes)
    run, place = np.divmod(full, max(len(asked), 1))
    query_of, docno_of = np.divmod(pairs, max(len(docnos), 1))
    names, score = pd.Series(docnos, dtype=docnos.dtype), both["score"].to_numpy(np.float64)
    return Pool(asked, row, rank[row], score[row], pair, sizes[full], run, place, query_of, docno_of, names)


def _unknown_qids_error(runs: Mapping[str, pd.DataFrame], unknown: pd.Index[str]) -> FrameError:
    found = {name: run.loc[run["qid"].isin(unknown), "qid"].unique() for name, run in runs.items()}
    problems = [
        f"{name}: {count_of(len(qids), 'qid')} not in the topics, e.g. {qids[0]!r}" for name, qids in found.items() if len(qids)
    ]
    return FrameError(_WHAT, problems, fix='run = run[run["qid"].isin(topics["qid"])]')
