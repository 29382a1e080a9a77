"""Whether a further stage pays: the whole cascade against the best one without one of its stages, at the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.choice.intervals import Estimate, estimate, queries_needed
from pt_cascade.analysis.choice.selection_noise import excess_variance, wild_bootstrap
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
    """Whether the whole cascade is worth its last step in length."""

    # ``yes``, ``no`` or ``cannot tell``, see ``decide``; empty: there is no shorter cascade to compare with
    verdict: Verdict | Literal[""]
    # The measure of the whole cascade less that of the shorter one, on held-out queries, both chosen on the others
    gain: Estimate | None
    longer: str  # The whole cascade's stages and cut-offs, in words, chosen by all queries
    shorter: str  # The same for the best cascade of one stage fewer
    needed: int | None  # About how many queries it takes for the interval to be narrower than the margin, and so for a verdict
    text: str  # All this in a sentence


def advise(whole: Candidates, budget: Budget, margin: float, *, level: float = 0.95, seed: int = 0) -> Advice:
    """Compare the best of the whole cascade with the best of one stage fewer, each chosen on the other folds."""
    stages = whole.replayer.path.stages
    count = len(stages)
    shorter = [stages[:n] + stages[n + 1 :] for n in range(1, count)] if count >= _COMPARABLE else []
    shorter = [found for path in shorter if (found := _shorten(whole, path, budget)) is not None]
    if not shorter:
        text = f"The cascade has {count} stage{'s' * (count > 1)}: score one with a further stage to learn whether it pays."
        text = text if not shorter else f"No cascade of {count - 1} stages is covered and within the budget."
        return Advice("", None, "", "", None, text)
    gain = compare([whole], shorter, level=level, seed=seed)
    verdict, needed = decide(gain, margin), queries_needed(gain, margin)
    longer, best = _name_best([whole], budget.unit), _name_best(shorter, budget.unit)
    stage = "a third stage" if count == _COMPARABLE else f"stage {count}"
    interval = f"{whole.replayer.measures[0]} {gain} on held-out queries"
    said = {
        "yes": f"{stage[0].upper()}{stage[1:]} pays: {interval}",
        "no": f"{stage[0].upper()}{stage[1:]} does not pay: {interval}, less than the margin of {margin:g}",
        "cannot tell": f"Whether {stage} pays cannot be told with {gain.queries:,} queries: {interval}; about {needed:,} would "
        f"tell whether it is more than 0 or less than the margin of {margin:g}",
    }
    return Advice(verdict, gain, longer, best, needed, f"{said[verdict]}. Compared: {longer}, and {best}.")


def compare(long: Sequence[Candidates], short: Sequence[Candidates], *, level: float = 0.95, seed: int = 0) -> Estimate:
    """Estimate what the best of some contests gives more than the best of others, each chosen on the other folds."""
    difference = measure_held_out(long) - measure_held_out(short)
    one, other = (np.hstack([candidates.representatives[1] for candidates in side]) for side in (long, short))
    common = one[:, [int(one.mean(axis=0).argmax())]]
    off = wild_bootstrap(one - common, long[0].fold, seed=seed)[0] - wild_bootstrap(other - common, long[0].fold, seed=seed)[0]
    return estimate(difference, level=level, more=excess_variance(off, difference))


def decide(gain: Estimate, margin: float) -> Verdict:
    """Say whether a gain is one."""
    return "no" if gain.high < margin else "yes" if gain.low > 0 else "cannot tell"


def measure_held_out(contests: Sequence[Candidates]) -> Floats:
    """Measure each query with the vector that is best on the other folds, of whichever candidates."""
    fold = contests[0].fold
    values = np.zeros(len(fold))
    for held in range(len(contests[0].sums)):
        candidates, at = _best(contests, [one.sums.sum(axis=0) - one.sums[held] for one in contests])
        values[fold == held] = candidates.per_query(at)[fold == held]
    return values


def _shorten(whole: Candidates, stages: tuple[str, ...], budget: Budget) -> Candidates | None:
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
    return Candidates(replayer, vectors, affordable, costs, whole.fold) if affordable.any() else None


def _best(contests: Sequence[Candidates], sums: Sequence[Floats]) -> tuple[Candidates, int]:
    """Return the best candidates by sums over queries, the first of equal ones, and the position of its best vector."""
    best, top = (contests[0], 0), -np.inf
    for candidates, one in zip(contests, sums, strict=True):
        at = candidates.best(one)
        if one[at] > top:
            best, top = (candidates, at), float(one[at])
    return best


def _name_best(contests: Sequence[Candidates], unit: str) -> str:
    """Name the best cascade by all queries, and what it costs."""
    candidates, at = _best(contests, [candidates.sums.sum(axis=0) for candidates in contests])
    name = name_cascade(candidates.replayer.path.stages, as_cutoffs(candidates.vectors[at].tolist()))
    return f"{name} ({candidates.costs[at]:.4g} {unit} a query)"
