"""Ranking cascades on PyTerrier: rankers from cheap to expensive, each pruning what the next one sees.

    PyTerrier pipeline ─Cascade.of─▶ Cascade ─score───▶ ScoreTable ─┐
    bm25 % 1000 >> bi % 100 >> t5 % 20  │ └────profile─▶ Timings ───┴─sweep─▶ Sweep ─choose─▶ Choice ─with_cutoffs─▶ Cascade
                                        └──run──▶ Run (results and trace); itself a PyTerrier transformer, for pt.Experiment

Every arrow is a function without side effects on what it was given. Names load when first used, so importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_cascade import errors, frames, stages, trec
    from pt_cascade.analysis.choice import Choice, choose
    from pt_cascade.analysis.costs import Cost
    from pt_cascade.analysis.fusion import fuse
    from pt_cascade.analysis.grids import Grid, grid
    from pt_cascade.analysis.latency import Latency
    from pt_cascade.analysis.pareto import pareto_front
    from pt_cascade.analysis.stage_costs import StageCost
    from pt_cascade.analysis.sweeps import Sweep, sweep
    from pt_cascade.analysis.tables import ScoreTable
    from pt_cascade.analysis.timings import Timings
    from pt_cascade.cascade import Cascade, Stage
    from pt_cascade.collections import Collection, open_collection
    from pt_cascade.errors import CascadeError, CascadeWarning
    from pt_cascade.execution.answers import finish
    from pt_cascade.execution.comparison import Comparison, compare
    from pt_cascade.execution.defaults import default_cascade, default_model, store_collection
    from pt_cascade.execution.executor import Run, Runner, run, run_chunks
    from pt_cascade.execution.recipes import compose
    from pt_cascade.execution.scoring.score import score
    from pt_cascade.execution.timing import profile
    from pt_cascade.stages.catalogue import catalogue

_HOME = {
    "Cascade": "pt_cascade.cascade",
    "CascadeError": "pt_cascade.errors",
    "CascadeWarning": "pt_cascade.errors",
    "Choice": "pt_cascade.analysis.choice",
    "Collection": "pt_cascade.collections",
    "Comparison": "pt_cascade.execution.comparison",
    "Cost": "pt_cascade.analysis.costs",
    "Grid": "pt_cascade.analysis.grids",
    "Latency": "pt_cascade.analysis.latency",
    "Run": "pt_cascade.execution.executor",
    "Runner": "pt_cascade.execution.executor",
    "ScoreTable": "pt_cascade.analysis.tables",
    "Stage": "pt_cascade.cascade",
    "StageCost": "pt_cascade.analysis.stage_costs",
    "Sweep": "pt_cascade.analysis.sweeps",
    "Timings": "pt_cascade.analysis.timings",
    "catalogue": "pt_cascade.stages.catalogue",
    "choose": "pt_cascade.analysis.choice",
    "compare": "pt_cascade.execution.comparison",
    "compose": "pt_cascade.execution.recipes",
    "default_cascade": "pt_cascade.execution.defaults",
    "default_model": "pt_cascade.execution.defaults",
    "finish": "pt_cascade.execution.answers",
    "fuse": "pt_cascade.analysis.fusion",
    "grid": "pt_cascade.analysis.grids",
    "open_collection": "pt_cascade.collections",
    "pareto_front": "pt_cascade.analysis.pareto",
    "profile": "pt_cascade.execution.timing",
    "run": "pt_cascade.execution.executor",
    "run_chunks": "pt_cascade.execution.executor",
    "score": "pt_cascade.execution.scoring.score",
    "store_collection": "pt_cascade.execution.defaults",
    "sweep": "pt_cascade.analysis.sweeps",
}
_MODULES = ("errors", "frames", "stages", "trec")

__all__ = [
    "Cascade",
    "CascadeError",
    "CascadeWarning",
    "Choice",
    "Collection",
    "Comparison",
    "Cost",
    "Grid",
    "Latency",
    "Run",
    "Runner",
    "ScoreTable",
    "Stage",
    "StageCost",
    "Sweep",
    "Timings",
    "catalogue",
    "choose",
    "compare",
    "compose",
    "default_cascade",
    "default_model",
    "errors",
    "finish",
    "frames",
    "fuse",
    "grid",
    "open_collection",
    "pareto_front",
    "profile",
    "run",
    "run_chunks",
    "score",
    "stages",
    "store_collection",
    "sweep",
    "trec",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
