"""A cascade run one stage at a time over one frame, with a guard at every boundary."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.known import look_up
from pt_cascade.cascade.stand_ins import is_lazy
from pt_cascade.errors import CascadeError, CascadeWarning, StageError, naming
from pt_cascade.frames import canonical_input, canonical_results, check_text
from pt_cascade.ranking import same_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pt_cascade.cascade.stage import Stage

_TEXT = "text"


@dataclass(frozen=True)
class Step:
    """What one stage made of one frame.

    Attributes:
        stage: The stage.
        given: Frame[qid, query, ...] or Frame[qid, docno, ...]: what went in.
        ranked: Frame[qid, docno, score, rank, ...]: everything it ranked.
        kept: The rows of ``ranked`` whose rank is below the stage's cut-off.
        pairs: Shape (number of rows given to the scorer,): the qid of each (query, document) pair that a model scored; empty for
            a retriever.
        ms: Milliseconds that the stage's own transformers and its cut-off took, guards not counted.
    """

    stage: Stage
    given: pd.DataFrame
    ranked: pd.DataFrame
    kept: pd.DataFrame
    pairs: pd.Series[str]
    ms: float


def walk(stages: Iterable[Stage], frame: pd.DataFrame, *, clock: Callable[[], float] = time.perf_counter) -> Iterator[Step]:
    """Run the stages one after the other, and show each one's work.

    No transformer of a stage is called on no documents: there is nothing to rank.

    Args:
        stages: In order.
        frame: Frame[qid, query] of topics, or Frame[qid, query, docno, ...] of results to re-rank.
        clock: Seconds, for ``Step.ms``.

    Yields:
        One Step a stage. ``step.kept`` is what the plain pipeline would hand on.

    Raises:
        FrameError: The frame, or what a stage returned, is not what it should be.
        StageError: A stage failed, invented or lost a query or a document, or lacked a column.

    Example:
        >>> from pt_cascade import Cascade
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> [(len(step.ranked), len(step.kept)) for step in walk(Cascade.of(pt.Transformer.from_df(found) % 1), topics)]
        [(2, 1)]
    """
    given = canonical_input(frame)
    for stage in stages:
        step = _take(stage, given, clock)
        yield step
        given = step.kept


def _columns_of(stage: Stage, given: pd.DataFrame) -> pd.DataFrame:
    """Give no row its stage's columns, as the plain pipeline would."""
    columns = [*given.columns, *(name for name in ("score", "rank") if name not in given)]
    for part in stage.transformers:
        columns = pt.inspect.transformer_outputs(part, columns, strict=False) or columns
    nothing = given.reindex(columns=list(dict.fromkeys([*columns, "qid", "docno", "score", "rank"])))
    return nothing.astype({"score": np.float64, "rank": np.int64})


def _take(stage: Stage, given: pd.DataFrame, clock: Callable[[], float]) -> Step:
    """Run one stage: its parts, the guards, the cut."""
    frame, ms = given, 0.0
    pairs = given["qid"].iloc[:0]
    for n, part in enumerate(stage.transformers):
        if "docno" in frame and frame.empty:  # many transformers fail on no rows
            frame = _columns_of(stage, given.iloc[:0])
            break
        if "docno" in frame and n == stage.scorer % len(stage.transformers):
            _check_text(part, frame, stage.name)
            pairs = frame["qid"]
        start = clock()
        frame = call(part, frame, stage.name)
        ms += 1000 * (clock() - start)
        if n == stage.scorer % len(stage.transformers) and is_lazy(part) and not {"docno", "score"} <= set(frame):
            problem = f"{part!r} was taken for a scorer before it was loaded, but returns {', '.join(frame.columns)}"
            fix = "load it, and read the pipeline again: lazy.load(); Cascade.of(pipeline)"
            raise StageError(f"stage {stage.name!r} does not rank", [problem], fix=fix)
    ranked = canonical_results(frame, stage.name)
    _check_documents(stage, given, ranked)
    if len(frame):  # its scores go on as they are, so that what is computed from them is what the plain pipeline computes
        ranked = ranked.assign(score=frame["score"])
    start = clock() if len(ranked) else 0.0
    kept = ranked if stage.cutoff is None else pt.RankCutoff(stage.cutoff).transform(ranked)
    ms += 1000 * (clock() - start) if len(ranked) else 0.0
    return Step(stage, given, ranked, kept, pairs, ms)


def call(part: pt.Transformer, frame: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Run one transformer; put the name of its stage into every error.

    Args:
        part: What to run.
        frame: What it is given.
        stage: The name of its stage, for the error.

    Returns:
        Its answer.

    Raises:
        StageError: It failed, lacked a column, or returned no frame.
    """
    try:
        with naming(stage):
            out = part.transform(frame.copy())  # which nobody can sort or change under our hands
    except CascadeError:
        raise
    except pt.validate.InputValidationError as error:
        wanted = " or ".join(", ".join(mode.missing_columns) or "nothing" for mode in error.modes)
        problem = f"{part!r} misses column(s) {wanted}; it was given {', '.join(frame.columns)}"
        fix = "put what adds them before it, e.g. pt.text.get_text(index)"
        raise StageError(f"stage {stage!r} cannot run", [problem], fix=fix) from error
    except Exception as error:
        problem = f"{part!r} raised {type(error).__name__}: {error}"
        fix = "mend the scorer: it gave NaN or infinite scores" if isinstance(error, pd.errors.IntCastingNaNError) else ""
        raise StageError(f"stage {stage!r} failed on {len(frame)} row(s)", [problem], fix=fix) from error
    if not isinstance(out, pd.DataFrame):
        raise StageError(f"stage {stage!r} failed", [f"{part!r} returned {type(out).__name__}, expected a DataFrame"])
    return out


def _check_documents(stage: Stage, given: pd.DataFrame, ranked: pd.DataFrame) -> None:
    """Hold the stage to its promise about queries and documents."""
    if strangers := sorted(set(ranked["qid"].unique()) - set(given["qid"].unique())):
        problem = f"it returned {len(strangers)} qid(s) that it was not given, e.g. {strangers[0]}"
        raise StageError(f"stage {stage.name!r} invented queries", [problem])
    if stage.documents != "reranks" or same_pairs(given, ranked):
        return
    before = pd.MultiIndex.from_frame(given[["qid", "docno"]])
    after = pd.MultiIndex.from_frame(ranked[["qid", "docno"]])
    problems = [
        f"{len(pairs)} document(s) {what}, first qid {pairs[0][0]}, docno {pairs[0][1]}"
        for what, pairs in (("lost", before.difference(after)), ("invented", after.difference(before)))
        if len(pairs)
    ]
    fix = f"if that is what it is for: Cascade.of(pipeline).with_stage({stage.name!r}, documents='any')"
    raise StageError(f"stage {stage.name!r} did not return the documents it was given", problems, fix=fix)


def _check_text(scorer: pt.Transformer, frame: pd.DataFrame, stage: str) -> None:
    """Refuse a missing text where the scorer reads it; warn of an empty one, and of a missing one where it may read it."""
    texts = frame.get(_TEXT)
    if texts is None or not (bare := texts.isna().to_numpy(bool) | (texts.to_numpy(object) == "")).any():
        return
    wants = None if is_lazy(scorer) else pt.inspect.transformer_inputs(scorer, strict=False)
    reads = any(_TEXT in wanted for wanted in wants or ())
    if reads:
        check_text(frame, _TEXT, stage)
    if reads or not (hasattr(scorer, "needs") or look_up(scorer).role == "scorer"):  # a function, say, may read any column
        docno = frame["docno"].to_numpy(object)[bare]
        message = f"stage {stage!r} ranks {len(set(docno))} document(s) without a text, or with an empty one, e.g. docno {docno[0]}"
        warnings.warn(message, CascadeWarning, stacklevel=2)
