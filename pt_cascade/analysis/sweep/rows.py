"""The rows of a sweep: cut-off vectors, and with fusions each with the number of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pt_cascade.analysis.fusion.stage_fusion import StageFusion, rename_stages
from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_tuple, name_cascade
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.grid.grids import Grid
    from pt_cascade.analysis.table.data import Path


def read_fusions(fusion: StageFusion | Iterable[StageFusion | None] | None, path: Path) -> tuple[StageFusion | None, ...]:
    """Return the different fusions, none where there is nothing but None; refuse what cannot be fused on this path."""
    fusions: tuple[StageFusion | None, ...] = as_tuple(fusion)  # type: ignore[arg-type] # one is a tuple of it
    if all(one is None for one in fusions):
        return ()
    problems = [f"{one!r} is no fusion" for one in fusions if not isinstance(one, StageFusion | None)]
    if len(path.stages) == 1:
        problems.append(f"the path has one stage, {path.stages[0]}")
    if path.live:
        problems.append(f"stage {path.live!r} depends on the whole list, so its scores are not in the table")
    if problems:
        plain = bool(path.live) or len(path.stages) == 1
        fix = f"sweep(table, qrels, measures{', fusion=ptc.fusions(cascade)' * (not plain)})"
        raise SweepError("the stages cannot be fused", problems, fix=fix)
    for one in fusions:
        if one is not None:
            one.weigh(path.stages)
    names = {name: name for name in path.stages}
    return tuple(dict.fromkeys(rename_stages(one, names) for one in fusions))  # equal in any order of the weights


def list_cutoffs(rows: Vectors, stages: Sequence[str], fusions: Sequence[StageFusion | None]) -> pd.DataFrame:
    """Return Frame[k1, k2, ..., w1, w2, ...] of some rows of a sweep: cut-offs, and with fusions the weights."""
    columns: dict[str, pd.Series[Any]] = {}
    for n, values in enumerate(rows.T[: len(stages)], 1):
        column = pd.Series(values, dtype="Int64" if (values == NO_CUT).any() else "int64")
        columns[f"k{n}"] = column.mask(values == NO_CUT, pd.NA) if (values == NO_CUT).any() else column
    weights = np.array([np.full(len(stages), np.nan) if one is None else one.weigh(stages) for one in fusions])
    return pd.DataFrame(columns | {f"w{n}": pd.Series(column[rows[:, -1]]) for n, column in enumerate(weights.T, 1)})


def list_rows(grid: Grid, fusions: Sequence[StageFusion | None]) -> Vectors:
    """Return each vector with the number of each fusion; without fusions the vectors."""
    if not fusions:
        return grid.vectors
    numbers = np.tile(np.arange(len(fusions), dtype=np.int32), len(grid))
    return np.column_stack([np.repeat(grid.vectors, len(fusions), axis=0), numbers])


def lay_out_rows(
    rows: pd.DataFrame, stages: tuple[str, ...], measures: Sequence[str], labels: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, Callable[[float], str]]]:
    """Lay out some rows of a sweep's frame for a reader, each after its label if there are any; and how numbers are written."""
    settings = [name for n in range(1, len(stages) + 1) for name in (f"k{n}", f"w{n}")]
    table = rows.drop(columns=settings, errors="ignore").reset_index(drop=True)
    table = table.rename(columns={"ms": "mean ms"} | {f"p{p}_ms": f"p{p} ms" for p in (50, 95, 99)})
    table.insert(0, "cascade", name_rows(rows, stages))
    if labels:
        table.insert(0, "", list(labels))
    costs = [str(column) for column in table if str(column).endswith(("ms", "pairs"))]
    formats: dict[str, Callable[[float], str]] = dict.fromkeys(measures, "{:.4f}".format)
    return table, formats | dict.fromkeys(costs, "{:,.1f}".format) | {"usd": "{:.5f}".format}


def name_rows(rows: pd.DataFrame, stages: tuple[str, ...]) -> list[str]:
    """Name the cascade of each row by its cut-offs and weights."""
    names = range(1, len(stages) + 1)
    weights = rows.reindex(columns=[f"w{n}" for n in names]).to_numpy(np.float64)
    fusions = [None if np.isnan(row).any() else f"fused({', '.join(f'{weight:g}' for weight in row)})" for row in weights]
    cutoffs = [tuple(None if pd.isna(k) else int(k) for k in row) for row in rows[[f"k{n}" for n in names]].to_numpy(object)]
    return [name_cascade(stages, *both) for both in zip(cutoffs, fusions, strict=True)]
