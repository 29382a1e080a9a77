"""How sure a mean over queries is: intervals, one-sided bounds, and how many queries it would take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats

RESAMPLES = 1999
_CELLS = 2_000_000  # weights kept between calls, 16 MB


@dataclass(frozen=True)
class Estimate:
    """A mean over queries, and where it may well lie.

    Attributes:
        mean: Over the queries.
        low: Lower end of the interval.
        high: Upper end of the interval.
        queries: How many.
    """

    mean: float
    low: float
    high: float
    queries: int

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def estimate(values: Floats, *, level: float = 0.95, least: float = -1.0, most: float = 1.0, more: float = 0.0) -> Estimate:
    """Estimate a mean with a two-sided interval that rare differences and skewness make wider.

    Student's t of the queries and two more, at the mean plus and minus the largest deviation from the median (1 where there is
    none). Without them few queries that differ, or none, would look like certainty. For differences of -1, 0 and 1 that is one more
    on each side, as Bonett and Price (2012) add, "Adjusted Wald confidence interval for a difference of binomial proportions based
    on paired data". The end on the longer tail is pushed out by the correction of Johnson (1978), "Modified t tests and confidence
    intervals for asymmetrical populations". What it covers is in experiments/README.md; less than it promises where all depends on
    very few queries that lose very much.

    Args:
        values: Shape (queries,), at least one. A value or difference each; no NaN.
        level: What share of such intervals is to hold the true mean, above 0, below 1.
        least: No query's value is below; the interval ends there, unless one is.
        most: No query's value is above; likewise.
        more: A variance of the mean beyond that of independent queries, see ``noise.vary_more``.

    Returns:
        The estimate.

    Example:
        >>> str(estimate(np.array([0.0, 0.1, 0.2, 0.1, 0.1])))
        '+0.1000 [+0.0245, +0.1755]'
        >>> str(estimate(np.zeros(100)))
        '+0.0000 [-0.0276, +0.0276]'
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


def bound_above(losses: Floats, worst: float = 1.0, *, level: float = 0.95, seed: int = 0) -> float:
    """Bound a mean loss from above: what it will not exceed, but for 1 - level of the samples.

    A one-sided bootstrap of the sample and one more query that loses the worst, with weights drawn evenly from all that sum to 1
    (the Bayesian bootstrap, Rubin 1981). The bound is that of Gaffke (2005), "Three test statistics for a nonparametric one-sided
    hypothesis on the mean of a nonnegative variable", and of Learned-Miller and Thomas (2019), "A new confidence interval for the
    mean of a bounded random variable": conjectured, not proven, to hold for any distribution and any number of queries; how it does
    here is in experiments/README.md. For losses of all or nothing it is that of Clopper and Pearson (1934); where nothing is lost,
    about 3/n, the rule of three.

    Args:
        losses: Shape (queries,). What each query loses, at most ``worst``; below 0 for a gain.
        worst: The most that any query can lose.
        level: How sure, above 0, below 1.
        seed: For the weights: with one seed the bound never falls where a loss grows.

    Returns:
        The bound.

    Example:
        >>> bound_above(np.zeros(100)) > 0.02, bound_above(np.zeros(1000)) < 0.005
        (True, True)
    """
    return float(bounds_above(np.reshape(losses, (-1, 1)), worst, level=level, seed=seed)[0])


def bounds_above(losses: Floats, worst: float = 1.0, *, level: float = 0.95, seed: int = 0) -> Floats:
    """Bound several mean losses from above, each by itself, as ``bound_above`` does.

    Args:
        losses: Shape (queries, candidates).
        worst: The most that any query can lose.
        level: How sure, above 0, below 1.
        seed: For the weights.

    Returns:
        Shape (candidates,).

    Example:
        >>> bounds_above(np.zeros((100, 2))).round(2).tolist()
        [0.03, 0.03]
    """
    return cut_above(resample(losses, worst, seed=seed), level)


def resample(losses: Floats, worst: float = 1.0, *, seed: int = 0) -> Floats:
    """Weigh the queries, and one more that loses the worst, in many ways.

    Args:
        losses: Shape (queries, candidates).
        worst: What the one more loses.
        seed: For the weights, the same for all candidates.

    Returns:
        Shape (resamples, candidates): weighted means.

    Example:
        >>> bool(abs(resample(np.full((9, 1), 0.5), 0.5) - 0.5).max() < 1e-12)
        True
    """
    padded = np.vstack([losses, np.full(losses.shape[1], worst)])
    if RESAMPLES * len(padded) <= _CELLS:
        kept: Floats = _keep_weights(len(padded), seed) @ padded
        return kept
    rng, size = np.random.default_rng(seed), max(_CELLS // len(padded), 1)
    return np.vstack([_weights(rng, min(size, RESAMPLES - at), len(padded)) @ padded for at in range(0, RESAMPLES, size)])


def cut_above(resampled: Floats, level: float) -> Floats:
    """Return the least value of each column that so large a share of it does not exceed.

    Args:
        resampled: Shape (resamples, candidates).
        level: The share of one more than the resamples, rounded up (Davison and Hinkley 1997, "Bootstrap methods", section 2.3).

    Example:
        >>> cut_above(np.arange(19.0).reshape(-1, 1), 0.95).tolist()
        [18.0]
    """
    count = len(resampled)
    place = min(int(np.ceil(round(level * (count + 1), 9))), count) - 1
    cut: Floats = np.partition(resampled, place, axis=0)[place]
    return cut


def queries_needed(found: Estimate, width: float) -> int:
    """Tell about how many queries it would take for the interval to be no wider than this.

    Args:
        found: What was estimated.
        width: From the low to the high end, above 0.

    Returns:
        Queries (width found / width wanted)²: an interval narrows with the square root of the queries.

    Example:
        >>> queries_needed(Estimate(0.01, -0.01, 0.03, 100), 0.02)
        400
    """
    return int(np.ceil(round(found.queries * ((found.high - found.low) / width) ** 2, 6)))


def fewest_queries(margin: float, level: float = 0.95) -> int:
    """Tell how few queries without any loss can show that the mean loss is within a margin: the rule of three, exactly.

    Args:
        margin: The loss, above 0, below 1, of a worst of 1.
        level: How sure, above 0, below 1.

    Returns:
        The least n with (1 - margin)ⁿ ≤ 1 - level (Hanley and Lippman-Hand 1983, "If nothing goes wrong, is everything all
        right?").

    Example:
        >>> fewest_queries(0.02), fewest_queries(0.05)
        (149, 59)
    """
    return int(np.ceil(round(np.log1p(-level) / np.log1p(-margin), 9)))


@lru_cache(maxsize=4)
def _keep_weights(queries: int, seed: int) -> Floats:
    """Draw all weights, and keep them for the next call."""
    return _weights(np.random.default_rng(seed), RESAMPLES, queries)


def _weights(rng: np.random.Generator, rows: int, queries: int) -> Floats:
    """Draw weights that sum to 1, evenly from all such."""
    drawn = rng.standard_exponential((rows, queries))
    weights: Floats = drawn / drawn.sum(axis=1, keepdims=True)
    return weights
