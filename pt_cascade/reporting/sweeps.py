"""Sweeps and choices as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.choice.selection import best_of
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.reporting.tables import format_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep

_DEPTHS = (5, 10, 20, 50, 100, 200, 500, 1000)
_ROWS = 12


def recall_table(sweep: Sweep) -> str:
    """Lay out recall@k of each stage, given the deepest cut-offs before it: a row a stage."""
    rows, depths = [], [k for k in _DEPTHS if k <= sweep.table.retrieved.max(initial=0)]
    for n, stage in enumerate(sweep.stages):
        recall = sweep.recall(n).set_index("k")["recall"]
        rows.append({"recall of": stage} | {f"@{k}": recall.get(k, np.nan) for k in depths})
    return format_table(pd.DataFrame(rows), dict.fromkeys([f"@{k}" for k in depths], "{:.3f}".format))


def top_table(sweep: Sweep, measure: str) -> str:
    """Lay out the deepest vector of a sweep and its best one."""
    means = sweep.frame[measure].to_numpy(np.float64)
    cost = sweep.frame["ms"].to_numpy(np.float64) if sweep.cost is not None else sweep.grid.vectors.astype(np.float64).sum(axis=1)
    best = best_of(means, np.ones(len(means), np.bool_), cost)
    return _format_vectors(sweep, sweep.frame.iloc[[len(means) - 1, best]], ["deepest", f"best {measure}, in-sample"])


def front_table(sweep: Sweep, front: pd.DataFrame, measure: str) -> str:
    """Lay out a Pareto front, thinned to steps of equal gain."""
    gains = front[measure].to_numpy(np.float64)
    wanted = np.linspace(gains[0], gains[-1], _ROWS)
    rows = np.unique(np.searchsorted(gains, wanted).clip(0, len(gains) - 1))
    shown = f"{len(rows)} of {len(front)} vectors that none beats, by {measure} and mean ms, in-sample:\n"
    return shown + _format_vectors(sweep, front.iloc[rows], [""] * len(rows))


def loss_table(sweep: Sweep, cutoffs: Sequence[int | None] | None = None) -> str:
    """Lay out where relevant documents get lost."""
    vector = as_cutoffs(sweep.grid.vectors[-1].tolist()) if cutoffs is None else cutoffs
    loss = sweep.loss(vector).rename(columns={"at": f"at {tuple(vector)}", "ndcg": "best nDCG@10", "lost_ndcg": "nDCG lost"})
    loss = loss.rename(columns={"lost": "documents", "lost_recall": "recall lost"})
    formats = dict.fromkeys(["recall", "recall lost", "best nDCG@10", "nDCG lost"], "{:.3f}".format)
    return format_table(loss, formats)


def runners_up_table(choice: Choice) -> str:
    """Lay out the runners-up of a choice, against it."""
    table = choice.runners_up
    cutoffs = [f"k{n}" for n in range(1, len(choice.stages) + 1)]
    names = [
        name_cascade(choice.stages, tuple(None if pd.isna(k) else int(k) for k in row)) for row in table[cutoffs].to_numpy(object)
    ]
    shown = pd.DataFrame({"runner-up (in-sample)": names, choice.measure: table[choice.measure]})
    shown = shown.assign(**({"ms": table["ms"]} if "ms" in table else {}), difference=table["difference"], low=table["low"])
    signed = dict.fromkeys(("difference", "low", "high"), "{:+.4f}".format)
    formats: dict[str, Callable[[float], str]] = {choice.measure: "{:.4f}".format, "ms": "{:.1f}".format, **signed}
    return format_table(shown.assign(high=table["high"]), formats)


def _format_vectors(sweep: Sweep, rows: pd.DataFrame, names: list[str]) -> str:
    """Lay out some rows of a sweep's frame."""
    cutoffs = [f"k{n}" for n in range(1, len(sweep.stages) + 1)]
    cascades = [
        name_cascade(sweep.stages, tuple(None if pd.isna(k) else int(k) for k in row)) for row in rows[cutoffs].to_numpy(object)
    ]
    table = rows.drop(columns=cutoffs).reset_index(drop=True)
    table.insert(0, "cascade", cascades)
    if any(names):
        table.insert(0, "", names)
    costs = [column for column in table if str(column).endswith(("ms", "pairs"))]
    formats: dict[str, Callable[[float], str]] = dict.fromkeys(sweep.measures, "{:.4f}".format)
    formats |= dict.fromkeys(map(str, costs), "{:,.1f}".format) | {"usd": "{:.5f}".format}
    return format_table(table, formats)
