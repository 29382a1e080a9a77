"""Ranking cascades on PyTerrier: rankers from cheap to expensive, each pruning what the next one sees.

    PyTerrier pipeline ─Cascade.of─▶ Cascade ──run──▶ Run (results and trace)
    bm25 % 1000 >> bi % 100 >> t5 % 20  └─ itself a PyTerrier transformer, for pt.Experiment

Every arrow is a function without side effects on what it was given. Names load when first used, so importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_cascade import errors, frames, stages, trec
    from pt_cascade.cascade import Cascade, Stage
    from pt_cascade.collections import Collection, open_collection
    from pt_cascade.errors import CascadeError, CascadeWarning
    from pt_cascade.execution.comparison import Comparison, compare
    from pt_cascade.execution.defaults import default_cascade, default_model, store_collection
    from pt_cascade.execution.executor import Run, Runner, run, run_chunks

_HOME = {
    "Cascade": "pt_cascade.cascade",
    "CascadeError": "pt_cascade.errors",
    "CascadeWarning": "pt_cascade.errors",
    "Collection": "pt_cascade.collections",
    "Comparison": "pt_cascade.execution.comparison",
    "Run": "pt_cascade.execution.executor",
    "Runner": "pt_cascade.execution.executor",
    "Stage": "pt_cascade.cascade",
    "compare": "pt_cascade.execution.comparison",
    "default_cascade": "pt_cascade.execution.defaults",
    "default_model": "pt_cascade.execution.defaults",
    "open_collection": "pt_cascade.collections",
    "store_collection": "pt_cascade.execution.defaults",
    "run": "pt_cascade.execution.executor",
    "run_chunks": "pt_cascade.execution.executor",
}
_MODULES = ("errors", "frames", "stages", "trec")

__all__ = [
    "Cascade",
    "CascadeError",
    "CascadeWarning",
    "Collection",
    "Comparison",
    "Run",
    "Runner",
    "Stage",
    "compare",
    "default_cascade",
    "default_model",
    "errors",
    "frames",
    "open_collection",
    "run",
    "run_chunks",
    "stages",
    "store_collection",
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
