"""TREC runs made elsewhere as a score table: the first run is the first stage, the others score its documents."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, TypeAlias, cast, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.data import Column, Path, Scores
from pt_cascade.analysis.table.missing_pairs import (
    PAIR,
    count_missing,
    describe_dropped_queries,
    describe_extra,
    describe_missing,
    fill_missing,
    find_permuted_scores,
    find_unknown_ids,
)
from pt_cascade.errors import TableError, warn
from pt_cascade.frames import canonical_results, canonical_topics
from pt_cascade.numbers import check_word, count_of
from pt_cascade.ranking import ranks
from pt_cascade.trec import read_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    Runs: TypeAlias = Mapping[str, "pd.DataFrame | str | os.PathLike[str]"]

Missing: TypeAlias = Literal["refuse", "leave", "last"]
_REFUSED = "the runs do not make a score table"
_WRITE = 'ScoreTable.from_runs({"bm25": "bm25.res.gz", "t5": "t5.res.gz"}, missing="refuse")'
_POLICIES = (
    'missing="leave" leaves these pairs unscored, and the table refuses cut-offs that need them; '
    'missing="last" ranks them below the pairs that the run scored'
)


def import_runs(runs: Runs, topics: pd.DataFrame | None = None, *, missing: Missing = "refuse") -> Scores:
    """Make a table of runs: the documents of the first, scored by the others; see ``ScoreTable.from_runs``.

    The table stands for the pipeline ``first % k1 >> look_up(second) % k2 >> ...``: ``first`` returns the rows of its run in rank
    order; ``look_up`` gives each row its score in that run, ranks by it, ties by row order, and keeps the order of the rows. So
    ties of a later run have the order of the first one, whatever the later run's own ranks.

    Example:
        >>> bm25 = pd.DataFrame({"qid": "1", "docno": ["a", "b", "c"], "score": [3.0, 2.0, 1.0]})
        >>> t5 = pd.DataFrame({"qid": "1", "docno": ["b", "a"], "score": [0.9, 0.5]})
        >>> table = import_runs({"bm25": bm25, "t5": t5}, missing="leave")
        >>> table.frame["t5"].tolist(), table.paths[0].depths
        ([0.5, 0.9, nan], (2,))
        >>> import_runs({"bm25": bm25, "t5": t5}, missing="last").frame["t5"].tolist()
        [0.5, 0.9, -0.5]
    """
    _check(runs, missing)
    read = {name: _read(name, run) for name, run in runs.items()}
    asked = _topics(next(iter(read.values()))) if topics is None else canonical_topics(topics)
    kept = read if topics is None else {name: run[run["qid"].isin(asked["qid"])] for name, run in read.items()}
    frame = _align(kept, asked)
    if problems := find_unknown_ids(frame, kept):
        raise TableError(_REFUSED, problems, fix="pass runs, and topics, of the same queries over the same collection")
    lacking = count_missing(frame, kept)
    if missing == "refuse" and lacking["pairs"].any():
        raise TableError(_REFUSED, describe_missing(frame, lacking), fix=_POLICIES)
    warned = [*describe_dropped_queries(read, kept), *describe_extra(frame, kept, lacking), *find_permuted_scores(frame)]
    frame = fill_missing(frame) if missing == "last" else frame
    depths = [_depth(frame, before, after) for before, after in pairwise(read)]
    first_missing = [name for name, depth in zip(lacking["stage"], depths, strict=True) if depth == 0]
    warned += [
        f"run {name!r} lacks the first document of a query, so no cut-offs can be replayed with it" for name in first_missing
    ]
    if warned:
        warn("; ".join(warned))  # whoever called ScoreTable.from_runs
    columns = tuple(Column(name, fingerprint=_fingerprint(run), described=_describe(runs[name], run)) for name, run in read.items())
    deep = tuple(None if depth is None else max(1, depth) for depth in depths)
    path = Path(tuple(read), (*deep, None), deep)
    about = {"made of": "runs", "missing": missing} | ({"topics": "those of the first run"} if topics is None else {})
    return Scores(frame, asked, columns, (path,), about=about, missing=lacking)


def add_judged_queries(table: Scores, qrels: pd.DataFrame) -> Scores:
    """Add to a table of runs without topics the judged queries that the runs lack, with a CascadeWarning."""
    judged = qrels["qid"].drop_duplicates()
    more = judged[~judged.isin(table.topics["qid"])]
    if "topics" not in table.about or len(more) in (0, len(judged)):
        return table
    found = (
        f"{len(more)} of {len(judged)} judged queries are not in the runs, e.g. {more.iloc[0]!r}, and count 0, as in trec_eval -c"
    )
    fix = "to leave them out, pass the topics: ScoreTable.from_runs(runs, topics), or --topics FILE"
    warn(f"{found}; {fix}")
    return replace(table, topics=pd.concat([table.topics, pd.DataFrame({"qid": more, "query": ""})], ignore_index=True))


def _check(runs: Runs, missing: Missing) -> None:
    """Check the arguments before any file is read."""
    problems = check_word("missing", missing, get_args(Missing))
    given = cast("Mapping[object, object]", runs)  # types are hints
    if not hasattr(given, "items") or not given:
        found = "no runs" if hasattr(given, "items") else f"a {type(given).__name__}"
        raise TableError(_REFUSED, [*problems, f"they are {found}, expected a dict of runs by stage"], fix=_WRITE)
    for name, run in given.items():
        if not isinstance(name, str):
            problems.append(f"the name of a stage is {name!r}, expected text")
        if not isinstance(run, pd.DataFrame | str | os.PathLike):
            problems.append(f"run {name!r} is a {type(run).__name__}, expected a DataFrame or a path")
    if problems:
        raise TableError(_REFUSED, problems, fix=_WRITE)
    for name in runs:
        Column(name)


def _read(name: str, run: pd.DataFrame | str | os.PathLike[str]) -> pd.DataFrame:
    return canonical_results(run, name) if isinstance(run, pd.DataFrame) else read_run(run)


def _topics(run: pd.DataFrame) -> pd.DataFrame:
    """Return the queries of a run in order of appearance, with their text if there is one."""
    once = run.drop_duplicates("qid").reset_index(drop=True)
    return canonical_topics(once[["qid", "query"]] if "query" in once else once[["qid"]].assign(query=""))


def _align(kept: Mapping[str, pd.DataFrame], topics: pd.DataFrame) -> pd.DataFrame:
    """Sort the first run by topics and ranks, and add each document's score in the other runs, NaN for none."""
    first, *later = kept
    place = pd.Index(topics["qid"]).get_indexer(pd.Index(kept[first]["qid"]))
    run = kept[first].take(np.lexsort((kept[first]["rank"], place)))
    frame = run[[*PAIR, "rank", "score"]].rename(columns={"score": first}).reset_index(drop=True)
    looked_up = {name: frame[PAIR].merge(kept[name][[*PAIR, "score"]], how="left", on=PAIR)["score"] for name in later}
    return frame.assign(**looked_up)


def _depth(frame: pd.DataFrame, before: str, after: str) -> int | None:
    """Return how many documents from the top of a stage the next one scored in every query; None: all."""
    scored = frame[frame[before].notna()]
    lacking = scored[after].isna().to_numpy(bool)
    if not lacking.any():
        return None
    return int(ranks(scored["qid"], scored[before].to_numpy(np.float64))[lacking].min())


def _fingerprint(run: pd.DataFrame) -> str:
    """Hash a run's pairs, ranks and scores, whatever the order of its rows."""
    ids = [pd.util.hash_array(run[name].to_numpy(object)) for name in PAIR]
    numbers = [run["rank"].to_numpy(np.int64).view(np.uint64), run["score"].to_numpy(np.float64).view(np.uint64)]
    rows = np.stack([*ids, *numbers])
    return hashlib.sha256(rows[:, np.lexsort(rows)].tobytes()).hexdigest()


def _describe(given: pd.DataFrame | str | os.PathLike[str], run: pd.DataFrame) -> str:
    name = "a frame" if isinstance(given, pd.DataFrame) else PurePath(given).name
    return f"run {name}, {count_of(len(run), 'row')}"
