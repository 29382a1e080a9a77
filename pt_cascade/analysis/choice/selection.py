"""Picking one vector of a grid on some queries: by plateaus, the best within a budget, or the cheapest that is certified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.certificates.fixed_sequence import certify
from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.choice.plateaus import Plateau, find_plateaus
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, as_vectors, check_cutoffs, name_cascade
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.ranking import Floats


@dataclass(frozen=True)
class Pick:
    """One vector, by its position in the grid."""

    vector: int
    plateaus: tuple[Plateau, ...] = ()  # for the method ``plateau``
    searched: bool = True  # the best of many vectors by the measure; not where recall or a certificate decided
    certified: int = 0  # for the method ``certified``: so many vectors of the sequence


def find_reference(candidates: Candidates, stages: tuple[str, ...], given: Sequence[Cutoff] | None) -> int:
    """Return the position of the given vector, or of the deepest one that is affordable on the way down."""
    if given is not None:
        cutoffs = check_cutoffs(given, stages)
        at = np.flatnonzero((candidates.cutoffs == as_vectors([cutoffs])).all(axis=1))
        if not len(at):
            steps = np.abs(np.log(candidates.cutoffs) - np.log(as_vectors([cutoffs]))).sum(axis=1)
            nearest = as_cutoffs(candidates.cutoffs[steps.argmin()].tolist())
            problem = f"the reference {name_cascade(stages, cutoffs)} is not in the grid of the sweep"
            raise SweepError("cannot choose cut-offs", [problem], fix=f"reference={nearest}, the nearest that is")
        return int(at[0])
    deepest = replace(candidates, reference=candidates.deepest)
    way = np.r_[deepest.reference, deepest.sequence]
    inside = way[candidates.affordable[way]]
    affordable = np.flatnonzero(candidates.affordable & (candidates.fusions == 0))
    depth = np.log(candidates.depths[affordable]).sum(axis=1)
    return int(inside[0]) if len(inside) else int(affordable[np.argmax(depth)])


def pick(candidates: Candidates, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Pick a vector on some queries (a mask of the judged ones); ``means`` are the vectors' means over them, shape (vectors,)."""
    if candidates.method == "plateau":
        return _pick_plateau(candidates, means, queries)
    if candidates.method == "certified":
        return _pick_certified(candidates, queries)
    return Pick(candidates.best(means))


def _pick_plateau(candidates: Candidates, means: Floats, queries: NDArray[np.bool_]) -> Pick:
    """Follow recall stage by stage, no deeper than the reference; beyond the budget, take the best vector that is no deeper."""

    def recall(stage: int, given: tuple[int, ...]) -> Floats:
        return candidates.recall(stage, given)[queries]

    inside = (candidates.depths <= candidates.depths[candidates.reference]).all(axis=1)
    stages, vectors = candidates.replayer.path.stages, candidates.cutoffs[inside]
    plateaus = find_plateaus(recall, stages, vectors, candidates.margin, level=candidates.level, seed=candidates.seed)
    depths = np.array([plateau.k for plateau in plateaus])
    early = np.minimum(candidates.cutoffs[:, : len(depths)], [plateau.deepest for plateau in plateaus])
    at = (early == depths).all(axis=1) & candidates.affordable & inside
    if at.any():
        several = len(np.unique(candidates.fusions[at])) > 1  # the weights are the best of many by the measure
        return Pick(best_of(means, at, candidates.costs), plateaus, searched=several)
    below = (early <= depths).all(axis=1) & candidates.affordable
    return Pick(best_of(means, below if below.any() else candidates.affordable, candidates.costs), plateaus)


def _pick_certified(candidates: Candidates, queries: NDArray[np.bool_]) -> Pick:
    """Return the cheapest vector whose loss against the reference is certified; the reference, where none is."""
    losses = candidates.losses[:, queries]
    count = certify(losses, candidates.margin, candidates.alpha, candidates.test)
    inside = np.r_[candidates.reference, candidates.sequence[:count]]
    return Pick(int(inside[np.argmin(candidates.costs[inside])]), searched=False, certified=count)
