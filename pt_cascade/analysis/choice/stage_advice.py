"""Whether a further stage pays: the whole cascade against the best one without one of its stages, at the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import Contest
from pt_cascade.analysis.choice.intervals import Estimate, estimate, queries_needed
from pt_cascade.analysis.choice.selection_noise import shake, vary_more
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.analysis.grid.grids import default_grid
from pt_cascade.analysis.replay.measures import in_kernel
from pt_cascade.analysis.replay.replayer import Replayer
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.choice.budget import Budget
    from pt_cascade.ranking import Floats

_COMPARABLE = 3  # two stages are the fewest to compare with

Verdict: TypeAlias = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True)
class Advice:
    """Whether the whole cascade is worth its last step in length.

    Attributes:
        verdict: ``yes``, ``no`` or ``cannot tell``, see ``judge``; empty: there is no shorter cascade to compare with.
        gain: The measure of the whole cascade less that of the shorter one, on held-out queries, both chosen on the others.
        longer: The whole cascade's stages and cut-offs, in words, chosen by all queries.
        shorter: The same for the best cascade of one stage fewer.
        needed: About how many queries it takes for the interval to be narrower than the margin, and so for a verdict.
        text: All this in a sentence.
    """

    verdict: Verdict | Literal[""]
    gain: Estimate | None
    longer: str
    shorter: str
    needed: int | None
    text: str


def advise(whole: Contest, budget: Budget, margin: float, *, level: float = 0.95, seed: int = 0) -> Advice:
    """Compare the best of the whole cascade with the best of one stage fewer, each chosen on the other folds.

    A shorter cascade is the whole one without one of its stages after the first, at any cut-offs that the table covers and the
    budget allows; without a budget the longer one may cost more.

    Args:
        whole: The cascade.
        budget: For both.
        margin: A gain of less is not worth a stage.
        level: Of the interval.
        seed: For what choosing adds to its width.

    Returns:
        The advice.
    """
    stages = whole.replayer.path.stages
    count = len(stages)
    shorter = [stages[:n] + stages[n + 1 :] for n in range(1, count)] if count >= _COMPARABLE else []
    rivals = [rival for path in shorter if (rival := _rival(whole, path, budget)) is not None]
    if not rivals:
        text = f"The cascade has {count} stage{'s' * (count > 1)}: score one with a further stage to learn whether it pays."
        text = text if not shorter else f"No cascade of {count - 1} stages is covered and within the budget."
        return Advice("", None, "", "", None, text)
    gain = compare([whole], rivals, level=level, seed=seed)
    verdict, needed = judge(gain, margin), queries_needed(gain, margin)
    longer, best = _name_best([whole], budget.unit), _name_best(rivals, budget.unit)
    stage = "a third stage" if count == _COMPARABLE else f"stage {count}"
    interval = f"{whole.replayer.measures[0]} {gain} on held-out queries"
    said = {
        "yes": f"{stage[0].upper()}{stage[1:]} pays: {interval}",
        "no": f"{stage[0].upper()}{stage[1:]} does not pay: {interval}, less than the margin of {margin:g}",
        "cannot tell": f"Whether {stage} pays cannot be told with {gain.queries:,} queries: {interval}; about {needed:,} would "
        f"tell whether it is more than 0 or less than the margin of {margin:g}",
    }
    return Advice(verdict, gain, longer, best, needed, f"{said[verdict]}. Compared: {longer}, and {best}.")


def compare(long: Sequence[Contest], short: Sequence[Contest], *, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate what the best of some contests gives more than the best of others, each chosen on the other folds.

    Args:
        long: At least one.
        short: At least one, with the same queries and folds.
        level: Of the interval.
        seed: For what choosing adds to its width.
    """
    difference = measure_held_out(long) - measure_held_out(short)
    one, other = (np.hstack([contest.spread[1] for contest in side]) for side in (long, short))
    common = one[:, [int(one.mean(axis=0).argmax())]]
    off = shake(one - common, long[0].fold, seed=seed)[0] - shake(other - common, long[0].fold, seed=seed)[0]
    return estimate(difference, level=level, more=vary_more(off, difference))


def judge(gain: Estimate, margin: float) -> Verdict:
    """Say whether a gain is one.

    Args:
        gain: Of a further stage, held-out.
        margin: A gain of less is not worth a stage.

    Returns:
        ``no``: the whole interval lies below the margin, even if above 0; else ``yes``: all of it lies above 0; else
        ``cannot tell``.

    Example:
        >>> judge(Estimate(0.05, 0.01, 0.09, 100), 0.02), judge(Estimate(0.0, -0.01, 0.01, 100), 0.02)
        ('yes', 'no')
    """
    return "no" if gain.high < margin else "yes" if gain.low > 0 else "cannot tell"


def measure_held_out(contests: Sequence[Contest]) -> Floats:
    """Measure each query with the vector that is best on the other folds, of whichever contest.

    Args:
        contests: At least one, with the same queries and folds.

    Returns:
        Shape (queries that count,).
    """
    fold = contests[0].fold
    values = np.zeros(len(fold))
    for held in range(len(contests[0].sums)):
        contest, at = _best(contests, [one.sums.sum(axis=0) - one.sums[held] for one in contests])
        values[fold == held] = contest.per_query(at)[fold == held]
    return values


def _rival(whole: Contest, stages: tuple[str, ...], budget: Budget) -> Contest | None:
    """Open a shorter path as deep as the table covers it; None where it covers nothing of it that is affordable."""
    one = whole.replayer
    replayer = Replayer(one.table, one.table.find_path(stages), one.qrels, one.measures, one.tail, one.by_rank)
    last = as_cutoffs([int(whole.vectors[:, -1].max())])[0]
    try:
        depths = replayer.reach
    except SweepError:
        return None
    vectors = default_grid(depths, last, len(whole.fold), coarse=not in_kernel(one.measures[0])).vectors
    affordable, costs = budget.spend(stages, vectors)
    return Contest(replayer, vectors, affordable, costs, whole.fold) if affordable.any() else None


def _best(contests: Sequence[Contest], sums: Sequence[Floats]) -> tuple[Contest, int]:
    """Return the best contest by sums over queries, the first of equal ones, and the position of its best vector."""
    best, top = (contests[0], 0), -np.inf
    for contest, one in zip(contests, sums, strict=True):
        at = contest.best(one)
        if one[at] > top:
            best, top = (contest, at), float(one[at])
    return best


def _name_best(contests: Sequence[Contest], unit: str) -> str:
    """Name the best cascade by all queries, and what it costs."""
    contest, at = _best(contests, [contest.sums.sum(axis=0) for contest in contests])
    name = name_cascade(contest.replayer.path.stages, as_cutoffs(contest.vectors[at].tolist()))
    return f"{name} ({contest.costs[at]:.4g} {unit} a query)"
