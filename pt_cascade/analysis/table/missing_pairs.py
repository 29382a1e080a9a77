"""Pairs and queries that one run of a table lacks: counted, described, and filled by ranking them last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.numbers import count_of
from pt_cascade.ranking import locate, score_below

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIR = ["qid", "docno"]
_OWN = 3  # qid, docno and rank stand before the stages
_MANY = 10  # so many documents with permuted scores are no chance

# In all functions, frame is Frame[qid, docno, rank, <stage>...]: the documents of the first run, and their scores, NaN for none;
# runs are Frame[qid, docno, score, ...] by stage, of the topics only; missing is what count_missing returns.


def find_unknown_ids(frame: pd.DataFrame, runs: Mapping[str, pd.DataFrame]) -> list[str]:
    """Describe each run that shares no pair with the first one."""
    first, *later = runs
    if frame.empty:
        return [f"run {first!r} has no result for any of the topics"]
    problems = []
    for name in (name for name in later if frame[name].isna().all()):
        run, shared = runs[name], len(set(runs[name]["qid"]) & set(frame["qid"]))
        what, column = (f"no document of the {count_of(shared, 'query')} in both", "docno") if shared else ("no query", "qid")
        if run.empty:
            problems.append(f"run {name!r} has no result for any of the topics")
        else:
            found = f"it has e.g. {column} {run[column].iloc[0]!r}, {first!r} has {frame[column].iloc[0]!r}"
            problems.append(f"run {name!r} shares {what} with {first!r}: {found}")
    return problems


def count_missing(frame: pd.DataFrame, runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return Frame[stage, queries, pairs, extra], a row for each later run.

    It lacks so many pairs of the first run in so many queries, and has so many extra ones.
    """
    later = list(runs)[1:]
    lacking = [frame["qid"][frame[name].isna()] for name in later]
    queries, pairs = [qid.nunique() for qid in lacking], [len(qid) for qid in lacking]
    extra = [len(runs[name]) - (len(frame) - count) for name, count in zip(later, pairs, strict=True)]
    return pd.DataFrame({"stage": later, "queries": queries, "pairs": pairs, "extra": extra})


def describe_missing(frame: pd.DataFrame, missing: pd.DataFrame) -> list[str]:
    """Describe the pairs that each later run lacks."""
    every = f"of {len(frame):,} pairs"
    return [
        f"run {name!r} lacks {pairs:,} {every}, in {count_of(queries, 'query')}, e.g. {_example(frame[frame[name].isna()])}"
        for name, queries, pairs, _ in missing[missing["pairs"] > 0].itertuples(index=False)
    ]


def describe_extra(frame: pd.DataFrame, runs: Mapping[str, pd.DataFrame], missing: pd.DataFrame) -> list[str]:
    """Describe the pairs of each later run that the first one lacks."""
    lines = []
    for name, _, _, extra in missing[missing["extra"] > 0].itertuples(index=False):
        found = _example(runs[name][locate(runs[name], frame) < 0])
        lines.append(f"ignored {count_of(extra, 'pair')} of run {name!r} that {next(iter(runs))!r} did not retrieve, e.g. {found}")
    return lines


def describe_dropped_queries(read: Mapping[str, pd.DataFrame], kept: Mapping[str, pd.DataFrame]) -> list[str]:
    """Describe the queries of each run that are not among the topics."""
    dropped = {name: run["qid"][~run["qid"].isin(kept[name]["qid"])].unique() for name, run in read.items()}
    return [
        f"ignored {count_of(len(qids), 'query')} of run {name!r} beside the topics, e.g. {qids[0]!r}"
        for name, qids in dropped.items()
        if len(qids)
    ]


def find_permuted_scores(frame: pd.DataFrame) -> list[str]:
    """Describe each run that has the scores of an earlier one in another order, as listwise rankers write them."""
    lines, stages = [], list(frame.columns)[_OWN:]
    for place, name in enumerate(stages):
        source = next((before for before in stages[:place] if _are_permuted(frame, before, name)), None)
        if source is not None:
            doubt = "a listwise ranker seems to have written it, whose ranking at other cut-offs the run does not show"
            lines.append(f"run {name!r} has the scores of {source!r} in another order: {doubt}")
    return lines


def fill_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the documents that a later run lacks scores below all that it scored for the query, in the order of the first run.

    Example:
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [np.nan, 0.5]})
        >>> fill_missing(frame)["t5"].tolist()
        [-0.5, 0.5]
    """
    query, place = pd.factorize(frame["qid"])[0].astype(np.int64), frame["rank"].to_numpy()
    later = list(frame.columns)[_OWN + 1 :]
    return frame.assign(**{name: score_below(query, frame[name].to_numpy(np.float64), place) for name in later})


def _are_permuted(frame: pd.DataFrame, before: str, after: str) -> bool:
    """Tell whether two stages have the same scores in each query, but many at other documents."""
    both = frame[frame[before].notna() & frame[after].notna()]
    query, one, other = pd.factorize(both["qid"])[0], both[before].to_numpy(np.float64), both[after].to_numpy(np.float64)
    if (one != other).sum() < _MANY:
        return False
    return bool((one[np.lexsort((one, query))] == other[np.lexsort((other, query))]).all())


def _example(pairs: pd.DataFrame) -> str:
    return f"qid {pairs['qid'].iloc[0]!r}, docno {pairs['docno'].iloc[0]!r}"
