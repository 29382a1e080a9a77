"""Picking one vector of a grid on some queries: by plateaus, the best within a budget, or the cheapest not inferior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.choice.noninferiority import bound_all
from pt_cascade.analysis.choice.plateaus import Plateau, find_plateaus
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.sweep.losses import recalls

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.choice.candidates import Contest
    from pt_cascade.ranking import Floats

__all__ = ["Method", "Pick", "Rules", "best_of", "pick"]
Method: TypeAlias = Literal["plateau", "budget", "cheapest"]


@dataclass(frozen=True, eq=False)
class Rules:
    """How to pick.

    Attributes:
        contest: What to pick from.
        method: ``plateau``, ``budget`` or ``cheapest``.
        margin: How much may be lost, absolute.
        level: How sure a loss is to be within the margin, and of all intervals.
        seed: For the resamples.
        rel: The lowest label that is relevant, for recall.
    """

    contest: Contest
    method: Method
    margin: float
    level: float
    seed: int
    rel: int = 1


@dataclass(frozen=True)
class Pick:
    """What was picked.

    Attributes:
        vector: Its position in the grid.
        plateaus: Where recall stops rising, for the method ``plateau``; else empty.
        over_budget: Whether the plateau was beyond the budget, so that the best vector below it was taken.
    """

    vector: int
    plateaus: tuple[Plateau, ...] = ()
    over_budget: bool = False


def pick(rules: Rules, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Pick one vector by some queries.

    Args:
        rules: How.
        means: Shape (vectors,). The measure's mean over these queries.
        queries: Shape (queries that count,). Which they are.

    Returns:
        The pick. Of equal means the cheapest is taken, of equal costs the first.
    """
    if rules.method == "plateau":
        return _pick_plateau(rules, means, queries)
    best = rules.contest.best(means)
    return Pick(_pick_cheapest(rules, queries, best) if rules.method == "cheapest" else best)


def _pick_plateau(rules: Rules, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Follow recall stage by stage; beyond the budget, take the best vector that is no deeper."""
    contest = rules.contest

    def recall(stage: int, given: tuple[int, ...]) -> Floats:
        return recalls(contest.replayer, stage, as_cutoffs(given), rel=rules.rel)[0][queries]

    stages = contest.replayer.path.stages
    plateaus = find_plateaus(recall, stages, contest.vectors, rules.margin, level=rules.level, seed=rules.seed)
    depths = np.array([plateau.k for plateau in plateaus])
    early = np.minimum(contest.vectors[:, : len(depths)], [plateau.deepest for plateau in plateaus])
    at = (early == depths).all(axis=1) & contest.affordable
    if at.any():
        return Pick(best_of(means, at, contest.costs), plateaus)
    below = (early <= depths).all(axis=1) & contest.affordable
    return Pick(best_of(means, below if below.any() else contest.affordable, contest.costs), plateaus, over_budget=True)


def _pick_cheapest(rules: Rules, queries: NDArray[np.bool_], best: int) -> int:
    """Return the cheapest vector whose loss against the best is within the margin, whichever of them it is."""
    contest = rules.contest
    at, values = contest.spread
    cheaper = contest.costs[at] < contest.costs[best]
    tried = at[cheaper]
    losses = contest.per_query(best)[queries, None] - values[queries][:, cheaper]
    inside = tried[bound_all(losses, rules.margin, level=rules.level, seed=rules.seed) <= rules.margin]
    return int(inside[np.argmin(contest.costs[inside])]) if len(inside) else best
