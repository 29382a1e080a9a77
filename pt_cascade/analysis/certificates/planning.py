"""How many queries it takes to show something."""

from __future__ import annotations

import math

POWER = 0.8


def plan_queries(distance: float, deviation: float, error: float = 0.05) -> float:
    """Return how many queries show, with a chance of ``POWER``, that a mean is on its side of a limit, by a normal approximation.

    Args:
        distance: Between the mean and the limit; 0: infinitely many.
        deviation: Standard deviation of a query's value.
        error: One-sided error rate.

    Example:
        >>> plan_queries(0.02, 0.15), plan_queries(0.05, 0.24), plan_queries(0.0, 0.1)
        (348, 143, inf)
    """
    from scipy import stats  # noqa: PLC0415 - loads when first needed

    if distance == 0:
        return math.inf
    quantiles = float(stats.norm.isf(error) + stats.norm.ppf(POWER))
    return math.ceil(round((quantiles * deviation / distance) ** 2, 6))
