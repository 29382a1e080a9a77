"""The empty figures of the page, by Bokeh; its script fills them. They hold no name that a user gave: those stand in the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bokeh.embed import json_item
from bokeh.models import BasicTickFormatter, ColumnDataSource, FixedTicker, Range1d, Span
from bokeh.plotting import figure
from bokeh.resources import Resources

from pt_cascade.reporting.plots.canvas import COLORS

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812 - bokeh's class is named like a function

_DASHES = ("solid", "dashed", "dotdash", "dotted")
_HEIGHT = 300


def make_figures(stages: int, methods: int, *, log_cost: bool) -> dict[str, Any]:
    """Return the figures as JSON for ``Bokeh.embed.embed_item``, by the element that holds each."""
    figures = {"front": _make_front(log=log_cost), "surface": _make_surface()}
    figures |= {"recall": _make_recall(stages), "latency": _make_latency(), "reliability": _make_reliability(methods)}
    return {name: json_item(one, name) for name, one in figures.items()}


def load_bokeh() -> str:
    """Return Bokeh's script as elements of a page."""
    return str(Resources(mode="inline", components=["bokeh"]).render_js())


def _make_plot(name: str, *, log: bool = False) -> Figure:
    """Make a figure without tools, whose ranges the script sets."""
    plot = figure(
        name=name,
        x_axis_type="log" if log else "linear",
        x_range=Range1d(1, 10),
        y_range=Range1d(0, 1),
        height=_HEIGHT,
        min_width=200,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        output_backend="canvas",
    )
    plot.grid.grid_line_alpha = 0.4
    plot.min_border_right = 12
    if log:
        plot.xaxis.formatter = BasicTickFormatter()
        plot.xaxis.ticker = FixedTicker(ticks=[])  # by the script: Bokeh's own are few and all at one end
    else:
        plot.xaxis.ticker.desired_num_ticks = 4  # labels have room on a telephone
    return plot


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _mark(plot: Figure) -> None:
    """Add the markers of the choice, the deepest vector and the sliders, told apart by shape."""
    for name, shape, color in (("deepest", "square", COLORS[2]), ("chosen", "diamond", COLORS[1])):
        plot.scatter(
            "x", "y", source=_source(name, "x", "y"), marker=shape, size=14, fill_color=color, line_color="white", line_width=1.5
        )
    current = _source("current", "x", "y")
    for color, width in (("white", 8), (COLORS[3], 4)):  # a light edge, on any background
        plot.scatter("x", "y", source=current, size=20, fill_color=None, line_color=color, line_width=width)


def _make_front(*, log: bool) -> Figure:
    plot = _make_plot("front", log=log)
    empty = _source("cloud_image", "image", "x", "y", "dw", "dh")
    plot.image_rgba("image", "x", "y", "dw", "dh", source=empty)
    plot.scatter("x", "y", source=_source("cloud", "x", "y"), size=4, color="#808080", alpha=0.5, line_color=None)
    plot.step("x", "y", source=_source("line", "x", "y"), mode="after", color=COLORS[0], line_width=3)
    _mark(plot)
    _add_limit(plot)
    return plot


def _add_limit(plot: Figure) -> None:
    """Add the line of the budget."""
    plot.add_layout(Span(name="limit", location=1.0, dimension="height", line_color=COLORS[1], line_dash="dashed", line_width=2))


def _make_surface() -> Figure:
    """Make the image of two cut-offs; its axes count the positions of the cut-offs, the script writes the cut-offs there."""
    plot = _make_plot("surface")
    plot.image_rgba("image", "x", "y", "dw", "dh", source=_source("cells", "image", "x", "y", "dw", "dh"))
    plot.grid.visible = False
    for axis in plot.axis:
        axis.ticker = FixedTicker(ticks=[])
    _mark(plot)
    return plot


def _make_recall(stages: int) -> Figure:
    plot = _make_plot("recall", log=True)
    for n in range(stages):
        color = COLORS[n % len(COLORS)]
        _add_curve(plot, n, f"recall{n}")
        marks = _source(f"cut{n}", "x", "y")
        plot.scatter("x", "y", source=marks, marker="circle", size=11, fill_color=color, line_color="white", line_width=2)
        plot.scatter(
            "x", "y", source=_source(f"chosen{n}", "x", "y"), marker="diamond", size=10, fill_color=COLORS[1], line_color="white"
        )
        reached = _source(f"plateau{n}", "x", "y")
        plot.scatter("x", "y", source=reached, marker="inverted_triangle", size=13, fill_color=None, line_color=color, line_width=2)
    return plot


def _add_curve(plot: Figure, n: int, name: str) -> None:
    """Add a curve with its band."""
    color, dash, source = COLORS[n % len(COLORS)], _DASHES[n % len(_DASHES)], _source(name, "x", "y", "low", "high")
    plot.varea("x", "low", "high", source=source, fill_color=color, fill_alpha=0.15)
    plot.line("x", "y", source=source, color=color, line_dash=dash, line_width=2.5)


def _make_reliability(methods: int) -> Figure:
    plot = _make_plot("reliability")
    plot.line([0, 1], [0, 1], color="#808080", line_width=1)
    for n in range(methods):
        _add_curve(plot, n, f"method{n}")
        plot.scatter("x", "y", source=_source(f"bins{n}", "x", "y"), size=7, fill_color=COLORS[n % len(COLORS)], line_color="white")
    return plot


def _make_latency() -> Figure:
    plot = _make_plot("latency")
    plot.step("x", "y", source=_source("times", "x", "y"), mode="after", color=COLORS[0], line_width=3)
    plot.scatter("x", "y", source=_source("percentile", "x", "y"), size=12, fill_color=COLORS[0], line_color="white", line_width=2)
    _add_limit(plot)
    return plot
