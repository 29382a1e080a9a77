"""The figure of probabilities before and after calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.analysis.calibration.report import BEFORE
from pt_cascade.reporting.plots.canvas import COLORS, LINES, MARKERS, Look, add_legend, open_axes
from pt_cascade.reporting.rows import check_calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pt_cascade.analysis.calibration.report import CalibrationReport


def draw_reliability(report: CalibrationReport, ax: Axes | None = None) -> Axes:
    """Draw the share of relevant pairs against their mean probability in bins, before and after calibration.

    Points on the diagonal are calibrated; bars are the 95 % intervals of the report.

    Args:
        report: What ``report_calibration`` returned.
        ax: As for ``draw_front``.

    Raises:
        SweepError: It is something else.
        MissingError: matplotlib is not installed.
    """
    check_calibration(report)
    with open_axes(ax) as drawn:
        drawn.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, label="_diagonal")
        for n, (method, rows) in enumerate(report.curve.groupby("method", sort=False)):
            errors = [rows["relevant"] - rows["low"], rows["high"] - rows["relevant"]]
            look: Look = {"color": COLORS[n % len(COLORS)], "linestyle": LINES[n % len(LINES)], "marker": MARKERS[n % len(MARKERS)]}
            label = "before" if method == BEFORE else str(method)
            drawn.errorbar(rows["probability"], rows["relevant"], errors, label=label, elinewidth=0.6, **look)
        drawn.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability, mean of a bin", ylabel="share of relevant pairs")
        add_legend(drawn, columns=3)
    return drawn
