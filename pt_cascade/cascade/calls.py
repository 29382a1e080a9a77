"""Calls the transformers of a stage: on all queries at once, or on each by itself where one may fail or run out of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from traceback import walk_tb
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.columns import explain_columns
from pt_cascade.cascade.known import look_up, show
from pt_cascade.cascade.wrappers import is_lazy
from pt_cascade.errors import CascadeError, QueryError, StageError, first_line, naming, warn
from pt_cascade.frames import canonical_results, check_text
from pt_cascade.guards import show_rows
from pt_cascade.numbers import count_of, is_whole
from pt_cascade.ranking import is_ranking, locate, ranks, same_pairs, score_below

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pt_cascade.cascade.stage import Stage
    from pt_cascade.ranking import Floats, Ints

_TEXT = "text"
_BATCH = 16  # rows, for a scorer without a batch size
NO_PAIRS = pd.DataFrame(columns=["qid", "docno"], dtype=str)


@dataclass(frozen=True)
class Output:
    """What the transformers of a stage returned.

    Attributes:
        frame: Frame[qid, docno, score, ...].
        pairs: Shape (pairs that the scorer scores,): the qid of each.
        ms: Milliseconds that the calls took.
        unscored: Frame[qid, docno] of the rows that keep their old place, as the stage failed or ran out of time.
        errors: The error of each query that the stage failed on, by qid.
    """

    frame: pd.DataFrame
    pairs: pd.Series[str]
    ms: float
    unscored: pd.DataFrame = field(default_factory=NO_PAIRS.copy)
    errors: Mapping[str, str] = field(default_factory=dict)


def rank_together(stage: Stage, given: pd.DataFrame, clock: Callable[[], float]) -> Output:
    """Run a stage on all queries at once."""
    pairs = [given["qid"].iloc[:0]]
    frame, ms = _run(stage, given, clock, pairs)
    return Output(frame, pd.concat(pairs), ms)


def rank_by_query(stage: Stage, given: pd.DataFrame, clock: Callable[[], float]) -> Output:
    """Run a stage on each query by itself; a query that fails keeps its order, as do documents without time, below the others."""
    done = [_rank_query(stage, query.reset_index(drop=True), clock) for _, query in given.groupby("qid", sort=False)]
    frame = pd.concat([one.frame for one in done], ignore_index=True)
    pairs, unscored = pd.concat([one.pairs for one in done]), pd.concat([one.unscored for one in done])
    errors = {qid: why for one in done for qid, why in one.errors.items()}
    return Output(frame, pairs, sum(one.ms for one in done), unscored, errors)


def _rank_query(stage: Stage, given: pd.DataFrame, clock: Callable[[], float]) -> Output:
    start, ready, pairs = clock(), given, [given["qid"].iloc[:0]]
    try:
        ready, _ = _run(stage, given, clock, pairs, last=stage.scorer)
        if stage.time_limit_ms is not None:
            return _rank_in_time(stage, ready, clock, pairs, start)
        frame, _ = _run(stage, ready, clock, pairs, first=stage.scorer)
    except QueryError as error:
        if stage.on_error == "raise":
            raise
        unscored, ms = given[["qid", "docno"]], 1000 * (clock() - start)
        return Output(_keep_order(given, ready), pd.concat(pairs), ms, unscored, {given["qid"].iloc[0]: str(error)})
    ms = 1000 * (clock() - start)
    return Output(canonical_results(frame, stage.name).assign(score=frame["score"]), pd.concat(pairs), ms)


def _rank_in_time(
    stage: Stage, ready: pd.DataFrame, clock: Callable[[], float], pairs: list[pd.Series[str]], start: float
) -> Output:
    """Score the rows in batches, the best first, until the time is over; the others follow below in their order."""
    place = _find_places(ready)
    size, frames, ms, order = getattr(stage.transformers[stage.scorer], "batch_size", None), [], 0.0, np.argsort(place)
    size = size if is_whole(size, least=1) else _BATCH
    for first in range(0, len(order), size):
        rows = ready.iloc[order[first : first + size]].reset_index(drop=True)
        frame, _ = _run(stage, rows, clock, pairs, first=stage.scorer)
        frames.append(frame.drop(columns="rank", errors="ignore"))
        ms = 1000 * (clock() - start)
        if ms >= (stage.time_limit_ms or 0):
            break
    asked, late = np.split(order, [len(frames) * size])
    ranked = canonical_results(pd.concat(frames, ignore_index=True), stage.name)
    check_documents(stage, ready.iloc[asked], ranked)
    both = pd.concat([ranked, ready.iloc[late].drop(columns=["score", "rank"], errors="ignore")], ignore_index=True)
    both = both.iloc[locate(ready, both)].reset_index(drop=True)
    score = score_below(np.zeros(len(both), np.int64), both["score"].to_numpy(np.float64), place)
    frame = both.assign(score=score, rank=ranks(ready["qid"], score))
    return Output(frame, pd.concat(pairs), ms, ready[["qid", "docno"]].iloc[late])


def _keep_order(given: pd.DataFrame, ready: pd.DataFrame) -> pd.DataFrame:
    """Return the ranking of a query as it was given, with the columns loaded since."""
    frame = ready if "docno" in ready and same_pairs(given, ready) else given
    place = _find_places(given)
    score = (given["score"] if "score" in given else pd.Series(-place)).to_numpy(np.float64)
    score = score if is_ranking(given["qid"], score, place.astype(np.float64)) else -place.astype(np.float64)
    return frame.iloc[locate(given, frame)].assign(score=score, rank=place)


def _find_places(query: pd.DataFrame) -> Ints:
    """Number the rows of a query from 0 in their order: by rank, else by score, else as they stand."""
    key = query["rank"] if "rank" in query else -query["score"] if "score" in query else pd.Series(range(len(query)))
    return np.argsort(np.argsort(key.to_numpy(np.float64), kind="stable")).astype(np.int64)


def _run(
    stage: Stage,
    given: pd.DataFrame,
    clock: Callable[[], float],
    pairs: list[pd.Series[str]],
    *,
    first: int = 0,
    last: int | None = None,
) -> tuple[pd.DataFrame, float]:
    """Run some transformers of a stage; append the qids of scored pairs; return the results and milliseconds without checks."""
    frame, ms = given, 0.0
    for n, part in [*enumerate(stage.transformers)][first:last]:
        if "docno" in frame and frame.empty:  # many transformers fail on an empty frame
            frame = _columns_of(stage, given.iloc[:0])
            break
        asked = frame
        if "docno" in asked and n == stage.scorer:
            _check_text(part, asked, stage.name)
        start = clock()
        frame = call(part, asked, stage.name)
        ms += 1000 * (clock() - start)
        if n == stage.scorer and is_lazy(part) and not {"docno", "score"} <= set(frame):
            problem = f"{part!r} was read as a scorer before it was loaded, but returns {', '.join(frame.columns)}"
            fix = "load it and read the pipeline again: lazy.load(); Cascade.of(pipeline)"
            raise StageError(f"stage {stage.name!r} does not rank", [problem], fix=fix)
        if "docno" in asked and n == stage.scorer:
            counted = count_rows(part, "count_pairs", asked, stage.name)
            pairs.append(asked["qid"] if counted is None else asked["qid"].repeat(counted.astype(np.int64).tolist()))
    return frame, ms


def count_rows(part: pt.Transformer, method: str, frame: pd.DataFrame, stage: str) -> Floats | None:
    """Return what a method of a transformer counts for each row, e.g. ``count_tokens``; None if it has no such method."""
    count = getattr(part, method, None)
    if not callable(count):
        return None
    counted = np.asarray(count(frame) if len(frame) else [], np.float64)
    if counted.shape != (len(frame),) or not (np.isfinite(counted) & (counted >= 0)).all():
        problem = (
            f"{method} of {part!r} gave shape {counted.shape}, expected a number from 0 for each of {count_of(len(frame), 'row')}"
        )
        raise StageError(f"the {method.removeprefix('count_')} of stage {stage!r} cannot be counted", [problem])
    return counted


def _columns_of(stage: Stage, given: pd.DataFrame) -> pd.DataFrame:
    """Return an empty frame with the columns that the stage would return."""
    columns = [*given.columns, *(name for name in ("score", "rank") if name not in given)]
    for part in stage.transformers:
        columns = pt.inspect.transformer_outputs(part, columns, strict=False) or columns
    nothing = given.reindex(columns=list(dict.fromkeys([*columns, "qid", "docno", "score", "rank"])))
    return nothing.astype({"score": np.float64, "rank": np.int64})


def call(part: pt.Transformer, frame: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Run one transformer on a copy of the frame; an error names the stage."""
    try:
        with naming(stage), explain_columns(stage, frame, part):
            out = part.transform(frame.copy())  # a transformer may change its input in place
    except CascadeError:
        raise
    except Exception as error:
        kind: type[StageError] = QueryError
        problem, fix = f"{show(part)} raised {type(error).__name__}: {first_line(error)}", ""
        if isinstance(error, pd.errors.IntCastingNaNError):
            kind = StageError  # what a stage returns is checked, whatever its options
            problem, fix = f"{show(part)} returned a score that is NaN or infinite", "give every row a finite score, e.g. 0.0"
        what = f"stage {stage!r} failed on {count_of(len(frame), 'row')}"
        raise kind(what, [problem + _find_row(error, frame)], fix=fix) from error
    if not isinstance(out, pd.DataFrame):
        raise StageError(f"stage {stage!r} failed", [f"{show(part)} returned {type(out).__name__}, expected a DataFrame"])
    return out


def _find_row(error: Exception, frame: pd.DataFrame) -> str:
    """Name the row that a function was given when it failed, or that has no score, else the first row; nothing runs again."""
    for at, _ in walk_tb(error.__traceback__):
        for name in at.f_code.co_varnames[: at.f_code.co_argcount]:
            value = at.f_locals.get(name)
            if (
                isinstance(error, pd.errors.IntCastingNaNError)
                and isinstance(value, pd.DataFrame)
                and {"qid", "score"} <= set(value)
            ):
                value = next((row for _, row in value[value["score"].isna()].iterrows()), None)
            if isinstance(value, pd.Series) and "qid" in value.index:
                return f"; it fails on {_name_row(value)}"
    return f"; the first row is {_name_row(frame.iloc[0])}" if len(frame) else ""


def _name_row(row: pd.Series) -> str:
    names = ["qid", "docno" if "docno" in row.index else "query"]
    return ", ".join(f"{name} {row[name]!r:.60}" for name in names if name in row.index)


def check_documents(stage: Stage, given: pd.DataFrame, ranked: pd.DataFrame) -> None:
    """Refuse other queries, and other documents where the stage re-ranks."""
    if unknown := sorted(set(ranked["qid"].unique()) - set(given["qid"].unique())):
        problem = f"{count_of(len(unknown), 'qid')}, e.g. {unknown[0]}"
        raise StageError(f"stage {stage.name!r} returned queries that are not in its input", [problem])
    if stage.documents == "reranks" and (problems := list_changes(given, ranked)):
        fix = f"if this is intended: Cascade.of(pipeline).with_stage({stage.name!r}, documents='any')"
        raise StageError(f"stage {stage.name!r} did not return the documents of its input", problems, fix=fix)


def list_changes(given: pd.DataFrame, ranked: pd.DataFrame) -> list[str]:
    """Describe the documents that a stage removed from its input, and those that it added."""
    if same_pairs(given, ranked):
        return []
    changes = (("removed", given, locate(given, ranked) < 0), ("added", ranked, locate(ranked, given) < 0))
    return [f"documents {what}{show_rows(frame, other)}" for what, frame, other in changes if other.any()]


def _check_text(scorer: pt.Transformer, frame: pd.DataFrame, stage: str) -> None:
    """Refuse a missing text if the scorer reads texts; warn of an empty text, and if the scorer may read a missing one."""
    texts = frame.get(_TEXT)
    if texts is None or not (bare := texts.isna().to_numpy(bool) | (texts.to_numpy(object) == "")).any():
        return
    wants = None if is_lazy(scorer) else pt.inspect.transformer_inputs(scorer, strict=False)
    reads = any(_TEXT in wanted for wanted in wants or ())
    if reads:
        check_text(frame, _TEXT, stage)
    if reads or not (hasattr(scorer, "needs") or look_up(scorer).role == "scorer"):  # e.g. a function may read any column
        docno = frame["docno"].to_numpy(object)[bare]
        found = count_of(len(set(docno)), "document")
        warn(f"stage {stage!r} ranks {found} without a text, or with an empty one, e.g. docno {docno[0]}")
