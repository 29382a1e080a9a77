"""Does a score depend on company? A few pairs are scored again beside other rows, in another order, and must not move.

What the check costs: up to 3 queries of the first chunk, up to 32 pairs each, once a stage; for a retriever up to 3 queries once
more, and one of them alone. A table replays scores in other company than they were made in, so a stage that fails would make every
replay wrong. The stage itself is asked, never the scores that are kept of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.cascade import walk
from pt_cascade.cascade.stand_ins import live
from pt_cascade.errors import StageError
from pt_cascade.execution.comparing import ask_duels, pick_few
from pt_cascade.execution.rows import drop_failed, rerank
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.analysis.duels import Duels
    from pt_cascade.analysis.tables import Path
    from pt_cascade.cascade import Stage, Step
    from pt_cascade.execution.plans import Plan
    from pt_cascade.execution.sheets import Sheet
    from pt_cascade.ranking import Floats, Ints

QUERIES = 3
PAIRS = 32
SPOT_QUERIES = 2
SPOT_PAIRS = 4
_FIX = (
    "if its scores come from a cache, which another model may have filled: a cache at another path; "
    "if it judges the list as a whole, say so and let it stand last: cascade.with_stage({!r}, depends='list'); "
    "if it pads batches as pyterrier_t5 does: ptc.stages.mono_t5(model), or batch_size=1; "
    "if it compares documents as pyterrier_t5's DuoT5 does: ptc.stages.duo_t5(model); "
    "if it computes in bf16, fp16 or int8, so that scores move a little: score(..., tolerance=0.05)"
)


class Moved(NamedTuple):
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


def check_company(step: Step, tolerance: float) -> bool:
    """Score some of a step's pairs again in other company, and refuse a stage whose scores move.

    A retriever, and a first stage that says that it judges whole lists, is asked whole queries again: nothing cuts its input.

    Args:
        step: What the stage made of a chunk.
        tolerance: How far a score a may move: tolerance * max(1, abs(a)).

    Returns:
        Whether there was enough to tell: more than one pair, or query.

    Raises:
        StageError: A score moved; the pair, both scores and the largest difference are named.
    """
    whole = "docno" not in step.given or step.stage.depends in ("pair", "list")
    stage = replace(live(step.stage, load=True), cutoff=None)
    tested = False
    for frame in _whole_queries(step.given) if whole else _mixed_pairs(step.given):
        tested = True
        again = drop_failed(next(walk((stage,), frame)))
        moved = _compare(stage.name, drop_failed(step), again, tolerance) or (
            _compare_lists(step, again, tolerance) if whole else None
        )
        if moved:
            fix = "retrieve each query by itself" if "docno" not in step.given else _FIX.format(stage.name)
            what = f"stage {stage.name!r} scores the same pair differently in other company"
            raise StageError(what, [f"{moved}; the tolerance is {tolerance:g}"], fix=fix)
    return tested


def pick_spot(path: Path, sheet: Sheet) -> pd.DataFrame:
    """Choose a few documents of a sheet of which every stage of a path has said something.

    Args:
        path: The stages.
        sheet: What was scored.

    Returns:
        Rows of the sheet's frame, of up to 2 queries; where the last stage is pairwise, all of a query were compared with each
        other. No row: the sheet tells nothing of the path.
    """
    finite = np.isfinite(sheet.frame[[name for name in path.stages if name not in sheet.duels]].to_numpy(np.float64)).all(axis=1)
    done: pd.DataFrame = sheet.frame[finite]
    if (duels := sheet.duels.get(path.stages[-1])) is None:
        return done[done["qid"].isin(done["qid"].unique()[:SPOT_QUERIES])].groupby("qid", sort=False).head(SPOT_PAIRS)
    here = np.isin(duels.first, done.index) & np.isin(duels.second, done.index)
    first, second, chosen = duels.first[here], duels.second[here], done.index[:0]
    while len(first) and done.loc[chosen, "qid"].nunique() < SPOT_QUERIES:
        chosen = chosen.append(done.index[np.isin(done.index, pick_few(first, second))])
        later = sheet.frame["qid"].to_numpy()[first] != sheet.frame["qid"].iloc[first[0]]
        first, second = first[later], second[later]
    return done.loc[chosen]


def retrace(plan: Plan, path: Path, topics: pd.DataFrame, sheet: Sheet, done: pd.DataFrame, tolerance: float) -> Moved | None:
    """Send a few documents that a table has scored through the stages of a path once more.

    Args:
        plan: The stages.
        path: Which of them.
        topics: What the first stage was given.
        sheet: What it has of these topics.
        done: The documents, see ``pick_spot``.
        tolerance: As for ``check_company``.

    Returns:
        The first stage's move that is beyond the tolerance, or None.
    """
    scored, names, duels = sheet.frame, [name for name in path.stages if name not in sheet.duels], sheet.duels.get(path.stages[-1])
    stages = [replace(live(plan.stage(name), load=True), cutoff=None) for name in names]
    given = topics[topics["qid"].astype(str).isin(done["qid"])]
    for stage in stages:
        step = next(walk((stage,), given))
        ranked, expected = step.ranked, done.rename(columns={"rank": "_", stage.name: "score"})
        if moved := _compare(stage.name, expected, drop_failed(step), tolerance) or _missing(stage.name, done, ranked):
            return moved
        given = rerank(ranked[locate(ranked, done) >= 0])
    return _compare_duels(plan.stage(path.stages[-1]), given, scored, duels, tolerance) if duels is not None else None


def _compare_duels(stage: Stage, given: pd.DataFrame, scored: pd.DataFrame, duels: Duels, tolerance: float) -> Moved | None:
    """Ask a pairwise stage about a few documents once more."""
    at = locate(scored, given)
    first, second = at[duels.first], at[duels.second]
    both = np.flatnonzero((first >= 0) & (second >= 0))
    if not len(both):
        return None
    again = ask_duels(stage, given, first[both], second[both])
    docno = given["docno"].to_numpy(object)
    said = [f"{docno[i]} against {docno[j]}" for i, j in zip(first[both], second[both], strict=True)]
    pairs = pd.DataFrame({"qid": given["qid"].to_numpy(object)[first[both]], "docno": said})
    return _worst(stage.name, pairs, duels.p[both], again, tolerance)


def _mixed_pairs(given: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give half of some queries' rows from the last to the first, all queries mixed; then the other half, each query by itself."""
    query = pd.factorize(given["qid"])[0]
    chosen = [spread(np.flatnonzero(query == n), PAIRS) for n in spread(np.arange(query.max(initial=-1) + 1), QUERIES)]
    if sum(map(len, chosen)) < 2:  # noqa: PLR2004 - one pair has no company
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
    chosen = spread(np.arange(query.max(initial=-1) + 1), QUERIES)
    if query.max(initial=-1) < 1:
        return
    yield pd.concat([given[query == n] for n in chosen[::-1]], ignore_index=True)
    yield given[query == chosen[0]].reset_index(drop=True)


def spread(numbers: Ints, most: int) -> Ints:
    """Choose evenly, from the first to the last.

    Args:
        numbers: Shape (n,).
        most: How many.

    Example:
        >>> spread(np.arange(10), 4).tolist()
        [0, 3, 6, 9]
    """
    at = np.linspace(0, max(len(numbers) - 1, 0), min(most, len(numbers)))
    return numbers[np.unique(at.round().astype(np.int64))]


def _compare(stage: str, before: pd.DataFrame, after: pd.DataFrame, tolerance: float) -> Moved | None:
    """Compare the scores of the pairs that both frames have."""
    place = locate(after, before)
    common = after[place >= 0]
    old, new = before["score"].to_numpy(np.float64)[place[place >= 0]], common["score"].to_numpy(np.float64)
    return _worst(stage, common, old, new, tolerance)


def _compare_lists(step: Step, again: pd.DataFrame, tolerance: float) -> Moved | None:
    """Compare whole lists by rank: a retriever may exchange documents of equal scores, but find none better, none more."""
    columns = ["qid", "rank", "docno", "score"]
    old, new = step.ranked.loc[step.ranked["qid"].isin(again["qid"]), columns], again[columns]
    both = old.merge(new, on=["qid", "rank"], how="outer", suffixes=("_old", "_new"))
    both["docno"] = both["docno_old"].fillna(both["docno_new"])
    return _worst(step.stage.name, both, both["score_old"].to_numpy(np.float64), both["score_new"].to_numpy(np.float64), tolerance)


def _missing(stage: str, done: pd.DataFrame, ranked: pd.DataFrame) -> Moved | None:
    """Find a document that is not returned any more."""
    gone = done[locate(done, ranked) < 0]
    return Moved(stage, _pair(gone, 0), float(gone[stage].iloc[0]), float("nan"), len(gone), len(done)) if len(gone) else None


def _worst(stage: str, pairs: pd.DataFrame, old: Floats, new: Floats, tolerance: float) -> Moved | None:
    with np.errstate(invalid="ignore"):
        beyond = ~(np.abs(old - new) <= tolerance * np.maximum(1, np.abs(old)))  # what is there only once moved as well
    if not beyond.any():
        return None
    row = int(np.argmax(np.where(beyond, np.nan_to_num(np.abs(old - new), nan=np.inf), -1)))
    return Moved(stage, _pair(pairs, row), float(old[row]), float(new[row]), int(beyond.sum()), len(pairs))


def _pair(frame: pd.DataFrame, row: int) -> tuple[str, str]:
    return str(frame["qid"].iloc[row]), str(frame["docno"].iloc[row])
