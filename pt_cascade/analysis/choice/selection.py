"""Picking one vector of a grid on some queries: by plateaus, the best within a budget, or the cheapest not inferior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.choice.noninferiority import simultaneous_bounds
from pt_cascade.analysis.choice.plateaus import Plateau, find_plateaus
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.sweep.losses import recall_per_query

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.ranking import Floats

__all__ = ["Method", "Pick", "Rules", "best_of", "pick"]
Method: TypeAlias = Literal["plateau", "budget", "cheapest"]


@dataclass(frozen=True, eq=False)
class Rules:
    """How to pick."""

    candidates: Candidates  # What to pick from
    method: Method  # ``plateau``, ``budget`` or ``cheapest``
    margin: float  # How much may be lost, absolute
    level: float  # How sure a loss is to be within the margin, and of all intervals
    seed: int  # For the resamples
    rel: int = 1  # The lowest label that is relevant, for recall


@dataclass(frozen=True)
class Pick:
    """What was picked."""

    vector: int  # Its position in the grid
    plateaus: tuple[Plateau, ...] = ()  # Where recall stops rising, for the method ``plateau``; else empty
    over_budget: bool = False  # Whether the plateau was beyond the budget, so that the best vector below it was taken


def pick(rules: Rules, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Pick one vector by some queries."""
    if rules.method == "plateau":
        return _pick_plateau(rules, means, queries)
    best = rules.candidates.best(means)
    return Pick(_pick_cheapest(rules, queries, best) if rules.method == "cheapest" else best)


def _pick_plateau(rules: Rules, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Follow recall stage by stage; beyond the budget, take the best vector that is no deeper."""
    candidates = rules.candidates

    def recall(stage: int, given: tuple[int, ...]) -> Floats:
        return recall_per_query(candidates.replayer, stage, as_cutoffs(given), rel=rules.rel)[0][queries]

    stages = candidates.replayer.path.stages
    plateaus = find_plateaus(recall, stages, candidates.vectors, rules.margin, level=rules.level, seed=rules.seed)
    depths = np.array([plateau.k for plateau in plateaus])
    early = np.minimum(candidates.vectors[:, : len(depths)], [plateau.deepest for plateau in plateaus])
    at = (early == depths).all(axis=1) & candidates.affordable
    if at.any():
        return Pick(best_of(means, at, candidates.costs), plateaus)
    below = (early <= depths).all(axis=1) & candidates.affordable
    return Pick(best_of(means, below if below.any() else candidates.affordable, candidates.costs), plateaus, over_budget=True)


def _pick_cheapest(rules: Rules, queries: NDArray[np.bool_], best: int) -> int:
    """Return the cheapest vector whose loss against the best is within the margin, whichever of them it is."""
    candidates = rules.candidates
    at, values = candidates.representatives
    cheaper = candidates.costs[at] < candidates.costs[best]
    tried = at[cheaper]
    losses = candidates.per_query(best)[queries, None] - values[queries][:, cheaper]
    inside = tried[simultaneous_bounds(losses, rules.margin, level=rules.level, seed=rules.seed) <= rules.margin]
    return int(inside[np.argmin(candidates.costs[inside])]) if len(inside) else best
