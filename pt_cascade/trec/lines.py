"""Parses the lines of TREC files, and names every bad line.

A repetition in a pattern is possessive (``++``), so that the time to match a line is linear in its length.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError, RecordError, clip, few
from pt_cascade.guards import EXACT
from pt_cascade.numbers import count_of
from pt_cascade.trec.files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_cascade.files import PathLike

_NO_TEXT = r"\0\ud800-\udfff"  # NUL, and the surrogates that stand for bytes that are not UTF-8
ID = rf"[^\s\ufeff{_NO_TEXT}]++"
WHOLE = r"[+-]?[0-9]{1,18}+"
NUMBER = r"[+-]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+"
_PLAIN = r"-?[0-9]{1,15}+(?:\.[0-9]++)?+"  # the usual numbers, which are finite, and whole only where float64 is exact
QUERY = rf"(?=\s*+\S)[^\r\n{_NO_TEXT}]++"
QUERY_WITHOUT_TAB = rf"(?=\s*+\S)[^\t\r\n{_NO_TEXT}]++"
_MEANING = {
    ID: "one word of UTF-8 text",
    WHOLE: "a whole number",
    NUMBER: "a finite number",
    QUERY: "UTF-8 text that is not blank",
    QUERY_WITHOUT_TAB: "UTF-8 text on one line, without tabs, that is not blank",
}


@dataclass(frozen=True)
class Form:
    """The form of a line: a pattern for each column, the columns that are unique together, and those that are not returned."""

    columns: dict[str, str]
    once: tuple[str, ...]
    dropped: frozenset[str] = frozenset()
    gap: str = "[ \t]++"
    headed: bool = False  # the first line has the names of the columns

    def __str__(self) -> str:
        return ("<TAB>" if self.gap == "\t" else " ").join(self.columns)

    @property
    def kept(self) -> list[str]:
        """The columns that are returned."""
        return [name for name in self.columns if name not in self.dropped]

    @cached_property
    def usual(self) -> re.Pattern[str]:
        """The pattern of a good line with plain numbers, with a group for each kept column."""
        cells = {name: _PLAIN if cell == NUMBER else cell for name, cell in self.columns.items()}
        return re.compile(self.gap.join(f"({cell})" if name in self.kept else cell for name, cell in cells.items()))

    def read(self, line: str) -> tuple[tuple[str, ...], str]:
        """Return the kept cells of a line, and what is wrong with it, or an empty text; only the first tab separates."""
        bare = line.removesuffix("\r")
        if found := self.usual.fullmatch(bare):
            return found.groups(), ""
        cells = bare.split("\t", 1)[: 2 * bool(bare)] if self.gap == "\t" else re.findall("[^ \t]+", bare)
        if len(cells) != len(self.columns):
            return (), f"{count_of(len(cells), 'column')}, expected {len(self.columns)}"
        given = dict(zip(self.columns, cells, strict=True))
        odd = (f"{name} {problem}" for name, cell in given.items() if (problem := _misfit(cell, self.columns[name])))
        return tuple(given[name] for name in self.kept), ", ".join(odd)


def read_lines(path: PathLike, form: Form, *headed: Form) -> pd.DataFrame:
    """Return the kept columns of every line as str, int64 or float64, or one error that names the bad lines.

    The form is one of ``headed`` where the first line has the names of its columns.
    """
    text = read_text(path)
    lines = text.split("\n")[: text.rstrip().count("\n") + 1] if text.strip() else []
    form = next((other for other in headed if lines and lines[0].split() == list(other.columns)), form)
    rows, faults, first = [], [], dict[tuple[str, ...], int]()
    for number, line in enumerate(lines, 1):
        if form.headed and number == 1 and line.split() == list(form.columns):
            continue
        row, fault = form.read(line)
        key = row[: len(form.once)]
        if not fault and first.setdefault(key, number) != number:
            fault = f"{', '.join(form.once)} repeats line {first[key]}"
        rows.append(row)
        faults += [f"line {number}: {fault}: {clip(line)}"] if fault else []
    if faults:
        problem = f"cannot read {path}, {len(faults)} of its {count_of(len(lines), 'line')} are bad"
        raise RecordError(problem, few(faults), fix=f"make each line: {form}")
    columns = zip(*rows, strict=True) if rows else ((),) * len(form.kept)
    return pd.DataFrame({name: _typed(form.columns[name], cells) for name, cells in zip(form.kept, columns, strict=True)})


def refuse_unwritable(frame: pd.DataFrame, columns: dict[str, str], path: PathLike, problems: Iterable[str] = ()) -> None:
    """Refuse texts that would not be read back unchanged."""
    found = list(problems)
    for name, pattern in columns.items():
        fits = re.compile(pattern).fullmatch
        if odd := [text for text in frame[name].unique().tolist() if not fits(text)]:
            found.append(f"{count_of(len(odd), name)}, expected {_MEANING[pattern]}, e.g. {clip(odd[0])}")
    if found:
        raise FrameError(f"cannot write {path}", found)


def _typed(pattern: str, cells: tuple[str, ...]) -> pd.Series[str] | pd.Series[int] | pd.Series[float]:
    if pattern == WHOLE:
        return pd.Series(map(int, cells), dtype=np.int64)
    return pd.Series(map(float, cells), dtype=np.float64) if pattern == NUMBER else pd.Series(cells, dtype=str)


def _misfit(cell: str, pattern: str) -> str:
    """Return what is wrong with a cell, or an empty text."""
    if not re.fullmatch(pattern, cell) or (pattern == NUMBER and not math.isfinite(float(cell))):
        return f"is not {_MEANING[pattern]}"
    whole = pattern == NUMBER and abs(float(cell)) >= EXACT and re.fullmatch("[+-]?[0-9]+", cell)
    return "is a whole number that float64 would round" if whole and Decimal(cell) != float(cell) else ""
