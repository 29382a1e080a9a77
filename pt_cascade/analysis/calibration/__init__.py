"""Scores as probabilities that a document is relevant: fitted on judged pairs, saved as numbers, and measured held out by query."""

from pt_cascade.analysis.calibration.calibrators import Beta, Isotonic, Platt, Temperature
from pt_cascade.analysis.calibration.fitting import fit_scores
from pt_cascade.analysis.calibration.report import report_calibration
from pt_cascade.analysis.calibration.scales import detect_scale

__all__ = ["Beta", "Isotonic", "Platt", "Temperature", "detect_scale", "fit_scores", "report_calibration"]
