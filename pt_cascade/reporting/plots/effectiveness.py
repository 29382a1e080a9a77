"""Figures of a measure: against the cost of all vectors, and over two cut-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.sweep.front import find_front
from pt_cascade.errors import SweepError
from pt_cascade.reporting.plots.canvas import (
    COLORS,
    MARKS,
    Look,
    add_legend,
    add_limit,
    find_marks,
    open_axes,
    scale_log,
    show_row,
    show_text,
)
from pt_cascade.reporting.rows import check_names, describe_cost, find_budget, read_costs

if TYPE_CHECKING:
    from ir_measures import Measure
    from matplotlib.axes import Axes

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints

_WIDE = 20  # costs that differ by this factor are on a logarithmic axis
_PLANE = 2  # cut-offs
_FEW = 1000  # vectors, whose points are large


def draw_front(
    sweep: Sweep,
    ax: Axes | None = None,
    *,
    choice: Choice | None = None,
    measure: Measure | str | None = None,
    cost: str | None = None,
) -> Axes:
    """Draw a measure against the cost of all vectors, with their Pareto front.

    All of it is in-sample: on other queries the best of many vectors is worse.

    Args:
        sweep: Measures and costs of every vector.
        ax: Where to draw; None: a new figure, 3.3 inches wide.
        choice: Made from this sweep; its cut-offs and its budget are marked.
        measure: One of the sweep's; None: that of the choice, else the first.
        cost: A column of costs, as ``p95_ms``, ``ms``, ``usd`` or ``pairs``; None: the one that ``choose`` compares with a budget.

    Raises:
        SweepError: The sweep has no such measure or cost, or the choice is of another sweep.
        MissingError: matplotlib is not installed.

    Example:
        >>> import pt_cascade as ptc, pandas as pd
        >>> run = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "score": [2.0, 1.0] * 2})
        >>> table = ptc.ScoreTable.from_runs({"bm25": run, "t5": run.assign(score=[1.0, 2.0] * 2)})
        >>> qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]})
        >>> draw_front(ptc.sweep(table, qrels, ["RR"])).get_ylabel()
        'RR'
    """
    rows = find_marks(sweep, choice)
    column, limit = find_budget(sweep, choice)
    name = check_names(sweep, choice, measure, column if cost is None else cost, column)
    column, limit = (column, limit) if cost in (None, column) else (str(cost), None)
    costs, values = read_costs(sweep, column), sweep.frame[name].to_numpy(np.float64)
    front = find_front(pd.DataFrame({"cost": costs, "measure": values}), "measure", "cost")
    with open_axes(ax) as drawn:
        look: Look = {"markersize": 5, "color": "0.55"} if len(costs) < _FEW else {"markersize": 2.5, "color": "0.72"}
        drawn.plot(costs, values, ".", markeredgewidth=0, rasterized=True, label="all cut-offs", **look)
        ends = np.append(front["cost"], costs.max()), np.append(front["measure"], front["measure"].iloc[-1])
        drawn.plot(*ends, drawstyle="steps-post", color=COLORS[0], label="Pareto front")
        for mark, row in rows.items():
            drawn.plot(costs[row], values[row], label=f"{mark}: {show_row(sweep, row)}", **MARKS[mark])
        told = describe_cost(column)
        add_limit(drawn, limit, costs.max(), told["unit"])
        if 0 < costs.min() * _WIDE < costs.max():
            scale_log(drawn, "x")
        drawn.set_xlabel(f"{told['label'].replace(' of the time of ', ' time of ')} ({told['unit']})")  # a column is narrow
        drawn.set_ylabel(name)
        add_legend(drawn)
    return drawn


def draw_surface(
    sweep: Sweep, ax: Axes | None = None, *, choice: Choice | None = None, measure: Measure | str | None = None
) -> Axes:
    """Draw a measure over the first two cut-offs that vary, the others, and a fusion, as in the choice or the deepest vector.

    Args:
        sweep: Measures of every vector.
        ax: As for ``draw_front``.
        choice: Likewise.
        measure: Likewise.

    Raises:
        SweepError: Fewer than two cut-offs vary, the sweep has no such measure, or the choice is of another sweep.
        MissingError: matplotlib is not installed.
    """
    rows = find_marks(sweep, choice)
    name = check_names(sweep, choice, measure)
    axes = [n for n, column in enumerate(sweep.grid.vectors.T) if len(np.unique(column)) > 1][:_PLANE]
    if len(axes) < _PLANE:
        problem = f"{len(axes)} of the cut-offs of {', '.join(sweep.stages)} vary, expected two"
        fix = 'sweep(table, qrels, measures, grid={"k1": [5, 10], "k2": [2, 5]})' if len(sweep.stages) > 1 else ""
        raise SweepError("there is no surface to draw", [problem], fix=fix)
    ends, cells = _cut_plane(sweep, axes, [*rows.values()][-1], sweep.frame[name].to_numpy(np.float64))
    with open_axes(ax) as drawn:
        mesh = drawn.pcolormesh(*map(_find_edges, ends), cells, cmap="cividis", rasterized=True)
        drawn.figure.colorbar(mesh, ax=drawn, label=name).outline.set_visible(False)
        depths = _read_depths(sweep)
        for mark, row in rows.items():
            drawn.plot(*depths[row, axes], label=f"{mark}: {show_row(sweep, row)}", **MARKS[mark])
        scale_log(drawn, "x", "y")
        drawn.set_xlabel(f"cut-off of {show_text(sweep.stages[axes[0]])} (docs)")
        drawn.set_ylabel(f"cut-off of {show_text(sweep.stages[axes[1]])} (docs)")
        drawn.grid(visible=False)
        add_legend(drawn)
    return drawn


def _read_depths(sweep: Sweep) -> Ints:
    """Return each row's cut-offs, no cut as the longest list, shape (rows, stages)."""
    vectors = sweep.rows[:, : len(sweep.stages)].astype(np.int64)
    return np.where(vectors == NO_CUT, max(int(sweep.table.retrieved.max(initial=1)), 1), vectors)


def _cut_plane(sweep: Sweep, axes: list[int], row: int, values: Floats) -> tuple[list[Ints], Floats]:
    """Return the cut-offs along both axes, and the measure there, NaN where the grid has no vector: shape (second, first)."""
    rows, depths = sweep.rows, _read_depths(sweep)
    others = [n for n in range(rows.shape[1]) if n not in axes]
    inside = (rows[:, others] == rows[row, others]).all(axis=1)
    ends, places = zip(*(np.unique(depths[inside, n], return_inverse=True) for n in axes), strict=True)
    cells = np.full((len(ends[1]), len(ends[0])), np.nan)
    cells[places[1], places[0]] = values[inside]
    return list(ends), cells


def _find_edges(values: Ints) -> Floats:
    """Return the borders between cut-offs on a logarithmic axis, and those of the first and the last."""
    logs = np.log(values.astype(np.float64))
    middle = (logs[1:] + logs[:-1]) / 2
    step = np.diff(logs) if len(logs) > 1 else np.ones(1)
    edges: Floats = np.exp(np.concatenate([[logs[0] - step[0] / 2], middle, [logs[-1] + step[-1] / 2]]))
    return edges
