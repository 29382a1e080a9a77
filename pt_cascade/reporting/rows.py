"""The rows of a sweep that a figure marks, and the cost that it shows."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.choice.budget import Budget
from pt_cascade.analysis.grid.cutoffs import as_vectors
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints

_ALL = 100.0  # per cent
_SHOWN = 95.0


def check_names(sweep: Sweep, choice: Choice | None, measure: object, cost: str = "pairs", shown: str = "pairs") -> str:
    """Return the name of a measure, that of the choice or the first where it is None; refuse an unknown measure or cost."""
    name = str((sweep.measures[0] if choice is None else choice.measure) if measure is None else measure)
    problems = [] if name in sweep.measures else [f"the sweep has no measure {name}; it has {', '.join(sweep.measures)}"]
    known = [*dict.fromkeys([*(one for one in map(str, sweep.frame) if one.endswith(("ms", "pairs", "usd"))), "pairs"])]
    if cost not in (*known, shown):
        problems.append(f"the sweep has no cost {cost!r}; it has {', '.join(known)}")
    if problems:
        raise SweepError("the figure cannot be drawn", problems, fix="sweep(table, qrels, [measure], cost=timings.cost())")
    return name


def check_made(value: object, name: str, attribute: str, fix: str) -> None:
    """Refuse what lacks the attribute of what a function returns."""
    if not hasattr(value, attribute):
        problem = f"it is a {type(value).__name__}, expected what {fix.partition('(')[0]} returns"
        raise SweepError(f"this is not a {name}", [problem], fix=fix)


def check_sweep(sweep: object) -> None:
    """Refuse what is no sweep."""
    check_made(sweep, "sweep", "grid", "sweep(table, qrels, measures)")  # one of rules has no grid


def check_calibration(report: object) -> None:
    """Refuse what is no report of a calibration."""
    check_made(report, "calibration report", "curve", "report_calibration(table, stage, qrels)")


def check_choice(sweep: Sweep, choice: Choice) -> None:
    """Refuse what is no choice, and a choice of another sweep."""
    check_made(choice, "choice", "verdict", "choose(sweep, measure)")
    known = set(map(tuple, sweep.grid))
    if choice.stages != sweep.stages or choice.measure not in sweep.measures or not {choice.cutoffs, choice.picked} <= known:
        found = f"it chose {choice.cutoffs} of {', '.join(choice.stages)} by {choice.measure}, which the sweep lacks"
        raise SweepError("the choice is of another sweep", [found], fix="choice = choose(sweep, measure)")


def find_row(sweep: Sweep, cutoffs: tuple[int | None, ...], fusion: StageFusion | None) -> int:
    """Return the row of a vector."""
    vector = int((sweep.grid.vectors == as_vectors([cutoffs])[0]).all(axis=1).argmax())
    return vector * max(len(sweep.fusions), 1) + (sweep.fusions.index(fusion) if fusion in sweep.fusions else 0)


def find_budget(sweep: Sweep, choice: Choice | None) -> tuple[str, float | None]:
    """Return the column of costs to show, which ``choose`` compares with a budget, and its limit.

    For a percentile that is its upper bound, as ``p95_bound_ms``; for costs by hand the longest time, ``p100_ms``.
    """
    budget = Budget(sweep.cost, None, _SHOWN, None, _count_documents(sweep)) if choice is None else choice.budget
    if budget.ms is None and budget.usd is not None:
        return "usd", _find_limit(budget.usd)
    return _find_time(sweep, budget), None if budget.ms is None else _find_limit(budget.ms)


def _find_limit(limit: float) -> float | None:
    return float(limit) if np.isfinite(limit) else None


def _find_time(sweep: Sweep, budget: Budget) -> str:
    """Return the column of times that a budget is compared with; pairs where no cost is known."""
    cost, level = sweep.cost, budget.percentile
    if cost is None:
        return "pairs"
    if level is None or (cost.sample is not None and not cost.sample.percentiles):
        return "ms"
    if cost.sample is None or level >= _ALL:
        return "p100_ms"
    bounded = replace(budget, ms=math.inf).level is not None
    return f"p{level:g}_bound_ms" if bounded else next(name for name in (f"p{level:g}_ms", "ms") if name in sweep.frame)


def _count_documents(sweep: Sweep) -> Ints:
    """Return how many documents each judged query retrieved."""
    return sweep.table.retrieved[sweep.replayer.judged.queries]


def read_costs(sweep: Sweep, column: str) -> Floats:
    """Return a cost of each row, shape (rows,)."""
    if column in sweep.frame:
        return sweep.frame[column].to_numpy(np.float64)
    limit = None if (level := read_level(column)) is None else math.inf
    budget = Budget(sweep.cost, limit, level, None, _count_documents(sweep))
    costs = budget.frame(sweep.stages, sweep.grid.vectors)[column.replace("_bound", "")]
    return np.repeat(costs.to_numpy(np.float64), max(len(sweep.fusions), 1))


def read_level(column: str) -> float | None:
    """Return the percentile of a column of costs, None for another one."""
    found = re.fullmatch(r"p([0-9.]+)(_bound)?_ms", column)
    return float(found[1]) if found else None


def describe_cost(column: str) -> dict[str, str]:
    """Name a cost for a reader, with its unit."""
    named = {"pairs": ("model pairs a query", "pairs"), "usd": ("US dollars a query", "USD"), "ms": ("mean time of a query", "ms")}
    if column in named:
        label, unit = named[column]
        return {"label": label, "unit": unit}
    level = read_level(column)
    bound = "upper bound of the " if column.endswith("_bound_ms") else ""
    label = "longest time of a query" if level == _ALL else f"{bound}p{level:g} of the time of a query"
    return {"label": label, "unit": "ms"}
