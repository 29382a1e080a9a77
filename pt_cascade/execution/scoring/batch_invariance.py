"""Does a score depend on the other rows of its frame? A few pairs are scored again among others, and must not move.

A table replays scores among other candidates than they were made with, so a stage that fails would make every replay wrong. The
stage itself is asked, never a cache of its scores: up to 3 queries, up to 32 pairs each, once a stage; a retriever is asked up to 3
queries once more, and one of them alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.cascade import walk
from pt_cascade.cascade.stand_ins import live
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
    "if its scores come from a cache, which another model may have filled: a cache at another path; "
    "if it judges the list as a whole, say so and let it stand last: cascade.with_stage({!r}, depends='listwise'); "
    "if it pads batches as pyterrier_t5 does: ptc.stages.mono_t5(model), or batch_size=1; "
    "if it compares documents as pyterrier_t5's DuoT5 does: ptc.stages.duo_t5(model); "
    "if it computes in bf16, so that scores move a little: score(..., tolerance=0.05)"
)


class ScoreDrift(NamedTuple):
    """How scores moved: the pair that moved most, and how many did.

    Attributes:
        stage: The stage's name.
        pair: The qid and docno.
        before: Its score.
        after: Its score when it was asked again.
        moved: How many moved beyond the tolerance.
        pairs: How many were asked again.
    """

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
            f"{self.moved} of {self.pairs} pair(s) scored again moved, by up to {abs(self.before - self.after):.3g}"
        )


def check_batch_invariance(step: Step, tolerance: float) -> bool:
    """Score some of a step's pairs again among other rows and in another order, and refuse a stage whose scores move.

    A retriever, and a first stage that depends on whole lists, is asked whole queries again: nothing cuts its input.

    Args:
        step: What the stage made of a chunk.
        tolerance: How far a score a may move: tolerance * max(1, abs(a)).

    Returns:
        Whether there was enough to tell: more than one pair, or query.

    Raises:
        StageError: A score moved; the pair, both scores and the largest difference are named.
    """
    whole = "docno" not in step.given or step.stage.depends in ("pairwise", "listwise")
    stage, tested = replace(live(step.stage, load=True), cutoff=None), False
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
    """Score a few pairs of finished chunks again, as a fingerprint does not see everything; return the paths without such pairs.

    Raises:
        TableError: A stage gives other scores than those that were kept.
    """
    untested = []
    for path in plan.paths:
        samples = ((number, pick_sample(path, scores)) for number, scores in finished.items())
        number, sample = next(((number, sample) for number, sample in samples if len(sample)), (-1, None))
        if sample is None:
            untested.append(path)
        elif drift := rescore(plan, path, chunks[number], sample, tolerance):
            what = f"stage {drift.stage!r} is not what it was when the finished chunks in {folder} were scored"
            raise TableError(what, [str(drift)], fix=f"{rm_command(folder)}, and score again")
    return untested


def check_shared(plan: Plan, paths: Iterable[Path], topics: pd.DataFrame, scores: ChunkScores, tolerance: float) -> list[Path]:
    """Refuse to share the scores of a stage that scores by what the stages before it said; return the paths not tested yet.

    Raises:
        PipelineError: A stage gives a pair another score after other stages.
    """
    untested = []
    for path in paths:
        sample = pick_sample(path, scores)
        if not len(sample):
            untested.append(path)
        elif drift := rescore(plan, path, topics, sample, tolerance):
            what = f"stage {drift.stage!r} scores the same pair differently after other stages"
            fix = "one table each: [score(cascade, topics) for cascade in cascades]"
            raise PipelineError(what, [f"on the path {' → '.join(path.stages)}: {drift}"], fix=fix)
    return untested


def pick_sample(path: Path, scores: ChunkScores) -> pd.DataFrame:
    """Choose a few documents of up to 2 queries that every stage of a path has scored.

    Args:
        path: The stages.
        scores: Of a chunk.

    Returns:
        Rows of the frame of scores; none, where there is no such document.
    """
    names = list(path.stages)
    done = scores.frame[np.isfinite(scores.frame[names].to_numpy(np.float64)).all(axis=1)]
    sample: pd.DataFrame = (
        done[done["qid"].isin(done["qid"].unique()[:SAMPLE_QUERIES])].groupby("qid", sort=False).head(SAMPLE_PAIRS)
    )
    return sample


def rescore(plan: Plan, path: Path, topics: pd.DataFrame, sample: pd.DataFrame, tolerance: float) -> ScoreDrift | None:
    """Send a few documents that were scored through the stages of a path once more.

    Args:
        plan: The stages.
        path: Which of them.
        topics: What the first stage was given.
        sample: The documents, see ``pick_sample``.
        tolerance: As for ``check_batch_invariance``.

    Returns:
        The drift of the first stage whose scores moved beyond the tolerance, or None.
    """
    given = topics[topics["qid"].isin(sample["qid"])]
    for name in path.stages:
        step = next(walk((replace(live(plan.stage(name), load=True), cutoff=None),), given))
        expected = sample.rename(columns={"rank": "_", name: "score"})
        if drift := _compare(name, expected, drop_failed(step), tolerance) or _find_missing(name, sample, step.ranked):
            return drift
        given = rerank(step.ranked[locate(step.ranked, sample) >= 0])
    return None


def _mixed_pairs(given: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give half of some queries' rows from the last to the first, all queries mixed; then the other half, each query by itself."""
    query = pd.factorize(given["qid"])[0]
    chosen = [subsample(np.flatnonzero(query == n), PAIRS) for n in subsample(np.arange(query.max(initial=-1) + 1), QUERIES)]
    if sum(map(len, chosen)) < 2:  # noqa: PLR2004 - one pair has no other beside it
        return
    turn = np.concatenate([np.arange(len(rows))[::2] for rows in chosen])
    halves = np.concatenate([rows[::2] for rows in chosen])[np.argsort(turn, kind="stable")[::-1]]
    yield rerank(given.iloc[halves])
    for rows in chosen:
        if len(rows) > 1:
            yield rerank(given.iloc[rows[1::2]])


def _whole_queries(given: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give some queries from the last to the first, then the first of them alone."""
    query = pd.factorize(given["qid"])[0]
    chosen = subsample(np.arange(query.max(initial=-1) + 1), QUERIES)
    if query.max(initial=-1) < 1:
        return
    yield pd.concat([given[query == n] for n in chosen[::-1]], ignore_index=True)
    yield given[query == chosen[0]].reset_index(drop=True)


def subsample(numbers: Ints, most: int) -> Ints:
    """Choose evenly, from the first to the last.

    Args:
        numbers: Shape (n,).
        most: How many.

    Example:
        >>> subsample(np.arange(10), 4).tolist()
        [0, 3, 6, 9]
    """
    at = np.linspace(0, max(len(numbers) - 1, 0), min(most, len(numbers)))
    return numbers[np.unique(at.round().astype(np.int64))]


def _compare(stage: str, before: pd.DataFrame, after: pd.DataFrame, tolerance: float) -> ScoreDrift | None:
    """Compare the scores of the pairs that both frames have."""
    place = locate(after, before)
    common = after[place >= 0]
    old, new = before["score"].to_numpy(np.float64)[place[place >= 0]], common["score"].to_numpy(np.float64)
    return _find_drift(stage, common, old, new, tolerance)


def _compare_lists(step: Step, again: pd.DataFrame, tolerance: float) -> ScoreDrift | None:
    """Compare whole lists by rank: a retriever may exchange documents of equal scores, but find none better, none more."""
    columns = ["qid", "rank", "docno", "score"]
    old, new = step.ranked.loc[step.ranked["qid"].isin(again["qid"]), columns], again[columns]
    both = old.merge(new, on=["qid", "rank"], how="outer", suffixes=("_old", "_new"))
    both["docno"] = both["docno_old"].fillna(both["docno_new"])
    old_score, new_score = both["score_old"].to_numpy(np.float64), both["score_new"].to_numpy(np.float64)
    return _find_drift(step.stage.name, both, old_score, new_score, tolerance)


def _find_missing(stage: str, sample: pd.DataFrame, ranked: pd.DataFrame) -> ScoreDrift | None:
    """Find a document that is not returned any more."""
    gone = sample[locate(sample, ranked) < 0]
    return (
        ScoreDrift(stage, _pair(gone, 0), float(gone[stage].iloc[0]), float("nan"), len(gone), len(sample)) if len(gone) else None
    )


def _find_drift(stage: str, pairs: pd.DataFrame, old: Floats, new: Floats, tolerance: float) -> ScoreDrift | None:
    with np.errstate(invalid="ignore"):
        beyond = ~(np.abs(old - new) <= tolerance * np.maximum(1, np.abs(old)))  # what is there only once moved as well
    if not beyond.any():
        return None
    row = int(np.argmax(np.where(beyond, np.nan_to_num(np.abs(old - new), nan=np.inf), -1)))
    return ScoreDrift(stage, _pair(pairs, row), float(old[row]), float(new[row]), int(beyond.sum()), len(pairs))


def _pair(frame: pd.DataFrame, row: int) -> tuple[str, str]:
    return str(frame["qid"].iloc[row]), str(frame["docno"].iloc[row])
