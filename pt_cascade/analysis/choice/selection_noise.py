"""How much choosing the best of many varies, and what it would seem to gain where there is nothing to gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats, Ints

TIMES = 100
_CLEAR = 2.0


def wild_bootstrap(values: Floats, fold: Ints, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Choose where all vectors that may be the best are equally good, and differ from query to query as much as they do."""
    order = np.argsort(fold, kind="stable")
    sizes = np.bincount(fold)
    means = values.mean(axis=0)
    lead = values[:, [int(means.argmax())]] - values
    errors = lead.std(axis=0, ddof=1) / np.sqrt(len(fold))
    worse = np.where(lead.mean(axis=0) > _CLEAR * errors, lead.mean(axis=0), 0.0)
    centred, starts = values[order] - means, np.r_[0, np.cumsum(sizes)[:-1]]
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (TIMES, len(fold)))[:, order]
    off, gains, folds = np.empty(TIMES), np.empty(TIMES), np.arange(len(sizes))
    for n, sign in enumerate(signs):
        sums = np.add.reduceat(sign[:, None] * centred, starts, axis=0)
        shown = sums - sizes[:, None] * worse
        total = shown.sum(axis=0)
        chosen = (total - shown).argmax(axis=1)
        off[n], gains[n] = sums[folds, chosen].sum() / len(fold), total.max() / len(fold)
    return off, gains


def excess_variance(off: Floats, values: Floats) -> float:
    """Tell how much more a held-out mean varies than that of independent queries."""
    return max(float(np.mean(off**2) - np.var(values, ddof=1) / len(values)), 0.0)
