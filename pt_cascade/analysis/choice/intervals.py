"""The uncertainty of a mean over queries: intervals, one-sided bounds, and the number of queries for a given width.

``estimate`` is an interval of Student's t over the queries and two more, at the mean plus and minus the largest deviation from the
median (1 where there is none): without them, few queries that differ, or none, would give an interval of no width. For differences
of -1, 0 and 1 this adds one query on each side, as Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of
binomial proportions based on paired data". The end on the longer tail is moved out as in Johnson (1978), "Modified t tests and
confidence intervals for asymmetrical populations".

``bounds_above`` is a one-sided Bayesian bootstrap (Rubin 1981) of the queries and one more that loses the worst: the bound of
Gaffke (2005), "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable", and of
Learned-Miller and Thomas (2019), "A new confidence interval for the mean of a bounded random variable". It is conjectured, not
proven, to hold for any distribution. For losses of 0 or 1 it is that of Clopper and Pearson (1934); where nothing is lost, about
3/n, the rule of three.

The coverage of all of them, by simulation, is in experiments/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats

RESAMPLES = 1999
_CELLS = 2_000_000  # weights kept between calls, 16 MB
_MOST = 1e6  # queries
_POWERFUL = ((1.96 + 0.84) / 1.96) ** 2  # for a chance of 80 % that a 95 % interval excludes a limit


@dataclass(frozen=True)
class Estimate:
    """A mean over queries with its interval."""

    mean: float
    low: float
    high: float
    queries: int

    def __neg__(self) -> Estimate:
        return Estimate(-self.mean, -self.high, -self.low, self.queries)

    def __str__(self) -> str:
        return f"{self.mean:+z.4f} [{self.low:+z.4f}, {self.high:+z.4f}]"


def estimate(values: Floats, *, level: float = 0.95, least: float = -1.0, most: float = 1.0, more: float = 0.0) -> Estimate:
    """Estimate a mean with a two-sided interval, see the module.

    Args:
        values: Shape (queries,), at least one, no NaN.
        level: The share of such intervals that is to hold the true mean.
        least: The interval ends there, unless a value is below.
        most: Likewise above.
        more: A variance of the mean to add, see ``excess_variance``.

    Example:
        >>> str(estimate(np.array([0.0, 0.1, 0.2, 0.1, 0.1]))), str(estimate(np.zeros(100)))
        ('+0.1000 [+0.0245, +0.1755]', '+0.0000 [-0.0276, +0.0276]')
    """
    from scipy import stats  # noqa: PLC0415 - loads when first needed

    mean, furthest = float(np.mean(values)), float(np.abs(values - np.median(values)).max())
    away = furthest if furthest > 1e-12 else 1.0  # noqa: PLR2004 - rounding
    padded = np.r_[values, mean + away, mean - away]
    alone = float(np.var(padded, ddof=1) / len(padded))
    error = float(np.sqrt(alone + more))
    t = float(stats.t.ppf(0.5 + level / 2, len(padded) - 1))
    tail = float(np.mean((padded - mean) ** 3) / (alone * len(padded) ** 2)) * (1 + 2 * t**2) / 6
    low, high = mean - t * error + min(tail, 0.0), mean + t * error + max(tail, 0.0)
    low = max(low, least) if np.min(values) >= least else low
    return Estimate(mean, low, min(high, most) if np.max(values) <= most else high, len(values))


def bounds_above(losses: Floats, worst: float = 1.0, *, level: float = 0.95, seed: int = 0) -> Floats:
    """Bound mean losses from above, each by itself.

    Args:
        losses: Shape (queries, candidates), at most ``worst``; below 0 for a gain.
        worst: The most that any query can lose.
        level: Level of each bound.
        seed: For the weights; with one seed no bound falls where a loss grows.

    Returns:
        Shape (candidates,).

    Example:
        >>> bounds_above(np.zeros((100, 2))).round(2).tolist()
        [0.03, 0.03]
    """
    return cut_above(resample(losses, worst, seed=seed), level)


def resample(losses: Floats, worst: float = 1.0, *, seed: int = 0) -> Floats:
    """Give weighted means of each candidate's losses and one more, the worst: shape (resamples, candidates)."""
    padded = np.vstack([losses, np.full(losses.shape[1], worst)])
    if RESAMPLES * len(padded) <= _CELLS:
        kept: Floats = _keep_weights(len(padded), seed) @ padded
        return kept
    rng, size = np.random.default_rng(seed), max(_CELLS // len(padded), 1)
    return np.vstack([_weights(rng, min(size, RESAMPLES - at), len(padded)) @ padded for at in range(0, RESAMPLES, size)])


def cut_above(resampled: Floats, level: float) -> Floats:
    """Return the quantile of each column at ``level`` of n + 1, rounded up (Davison and Hinkley 1997, section 2.3).

    Example:
        >>> cut_above(np.arange(19.0).reshape(-1, 1), 0.95).tolist()
        [18.0]
    """
    count = len(resampled)
    place = min(int(np.ceil(round(level * (count + 1), 9))), count) - 1
    cut: Floats = np.partition(resampled, place, axis=0)[place]
    return cut


def settle(found: Estimate, limits: Sequence[float]) -> int:
    """Return how many queries at most should show on which side of one of the limits a mean lies, if it is as estimated.

    With a chance of 80 %: (1.96 + 0.84)² standard errors; and between two limits at most as many as make the interval narrower
    than their distance, so that it cannot hold both.

    Example:
        >>> settle(Estimate(0.01, -0.01, 0.03, 100), [0.0]), settle(Estimate(0.01, -0.01, 0.03, 100), [0.0, 0.02])
        (817, 400)
    """
    half, furthest = (found.high - found.low) / 2, max(abs(found.mean - limit) for limit in limits)
    needed = _POWERFUL * (half / furthest) ** 2 if furthest > 0 else np.inf
    apart = max(limits) - min(limits)
    needed = min(needed, (2 * half / apart) ** 2 if apart > 0 else np.inf, _MOST / found.queries)
    return max(int(np.ceil(round(found.queries * needed, 6))), found.queries + 1)


@lru_cache(maxsize=4)
def _keep_weights(queries: int, seed: int) -> Floats:
    return _weights(np.random.default_rng(seed), RESAMPLES, queries)


def _weights(rng: np.random.Generator, rows: int, queries: int) -> Floats:
    """Draw weights uniformly from all that sum to 1."""
    drawn = rng.standard_exponential((rows, queries))
    weights: Floats = drawn / drawn.sum(axis=1, keepdims=True)
    return weights
