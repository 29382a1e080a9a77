"""How long a cascade takes for a query: percentiles of the sum of its stages' times, and a bound on them.

A percentile is an observed time: the least one within which at least p % of the queries finished (Hyndman & Fan, "Sample Quantiles
in Statistical Packages", The American Statistician 50(4), 1996, definition 1). Nothing is interpolated, so a tail is never shorter
than what was observed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.certificates.order_statistics import ALL, lower_rank, queries_to_show, round_up, upper_rank
from pt_cascade.analysis.grid.cutoffs import as_tuple
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats

PERCENTILES = (50, 95, 99)
_END = 0.95  # of each end of an interval


@dataclass(frozen=True)
class Latency:
    """How long a cascade takes for a query at one vector of cut-offs.

    A percentile of a sum is not the sum of percentiles: ``joint_ms`` is the percentile of the observed sums, query by query.
    ``low_ms`` and ``high_ms`` bound the true percentile, each with a chance of 95 % or more, whatever the distribution.
    ``bound_ms`` is the sum of the stages' percentiles at 100 - (100 - p)/n for n stages, which ``joint_ms`` cannot exceed however
    the stages' times depend on each other (the union bound).

    Attributes:
        cutoffs: One a stage.
        ms: Mean milliseconds a query.
        stage_ms: The same for each stage; they add up to ``ms``.
        percentiles: The percentiles; none where single queries' times are not known.
        joint_ms: Percentiles of the sum over stages.
        low_ms: A lower bound of each, 0 where so few queries give none.
        high_ms: An upper bound, infinite where so few queries give none.
        bound_ms: An upper bound of each.
        queries: How many different queries the percentiles come from.
    """

    cutoffs: tuple[int | None, ...]
    ms: float
    stage_ms: tuple[float, ...]
    percentiles: tuple[float, ...] = ()
    joint_ms: tuple[float, ...] = ()
    low_ms: tuple[float, ...] = ()
    high_ms: tuple[float, ...] = ()
    bound_ms: tuple[float, ...] = ()
    queries: int = 0

    @property
    def frame(self) -> pd.DataFrame:
        """Frame[percentile, joint_ms, low_ms, high_ms, bound_ms], one row a percentile."""
        names = ("joint_ms", "low_ms", "high_ms", "bound_ms")
        columns = {"percentile": self.percentiles} | {name: getattr(self, name) for name in names}
        return pd.DataFrame(columns, dtype=np.float64)


def summarise(times: Floats, cutoffs: tuple[int | None, ...], percentiles: Sequence[float], queries: int) -> Latency:
    """Put the stages' times together.

    Args:
        times: Shape (stages, rows), milliseconds; a row is one run of one query.
        cutoffs: One a stage.
        percentiles: Each above 0, at most 100; none: means only.
        queries: How many different queries the rows are of.

    Example:
        >>> late = summarise(np.array([[1.0, 9.0], [9.0, 1.0]]), (10, 5), (50,), 2)
        >>> late.joint_ms, late.bound_ms
        ((10.0,), (18.0,))
    """
    mean = tuple(times.mean(axis=1).tolist())
    if not percentiles:
        return Latency(cutoffs, sum(mean), mean)
    levels = np.array(percentiles, np.float64)
    sums = times.sum(axis=0)
    joint, bound = take_percentiles(sums, levels), take_percentiles(times, 100.0 - (100.0 - levels) / len(times)).sum(axis=0)
    ends = [_bound_percentile(sums, level, queries) for level in levels.tolist()]
    low, high = (tuple(end) for end in zip(*ends, strict=True))
    return Latency(
        cutoffs, sum(mean), mean, tuple(levels.tolist()), tuple(joint.tolist()), low, high, tuple(bound.tolist()), queries
    )


def rank_percentile(rank: int, queries: int) -> float:
    """Return the percentile of the rows at which so many of the queries lie; several rows of a query count as one.

    Example:
        >>> take_percentiles(np.arange(1.0, 101.0), [rank_percentile(99, 100)]).tolist()
        [99.0]
    """
    return ALL * rank / queries


def _bound_percentile(sums: Floats, level: float, queries: int) -> tuple[float, float]:
    """Bound a percentile from both sides, by order statistics."""
    if level >= ALL:
        return float(sums.max()), math.inf
    ranks = lower_rank(queries, level, _END), upper_rank(queries, level, _END)
    low, high = (None if rank is None else take_percentiles(sums, [rank_percentile(rank, queries)])[0] for rank in ranks)
    return 0.0 if low is None else float(low), math.inf if high is None else float(high)


def take_percentiles(values: Floats, percentiles: Floats | Sequence[float]) -> Floats:
    """Give the least value that at least p % of the values do not exceed: shape (..., n) to (..., p).

    It equals ``numpy.percentile(..., method="inverted_cdf")``.

    Example:
        >>> take_percentiles(np.arange(1.0, 101.0), (50, 95, 99)).tolist()
        [50.0, 95.0, 99.0]
    """
    count = values.shape[-1]
    places = [max(round_up(level * count / ALL), 1) - 1 for level in percentiles]
    taken: Floats = np.sort(values, axis=-1)[..., places]
    return taken


def is_percentile(level: object) -> bool:
    """Tell whether something is a number from 1 to 100; 0.95 would be a slip for 95."""
    return is_number(level) and 1 <= level <= ALL


def check_percentiles(percentiles: Sequence[float] | None, queries: int) -> tuple[float, ...]:
    """Return the percentiles, None: those of 50, 95 and 99 that so many queries give; raise a SweepError if one cannot be given."""
    if percentiles is None:
        return tuple(level for level in PERCENTILES if queries >= queries_to_show(level))
    levels = as_tuple(percentiles)
    bad = [f"found {level!r}, expected a number from 1 to 100" for level in levels if not is_percentile(level)]
    bad += (
        []
        if bad
        else [
            f"p{level:g} takes {queries_to_show(level)} queries or more, found {queries}"
            for level in levels
            if queries < queries_to_show(level)
        ]
    )
    if bad:
        raise SweepError("there are no such percentiles", bad, fix="percentiles=None")
    return levels
