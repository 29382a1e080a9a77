"""Sweeps and choices as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.analysis.replay.measures import find_rel
from pt_cascade.analysis.sweep.rows import list_cutoffs
from pt_cascade.reporting.tables import format_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep

    Formats = dict[str, Callable[[float], str]]

_DEPTHS = (5, 10, 20, 50, 100, 200, 500, 1000)
_ROWS = 12


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
    deepest = len(means) - max(len(sweep.fusions), 1)
    best = best_of(means, np.ones(len(means), np.bool_), cost)
    return _format_vectors(sweep, sweep.frame.iloc[[deepest, best]], ["deepest", f"best {measure}, in-sample"])


def front_table(sweep: Sweep, front: pd.DataFrame, measure: str) -> str:
    """Format a Pareto front, thinned to about equal steps of the measure."""
    gains = front[measure].to_numpy(np.float64)
    wanted = np.linspace(gains[0], gains[-1], _ROWS)
    rows = np.unique(np.searchsorted(gains, wanted).clip(0, len(gains) - 1))
    heading = f"Pareto front of {measure} and mean ms, in-sample: {len(rows)} of {len(front)} vectors\n"
    return heading + _format_vectors(sweep, front.iloc[rows], [])


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
    shown = pd.DataFrame({"runner-up (in-sample)": _name_rows(choice.stages, table), choice.measure: table[choice.measure]})
    names = {"ms": "mean ms", "difference": "difference", "low": "low", "high": "high"}
    shown = shown.assign(**{text: table[name] for name, text in names.items() if name in table})
    formats: Formats = dict.fromkeys(("difference", "low", "high"), "{:+.4f}".format)
    return format_table(shown, formats | {choice.measure: "{:.4f}".format, "mean ms": "{:.1f}".format})


def _format_vectors(sweep: Sweep, rows: pd.DataFrame, names: list[str]) -> str:
    """Format some rows of a sweep's frame."""
    settings = list_cutoffs(sweep.rows[:1], sweep.stages, sweep.fusions).columns
    table = rows.drop(columns=settings).reset_index(drop=True)
    table = table.rename(columns={"ms": "mean ms"} | {f"p{p}_ms": f"p{p} ms" for p in (50, 95, 99)})
    table.insert(0, "cascade", _name_rows(sweep.stages, rows))
    if names:
        table.insert(0, "", names)
    costs = [column for column in table if str(column).endswith(("ms", "pairs"))]
    formats: Formats = dict.fromkeys(sweep.measures, "{:.4f}".format)
    formats |= dict.fromkeys(map(str, costs), "{:,.1f}".format) | {"usd": "{:.5f}".format}
    return format_table(table, formats, left=list(table.columns[: 1 + bool(names)]))


def _name_rows(stages: tuple[str, ...], rows: pd.DataFrame) -> list[str]:
    """Name the cascade of each row by its cut-offs and weights."""
    names = range(1, len(stages) + 1)
    weights = rows.reindex(columns=[f"w{n}" for n in names]).to_numpy(np.float64)
    fusions = [None if np.isnan(row).any() else f"fused({', '.join(f'{weight:g}' for weight in row)})" for row in weights]
    cutoffs = [tuple(None if pd.isna(k) else int(k) for k in row) for row in rows[[f"k{n}" for n in names]].to_numpy(object)]
    return [name_cascade(stages, *both) for both in zip(cutoffs, fusions, strict=True)]
