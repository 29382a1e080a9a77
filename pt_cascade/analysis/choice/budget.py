"""What may be spent on a query, in milliseconds or money."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints

_ALL = 100.0


@dataclass(frozen=True, eq=False)
class Budget:
    """What may be spent, and what vectors cost."""

    cost: Cost | None  # What the stages cost, each under its name; None: not known
    ms: float | None  # The most that a query may take; None: no matter
    percentile: float | None  # Of the queries' times; None: their mean
    usd: float | None  # The most that a query may cost on average; None: no matter
    docs: Ints  # (queries,): How many documents each query retrieved

    @classmethod
    def of(cls, sweep: Sweep, ms: float | None, percentile: float | None, usd: float | None) -> Budget:
        """Make the budget for a sweep; costs by position get the names of its stages, for paths without one of them."""
        docs = sweep.table.retrieved[sweep.replayer.judged.queries]
        if sweep.cost is None:
            return cls(None, ms, percentile, usd, docs)
        named = tuple(replace(one, stage=name) for one, name in zip(sweep.cost.stages, sweep.stages, strict=True))
        return cls(replace(sweep.cost, stages=named), ms, percentile, usd, docs)

    @property
    def column(self) -> str:
        """The column of costs that the budget is about."""
        return "ms" if self.percentile is None else f"p{self.percentile:g}_ms"

    @property
    def unit(self) -> str:
        """What a vector's cost is counted in: ``ms``, or ``pairs`` where no cost is known."""
        return "pairs" if self.cost is None else "ms"

    @property
    def by_hand(self) -> bool:
        """Whether the costs were given by hand: then a query's time depends on nothing but how many documents it has."""
        return self.cost is not None and self.cost.sample is None

    @property
    def limits(self) -> tuple[tuple[str, float], ...]:
        """The columns that are limited, and to what."""
        both = ((self.column, self.ms), ("usd", self.usd))
        return tuple((column, limit) for column, limit in both if limit is not None)

    def __str__(self) -> str:
        time = "on average" if self.percentile is None else f"at p{self.percentile:g}"
        said = [f"{self.ms:g} ms {time}"] if self.ms is not None else []
        return " and ".join(said + ([f"{self.usd:g} usd a query"] if self.usd is not None else []))

    def problems(self, sweep: Sweep) -> list[str]:
        """Say what is wrong with the budget for a sweep."""
        problems = []
        for limit, said in ((self.ms, "budget_ms"), (self.usd, "budget_usd")):
            if limit is not None and not (is_number(limit) and limit > 0):
                problems.append(f"{said} is {limit!r}, expected a number above 0")
            if limit is not None and sweep.cost is None:
                problems.append(f"{said} is given, but the sweep has no cost")
        if self.usd is not None and sweep.cost is not None and "usd" not in sweep.frame:
            problems.append("budget_usd is given, but no stage has a price")
        if self.percentile is not None and not (is_number(self.percentile) and 0 < self.percentile <= _ALL):
            problems.append(f"percentile is {self.percentile!r}, expected above 0 and at most 100, or None for the mean")
        elif self.percentile and self.ms and sweep.cost and sweep.cost.sample and not sweep.cost.sample.percentiles:
            problems.append("percentile needs single queries' times; these were timed together: percentile=None takes the mean")
        return problems

    def spend(self, stages: tuple[str, ...], vectors: Vectors) -> tuple[NDArray[np.bool_], Floats]:
        """Tell which vectors are within the budget, and what they cost."""
        frame = self.frame(stages, vectors)
        inside = np.ones(len(vectors), np.bool_)
        for column, limit in self.limits:
            inside &= frame[column].to_numpy() <= limit
        return inside, frame[self.unit].to_numpy(np.float64)

    def frame(self, stages: tuple[str, ...], vectors: Vectors) -> pd.DataFrame:
        """Give the costs of vectors, as ``Cost.frame`` does, with the budget's percentile and no other."""
        cost = Cost.of(*(StageCost() for _ in stages)) if self.cost is None else self.cost.select(stages)
        wanted = () if self.percentile is None or self.ms is None else (self.percentile,)
        return cost.frame(vectors, docs=self.docs, percentiles=wanted)

    def refuse(self, sweep: Sweep) -> SweepError:
        """Return the error for a budget that nothing meets; it says the cheapest there is."""
        frame = self.frame(sweep.stages, sweep.grid.vectors)
        problems = []
        for column, limit in self.limits:
            others = [frame[name].to_numpy() <= most for name, most in self.limits if name != column]
            alone = not others or not others[0].any()
            if alone and frame[column].min() <= limit:
                continue
            values = frame[column].to_numpy(np.float64) if alone else np.where(others[0], frame[column], np.inf)
            least = int(values.argmin())
            cascade = name_cascade(sweep.stages, as_cutoffs(sweep.grid.vectors[least].tolist()))
            within = "" if alone else " within the other"
            unit = "usd" if column == "usd" else "ms"
            problems.append(
                f"{column} is to be {limit:g} {unit} at most; the cheapest there is{within}, {cascade}, takes {values[least]:.4g}"
            )
        return SweepError("no cut-offs are within the budget", problems)


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether something is a number, and neither a truth value nor a text."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether something is a whole number, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
