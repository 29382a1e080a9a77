"""Runs pooled: their rows list by list, each (qid, docno) numbered once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError
from pt_cascade.frames import canonical_results, canonical_topics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_cascade.ranking import Floats, Ints

_WHAT = "the runs cannot be fused"


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows of several runs, a list (one run's answer to one query) after the other, each by rank."""

    topics: pd.DataFrame  # Frame[qid, ...]: the queries
    row: Ints  # (n,): The number of each row
    rank: Ints  # (n,): From 0
    score: Floats  # (n,): Descending in each list
    pair: Ints  # (n,): The number of its (qid, docno)
    sizes: Ints  # (lists,): The length of each list, 1 or more
    run: Ints  # (lists,): Whose it is
    query: Ints  # (lists,): Where its query stands in the topics
    query_of: Ints  # (pairs,): Where the query of each pair stands in the topics
    docno_of: Ints  # (pairs,): Where the docno of each pair stands in ``docnos``
    docnos: pd.Series[str]  # (documents,): Each docno once


def check_runs(runs: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Make each run canonical, ranks by the tie rule; or refuse all that is wrong with any."""
    answers = {name: _check_run(run) for name, run in runs.items()}
    refused = {name: answer for name, answer in answers.items() if isinstance(answer, FrameError)}
    if refused:
        problems = [f"{name}: {problem}" for name, error in refused.items() for problem in error.problems]
        fixes = dict.fromkeys(error.fix for error in refused.values() if error.fix)
        raise FrameError(_WHAT, problems, fix="; ".join(fixes))
    return {name: answer for name, answer in answers.items() if isinstance(answer, pd.DataFrame)}


def check_topics(topics: object) -> pd.DataFrame:
    """Make topics canonical; they may do without a query, e.g. where they have vectors."""
    if not isinstance(topics, pd.DataFrame):
        problem = f"they are a {type(topics).__name__}, expected a DataFrame of qid and query"
        raise FrameError("topics are not usable", [problem], fix='topics = pd.DataFrame(topics, columns=["qid", "query"])')
    return canonical_topics(topics if "query" in topics else topics.assign(query="-"))[list(topics.columns)]


def pool_runs(runs: Mapping[str, pd.DataFrame], topics: pd.DataFrame | None = None) -> Pool:
    """Pool some runs."""
    frames = list(runs.values())
    code, qids = pd.factorize(_end_to_end(frames, "qid"))
    asked = pd.Series(qids, name="qid", dtype=qids.dtype).to_frame() if topics is None else check_topics(topics)
    stands = pd.Index(asked["qid"]).get_indexer(qids)
    if len(unknown := qids[stands < 0]):
        _refuse_strangers(runs, unknown)
    query = stands[code]
    document, docnos = pd.factorize(_end_to_end(frames, "docno"))
    rank = np.concatenate([run["rank"].to_numpy(np.int64) for run in frames])
    lists = np.repeat(np.arange(len(frames)), [len(run) for run in frames]) * len(asked) + query
    sizes = np.bincount(lists, minlength=len(frames) * len(asked))
    row = np.empty(len(rank), np.int64)
    row[(np.cumsum(sizes) - sizes)[lists] + rank] = np.arange(len(rank))
    pair, pairs = pd.factorize((query * np.int64(len(docnos)) + document)[row])
    score = np.concatenate([run["score"].to_numpy(np.float64) for run in frames])
    full = np.flatnonzero(sizes)
    run, place = np.divmod(full, max(len(asked), 1))
    query_of, docno_of = np.divmod(pairs, max(len(docnos), 1))
    names = pd.Series(docnos, dtype=docnos.dtype)
    return Pool(asked, row, rank[row], score[row], pair, sizes[full], run, place, query_of, docno_of, names)


def _check_run(run: object) -> pd.DataFrame | FrameError:
    if not isinstance(run, pd.DataFrame):
        return FrameError(_WHAT, [f"it is a {type(run).__name__}, expected a DataFrame of qid, docno and score"])
    if len(twice := run.columns[run.columns.duplicated()]):
        problem = f"column(s) {', '.join(map(str, twice))} stand more than once"
        return FrameError(_WHAT, [problem], fix="run = run.loc[:, ~run.columns.duplicated()]")
    try:
        return canonical_results(run.drop(columns="rank", errors="ignore"))
    except FrameError as error:
        return error


def _refuse_strangers(runs: Mapping[str, pd.DataFrame], unknown: pd.Index[str]) -> None:
    """Say which runs answer queries that nobody asked."""
    found = {name: run.loc[run["qid"].isin(unknown), "qid"].unique() for name, run in runs.items()}
    problems = [
        f"{name}: it has {len(qids)} qid(s) that the topics do not, e.g. {qids[0]!r}" for name, qids in found.items() if len(qids)
    ]
    raise FrameError(_WHAT, problems, fix='run = run[run["qid"].isin(topics["qid"])]')


def _end_to_end(runs: Sequence[pd.DataFrame], name: str) -> pd.Series[str]:
    """Lay a column of all runs end to end."""
    return pd.concat([run[name] for run in runs], ignore_index=True)
