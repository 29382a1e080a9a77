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

from pt_cascade.analysis.grid.cutoffs import as_tuple
from pt_cascade.errors import SweepError, warn
from pt_cascade.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats

PERCENTILES = (50, 95, 99)
_ALL = 100  # per cent
_ROUND = 9  # 99.9 % of 1000 queries are 999 of them, whatever floats make of it


@dataclass(frozen=True)
class Latency:
    """How long a cascade takes for a query at one vector of cut-offs.

    A percentile of a sum is not the sum of percentiles: ``joint_ms`` is the percentile of the observed sums, query by query.
    ``bound_ms`` is the sum of the stages' percentiles at 100 - (100 - p)/n for n stages, which ``joint_ms`` cannot exceed however
    the stages' times depend on each other (the union bound).

    Attributes:
        cutoffs: One a stage.
        ms: Mean milliseconds a query.
        stage_ms: The same for each stage; they add up to ``ms``.
        percentiles: The percentiles; none where single queries' times are not known.
        joint_ms: Percentiles of the sum over stages.
        bound_ms: An upper bound of each.
        queries: How many different queries the percentiles come from.
    """

    cutoffs: tuple[int | None, ...]
    ms: float
    stage_ms: tuple[float, ...]
    percentiles: tuple[float, ...] = ()
    joint_ms: tuple[float, ...] = ()
    bound_ms: tuple[float, ...] = ()
    queries: int = 0

    @property
    def frame(self) -> pd.DataFrame:
        """Frame[percentile, joint_ms, bound_ms], one row a percentile."""
        columns = {"percentile": self.percentiles, "joint_ms": self.joint_ms, "bound_ms": self.bound_ms}
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
    joint = take_percentiles(times.sum(axis=0), levels)
    bound = take_percentiles(times, 100.0 - (100.0 - levels) / len(times)).sum(axis=0)
    return Latency(cutoffs, sum(mean), mean, tuple(levels.tolist()), tuple(joint.tolist()), tuple(bound.tolist()), queries)


def take_percentiles(values: Floats, percentiles: Floats | Sequence[float]) -> Floats:
    """Give the least value that at least p % of the values do not exceed: shape (..., n) to (..., p).

    It equals ``numpy.percentile(..., method="inverted_cdf")``.

    Example:
        >>> take_percentiles(np.arange(1.0, 101.0), (50, 95, 99)).tolist()
        [50.0, 95.0, 99.0]
    """
    count = values.shape[-1]
    places = [max(math.ceil(round(level * count / 100, _ROUND)), 1) - 1 for level in percentiles]
    taken: Floats = np.sort(values, axis=-1)[..., places]
    return taken


def is_percentile(level: object) -> bool:
    """Tell whether something is a number from 1 to 100; 0.95 would be a slip for 95."""
    return is_number(level) and 1 <= level <= _ALL


def check_percentiles(percentiles: Sequence[float]) -> tuple[float, ...]:
    """Return the percentiles, or raise a SweepError if one is out of range."""
    levels = as_tuple(percentiles)
    if bad := [level for level in levels if not is_percentile(level)]:
        problem = f"found {', '.join(map(repr, bad))}, expected numbers from 1 to 100"
        raise SweepError("percentiles are out of range", [problem], fix="percentiles=(50, 95, 99)")
    return levels


def warn_of_few_queries(percentiles: Sequence[float], queries: int) -> None:
    """Warn of percentiles that less than one query lies above: p99 needs 100 different queries, p95 needs 20."""
    needed = {level: math.ceil(round(100 / (100 - level), _ROUND)) for level in percentiles if level < _ALL}
    if short := [f"p{level:g} needs {count}" for level, count in needed.items() if queries < count]:
        message = f"{queries} queries are too few: {', '.join(short)}; with fewer, the percentile is the time of the slowest query"
        warn(message)
