"""How long a cascade takes: percentiles of the sum of its stages' times, and what is known of them without the sums.

A percentile is an observed time: the least one within which at least p % of the queries finished (Hyndman & Fan, "Sample
Quantiles in Statistical Packages", The American Statistician 50(4), 1996, definition 1). Nothing is interpolated, so that a tail is
never made shorter than what was seen.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import CascadeWarning, SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats

PERCENTILES = (50, 95, 99)
_ALL = 100  # per cent
_DRAWS = 100_000
_ROUND = 9  # 99.9 % of 1000 queries are 999 of them, whatever floats make of it


@dataclass(frozen=True)
class Latency:
    """How long a cascade takes for a query at one vector of cut-offs.

    **A percentile of a sum is not the sum of percentiles.** ``joint_ms`` is the percentile of the sums that were seen, query by
    query: the one to go by. ``independent_ms`` is what it would be if a query that is slow in one stage were no slower in the
    others: too low where long queries are slow everywhere. ``summed_ms`` adds the stages' own percentiles. It is mostly above the
    joint one, yet no bound: p99 + p99 only guarantees p98, as 1 % may be late in the one stage and another 1 % in the other (the
    union bound; ``guaranteed``). ``bound_ms`` is a bound: the sum of the stages' percentiles at 100 - (100 - p)/n for n stages,
    which no dependence between them can exceed.

    Attributes:
        cutoffs: One a stage.
        ms: Mean milliseconds a query.
        stage_ms: The same for each stage; they add up to ``ms``.
        percentiles: Which; none where single queries' times are not known.
        joint_ms: Percentiles of the sum over stages, the queries' times kept together.
        independent_ms: Percentiles of the sum of independent draws from each stage's times, 100,000 of them, seed 0.
        summed_ms: Sums of the stages' own percentiles.
        guaranteed: The percentile that ``summed_ms`` guarantees: 100 - n (100 - p), 0 or more.
        bound_ms: Sums of the stages' percentiles at 100 - (100 - p)/n: never below ``joint_ms``.
        queries: How many different queries the percentiles come from.
    """

    cutoffs: tuple[int | None, ...]
    ms: float
    stage_ms: tuple[float, ...]
    percentiles: tuple[float, ...] = ()
    joint_ms: tuple[float, ...] = ()
    independent_ms: tuple[float, ...] = ()
    summed_ms: tuple[float, ...] = ()
    guaranteed: tuple[float, ...] = ()
    bound_ms: tuple[float, ...] = ()
    queries: int = 0

    @property
    def frame(self) -> pd.DataFrame:
        """Frame[percentile, joint_ms, independent_ms, summed_ms, guaranteed, bound_ms], one row a percentile."""
        names = ("joint_ms", "independent_ms", "summed_ms", "guaranteed", "bound_ms")
        columns = {"percentile": self.percentiles, **{name: getattr(self, name) for name in names}}
        return pd.DataFrame(columns, dtype=np.float64)


def compose(times: Floats, means: Floats, cutoffs: tuple[int | None, ...], percentiles: Sequence[float], queries: int) -> Latency:
    """Put the stages' times together."""
    stages = len(times)
    mean = tuple(float(one) for one in means)
    if not percentiles:
        return Latency(cutoffs, sum(mean), mean)
    levels = np.array(percentiles, np.float64)
    late = 100.0 - levels
    random = np.random.default_rng(0)
    independent = sum(random.choice(row, _DRAWS) for row in times)
    return Latency(
        cutoffs,
        sum(mean),
        mean,
        tuple(float(level) for level in levels),
        _tuple(take_percentiles(times.sum(axis=0), levels)),
        _tuple(take_percentiles(np.asarray(independent), levels)),
        _tuple(take_percentiles(times, levels).sum(axis=0)),
        _tuple(np.maximum(100.0 - stages * late, 0.0)),
        _tuple(take_percentiles(times, 100.0 - late / stages).sum(axis=0)),
        queries,
    )


def take_percentiles(values: Floats, percentiles: Floats | Sequence[float]) -> Floats:
    """Give the least value that at least p % of the values do not exceed, for each p."""
    count = values.shape[-1]
    places = [max(math.ceil(round(level * count / 100, _ROUND)), 1) - 1 for level in percentiles]
    taken: Floats = np.sort(values, axis=-1)[..., places]
    return taken


def check_percentiles(percentiles: Sequence[float]) -> tuple[float, ...]:
    """Return the percentiles, or refuse them."""
    if bad := [level for level in percentiles if not _is_percentile(level)]:
        problem = f"found {', '.join(map(repr, bad))}, expected numbers above 0, at most 100"
        raise SweepError("these are no percentiles", [problem], fix="percentiles=(50, 95, 99)")
    return tuple(percentiles)


def warn_of_few_queries(percentiles: Sequence[float], queries: int) -> None:
    """Warn of percentiles that fewer queries lie above than one: p99 needs 100 queries, p95 needs 20."""
    needed = {level: math.ceil(round(100 / (100 - level), _ROUND)) for level in percentiles if level < _ALL}
    if short := [f"p{level:g} needs {count}" for level, count in needed.items() if queries < count]:
        message = f"{queries} queries are too few: {', '.join(short)}; with fewer it is little more than the slowest one seen"
        warnings.warn(message, CascadeWarning, stacklevel=4)


def _is_percentile(level: object) -> bool:
    return isinstance(level, int | float | np.integer | np.floating) and not isinstance(level, bool) and 0 < float(level) <= _ALL


def _tuple(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
