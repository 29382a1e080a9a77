"""The rows of a sweep that a figure marks, and the cost that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.grid.cutoffs import as_vectors
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats


def check_choice(sweep: Sweep, choice: Choice) -> None:
    """Refuse a choice of another sweep."""
    known = set(map(tuple, sweep.grid))
    if choice.stages != sweep.stages or choice.measure not in sweep.measures or not {choice.cutoffs, choice.picked} <= known:
        found = f"it chose {choice.cutoffs} of {', '.join(choice.stages)} by {choice.measure}, which the sweep lacks"
        raise SweepError("the choice is of another sweep", [found], fix="choice = choose(sweep, measure)")


def find_row(sweep: Sweep, cutoffs: tuple[int | None, ...], fusion: StageFusion | None) -> int:
    """Return the row of a vector."""
    vector = int((sweep.grid.vectors == as_vectors([cutoffs])[0]).all(axis=1).argmax())
    return vector * max(len(sweep.fusions), 1) + (sweep.fusions.index(fusion) if fusion in sweep.fusions else 0)


def find_deepest(sweep: Sweep) -> int:
    """Return the row with the largest product of cut-offs; of equal ones the last."""
    products = np.log(sweep.grid.vectors.astype(np.float64)).sum(axis=1)
    return (len(products) - 1 - int(products[::-1].argmax())) * max(len(sweep.fusions), 1)


def find_budget(sweep: Sweep, choice: Choice | None) -> tuple[str, float | None]:
    """Return the column of costs to show, and its limit: the budget's, else the best known."""
    limits = {} if choice is None else choice.budget.limits
    if limits:
        column = next(iter(limits))
        return column, float(limits[column]) if np.isfinite(limits[column]) else None
    known = sweep.frame.columns
    return next((name for name in ("p95_ms", "ms") if name in known), "pairs"), None


def read_costs(sweep: Sweep, column: str) -> Floats:
    """Return a cost of each row, shape (rows,)."""
    if column in sweep.frame:
        return sweep.frame[column].to_numpy(np.float64)
    level = [one] if (one := read_level(column)) else []
    cost = sweep.cost or Cost.of(*(StageCost() for _ in sweep.stages))
    costs = cost.frame(sweep.grid.vectors, docs=sweep.table.retrieved[sweep.replayer.judged.queries], percentiles=level)
    return np.repeat(costs[column].to_numpy(np.float64), max(len(sweep.fusions), 1))


def read_level(column: str) -> float | None:
    """Return the percentile of a column of costs, None for another one."""
    return float(column[1:-3]) if column.startswith("p") and column.endswith("_ms") else None


def describe_cost(column: str) -> dict[str, str]:
    """Name a cost for a reader, with its unit."""
    named = {"pairs": ("model pairs a query", "pairs"), "usd": ("US dollars a query", "USD"), "ms": ("mean time of a query", "ms")}
    label, unit = named.get(column, (f"{column.removesuffix('_ms')} of the time of a query", "ms"))
    return {"label": label, "unit": unit}
