"""Checks batch invariance: a few pairs are scored again among other rows, and their scores must not change.

A replay uses scores among other candidates than those they were computed with. The check runs the stage itself, not its cache: 32
pairs of each of 3 queries, once a stage; a retriever runs 3 queries again together, and one of them alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.cascade import walk
from pt_cascade.cascade.wrappers import remove_caches
from pt_cascade.errors import PipelineError, StageError, TableError
from pt_cascade.execution.scoring.rows import drop_failed, rerank
from pt_cascade.files import rm_command
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path as Folder

    from pt_cascade.analysis.table.data import Path
    from pt_cascade.cascade import Step
    from pt_cascade.execution.scoring.chunk import ChunkScores
    from pt_cascade.execution.scoring.plan import Plan
    from pt_cascade.ranking import Floats, Ints

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


class ScoreDrift(NamedTuple):
    """The largest change of a stage's scores: the pair, its scores before and after, and how many of how many pairs changed."""

    stage: str
    pair: tuple[str, str]
    before: float
    after: float
    moved: int
    pairs: int

    def __str__(self) -> str:
        qid, docno = self.pair
        return (
            f"qid {qid!r}, docno {docno!r} scored {self.before!r}, then {self.after!r}; "
            f"{self.moved} of {self.pairs} pair(s) changed, by up to {abs(self.before - self.after):.3g}"
        )


def check_batch_invariance(step: Step, tolerance: float) -> bool:
    """Score a sample of pairs again among other rows, and refuse a stage whose scores change; False if there are too few pairs."""
    whole = "docno" not in step.given or step.stage.depends in ("pairwise", "listwise")
    stage, tested = replace(remove_caches(step.stage, load=True), cutoff=None), False
    for frame in _whole_queries(step.given) if whole else _mixed_pairs(step.given):
        tested = True
        again = next(walk((stage,), frame))
        before, after = drop_failed(step), drop_failed(again)
        drift = _compare(stage.name, before, after, tolerance)
        if drift := drift or (_compare_lists(step, again.ranked, tolerance) if whole else None):
            fix = "retrieve each query by itself" if "docno" not in step.given else _FIX.format(stage.name)
            what = f"stage {stage.name!r} scores the same pair differently among other rows"
            raise StageError(what, [f"{drift}; the tolerance is {tolerance:g}"], fix=fix)
    return tested


def check_resumed(
    plan: Plan, chunks: Sequence[pd.DataFrame], finished: Mapping[int, ChunkScores], folder: Folder, tolerance: float
) -> list[Path]:
    """Score a few pairs of a checkpoint again, because fingerprints are incomplete; return the paths without such pairs."""
    untested = []
    for path in plan.paths:
        samples = ((number, pick_sample(path, scores)) for number, scores in finished.items())
        number, sample = next(((number, sample) for number, sample in samples if len(sample)), (-1, None))
        if sample is None:
            untested.append(path)
        elif drift := rescore(plan, path, chunks[number], sample, tolerance):
            what = f"stage {drift.stage!r} has changed since the finished batches in {folder} were scored"
            raise TableError(what, [str(drift)], fix=f"{rm_command(folder)}, and score again")
    return untested


def check_shared(plan: Plan, paths: Iterable[Path], topics: pd.DataFrame, scores: ChunkScores, tolerance: float) -> list[Path]:
    """Refuse to share the scores of a stage that depend on the stages before it; return the paths not tested yet."""
    untested = []
    for path in paths:
        sample = pick_sample(path, scores)
        if not len(sample):
            untested.append(path)
        elif drift := rescore(plan, path, topics, sample, tolerance):
            what = f"stage {drift.stage!r} scores the same pair differently after other stages"
            fix = "make one table for each: [score(cascade, topics) for cascade in cascades]"
            raise PipelineError(what, [f"on the path {' → '.join(path.stages)}: {drift}"], fix=fix)
    return untested


def pick_sample(path: Path, scores: ChunkScores) -> pd.DataFrame:
    """Choose a few documents of up to 2 queries that every stage of a path has scored; perhaps none."""
    names = list(path.stages)
    done = scores.frame[np.isfinite(scores.frame[names].to_numpy(np.float64)).all(axis=1)]
    sample: pd.DataFrame = (
        done[done["qid"].isin(done["qid"].unique()[:SAMPLE_QUERIES])].groupby("qid", sort=False).head(SAMPLE_PAIRS)
    )
    return sample


def rescore(plan: Plan, path: Path, topics: pd.DataFrame, sample: pd.DataFrame, tolerance: float) -> ScoreDrift | None:
    """Score a sample again along a path; return the drift of the first stage whose scores changed."""
    given = topics[topics["qid"].isin(sample["qid"])]
    for name in path.stages:
        step = next(walk((replace(remove_caches(plan.stage(name), load=True), cutoff=None),), given))
        expected = sample.rename(columns={"rank": "_", name: "score"})
        if drift := _compare(name, expected, drop_failed(step), tolerance) or _find_missing(name, sample, step.ranked):
            return drift
        given = rerank(step.ranked[locate(step.ranked, sample) >= 0])
    return None


def _mixed_pairs(given: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield half of some queries' rows reversed and mixed, then the other half query by query."""
    query = pd.factorize(given["qid"])[0]
    chosen = [subsample(np.flatnonzero(query == n), PAIRS) for n in subsample(np.arange(query.max(initial=-1) + 1), QUERIES)]
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
    chosen = subsample(np.arange(query.max(initial=-1) + 1), QUERIES)
    if query.max(initial=-1) < 1:
        return
    yield pd.concat([given[query == n] for n in chosen[::-1]], ignore_index=True)
    yield given[query == chosen[0]].reset_index(drop=True)


def subsample(numbers: Ints, most: int) -> Ints:
    """Choose up to ``most`` evenly spaced numbers, the first and last included."""
    at = np.linspace(0, max(len(numbers) - 1, 0), min(most, len(numbers)))
    return numbers[np.unique(at.round().astype(np.int64))]


def _compare(stage: str, before: pd.DataFrame, after: pd.DataFrame, tolerance: float) -> ScoreDrift | None:
    """Compare the scores of the pairs in both frames."""
    place = locate(after, before)
    common = after[place >= 0]
    old, new = before["score"].to_numpy(np.float64)[place[place >= 0]], common["score"].to_numpy(np.float64)
    return _find_drift(stage, common, old, new, tolerance)


def _compare_lists(step: Step, again: pd.DataFrame, tolerance: float) -> ScoreDrift | None:
    """Compare whole rankings by rank, as a retriever may exchange documents of equal scores."""
    columns = ["qid", "rank", "docno", "score"]
    old, new = step.ranked.loc[step.ranked["qid"].isin(again["qid"]), columns], again[columns]
    both = old.merge(new, on=["qid", "rank"], how="outer", suffixes=("_old", "_new"))
    both["docno"] = both["docno_old"].fillna(both["docno_new"])
    old_score, new_score = both["score_old"].to_numpy(np.float64), both["score_new"].to_numpy(np.float64)
    return _find_drift(step.stage.name, both, old_score, new_score, tolerance)


def _find_missing(stage: str, sample: pd.DataFrame, ranked: pd.DataFrame) -> ScoreDrift | None:
    """Find documents that are no longer returned."""
    gone = sample[locate(sample, ranked) < 0]
    return (
        ScoreDrift(stage, _pair(gone, 0), float(gone[stage].iloc[0]), float("nan"), len(gone), len(sample)) if len(gone) else None
    )


def _find_drift(stage: str, pairs: pd.DataFrame, old: Floats, new: Floats, tolerance: float) -> ScoreDrift | None:
    with np.errstate(invalid="ignore"):
        beyond = ~(np.abs(old - new) <= tolerance * np.maximum(1, np.abs(old)))  # NaN: only in one of them
    if not beyond.any():
        return None
    row = int(np.argmax(np.where(beyond, np.nan_to_num(np.abs(old - new), nan=np.inf), -1)))
    return ScoreDrift(stage, _pair(pairs, row), float(old[row]), float(new[row]), int(beyond.sum()), len(pairs))


def _pair(frame: pd.DataFrame, row: int) -> tuple[str, str]:
    return str(frame["qid"].iloc[row]), str(frame["docno"].iloc[row])
