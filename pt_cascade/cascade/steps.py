"""Runs the stages of a cascade one after the other over one frame, and checks what each returns."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.columns import explain_columns
from pt_cascade.cascade.fusing import fuse_last
from pt_cascade.cascade.known import look_up, show
from pt_cascade.cascade.wrappers import is_lazy
from pt_cascade.errors import CascadeError, StageError, first_line, naming, warn
from pt_cascade.frames import canonical_input, canonical_results, check_text
from pt_cascade.guards import show_rows
from pt_cascade.progress import show_step
from pt_cascade.ranking import locate, same_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from numpy.typing import NDArray

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.cascade.stage import Stage
    from pt_cascade.ranking import Floats

    Fuse: TypeAlias = Callable[[pd.DataFrame], pd.DataFrame]

_TEXT = "text"


@dataclass(frozen=True)
class Step:
    """One run of one stage.

    Attributes:
        stage: The stage.
        given: Its input, Frame[qid, query, ...] or Frame[qid, docno, ...].
        ranked: Its output before the cut-off, Frame[qid, docno, score, rank, ...]; the fused one where ``fusion`` is.
        kept: The rows of ``ranked`` that pass the cut-off.
        pairs: Shape (pairs,): the qid of each pair that the scorer scores, one for each row, or as many as its method
            ``count_pairs(frame)`` says; empty for a retriever.
        ms: Milliseconds that its transformers, the fusion and the cut-off took, without the checks.
        fusion: The fusion of the stages; None but for the last stage of a cascade that has one.
    """

    stage: Stage
    given: pd.DataFrame
    ranked: pd.DataFrame
    kept: pd.DataFrame
    pairs: pd.Series[str]
    ms: float
    fusion: StageFusion | None = None

    def trace(self, qids: pd.Index[str]) -> dict[str, NDArray[np.generic]]:
        """Return the counts and the time of each query, as columns of one entry a query."""

        def count(qid: pd.Series[str]) -> NDArray[np.int64]:
            return np.bincount(qids.get_indexer(pd.Index(qid, dtype=object)), minlength=len(qids))

        return {
            "stage": np.full(len(qids), self.stage.name, dtype=object),
            "qid": qids.to_numpy(),
            "docs_in": count(self.given["qid"]) if "docno" in self.given else np.zeros(len(qids), np.int64),
            "docs_ranked": count(self.ranked["qid"]),
            "docs_out": count(self.kept["qid"]),
            "pairs": count(self.pairs),
            "ms": np.full(len(qids), self.ms / max(len(qids), 1)),
            "shared_by": np.full(len(qids), len(qids)),
        }


def walk(
    stages: Iterable[Stage],
    frame: pd.DataFrame,
    *,
    fusion: StageFusion | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Step]:
    """Yield one Step for each stage, the last one with the fusion; a transformer is not called for an empty frame."""
    stages, given = tuple(stages), canonical_input(frame)
    before: dict[str, pd.DataFrame] = {}
    for n, stage in enumerate(stages):
        fuse = partial(fuse_last, fusion, stage.name, before) if fusion is not None and n == len(stages) - 1 else None
        step = _take(stage, given, clock, fuse)
        yield step if fuse is None else replace(step, fusion=fusion)
        given = step.kept
        if fusion is not None:
            before[stage.name] = given


def _columns_of(stage: Stage, given: pd.DataFrame) -> pd.DataFrame:
    """Return an empty frame with the columns that the stage would return."""
    columns = [*given.columns, *(name for name in ("score", "rank") if name not in given)]
    for part in stage.transformers:
        columns = pt.inspect.transformer_outputs(part, columns, strict=False) or columns
    nothing = given.reindex(columns=list(dict.fromkeys([*columns, "qid", "docno", "score", "rank"])))
    return nothing.astype({"score": np.float64, "rank": np.int64})


def _take(stage: Stage, given: pd.DataFrame, clock: Callable[[], float], fuse: Fuse | None) -> Step:
    """Run one stage: its transformers, the checks, the fusion, the cut-off."""
    show_step(stage.name)
    frame, ms, scored = given, 0.0, given.iloc[:0]
    scorer = stage.scorer % len(stage.transformers)
    for n, part in enumerate(stage.transformers):
        if "docno" in frame and frame.empty:  # many transformers fail on an empty frame
            frame = _columns_of(stage, given.iloc[:0])
            break
        if "docno" in frame and n == scorer:
            _check_text(part, frame, stage.name)
            scored = frame
        start = clock()
        frame = call(part, frame, stage.name)
        ms += 1000 * (clock() - start)
        if n == scorer and is_lazy(part) and not {"docno", "score"} <= set(frame):
            problem = f"{part!r} was read as a scorer before it was loaded, but returns {', '.join(frame.columns)}"
            fix = "load it and read the pipeline again: lazy.load(); Cascade.of(pipeline)"
            raise StageError(f"stage {stage.name!r} does not rank", [problem], fix=fix)
    ranked = canonical_results(frame, stage.name)
    _check_documents(stage, given, ranked)
    counted = count_rows(stage.transformers[scorer], "count_pairs", scored, stage.name)
    pairs = scored["qid"] if counted is None else scored["qid"].repeat(counted.astype(np.int64).tolist())
    if frame.empty:
        return Step(stage, given, ranked, ranked, pairs, ms)
    ranked = ranked.assign(score=frame["score"])  # with its dtype, as in the plain pipeline
    start = clock()
    ranked = ranked if fuse is None else fuse(ranked)
    kept = ranked if stage.cut is None else stage.cut.transform(ranked)
    ms += 1000 * (clock() - start)
    return Step(stage, given, ranked, kept, pairs, ms)


def count_rows(part: pt.Transformer, method: str, frame: pd.DataFrame, stage: str) -> Floats | None:
    """Return what a method of a transformer counts for each row, e.g. ``count_tokens``; None if it has no such method."""
    count = getattr(part, method, None)
    if not callable(count):
        return None
    counted = np.asarray(count(frame) if len(frame) else [], np.float64)
    if counted.shape != (len(frame),) or not (np.isfinite(counted) & (counted >= 0)).all():
        problem = f"{method} of {part!r} gave shape {counted.shape}, expected a number from 0 for each of {len(frame)} row(s)"
        raise StageError(f"the {method.removeprefix('count_')} of stage {stage!r} cannot be counted", [problem])
    return counted


def call(part: pt.Transformer, frame: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Run one transformer on a copy of the frame; an error names the stage."""
    try:
        with naming(stage), explain_columns(stage, frame, f"{show(part):.60}"):
            out = part.transform(frame.copy())  # a transformer may change its input in place
    except CascadeError:
        raise
    except Exception as error:
        problem, fix = f"{show(part)} raised {type(error).__name__}: {first_line(error)}", ""
        if isinstance(error, pd.errors.IntCastingNaNError):
            problem, fix = f"{show(part)} returned a score that is NaN or infinite", "give every row a finite score, e.g. 0.0"
        what = f"stage {stage!r} failed on {len(frame)} row(s)"
        raise StageError(what, [problem + _find_row(error, frame)], fix=fix) from error
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


def run_ending(ending: Iterable[pt.Transformer], results: pd.DataFrame) -> pd.DataFrame:
    """Run what follows the last stage."""
    for part in ending:
        results = call(part, results, "the ending")
    return results


def _check_documents(stage: Stage, given: pd.DataFrame, ranked: pd.DataFrame) -> None:
    """Refuse other queries, and other documents where the stage re-ranks."""
    if unknown := sorted(set(ranked["qid"].unique()) - set(given["qid"].unique())):
        problem = f"{len(unknown)} qid(s), e.g. {unknown[0]}"
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
        message = f"stage {stage!r} ranks {len(set(docno))} document(s) without a text, or with an empty one, e.g. docno {docno[0]}"
        warn(message)
