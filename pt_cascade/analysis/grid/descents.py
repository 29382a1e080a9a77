"""Vectors in an order set before any judgment is seen: from one vector down, all stages together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints

_STEP = 0.9


def descend(depths: NDArray[np.integer], start: NDArray[np.integer]) -> Ints:
    """Order vectors of a grid from one vector down: K1 · s, K2 · √s, K3 · ∛s, ..., while s falls from 1.

    Each step takes the smallest vector that is as deep in every stage but the last, and nowhere deeper than the start.

    Args:
        depths: Shape (vectors, stages). Cut-offs; no cut is a number as large as the longest list or larger.
        start: Shape (stages,). The vector to start from.

    Returns:
        Positions of vectors, each once, without the start.

    Example:
        >>> from pt_cascade.analysis.grid.grids import grid
        >>> vectors = grid([1, 10, 100, 1000], [1, 10, 100], None).vectors
        >>> vectors[descend(vectors, vectors[-1])][:, :2].tolist()
        [[100, 100], [10, 10], [1, 1]]
    """
    cut = max(depths.shape[1] - 1, 1)
    scales = _STEP ** np.arange(1, 2 + int(np.log(max(int(start[0]), 2)) / -np.log(_STEP)))
    wanted = np.minimum.accumulate(start[:cut] * scales[:, None] ** (1 / np.arange(1, cut + 1)), axis=1)
    below = np.flatnonzero((depths <= start).all(axis=1) & (depths != start).any(axis=1))[::-1]  # of equal ones the last
    early = depths[below][:, :cut]
    size = np.log(early).sum(axis=1)
    found: dict[int, None] = {}
    for least in np.maximum(wanted.round(9), 1.0):
        deep = np.flatnonzero((early >= least).all(axis=1))
        if len(deep):
            found[int(below[deep[np.argmin(size[deep])]])] = None
    return np.array(list(found), np.int64)
