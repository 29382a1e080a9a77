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
    """A mean over queries, and where it may well lie."""

    mean: float  # Over the queries
    low: float  # Lower end of the interval
    high: float  # Upper end of the interval
    queries: int  # How many

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def estimate(values: Floats, *, level: float = 0.95, least: float = -1.0, most: float = 1.0, more: float = 0.0) -> Estimate:
    """Estimate a mean with a two-sided interval that rare differences and skewness make wider."""
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
    """Bound a mean loss from above: what it will not exceed, but for 1 - level of the samples."""
    return float(bounds_above(np.reshape(losses, (-1, 1)), worst, level=level, seed=seed)[0])


def bounds_above(losses: Floats, worst: float = 1.0, *, level: float = 0.95, seed: int = 0) -> Floats:
    """Bound several mean losses from above, each by itself, as ``bound_above`` does."""
    return cut_above(resample(losses, worst, seed=seed), level)


def resample(losses: Floats, worst: float = 1.0, *, seed: int = 0) -> Floats:
    """Weigh the queries, and one more that loses the worst, in many ways."""
    padded = np.vstack([losses, np.full(losses.shape[1], worst)])
    if RESAMPLES * len(padded) <= _CELLS:
        kept: Floats = _keep_weights(len(padded), seed) @ padded
        return kept
    rng, size = np.random.default_rng(seed), max(_CELLS // len(padded), 1)
    return np.vstack([_weights(rng, min(size, RESAMPLES - at), len(padded)) @ padded for at in range(0, RESAMPLES, size)])


def cut_above(resampled: Floats, level: float) -> Floats:
    """Return the least value of each column that so large a share of it does not exceed."""
    count = len(resampled)
    place = min(int(np.ceil(round(level * (count + 1), 9))), count) - 1
    cut: Floats = np.partition(resampled, place, axis=0)[place]
    return cut


def queries_needed(found: Estimate, width: float) -> int:
    """Tell about how many queries it would take for the interval to be no wider than this."""
    return int(np.ceil(round(found.queries * ((found.high - found.low) / width) ** 2, 6)))


def fewest_queries(margin: float, level: float = 0.95) -> int:
    """Tell how few queries without any loss can show that the mean loss is within a margin: the rule of three, exactly."""
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
