"""Sweeps and choices as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.replay.measures import find_rel
from pt_cascade.analysis.sweep.front import thin_front
from pt_cascade.analysis.sweep.rows import lay_out_rows, name_rows
from pt_cascade.numbers import count_of
from pt_cascade.reporting.tables import format_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep

    Formats = dict[str, Callable[[float], str]]

_DEPTHS = (5, 10, 20, 50, 100, 200, 500, 1000)


def recall_table(sweep: Sweep, rel: int | None = None) -> str:
    """Format recall@k of each stage, given the deepest cut-offs before it: a row a stage."""
    rows, depths = [], [k for k in _DEPTHS if k <= sweep.table.retrieved.max(initial=0)]
    for n, stage in enumerate(sweep.stages):
        recall = sweep.recall(n, rel=rel).set_index("k")["recall"]
        rows.append({f"recall{_level(sweep, rel)} of": stage} | {f"@{k}": recall.get(k, np.nan) for k in depths})
    return format_table(pd.DataFrame(rows), dict.fromkeys([f"@{k}" for k in depths], "{:.3f}".format))


def top_table(sweep: Sweep, measure: str) -> str:
    """Format the deepest and the best vector of a sweep."""
    means = sweep.frame[measure].to_numpy(np.float64)
    cost = (
        sweep.frame["ms"].to_numpy(np.float64)
        if sweep.cost is not None
        else sweep.rows[:, : len(sweep.stages)].sum(axis=1, dtype=np.float64)
    )
    best = best_of(means, np.ones(len(means), np.bool_), cost)
    return _format_vectors(sweep, sweep.frame.iloc[[sweep.deepest, best]], ["deepest", f"best {measure}, in-sample"])


def front_table(sweep: Sweep, front: pd.DataFrame, measure: str) -> str:
    """Format a Pareto front, thinned to about equal steps of the measure."""
    rows = thin_front(front, measure)
    heading = f"Pareto front of {measure} and mean ms, in-sample: {len(rows)} of {count_of(len(front), 'vector')}\n"
    return heading + _format_vectors(sweep, rows, [])


def loss_table(sweep: Sweep, rel: int | None = None) -> str:
    """Format where relevant documents are lost at the deepest cut-offs of the grid, with the first of its fusions."""
    vector = as_cutoffs(sweep.grid.vectors[-1].tolist())
    names = {"lost": "docs lost", "lost_recall": "recall lost", "ndcg": "nDCG@10 left", "lost_ndcg": "nDCG@10 lost"}
    fusion = sweep.fusions[0] if sweep.fusions else None
    loss = sweep.loss(vector, rel=rel, fusion=fusion).rename(columns={"at": f"at {vector}{_level(sweep, rel)}"} | names)
    return format_table(loss, dict.fromkeys(["recall", *list(names.values())[1:]], "{:z.3f}".format))


def _level(sweep: Sweep, rel: int | None) -> str:
    """Name the relevance level, if it is not 1."""
    level = find_rel(sweep.replayer.measures, rel)
    return f" (rel={level})" if level > 1 else ""


def runners_up_table(choice: Choice) -> str:
    """Format the runners-up of a choice, with their difference from it."""
    table = choice.runners_up
    shown = pd.DataFrame({"runner-up (in-sample)": name_rows(table, choice.stages), choice.measure: table[choice.measure]})
    names = {"ms": "mean ms", "difference": "difference", "low": "low", "high": "high"}
    shown = shown.assign(**{text: table[name] for name, text in names.items() if name in table})
    formats: Formats = dict.fromkeys(("difference", "low", "high"), "{:+.4f}".format)
    return format_table(shown, formats | {choice.measure: "{:.4f}".format, "mean ms": "{:.1f}".format})


def _format_vectors(sweep: Sweep, rows: pd.DataFrame, labels: list[str]) -> str:
    """Format some rows of a sweep's frame."""
    table, formats = lay_out_rows(rows, sweep.stages, sweep.measures, labels)
    return format_table(table, formats, left=list(table.columns[: 1 + bool(labels)]))
