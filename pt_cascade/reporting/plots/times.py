"""The figure of the times of queries, summed over the stages, against the budget."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.cost.sample import sample_from_counts
from pt_cascade.analysis.grid.cutoffs import as_vectors
from pt_cascade.errors import SweepError
from pt_cascade.reporting.plots.canvas import LINES, MARKS, Look, add_legend, add_limit, find_marks, open_axes, read_row, show_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats

_LEVEL = 95.0


def draw_latency(sweep: Sweep, ax: Axes | None = None, *, choice: Choice | None = None) -> Axes:
    """Draw the share of queries that are answered within a time, at the deepest cut-offs and those of the choice.

    A time is the sum over the stages, query by query. Marks are the percentile of the choice's budget, 95 if it has none, for the
    choice with its interval, whose upper end a budget bounds; a budget of milliseconds is a line.

    Args:
        sweep: With a cost whose queries were timed one by one, or that was given by hand.
        ax: As for ``draw_front``.
        choice: Made from this sweep.

    Raises:
        SweepError: The times of single queries are not known, or the choice is of another sweep.
        MissingError: matplotlib is not installed.
    """
    rows = find_marks(sweep, choice)
    budget = None if choice is None else choice.budget
    level = _LEVEL if budget is None or budget.ms is None else budget.percentile
    sums = [np.sort(_sum_times(sweep, row)) for row in rows.values()]
    with open_axes(ax) as drawn:
        for n, ((mark, row), times) in enumerate(zip(rows.items(), sums, strict=True)):
            share = np.arange(1, len(times) + 1) / len(times)
            look: Look = {"color": MARKS[mark]["color"], "linestyle": LINES[n], "drawstyle": "steps-post"}
            drawn.plot(np.append(times[0], times), np.append(0, share), label=f"{mark}: {show_row(sweep, row)}", **look)
            if level is not None:
                drawn.plot(take_percentiles(times, [level]), level / 100, **MARKS[mark], label=f"_p{level:g} of {mark}")
        if choice is not None and choice.times is not None and choice.times.percentiles:
            ends = [choice.times.low_ms[0], min(choice.times.high_ms[0], drawn.get_xlim()[1])]
            drawn.plot(ends, [choice.times.percentiles[0] / 100] * 2, "|-", color="black", linewidth=0.8, label="_interval")
        add_limit(drawn, None if budget is None else budget.ms, drawn.dataLim.x1, "ms")
        drawn.set(ylim=(0, 1.04), xlabel="time of a query, all stages (ms)", ylabel="share of queries")
        add_legend(drawn)
    return drawn


def _sum_times(sweep: Sweep, row: int) -> Floats:
    """Return the time of each timed run at the cut-offs of a row, shape (runs,)."""
    cost = sweep.cost
    if cost is None or (cost.sample is not None and not cost.sample.percentiles):
        found = "the sweep has no cost" if cost is None else "the queries were timed together, so only their mean is known"
        fix = "sweep(table, qrels, measures, cost=profile(cascade, topics).cost())"
        raise SweepError("the times of single queries are not known", [found], fix=fix)
    sample = cost.sample or sample_from_counts(sweep.table.retrieved[sweep.replayer.judged.queries])
    times: Floats = replace(cost, sample=sample).times_at(as_vectors([read_row(sweep, row)[0]]).astype(np.int64))[0]
    return times
