"""How much choosing the best of many vectors varies, and what it appears to gain where all are equally good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats, Ints

TIMES = 100
_CLEAR = 2.0


def wild_bootstrap(values: Floats, fold: Ints, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Choose the best vector where all that may be the best are equally good, and differ from query to query as much as they do.

    Each vector's values, less their mean, get a random sign for each query (Liu 1988, "Bootstrap procedures under some non-iid
    models"). Vectors that are worse than the best by two standard errors stay as much worse (Hansen 2005, "A test for superior
    predictive ability").

    Args:
        values: Shape (queries, vectors). The measure less that of a reference.
        fold: Shape (queries,). The fold of each query, from 0.
        seed: For the signs, which depend on it and on the number of queries only.

    Returns:
        Shape (times,) each: the error of the held-out mean, and the in-sample lead of the best vector over the reference.
    """
    order = np.argsort(fold, kind="stable")
    sizes = np.bincount(fold)
    means = values.mean(axis=0)
    lead = values[:, [int(means.argmax())]] - values
    deviations = lead.std(axis=0, ddof=1) / np.sqrt(len(fold))
    worse = np.where(lead.mean(axis=0) > _CLEAR * deviations, lead.mean(axis=0), 0.0)
    centred, starts = values[order] - means, np.r_[0, np.cumsum(sizes)[:-1]]
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (TIMES, len(fold)))[:, order]
    errors, gains, folds = np.empty(TIMES), np.empty(TIMES), np.arange(len(sizes))
    for n, sign in enumerate(signs):
        sums = np.add.reduceat(sign[:, None] * centred, starts, axis=0)
        shown = sums - sizes[:, None] * worse
        total = shown.sum(axis=0)
        chosen = (total - shown).argmax(axis=1)
        errors[n], gains[n] = sums[folds, chosen].sum() / len(fold), total.max() / len(fold)
    return errors, gains


def excess_variance(errors: Floats, values: Floats) -> float:
    """Return how much more a held-out mean varies than a mean of independent queries, 0 or more.

    Choices for different folds share most of their queries, so their held-out means err together (Bates, Hastie and Tibshirani
    2023, "Cross-validation: what does it estimate and how well does it do it?"). ``errors`` are those of ``wild_bootstrap`` (of two
    choices their difference, with one seed), ``values`` what each query gave held out.
    """
    return max(float(np.mean(errors**2) - np.var(values, ddof=1) / len(values)), 0.0)
