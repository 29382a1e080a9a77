"""A pipeline as stages and cut-offs (Stage, Cascade), and its run, one stage at a time (Step, walk)."""

from pt_cascade.cascade.cascade import Cascade
from pt_cascade.cascade.stage import Stage
from pt_cascade.cascade.steps import Step, walk

__all__ = ["Cascade", "Stage", "Step", "walk"]
