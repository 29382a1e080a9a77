"""Ranking cascades on PyTerrier: rankers from cheap to expensive, each of which re-ranks the best documents of the one before.

    PyTerrier pipeline ─Cascade.of─▶ Cascade ─score───▶ ScoreTable ─┐
    bm25 % 1000 >> bi % 100 >> t5 % 20  │ └────profile─▶ Timings ───┴─sweep─▶ Sweep ─choose─▶ Choice ─with_cutoffs─▶ Cascade
                                        └──run──▶ Run (results and trace); itself a PyTerrier transformer, for pt.Experiment

No function changes its arguments. Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_cascade import errors, frames, stages, trec
    from pt_cascade.analysis.choice.choose import choose
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.analysis.cost.stage_cost import StageCost
    from pt_cascade.analysis.cost.timings import Timings
    from pt_cascade.analysis.fusion.fuse import fuse
    from pt_cascade.analysis.grid.grids import grid
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.analysis.sweep.sweep import sweep
    from pt_cascade.cascade import Cascade, Stage
    from pt_cascade.collections import Collection, open_collection
    from pt_cascade.errors import CascadeError, CascadeWarning
    from pt_cascade.execution.comparison import compare
    from pt_cascade.execution.composing import parse_cascade
    from pt_cascade.execution.defaults import default_cascade, default_model, store_collection
    from pt_cascade.execution.profiling import profile
    from pt_cascade.execution.runner import Runner, run
    from pt_cascade.execution.score_table import ScoreTable
    from pt_cascade.execution.scoring.score import score

_HOME = {
    "Cascade": "pt_cascade.cascade",
    "CascadeError": "pt_cascade.errors",
    "CascadeWarning": "pt_cascade.errors",
    "Choice": "pt_cascade.analysis.choice.result",
    "Collection": "pt_cascade.collections",
    "Cost": "pt_cascade.analysis.cost.cost",
    "Runner": "pt_cascade.execution.runner",
    "ScoreTable": "pt_cascade.execution.score_table",
    "Stage": "pt_cascade.cascade",
    "StageCost": "pt_cascade.analysis.cost.stage_cost",
    "Sweep": "pt_cascade.analysis.sweep.result",
    "Timings": "pt_cascade.analysis.cost.timings",
    "choose": "pt_cascade.analysis.choice.choose",
    "compare": "pt_cascade.execution.comparison",
    "parse_cascade": "pt_cascade.execution.composing",
    "default_cascade": "pt_cascade.execution.defaults",
    "default_model": "pt_cascade.execution.defaults",
    "fuse": "pt_cascade.analysis.fusion.fuse",
    "grid": "pt_cascade.analysis.grid.grids",
    "open_collection": "pt_cascade.collections",
    "profile": "pt_cascade.execution.profiling",
    "run": "pt_cascade.execution.runner",
    "score": "pt_cascade.execution.scoring.score",
    "store_collection": "pt_cascade.execution.defaults",
    "sweep": "pt_cascade.analysis.sweep.sweep",
}
_MODULES = ("errors", "frames", "stages", "trec")

__all__ = [
    "Cascade",
    "CascadeError",
    "CascadeWarning",
    "Choice",
    "Collection",
    "Cost",
    "Runner",
    "ScoreTable",
    "Stage",
    "StageCost",
    "Sweep",
    "Timings",
    "choose",
    "compare",
    "default_cascade",
    "default_model",
    "errors",
    "frames",
    "fuse",
    "grid",
    "open_collection",
    "parse_cascade",
    "profile",
    "run",
    "score",
    "stages",
    "store_collection",
    "sweep",
    "trec",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    if name == "__version__":
        return version(__name__)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
