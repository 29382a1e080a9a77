"""How much choosing the best of many varies, and what it would seem to gain where there is nothing to gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats, Ints

TIMES = 100
_CLEAR = 2.0


def shake(values: Floats, fold: Ints, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Choose where all vectors that may be the best are equally good, and differ from query to query as much as they do.

    Each vector's values, less their mean, get a sign drawn for each query: the wild bootstrap (Liu 1988, "Bootstrap procedures
    under some non-iid models"). Vectors that are worse than the best by two standard errors stay as much worse: nobody would
    choose them (Hansen 2005, "A test for superior predictive ability").

    Args:
        values: Shape (queries, vectors). The measure less a reference, which may be one of them.
        fold: Shape (queries,). The fold of each, from 0.
        seed: For the signs: with one seed the same for all values of as many queries.

    Returns:
        Shape (times,) each: how far the held-out mean is off the truth of what was chosen; and by how much the best of all leads
        the reference in-sample.

    Example:
        >>> values = np.random.default_rng(0).normal(0, 0.2, (100, 50)) * (np.arange(50) > 0)
        >>> errors, gains = shake(values, np.arange(100) % 5)
        >>> bool(abs(errors.mean()) < 0.02), bool(gains.mean() > 0.03)
        (True, True)
    """
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


def vary_more(off: Floats, values: Floats) -> float:
    """Tell how much more a held-out mean varies than that of independent queries.

    Choices for different folds share most of the queries they are made by, so that held-out means of folds err together, the more
    so the more folds there are (Bates, Hastie and Tibshirani 2023, "Cross-validation: what does it estimate and how well does it
    do it?"). What intervals cover with it and without is in experiments/README.md.

    Args:
        off: Shape (times,). Of ``shake``; for a difference of two choices the difference, with one seed.
        values: Shape (queries,). What each query gave, held-out.

    Returns:
        The variance to add to that of the mean, 0 or more.

    Example:
        >>> vary_more(np.array([0.1, -0.1]), np.array([0.0, 0.0]))
        0.010000000000000002
    """
    return max(float(np.mean(off**2) - np.var(values, ddof=1) / len(values)), 0.0)
