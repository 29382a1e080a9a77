"""Parses the lines of TREC files, and names every bad line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError, RecordError, clip, few
from pt_cascade.guards import EXACT
from pt_cascade.trec.files import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pt_cascade.files import PathLike

_NO_TEXT = r"\0\ud800-\udfff"  # NUL, and the surrogates that stand for bytes that are not UTF-8
ID = rf"[^\s\ufeff{_NO_TEXT}]+"
WHOLE = r"[+-]?[0-9]{1,18}"
NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
QUERY = rf"(?=[^\n]*\S)[^\r\n{_NO_TEXT}]+"
QUERY_WITHOUT_TAB = rf"(?=[^\n]*\S)[^\t\r\n{_NO_TEXT}]+"
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
    gap: str = "[ \t]+"

    def __str__(self) -> str:
        return ("<TAB>" if self.gap == "\t" else " ").join(self.columns)

    @property
    def kept(self) -> list[str]:
        """The columns that are returned."""
        return [name for name in self.columns if name not in self.dropped]

    @property
    def pad(self) -> str:
        """The pattern of blanks at both ends of a line."""
        return "" if self.gap == "\t" else "[ \t]*"

    def rows(self, text: str) -> list[tuple[str, ...]]:
        """Return the kept columns of every good line."""
        cells = self.gap.join(f"({cell})" if name in self.kept else cell for name, cell in self.columns.items())
        return re.findall(rf"^{self.pad}{cells}{self.pad}\r?$", text, re.MULTILINE)

    def cells(self, line: str) -> list[str]:
        """Split any line; only the first tab separates."""
        bare = re.sub(rf"^{self.pad}|{self.pad}\r?$", "", line)
        return re.split(self.gap, bare, maxsplit=self.gap == "\t") if bare else []


def read_lines(path: PathLike, form: Form) -> pd.DataFrame:
    """Return the kept columns of every line as str, int64 or float64, or one error that names the bad lines."""
    text = read_text(path)
    rows = form.rows(text)
    columns = zip(*rows, strict=True) if rows else ((),) * len(form.kept)
    frame = pd.DataFrame({name: _typed(form.columns[name], cells) for name, cells in zip(form.kept, columns, strict=True)})
    lines = text.rstrip().count("\n") + 1 if text.strip() else 0
    large = (frame.select_dtypes(float).abs() >= EXACT).any(axis=None)
    suspect = len(rows) != lines or large or frame.duplicated(list(form.once)).any()
    if faults := list(_faults(form, text.split("\n")[:lines])) if suspect else []:
        what = f"cannot read {path}, {len(faults)} of its {lines} line(s) are bad"
        raise RecordError(what, few(faults), fix=f"make each line: {form}")
    return frame


def refuse_unwritable(frame: pd.DataFrame, columns: dict[str, str], path: PathLike, problems: Iterable[str] = ()) -> None:
    """Refuse texts that would not be read back unchanged."""
    found = list(problems)
    for name, pattern in columns.items():
        fits = re.compile(pattern).fullmatch
        if odd := [text for text in frame[name].unique().tolist() if not fits(text)]:
            found.append(f"{len(odd)} {name}(s) are not {_MEANING[pattern]}, e.g. {clip(odd[0])}")
    if found:
        raise FrameError(f"cannot write {path}", found)


def _faults(form: Form, lines: list[str]) -> Iterator[str]:
    above: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(lines, 1):
        cells = dict(zip(form.columns, form.cells(line), strict=False))
        found = len(form.cells(line))
        key = tuple(cells.get(name, "") for name in form.once)
        if found != len(form.columns):
            fault = f"{found} column(s), expected {len(form.columns)}"
        elif odd := [f"{name} {problem}" for name, cell in cells.items() if (problem := _misfit(cell, form.columns[name]))]:
            fault = ", ".join(odd)
        elif above.setdefault(key, number) != number:
            fault = f"{', '.join(form.once)} repeats line {above[key]}"
        else:
            continue
        yield f"line {number}: {fault}: {clip(line)}"


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
