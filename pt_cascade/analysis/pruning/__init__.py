"""Cut-offs for each query from the scores of its list, and how much they may lose; cut-offs for all queries live in grid."""

from pt_cascade.analysis.pruning.margins import Gate, Margin
from pt_cascade.analysis.pruning.rules import Rule
from pt_cascade.analysis.pruning.thresholds import Mass, Probability, Threshold

__all__ = ["Gate", "Margin", "Mass", "Probability", "Rule", "Threshold"]
