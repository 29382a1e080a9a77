"""The most that a query may take, in milliseconds or money."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.certificates.order_statistics import ALL, queries_to_bound, queries_to_show, upper_rank
from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.cost.latency import is_percentile, rank_percentile
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_amount, is_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.cost.latency import Latency
    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.sweep.pruned import PrunedSweep
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints


_SHOWN = 95.0


def is_limit(limit: object) -> bool:
    """Tell whether this is the most that may be spent: a number above 0, infinity included, or None for no limit."""
    return limit is None or (is_number(limit) and (limit == math.inf or (is_amount(limit) and limit > 0)))


@dataclass(frozen=True, eq=False)
class Budget:
    """The most that a query may take, and the costs of the stages."""

    cost: Cost | None  # each stage's cost under its name; None: unknown
    ms: float | None  # None: no limit
    percentile: float | None  # of the queries' times; None: their mean
    usd: float | None  # US dollars a query, on average; None: no limit
    docs: Ints  # (queries,): documents that each query retrieved
    untimed: str = ""  # a last stage that runs live after those of the table, and has no cost

    @property
    def column(self) -> str:
        """The column of costs that ``ms`` limits."""
        return "ms" if self.percentile is None else f"p{self.percentile:g}_ms"

    @property
    def unit(self) -> str:
        """The unit of a vector's cost: ``ms``, or ``pairs`` where no cost is known."""
        return "pairs" if self.cost is None else "ms"

    @property
    def limits(self) -> dict[str, float]:
        """The columns that are limited, each with its limit."""
        return {column: limit for column, limit in ((self.column, self.ms), ("usd", self.usd)) if limit is not None}

    def __str__(self) -> str:
        time = "on average" if self.percentile is None else f"at p{self.percentile:g}"
        parts = [f"{self.ms:g} ms {time}"] if self.ms is not None else []
        return " and ".join(parts + ([f"{self.usd:g} usd a query"] if self.usd is not None else []))

    def find_problems(self, sweep: Sweep | PrunedSweep) -> list[str]:
        """List what is wrong with the budget for a sweep."""
        problems = []
        for name, limit in (("budget_ms", self.ms), ("budget_usd", self.usd)):
            if not is_limit(limit):
                problems.append(f"{name} is {limit!r}, expected a number above 0")
            if limit is not None and sweep.cost is None:
                problems.append(f"{name} is given, but the sweep has no cost")
        if self.usd is not None and sweep.cost is not None and "usd" not in sweep.frame:
            problems.append("budget_usd is given, but no stage has a price, such as StageCost(usd_per_pair=...)")
        if self.percentile is not None and not is_percentile(self.percentile):
            problems.append(f"percentile is {self.percentile!r}, expected a number from 1 to 100, or None for the mean")
        elif (
            self.percentile is not None
            and self.ms is not None
            and sweep.cost
            and sweep.cost.sample
            and not sweep.cost.sample.percentiles
        ):
            problems.append("queries were timed together, so only their mean time is known: pass percentile=None")
        elif self.percentile and is_number(self.ms) and self.ms and sweep.cost and self.level is None:
            needed = queries_to_bound(self.percentile)
            found = f"{sweep.cost.sample.queries if sweep.cost.sample else 0} queries were timed"
            problems.append(f"{found}: p{self.percentile:g} takes {needed} or more, or pass percentile=None for the mean")
        return problems

    @property
    def level(self) -> float | None:
        """The percentile of the timed queries that bounds the budget's percentile from above; None: no limit on a percentile.

        Costs by hand have no slow queries: there the slowest query counts, that is the one that retrieves the most.
        """
        if self.percentile is None or self.ms is None or self.cost is None:
            return None
        if self.percentile >= ALL or self.cost.sample is None:
            return float(ALL)
        rank = upper_rank(self.cost.sample.queries, self.percentile)
        return None if rank is None else rank_percentile(rank, self.cost.sample.queries)

    def check(self, stages: tuple[str, ...], vectors: Vectors, fusions: int = 0) -> tuple[NDArray[np.bool_], Floats]:
        """Return, for each vector of a path, whether it is within the budget, and its cost in ``unit``; each for every fusion."""
        frame = self.frame(stages, vectors)
        inside = np.ones(len(vectors), np.bool_)
        for column, limit in self.limits.items():
            inside &= np.asarray(frame.get(column, 0.0)) <= limit  # a shorter path may have no price
        costs, times = frame[self.unit].to_numpy(np.float64), max(fusions, 1)
        return np.repeat(inside, times), np.repeat(costs, times)

    def frame(self, stages: tuple[str, ...], vectors: Vectors) -> pd.DataFrame:
        """Give the costs of vectors of a path as ``Cost.frame`` does, but of percentiles the upper bound of the budget's only."""
        cost = Cost.of(*(StageCost() for _ in stages)) if self.cost is None else self.cost.select(stages)
        if self.level is None:
            return cost.frame(vectors, docs=self.docs, percentiles=())
        found = cost.frame(vectors, docs=self.docs, percentiles=(self.level,))
        return found.rename(columns={f"p{self.level:g}_ms": self.column})

    def time(self, cutoffs: tuple[int | None, ...]) -> Latency | None:
        """Return the times at the percentile of the budget, or at 95; None where single queries' times are not known."""
        if self.cost is None or self.cost.sample is None or not self.cost.sample.percentiles:
            return None
        level = _SHOWN if self.percentile is None else self.percentile
        known = self.cost.sample.queries >= queries_to_show(level)
        return self.cost.latency(cutoffs, (level,) if known else (), self.docs)

    def list_times(self, *vectors: tuple[int | None, ...]) -> dict[str, list[float]]:
        """Give the mean time at each vector, then that of stage 1 at the last one; and the percentile, where it is known."""
        if self.cost is None:
            return {}
        late = [self.time(cutoffs) or self.cost.latency(cutoffs, (), self.docs) for cutoffs in vectors]
        means = {"mean ms": [*(one.ms for one in late), late[-1].stage_ms[0]]}
        return means | {f"p{level:g} ms": [*(one.joint_ms[0] for one in late), math.nan] for level in late[0].percentiles}

    def unmet_error(self, sweep: Sweep) -> SweepError:
        """Return the error for a budget that no vector meets; it names the vector that exceeds it least."""
        frame = self.frame(sweep.stages, sweep.grid.vectors)[list(self.limits)]
        least = int((frame / pd.Series(self.limits)).max(axis=1).argmin())
        cascade = name_cascade(sweep.stages, as_cutoffs(sweep.grid.vectors[least].tolist()))
        takes = " and ".join(f"{frame[column].iloc[least]:.4g} {column.split('_')[-1]}" for column in self.limits)
        measured = self.cost is not None and self.cost.sample is not None and self.level is not None
        bound = "" if not measured else ", which are upper bounds, as the timed queries give them"
        problem = f"the limit is {self}; the nearest, {cascade}, takes {takes}{bound}"
        short = {column: frame[column].iloc[least] for column, limit in self.limits.items() if frame[column].iloc[least] > limit}
        names = {column: "budget_usd" if column == "usd" else "budget_ms" for column in short}
        more = ", ".join(f"{names[column]}={float(f'{1.01 * value:.3g}'):g}" for column, value in short.items())
        fix = f"{more}, or sweep fewer stages or smaller cut-offs"
        return SweepError("no cut-offs are within the budget", [problem], fix=fix)
