"""Frames as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.errors import escape
from pt_cascade.reporting.widths import line_width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from pt_cascade.execution.comparison import Comparison

_SMALLEST_P = 0.001
_ROW = "row"
_CORRECTED = " p-value corrected"


def effectiveness_table(effectiveness: pd.DataFrame) -> str:
    """Lay out what ``pt.Experiment`` returned: a row a system, each measure, then each corrected p-value."""
    columns = [str(column) for column in effectiveness]
    measures = [column for column in columns if column != "name" and " " not in column]
    corrected = {measure + _CORRECTED: f"p {measure}" for measure in measures if measure + _CORRECTED in columns}
    table = effectiveness[["name", *measures, *corrected]].rename(columns={"name": "system", **corrected})
    formats: dict[str, Callable[[float], str]] = dict.fromkeys(measures, "{:.3f}".format)
    return format_table(table, {**formats, **dict.fromkeys(corrected.values(), _p_value)})


def summary_table(compared: Comparison, labels: Sequence[str], measures: Sequence[str]) -> str:
    """Lay out some measures, the p-value of the first of them, and the mean time of each system of a comparison."""
    effectiveness = compared.effectiveness
    table = effectiveness[list(measures)].assign(ms=compared.ms)
    formats: dict[str, Callable[[float], str]] = {**dict.fromkeys(measures, "{:.3f}".format), "ms": "{:,.1f}".format}
    if (p := measures[0] + _CORRECTED) in effectiveness:
        table.insert(1, "p", [_p_value(value) if value == value else "" for value in effectiveness[p]])  # noqa: PLR0124 - not NaN
    table.insert(0, "system", list(labels))
    return format_table(table, formats)


def cost_table(cost: pd.DataFrame) -> str:
    """Lay out what a cascade costs: a row a stage, means a query."""
    names = {"docs_in": "docs in", "docs_out": "docs out", "pairs": "model pairs", "ms": "mean ms", "p95_ms": "p95 ms"}
    times = ("mean ms", "p95 ms")
    formats = {name: ("{:,.2f}" if name in times else "{:,.1f}").format for name in names.values()}
    return format_table(cost.rename(columns=names), formats)


def format_table(table: pd.DataFrame, formats: Mapping[str, Callable[[float], str]], left: Sequence[str] = ()) -> str:
    """Write a frame with some columns, by default the first, to the left, and numbers to the right.

    Where the terminal is too narrow, columns that do not fit stand below the others, each time after the first column; one that
    leaves no room is listed first, with numbers.
    """
    for column in left or table.columns[:1]:
        name, *cells = [escape(str(value)) for value in (column, *table[column])]
        width = max(map(len, [name, *cells]))
        table = table.assign(**{column: [cell.ljust(width) for cell in cells]}).rename(columns={column: name.ljust(width)})
    first, *others = table.columns
    least = max(map(len, [str(first), *table[first]])) + max((len(str(name).rstrip()) for name in others), default=0)
    if others and least >= line_width() and len(table) and str(first) != _ROW:
        numbers = [str(n) for n in range(1, len(table) + 1)]
        keys = [f"{n}: {cell.rstrip()}" for n, cell in zip(numbers, table[first], strict=True)]
        numbered = table.assign(**{first: numbers}).rename(columns={first: _ROW})
        return "\n".join([f"{first.rstrip()}:", *keys, "", format_table(numbered, formats)])
    blocks: list[list[str]] = [[first]]
    for column in others:
        if len(blocks[-1]) > 1 and _width(_format(table[[*blocks[-1], column]], formats)) > line_width():
            blocks.append([first])
        blocks[-1].append(column)
    return "\n\n".join(_format(table[block], formats) for block in blocks)


def _format(table: pd.DataFrame, formats: Mapping[str, Callable[[float], str]]) -> str:
    text = str(table.to_string(index=False, formatters=dict(formats), na_rep="-"))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _width(text: str) -> int:
    return max(map(len, text.splitlines()), default=0)


def _p_value(p: float) -> str:
    return f"< {_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"
