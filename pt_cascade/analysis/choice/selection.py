"""Picking one vector of a grid on some queries: by plateaus, the best within a budget, or the cheapest that is not inferior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.choice.intervals import simultaneous_bounds
from pt_cascade.analysis.choice.plateaus import Plateau, find_plateaus
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.sweep.losses import recall_per_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.ranking import Floats

Method: TypeAlias = Literal["plateau", "budget", "cheapest"]


@dataclass(frozen=True, eq=False)
class Rules:
    """The candidate vectors, and how to pick one of them."""

    candidates: Candidates
    method: Method
    margin: float  # how much may be lost, absolute
    level: float  # of all intervals and one-sided bounds
    seed: int
    rel: int = 1  # the lowest label that is relevant, for recall


@dataclass(frozen=True)
class Pick:
    """One vector, by its position in the grid."""

    vector: int
    plateaus: tuple[Plateau, ...] = ()  # for the method ``plateau``
    over_budget: bool = False  # the plateau exceeds the budget, so the best vector that is no deeper was picked


def pick(rules: Rules, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Pick a vector on some queries (a mask of the judged ones); ``means`` are the vectors' means over them, shape (vectors,)."""
    if rules.method == "plateau":
        return _pick_plateau(rules, means, queries)
    best = rules.candidates.best(means)
    return Pick(_pick_cheapest(rules, queries, best) if rules.method == "cheapest" else best)


def _pick_plateau(rules: Rules, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Follow recall stage by stage; beyond the budget, take the best vector that is no deeper."""
    some = rules.candidates

    def recall(stage: int, given: tuple[int, ...]) -> Floats:
        return recall_per_query(some.replayer, stage, as_cutoffs(given), rel=rules.rel)[0][queries]

    stages = some.replayer.path.stages
    plateaus = find_plateaus(recall, stages, some.vectors, rules.margin, level=rules.level, seed=rules.seed)
    depths = np.array([plateau.k for plateau in plateaus])
    early = np.minimum(some.vectors[:, : len(depths)], [plateau.deepest for plateau in plateaus])
    at = (early == depths).all(axis=1) & some.affordable
    if at.any():
        return Pick(best_of(means, at, some.costs), plateaus)
    below = (early <= depths).all(axis=1) & some.affordable
    return Pick(best_of(means, below if below.any() else some.affordable, some.costs), plateaus, over_budget=True)


def _pick_cheapest(rules: Rules, queries: NDArray[np.bool_], best: int) -> int:
    """Return the cheapest vector whose loss against the best is within the margin, all bounds holding together."""
    some = rules.candidates
    at, values = some.representatives
    cheaper = some.costs[at] < some.costs[best]
    losses = some.per_query(best)[queries, None] - values[queries][:, cheaper]
    bounds = simultaneous_bounds(losses, rules.margin, level=rules.level, seed=rules.seed)
    inside = at[cheaper][bounds <= rules.margin]
    return int(inside[np.argmin(some.costs[inside])]) if len(inside) else best
