"""What all figures share: a paper's column, fonts of 8 points, and marks that are told apart without colors."""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.errors import CascadeError, escape, require
from pt_cascade.files import write_file
from pt_cascade.numbers import is_whole
from pt_cascade.reporting.rows import check_choice, check_sweep, find_row

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.sweep.result import Sweep

Look: TypeAlias = "dict[str, Any]"  # keywords of matplotlib

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito, told apart by the colour-blind
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)))
MARKERS = ("o", "^", "v", "P", "X", "d")
_EDGE: Look = {"markeredgecolor": "white", "markeredgewidth": 0.6, "linestyle": "none", "zorder": 5, "clip_on": False}
MARKS: dict[str, Look] = {
    "deepest": {**_EDGE, "marker": "s", "markersize": 8, "color": COLORS[2]},
    "chosen": {**_EDGE, "marker": "D", "markersize": 5.5, "color": COLORS[1]},
}
_SMALL = 7  # points
_STYLE: Any = {
    "figure.figsize": (3.3, 2.6),  # inches: a column of a paper
    "font.size": 8,
    "axes.labelsize": 8,
    "legend.fontsize": _SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
}
_SAVED: Any = {"pdf.fonttype": 42, "svg.hashsalt": "pt_cascade"}
_DATES = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
_NEAR = 1.5  # times the largest value
_DECADES = 500  # up to this factor there is room for ticks at 2 and 5
_LETTERS, _LINE = 57, 9  # of a legend as wide as a column; the line of an entry takes nine


@contextmanager
def open_axes(ax: Axes | None) -> Iterator[Axes]:
    """Yield axes to draw into, new ones if there are none, in the style of the figures; no setting of matplotlib changes."""
    require("matplotlib", why="a figure", install="'pt_cascade[plots]'")
    if ax is not None and not hasattr(ax, "tick_params"):
        problem = f"it is a {type(ax).__name__}, expected axes of matplotlib; a choice has a name: choice=choice"
        raise CascadeError("these are not axes", [problem], fix="draw_front(sweep, choice=choice)")
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from matplotlib import pyplot as plt  # noqa: PLC0415 - an extra

    with mpl.rc_context(_STYLE):
        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        interactive = mpl.is_interactive()  # as the first figure of a notebook sets it, which loads the backend
        ax.tick_params(labelsize=_SMALL, which="both")
        ax.grid(alpha=0.3, linewidth=0.5)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        yield ax
    mpl.interactive(interactive)


def save_figure(ax: Axes, path: str | os.PathLike[str], *, dpi: int = 300) -> None:
    """Write the figure of some axes as PDF with TrueType fonts, as SVG or as PNG.

    Args:
        ax: As a function of ``ptc.plots`` returns them.
        path: The file, which ends in ``.pdf``, ``.svg`` or ``.png``; one that exists is replaced.
        dpi: Dots an inch, of a PNG and of what is an image in the others, 1 or more.

    Raises:
        CascadeError: The name ends in something else, or dpi is out of range.
        MissingError: There is no folder for the file.

    Example:
        >>> import tempfile
        >>> from matplotlib.figure import Figure
        >>> save_figure(Figure().subplots(), Path(tempfile.mkdtemp()) / "figure.pdf")
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    problems = [] if kind in _DATES else [f"the name ends in {Path(path).suffix!r}, expected .pdf, .svg or .png"]
    problems += [] if is_whole(dpi, 1) else [f"dpi is {dpi!r}, expected a whole number, 1 or more"]
    if problems:
        raise CascadeError(f"cannot save the figure {path}", problems, fix='save_figure(ax, "figure.pdf")')
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    figure, data = cast("Figure", ax.get_figure(root=True)), io.BytesIO()
    with mpl.rc_context(_SAVED):
        figure.savefig(data, format=kind, dpi=dpi, metadata=_DATES[kind])
    write_file(Path(path), data.getvalue())


def find_marks(sweep: Sweep, choice: Choice | None) -> dict[str, int]:
    """Return the rows of a sweep that figures mark; refuse a choice of another sweep."""
    check_sweep(sweep)
    if choice is None:
        return {"deepest": sweep.deepest}
    check_choice(sweep, choice)
    return {"deepest": sweep.deepest, "chosen": find_row(sweep, choice.cutoffs, choice.fusion)}


def read_row(sweep: Sweep, row: int) -> tuple[tuple[int | None, ...], StageFusion | None]:
    """Return the cut-offs and the fusion of a row."""
    cutoffs = as_cutoffs(sweep.rows[row, : len(sweep.stages)].tolist())
    return cutoffs, sweep.fusions[sweep.rows[row, -1]] if sweep.fusions else None


def show_row(sweep: Sweep, row: int) -> str:
    """Show the cut-offs of a row, and its weights."""
    cutoffs, fusion = read_row(sweep, row)
    weights = [] if fusion is None else [f"weights {', '.join(f'{weight:g}' for weight in fusion.weigh(sweep.stages))}"]
    return "; ".join([", ".join("all" if k is None else str(k) for k in cutoffs), *weights])


def show_text(text: str, most: int = 24) -> str:
    """Return a short text that matplotlib shows as it is: it takes dollars as mathematics, and leaves _names out of legends."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return escape(" " * short.startswith("_") + short.replace("\n", " ")).replace("$", r"\$")


def scale_log(ax: Axes, *names: Literal["x", "y"]) -> None:
    """Make axes logarithmic when all is drawn, with ticks written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - an extra

    for name in names:
        axis = getattr(ax, f"{name}axis")
        low, high = axis.get_data_interval()
        ax.set(**{f"{name}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < _DECADES else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def add_limit(ax: Axes, limit: float | None, most: float, unit: str) -> None:
    """Draw the line of a budget; where it is far beyond the data, only its name."""
    if limit is None or not np.isfinite(limit):
        return
    look: Look = {"color": COLORS[0], "linestyle": ":", "label": f"budget: {limit:g} {unit}"}
    if limit <= _NEAR * most:
        ax.axvline(limit, **look)
    else:
        ax.plot([], [], **look | {"label": f"{look['label']}, beyond the axis"})


def add_legend(ax: Axes, columns: int = 1) -> None:
    """Put the legend above the axes, where it hides nothing, in one column where several have no room."""
    labels = ax.get_legend_handles_labels()[1]
    rows = -(-len(labels) // columns)
    letters = sum(max(map(len, labels[n : n + rows])) for n in range(0, len(labels), rows))
    columns = columns if letters + columns * _LINE <= _LETTERS else 1
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2, handlelength=2.2)
