"""Checks of a score table, without which its replay could be wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import TableError, warn
from pt_cascade.guards import hold_nul
from pt_cascade.numbers import count_of
from pt_cascade.ranking import pair_codes

if TYPE_CHECKING:
    from pt_cascade.analysis.table.data import Path, Scores


def check_scores(table: Scores) -> None:
    """Refuse scores that cannot be replayed: all problems of the columns at once, or else of the rows."""
    if problems := _check_columns(table) or _check_rows(table):
        raise TableError("this is not a score table", problems)


def check_queries(table: Scores, topics: pd.DataFrame) -> None:
    """Refuse topics, Frame[qid, query, ...], that ask other queries under the table's qids; warn where only some differ.

    Letter case, blanks and punctuation do not count, nor do tables made of runs without topics, which know no queries.
    """
    both = table.topics.merge(topics[["qid", "query"]], on="qid", suffixes=("", "_given"))
    both = both[both["query"] != ""]
    one, other = ([re.sub(r"[\W_]+", "", text.casefold()) for text in both[name]] for name in ("query", "query_given"))
    differ = both[np.array(one, object) != np.array(other, object)]
    if differ.empty:
        return
    qid, mine, theirs = differ.iloc[0][["qid", "query", "query_given"]]
    found = f"qid {qid!r} is {mine!r:.60} in the table and {theirs!r:.60} in the topics"
    problem = f"{len(differ):,} of {len(both):,} queries differ, e.g. {found}"
    if len(differ) == len(both):
        origin = table.about.get("collection")
        fix = f"open_collection({origin!r})" if origin else "pass the topics and judgments that the table was made for"
        raise TableError("the topics are of another collection than the table", [problem], fix=fix)
    warn(f"{problem}: are they of the same collection?")


def _check_columns(table: Scores) -> list[str]:
    """Check names, types and paths."""
    if lacking := [name for name in ("qid", "docno", "rank", *table.stages) if name not in table.frame]:
        return [f"missing columns: {', '.join(lacking)}, found {', '.join(map(str, table.frame.columns))}"]
    problems = [f"stage {name!r} occurs twice" for name in sorted({*table.stages}) if table.stages.count(name) > 1]
    if not problems:
        for name, kinds, wanted in (("rank", "iu", "whole numbers"), *((stage, "fiu", "numbers") for stage in table.stages)):
            kind = table.frame[name].dtype
            if not isinstance(kind, np.dtype) or kind.kind not in kinds:
                problems.append(f"column {name!r} holds {kind}, expected {wanted}")
    problems += [problem for path in table.paths for problem in _check_path(path, table.stages)]
    return problems if table.paths else [*problems, "there is no path"]


def _check_path(path: Path, stages: tuple[str, ...]) -> list[str]:
    """Check one path."""
    shown, count = " → ".join(map(str, path.stages)) or "(empty)", len(path.stages)
    if not set(path.stages) <= set(stages) or path.stages[:1] != stages[:1] or len(set(path.stages)) < count:
        return [f"path {shown} repeats a stage, has one that is not in {', '.join(stages)}, or does not begin with {stages[0]!r}"]
    problems = [f"path {shown} has {len(path.cutoffs)} cut-offs, expected {count}"] if len(path.cutoffs) != count else []
    if path.depths and len(path.depths) != count - 1:
        problems.append(f"path {shown} has {len(path.depths)} depths, expected {count - 1}")
    return problems


def _check_rows(table: Scores) -> list[str]:
    """Look for queries, documents and ranks that a replay cannot use, and for scores that cannot be ranked."""
    frame, query, first = table.frame, table.queries, table.stages[0]
    if (query < 0).any():
        return [f"qid {frame['qid'].iloc[int((query < 0).argmax())]!r} is not among the topics"]
    if (np.diff(query) < 0).any():
        return ["the rows are not in the order of the topics, those of a query together"]
    problems = []
    if (nul := hold_nul(frame["docno"])).any():
        problems.append(f"docno {frame['docno'][nul].iloc[0]!r} holds a NUL character, at which trec_eval cuts it")
    elif len(again := frame[pd.Series(pair_codes(frame["qid"], frame["docno"])).duplicated().to_numpy()]):
        problems.append(f"qid {again['qid'].iloc[0]!r}, docno {again['docno'].iloc[0]!r} occurs twice")
    score, rank = frame[first].to_numpy(np.float64), frame["rank"].to_numpy(np.int64)
    order = np.lexsort((rank, query))
    begins = np.cumsum(table.retrieved) - table.retrieved
    if lost := int((~np.isfinite(score)).sum()):
        problems.append(f"{count_of(lost, 'score')} of the first stage {first!r} not finite")
    elif (rank[order] != np.arange(len(rank)) - begins[query]).any() or ((np.diff(score[order]) > 0) & (np.diff(query) == 0)).any():
        problems.append(f"rank is not that of {first!r} by descending score, from 0")
    infinite = [name for name in table.stages[1:] if np.isposinf(frame[name].to_numpy(np.float64)).any()]
    return problems + [f"stage {name!r} has infinite scores, expected numbers, NaN or -inf" for name in infinite]
