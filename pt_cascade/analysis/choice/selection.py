"""Picking one vector of a grid on some queries: by plateaus, the best within a budget, or the cheapest that is not inferior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True)
class Pick:
    """One vector, by its position in the grid."""

    vector: int
    plateaus: tuple[Plateau, ...] = ()  # for the method ``plateau``
    over_budget: bool = False  # the plateau exceeds the budget, so the best vector that is no deeper was picked


def pick(candidates: Candidates, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Pick a vector on some queries (a mask of the judged ones); ``means`` are the vectors' means over them, shape (vectors,)."""
    if candidates.method == "plateau":
        return _pick_plateau(candidates, means, queries)
    best = candidates.best(means)
    return Pick(_pick_cheapest(candidates, queries, best) if candidates.method == "cheapest" else best)


def _pick_plateau(candidates: Candidates, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Follow recall stage by stage; beyond the budget, take the best vector that is no deeper."""

    def recall(stage: int, given: tuple[int, ...]) -> Floats:
        return recall_per_query(candidates.replayer, stage, as_cutoffs(given), rel=candidates.rel)[0][queries]

    stages = candidates.replayer.path.stages
    plateaus = find_plateaus(recall, stages, candidates.vectors, candidates.margin, level=candidates.level, seed=candidates.seed)
    depths = np.array([plateau.k for plateau in plateaus])
    early = np.minimum(candidates.vectors[:, : len(depths)], [plateau.deepest for plateau in plateaus])
    at = (early == depths).all(axis=1) & candidates.affordable
    if at.any():
        return Pick(best_of(means, at, candidates.costs), plateaus)
    below = (early <= depths).all(axis=1) & candidates.affordable
    return Pick(best_of(means, below if below.any() else candidates.affordable, candidates.costs), plateaus, over_budget=True)


def _pick_cheapest(candidates: Candidates, queries: NDArray[np.bool_], best: int) -> int:
    """Return the cheapest vector whose loss against the best is within the margin, all bounds holding together."""
    at, values = candidates.representatives
    cheaper = candidates.costs[at] < candidates.costs[best]
    losses = candidates.per_query(best)[queries, None] - values[queries][:, cheaper]
    bounds = simultaneous_bounds(losses, candidates.margin, level=candidates.level, seed=candidates.seed)
    inside = at[cheaper][bounds <= candidates.margin]
    return int(inside[np.argmin(candidates.costs[inside])]) if len(inside) else best
