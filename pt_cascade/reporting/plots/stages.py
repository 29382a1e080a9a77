"""Figures of the stages: the recall of each by its cut-off, and what each loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.reporting.plots.canvas import (
    COLORS,
    LINES,
    Look,
    add_legend,
    find_marks,
    open_axes,
    read_row,
    scale_log,
    show_row,
    show_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep

_NORMAL = 1.96  # standard errors on each side, for 95 %


def draw_recall(sweep: Sweep, ax: Axes | None = None, *, choice: Choice | None = None, rel: int | None = None) -> Axes:
    """Draw each stage's recall by its cut-off, of all judged relevant documents, given the cut-offs of the stages before it.

    Bands are 1.96 standard errors of the mean over the queries, each cut-off by itself. Circles are the cut-offs of the choice, or
    else the deepest; triangles the plateaus that the choice found.

    Args:
        sweep: Of whose table the recall is.
        ax: As for ``draw_front``.
        choice: Made from this sweep, for the cut-offs and plateaus; None: the deepest cut-offs.
        rel: The lowest label that is relevant; None: that of the choice, else of the measures.

    Raises:
        SweepError: The choice is of another sweep.
        MissingError: matplotlib is not installed.
    """
    mark, row = [*find_marks(sweep, choice).items()][-1]
    cutoffs, _ = read_row(sweep, row)
    rel = choice.rel if choice is not None and rel is None else rel
    plateaus = {} if choice is None else {one.stage: one.k for one in choice.plateaus}
    curves = [sweep.recall(n, cutoffs[:n], rel=rel) for n in range(len(cutoffs))]
    with open_axes(ax) as drawn:
        for n, stage in enumerate(sweep.stages):
            k, mean, error = curves[n][["k", "recall", "error"]].to_numpy().T
            color, line = COLORS[n % len(COLORS)], LINES[n % len(LINES)]
            low, high = ((mean + sign * _NORMAL * error).clip(0, 1) for sign in (-1, 1))
            drawn.fill_between(k, low, high, color=color, alpha=0.18, linewidth=0)
            drawn.plot(k, mean, color=color, linestyle=line, label=show_text(stage))
            at = min(cutoffs[n] or len(k), len(k))
            label = f"{mark}: {show_row(sweep, row)}" if n == len(cutoffs) - 1 else f"_{mark}"
            drawn.plot(at, mean[at - 1], "o", color=color, markeredgecolor="white", markersize=6, zorder=5, label=label)
            if (plateau := plateaus.get(stage)) is not None:
                look: Look = {"color": "black", "zorder": 6, "label": "_plateau" if n else "plateau"}
                drawn.plot(plateau, mean[min(plateau, len(k)) - 1], "^", **look)
        scale_log(drawn, "x")
        drawn.set(ylim=(0, 1.03), xlabel="cut-off k of the stage (documents)", ylabel="recall@k")
        add_legend(drawn, columns=2)
    return drawn


def draw_losses(sweep: Sweep, ax: Axes | None = None, *, choice: Choice | None = None, rel: int | None = None) -> Axes:
    """Draw where relevant documents are lost at the cut-offs of the choice, or else the deepest, as ``sweep.loss`` gives it.

    Args:
        sweep: Of whose table the losses are.
        ax: As for ``draw_front``.
        choice: Made from this sweep; None: the deepest cut-offs.
        rel: The lowest label that is relevant; None: that of the measures.

    Raises:
        SweepError: The choice is of another sweep.
        MissingError: matplotlib is not installed.
    """
    cutoffs, fusion = read_row(sweep, [*find_marks(sweep, choice).values()][-1])
    loss = sweep.loss(cutoffs, rel=rel, fusion=fusion).iloc[1:]
    places = np.arange(len(loss))
    with open_axes(ax) as drawn:
        for n, (column, label, hatch) in enumerate((("lost_recall", "recall", ""), ("lost_ndcg", "nDCG@10", "////"))):
            look: Look = {"color": COLORS[n], "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            bars = drawn.barh(places + (n - 0.5) * 0.38, loss[column], height=0.36, label=label, **look)
            drawn.bar_label(bars, fmt="{:.3f}", fontsize=6, padding=1.5)
        drawn.set_yticks(places, [show_text(place, most=32) for place in loss["at"]])
        drawn.margins(x=0.15)
        drawn.invert_yaxis()
        drawn.grid(visible=False, axis="y")
        drawn.set_xlabel("loss, mean over queries")
        add_legend(drawn)
    return drawn
