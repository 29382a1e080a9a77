"""Figures for papers and notebooks by matplotlib, each a function from a sweep or a report to ``Axes``; tables are elsewhere."""

from pt_cascade.reporting.plots.canvas import save_figure
from pt_cascade.reporting.plots.effectiveness import draw_front, draw_surface
from pt_cascade.reporting.plots.probabilities import draw_reliability
from pt_cascade.reporting.plots.stages import draw_losses, draw_recall
from pt_cascade.reporting.plots.times import draw_latency

__all__ = ["draw_front", "draw_latency", "draw_losses", "draw_recall", "draw_reliability", "draw_surface", "save_figure"]
