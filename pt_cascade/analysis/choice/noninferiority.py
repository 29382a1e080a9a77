"""Which of many candidates are not worse than one of them by more than a margin, all bounds holding at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.choice.intervals import cut_above, resample

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats

_CLEAR = 2.0  # errors beyond the margin: what is so much worse is not accepted in any resample


def simultaneous_bounds(losses: Floats, margin: float, *, level: float = 0.95, seed: int = 0) -> Floats:
    """Bound many mean losses from above so that all bounds hold together, but for 1 - level of the samples."""
    bounds = np.full(losses.shape[1], np.inf)
    if not losses.size:
        return bounds
    resampled = resample(losses, max(float(losses.max()), 1.0), seed=seed)
    means, errors = resampled.mean(axis=0), np.maximum(resampled.std(axis=0), np.finfo(np.float64).tiny)
    near = losses.mean(axis=0) <= margin + _CLEAR * errors
    if near.any():
        furthest = ((resampled - means) / errors)[:, near].max(axis=1, keepdims=True)
        bounds[near] = means[near] + float(cut_above(furthest, level)[0]) * errors[near]
    return bounds
