"""What runs lack of each other: counted, described, and if wanted filled by ranking last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import TableError
from pt_cascade.ranking import scores_below

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIR = ["qid", "docno"]
_OWN = 3  # qid, docno and rank stand before the stages
_MANY = 10  # so many documents with each other's scores are no chance
_LARGEST = float(np.finfo(np.float32).max) / 2  # beyond it float32, and with it trec_eval, sees nothing but infinity


def find_unknown_ids(frame: pd.DataFrame, runs: Mapping[str, pd.DataFrame]) -> list[str]:
    """Name the runs that have nothing to do with the first one."""
    first, *later = runs
    if frame.empty:
        return [f"run {first!r} has no result for any of the topics"]
    problems = []
    for name in (name for name in later if frame[name].isna().all()):
        run = runs[name]
        shared = len(set(run["qid"]) & set(frame["qid"]))
        if run.empty:
            problems.append(f"run {name!r} has no result for any of the topics")
        elif shared:
            found = f"e.g. docno {run['docno'].iloc[0]!r}, not {frame['docno'].iloc[0]!r}"
            problems.append(f"run {name!r} shares {shared:,} query(ies) with {first!r}, but no document of theirs, {found}")
        else:
            found = f"e.g. qid {run['qid'].iloc[0]!r}, not {frame['qid'].iloc[0]!r}"
            problems.append(f"run {name!r} shares no query with {first!r}, {found}")
    return problems


def count_missing(frame: pd.DataFrame, runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count what each later run lacks of the first one, and the first one of it."""
    later = list(runs)[1:]
    lacking = [frame["qid"][frame[name].isna()] for name in later]
    queries, pairs = [qid.nunique() for qid in lacking], [len(qid) for qid in lacking]
    extra = [len(runs[name]) - (len(frame) - gap) for name, gap in zip(later, pairs, strict=True)]
    return pd.DataFrame({"stage": later, "queries": queries, "pairs": pairs, "extra": extra})


def describe_missing(frame: pd.DataFrame, gaps: pd.DataFrame) -> list[str]:
    """Say what each later run lacks."""
    said = []
    for name, queries, pairs, _ in gaps[gaps["pairs"] > 0].itertuples(index=False):
        found = _example(frame[frame[name].isna()])
        said.append(f"run {name!r} lacks {pairs:,} of {len(frame):,} pairs, in {queries:,} query(ies), e.g. {found}")
    return said


def describe_extra(frame: pd.DataFrame, runs: Mapping[str, pd.DataFrame], gaps: pd.DataFrame) -> list[str]:
    """Say which documents of later runs the first one lacks."""
    said = []
    for name, _, _, extra in gaps[gaps["extra"] > 0].itertuples(index=False):
        both = runs[name][PAIR].merge(frame[PAIR], how="left", on=PAIR, indicator="found")
        found = _example(both[both["found"] == "left_only"])
        said.append(f"left out: {extra:,} pair(s) of run {name!r} that {next(iter(runs))!r} did not retrieve, e.g. {found}")
    return said


def describe_dropped_queries(read: Mapping[str, pd.DataFrame], kept: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say how many queries were left out as they are not among the topics."""
    said = []
    for name, run in read.items():
        if len(run) > len(kept[name]):
            foreign = run["qid"][~run["qid"].isin(kept[name]["qid"])].unique()
            said.append(f"left out: {len(foreign):,} query(ies) of run {name!r} that are not among the topics, e.g. {foreign[0]!r}")
    return said


def find_permuted_scores(frame: pd.DataFrame) -> list[str]:
    """Name the runs that have the very scores of one before in another order, as rankers of whole lists write them."""
    said = []
    stages = list(frame.columns)[_OWN:]
    for place, name in enumerate(stages):
        lender = next((before for before in stages[:place] if _are_permuted(frame, before, name)), None)
        if lender is not None:
            doubt = "what that ranker makes of other cut-offs is not in its run"
            said.append(
                f"run {name!r} has the scores of {lender!r} in another order, as rankers of whole lists write them: {doubt}"
            )
    return said


def fill_missing(frame: pd.DataFrame) -> pd.DataFrame:
    """Give what a later run lacks a score below all that it scored for the query, in the order of the first run."""
    filled, problems = {}, []
    for name in list(frame.columns)[_OWN + 1 :]:
        gap = frame[name].isna()
        qid = frame["qid"][gap]
        lowest = frame[name].groupby(frame["qid"]).transform("min")[gap].fillna(0.0)
        if (lowest.abs() > _LARGEST).any():
            problems.append(f"run {name!r} has the score {lowest[lowest.abs() > _LARGEST].tolist()[0]!r}, beyond float32")
        place, size = (
            count.to_numpy().astype(np.float64) for count in (qid.groupby(qid).cumcount(), qid.groupby(qid).transform("size"))
        )
        below = scores_below(lowest.to_numpy(np.float64), place, size)
        filled[name] = frame[name].mask(gap, pd.Series(below, gap.index[gap]))
    if problems:
        raise TableError("nothing can be ranked below these scores", problems, fix="scale the scores of the run")
    return frame.assign(**filled)


def _are_permuted(frame: pd.DataFrame, before: str, after: str) -> bool:
    """Tell whether two stages have the same scores in each query, but many at other documents."""
    both = frame[frame[before].notna() & frame[after].notna()]
    query, one, other = pd.factorize(both["qid"])[0], both[before].to_numpy(np.float64), both[after].to_numpy(np.float64)
    if (one != other).sum() < _MANY:
        return False
    return bool((one[np.lexsort((one, query))] == other[np.lexsort((other, query))]).all())


def _example(pairs: pd.DataFrame) -> str:
    return f"qid {pairs['qid'].iloc[0]!r}, docno {pairs['docno'].iloc[0]!r}"
