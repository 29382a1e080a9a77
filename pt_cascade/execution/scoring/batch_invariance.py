"""Checks batch invariance: a few pairs are scored again among other rows, and their scores must not change.

A replay uses scores among other candidates than those they were computed with. The check runs the stage itself, not its cache: 32
pairs of each of 3 queries, once a stage; a retriever runs 3 queries again together, and one of them alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from pt_cascade.cascade.steps import run_stage
from pt_cascade.cascade.wrappers import remove_caches
from pt_cascade.errors import PipelineError, QueryError, StageError, TableError
from pt_cascade.execution.scoring.chunk import rerank
from pt_cascade.files import rm_command
from pt_cascade.numbers import count_of
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path as Folder

    from pt_cascade.analysis.table.data import Path
    from pt_cascade.cascade import Step
    from pt_cascade.execution.scoring.chunk import ChunkScores
    from pt_cascade.execution.scoring.plan import Plan
    from pt_cascade.ranking import Ints

QUERIES = 3
PAIRS = 32
SAMPLE_QUERIES = 2
SAMPLE_PAIRS = 4
_FIX = (
    "if its scores come from a cache that another model may have filled: a cache at another path; "
    "if it scores the whole list, declare it and run it last: cascade.with_stage({!r}, depends='listwise'); "
    "if it pads batches as pyterrier_t5 does: ptc.stages.mono_t5(model), or batch_size=1; "
    "if it compares documents as pyterrier_t5's DuoT5 does: ptc.stages.duo_t5(model); "
    "if it computes in bf16, which rounds: score(..., tolerance=0.05)"
)


def check_batch_invariance(step: Step, tolerance: float) -> bool:
    """Score a sample of pairs again among other rows, and refuse a stage whose scores change; False if there are too few pairs."""
    whole = "docno" not in step.given or step.stage.depends in ("pairwise", "listwise")
    stage, tested = replace(remove_caches(step.stage, load=True), cutoff=None), False
    for frame in _whole_queries(step.given) if whole else _mixed_pairs(step.given):
        try:
            again = run_stage(stage, frame)
        except QueryError:
            if step.stage.on_error == "raise":
                raise
            continue  # another batch of queries shows it
        tested = True
        first, second = (one.ranked[~one.failed] for one in (step, again))
        drift = _find_drift(first, second, tolerance)
        if whole and not drift:  # by rank, as a retriever may exchange documents of equal scores
            before = step.ranked[step.ranked["qid"].isin(again.ranked["qid"])]
            drift = _find_drift(before, again.ranked, tolerance, on="rank", how="outer")
        if drift:
            fix = "retrieve each query by itself" if "docno" not in step.given else _FIX.format(stage.name)
            what = f"stage {stage.name!r} scores the same pair differently among other rows"
            raise StageError(what, [f"{drift}; the tolerance is {tolerance:g}"], fix=fix)
    return tested


def check_paths(
    plan: Plan,
    paths: Iterable[Path],
    batches: Collection[tuple[pd.DataFrame, ChunkScores]],
    tolerance: float,
    checkpoint: Folder | None = None,
) -> list[Path]:
    """Score a few pairs of each path again, in a batch with a pair that all its stages scored; return the paths without such pairs.

    Fingerprints are incomplete, so the stages of a checkpoint may have changed; the scores of a shared stage may depend on the
    stages before it.
    """
    untested = []
    for path in paths:
        samples = ((topics, sample) for topics, scores in batches if len(sample := _pick_sample(path, scores)))
        if (found := next(samples, None)) is None:
            untested.append(path)
            continue
        try:
            name, drift = _rescore(plan, path, *found, tolerance)
        except QueryError:
            if all(plan.stages[name].on_error == "raise" for name in path.stages):
                raise
            untested.append(path)
            continue
        if drift and checkpoint is not None:
            what = f"stage {name!r} has changed since the finished batches in {checkpoint} were scored"
            raise TableError(what, [drift], fix=f"{rm_command(checkpoint)}, and score again")
        if drift:
            what = f"stage {name!r} scores the same pair differently after other stages"
            fix = "make one table for each: [score(cascade, topics) for cascade in cascades]"
            raise PipelineError(what, [f"on the path {' → '.join(path.stages)}: {drift}"], fix=fix)
    return untested


def _pick_sample(path: Path, scores: ChunkScores) -> pd.DataFrame:
    """Choose a few documents of up to 2 queries that every stage of a path has scored; perhaps none."""
    done = scores.frame[np.isfinite(scores.frame[[*path.stages]].to_numpy(np.float64)).all(axis=1)]
    few: pd.DataFrame = done[done["qid"].isin(done["qid"].unique()[:SAMPLE_QUERIES])].groupby("qid", sort=False).head(SAMPLE_PAIRS)
    return few


def _rescore(plan: Plan, path: Path, topics: pd.DataFrame, sample: pd.DataFrame, tolerance: float) -> tuple[str, str]:
    """Score a sample again along a path; return the first stage whose scores changed, and how."""
    given = topics[topics["qid"].isin(sample["qid"])]
    for name in path.stages:
        step = run_stage(remove_caches(plan.stages[name], load=True), given)
        kept = sample[locate(sample, step.ranked[step.failed]) < 0]
        before = kept.drop(columns="rank").rename(columns={name: "score"})
        if drift := _find_drift(before, step.ranked, tolerance, how="left"):
            return name, drift
        given = rerank(step.ranked[locate(step.ranked, sample) >= 0])
    return "", ""


def _mixed_pairs(given: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield half of some queries' rows reversed and mixed, then the other half query by query."""
    query = pd.factorize(given["qid"])[0]
    chosen = [_spread(np.flatnonzero(query == n), PAIRS) for n in _spread(np.arange(query.max(initial=-1) + 1), QUERIES)]
    if sum(map(len, chosen)) < 2:  # noqa: PLR2004 - one pair alone shows nothing
        return
    turn = np.concatenate([np.arange(len(rows))[::2] for rows in chosen])
    halves = np.concatenate([rows[::2] for rows in chosen])[np.argsort(turn, kind="stable")[::-1]]
    yield rerank(given.iloc[halves])
    for rows in chosen:
        if len(rows) > 1:
            yield rerank(given.iloc[rows[1::2]])


def _whole_queries(given: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield some queries in reverse, then the first of them alone."""
    query = pd.factorize(given["qid"])[0]
    if query.max(initial=-1) < 1:
        return
    chosen = _spread(np.arange(query.max() + 1), QUERIES)
    yield pd.concat([given[query == n] for n in chosen[::-1]], ignore_index=True)
    yield given[query == chosen[0]].reset_index(drop=True)


def _spread(numbers: Ints, most: int) -> Ints:
    """Choose up to ``most`` evenly spaced numbers, the first and last included."""
    at = np.linspace(0, max(len(numbers) - 1, 0), min(most, len(numbers)))
    return numbers[np.unique(at.round().astype(np.int64))]


def _find_drift(
    before: pd.DataFrame,
    after: pd.DataFrame,
    tolerance: float,
    *,
    on: Literal["docno", "rank"] = "docno",
    how: Literal["inner", "left", "outer"] = "inner",
) -> str:
    """Compare the scores of the rows of each query with the same docno or rank; NaN in only one of the frames is a change."""
    columns = ["qid", "score", *dict.fromkeys([on, "docno"])]
    both = before[columns].merge(after[columns], on=["qid", on], how=how, suffixes=("", "_after"))
    old, new = both["score"].to_numpy(np.float64), both["score_after"].to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        changed = ~(np.abs(old - new) <= tolerance * np.maximum(1, np.abs(old)))
    if not changed.any():
        return ""
    row = int(np.argmax(np.where(changed, np.nan_to_num(np.abs(old - new), nan=np.inf), -1)))
    pair = f"qid {both['qid'].iloc[row]!r}, docno {both['docno'].fillna(both.get('docno_after', '')).iloc[row]!r}"
    scores = f"scored {float(old[row])!r}, then {float(new[row])!r}"
    return f"{pair} {scores}; {changed.sum()} of {count_of(len(both), 'pair')} changed, by up to {abs(old[row] - new[row]):.3g}"
