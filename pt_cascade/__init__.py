"""Ranking cascades on PyTerrier: rankers from cheap to expensive, each of which re-ranks the best documents of the one before.

    PyTerrier pipeline ─Cascade.of─▶ Cascade ─score───▶ ScoreTable ─┐
    bm25 % 1000 >> bi % 100 >> t5 % 20  │ └────profile─▶ Timings ───┴─sweep─▶ Sweep ─choose─▶ Choice ─with_cutoffs─▶ Cascade
                                        ├──run──▶ Run (results and trace); itself a PyTerrier transformer, for pt.Experiment
                                        └──run_batch──▶ a folder of TREC runs, resumed after a crash

No function changes its arguments. Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # "as" marks a public name for type checkers
    from pt_cascade import errors as errors
    from pt_cascade import frames as frames
    from pt_cascade import stages as stages
    from pt_cascade import trec as trec
    from pt_cascade.analysis.choice.choose import choose as choose
    from pt_cascade.analysis.choice.result import Choice as Choice
    from pt_cascade.analysis.choice.rule_choice import choose_rules as choose_rules
    from pt_cascade.analysis.cost.cost import Cost as Cost
    from pt_cascade.analysis.cost.stage_cost import StageCost as StageCost
    from pt_cascade.analysis.cost.timings import Timings as Timings
    from pt_cascade.analysis.fusion.fuse import fuse as fuse
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion as StageFusion
    from pt_cascade.analysis.fusion.stage_fusion import fusions as fusions
    from pt_cascade.analysis.grid.grids import grid as grid
    from pt_cascade.analysis.sweep.pruned import sweep_rules as sweep_rules
    from pt_cascade.analysis.sweep.result import Sweep as Sweep
    from pt_cascade.analysis.sweep.sweep import sweep as sweep
    from pt_cascade.cascade import Cascade as Cascade
    from pt_cascade.collections import open_collection as open_collection
    from pt_cascade.errors import CascadeError as CascadeError
    from pt_cascade.execution.batch.batch_run import run_batch as run_batch
    from pt_cascade.execution.comparison import compare as compare
    from pt_cascade.execution.composing import parse_cascade as parse_cascade
    from pt_cascade.execution.defaults import default_cascade as default_cascade
    from pt_cascade.execution.defaults import default_model as default_model
    from pt_cascade.execution.defaults import store_collection as store_collection
    from pt_cascade.execution.design import Design as Design
    from pt_cascade.execution.design import design as design
    from pt_cascade.execution.profiling import profile as profile
    from pt_cascade.execution.runner import Runner as Runner
    from pt_cascade.execution.runner import run as run
    from pt_cascade.execution.score_table import ScoreTable as ScoreTable
    from pt_cascade.execution.scoring.score import score as score
    from pt_cascade.experiments.experiment import open_experiment as open_experiment
    from pt_cascade.pruning import prune as prune
    from pt_cascade.reporting import plots as plots
    from pt_cascade.reporting.explorer.page import report as report
    from pt_cascade.stages.calibration.calibrated import calibrate as calibrate

_HOME = {
    "Cascade": "pt_cascade.cascade",
    "CascadeError": "pt_cascade.errors",
    "Choice": "pt_cascade.analysis.choice.result",
    "Cost": "pt_cascade.analysis.cost.cost",
    "Design": "pt_cascade.execution.design",
    "Runner": "pt_cascade.execution.runner",
    "ScoreTable": "pt_cascade.execution.score_table",
    "StageCost": "pt_cascade.analysis.cost.stage_cost",
    "StageFusion": "pt_cascade.analysis.fusion.stage_fusion",
    "Sweep": "pt_cascade.analysis.sweep.result",
    "Timings": "pt_cascade.analysis.cost.timings",
    "calibrate": "pt_cascade.stages.calibration.calibrated",
    "choose": "pt_cascade.analysis.choice.choose",
    "choose_rules": "pt_cascade.analysis.choice.rule_choice",
    "compare": "pt_cascade.execution.comparison",
    "parse_cascade": "pt_cascade.execution.composing",
    "default_cascade": "pt_cascade.execution.defaults",
    "default_model": "pt_cascade.execution.defaults",
    "design": "pt_cascade.execution.design",
    "fuse": "pt_cascade.analysis.fusion.fuse",
    "fusions": "pt_cascade.analysis.fusion.stage_fusion",
    "grid": "pt_cascade.analysis.grid.grids",
    "open_collection": "pt_cascade.collections",
    "open_experiment": "pt_cascade.experiments.experiment",
    "profile": "pt_cascade.execution.profiling",
    "prune": "pt_cascade.pruning",
    "report": "pt_cascade.reporting.explorer.page",
    "run": "pt_cascade.execution.runner",
    "run_batch": "pt_cascade.execution.batch.batch_run",
    "score": "pt_cascade.execution.scoring.score",
    "store_collection": "pt_cascade.execution.defaults",
    "sweep": "pt_cascade.analysis.sweep.sweep",
    "sweep_rules": "pt_cascade.analysis.sweep.pruned",
}
_MODULES = {"plots": "pt_cascade.reporting.plots"} | {name: f"pt_cascade.{name}" for name in ("errors", "frames", "stages", "trec")}

__all__ = sorted([*_HOME, *_MODULES])  # noqa: PLE0605 - names load when first used


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it."""
    if name == "__version__":
        return version(__name__)
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
