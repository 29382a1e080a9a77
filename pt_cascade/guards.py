"""Checks the columns of a frame and reports all problems in one error."""

from __future__ import annotations

import math
import sys
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError, closest
from pt_cascade.numbers import count_of
from pt_cascade.ranking import pair_codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

EXACT = 2**53  # float64 holds every whole number below
_SHOWN = 3
ADD_RANKS = 'results = pt.model.add_ranks(results.drop(columns="rank"))'


class Guard:
    """Checks the columns of a frame; ``refuse`` raises one error with all problems."""

    def __init__(self, frame: pd.DataFrame, noun: str, columns: tuple[str, ...], stage: str = "") -> None:
        """Refuse a frame that lacks or repeats one of these columns."""
        self.frame, self.noun = frame, noun
        self.what = f"stage {stage!r} returned {noun} that are not usable" if stage else f"{noun} are not usable"
        if not hasattr(frame, "columns"):
            problem = f"they are a {type(frame).__name__}, expected a DataFrame of {', '.join(columns)}"
            raise FrameError(self.what, [problem], fix=f'{noun} = pd.DataFrame({{"{columns[0]}": ["1"], "{columns[1]}": ["..."]}})')
        self.problems: dict[str, str] = {}
        self.odd: set[str] = set()
        found = list(frame.columns)
        if odd := [name for name in dict.fromkeys((*columns, *found)) if found.count(name) != 1]:
            problem = f"missing or repeated columns: {', '.join(map(str, odd))}, expected {', '.join(columns)}"
            close = [(old, name) for name in odd if (old := closest(name, map(str, found)))] or [("...", odd[0])]
            renamed = ", ".join(f'"{old}": "{name}"' for old, name in close)
            cure = f".loc[:, ~{noun}.columns.duplicated()]" if odd[0] in found else f".rename(columns={{{renamed}}})"
            raise FrameError(self.what, [f"{problem}, found {', '.join(map(str, found)) or 'none'}"], fix=f"{noun} = {noun}{cure}")

    def find(self, column: str, problem: str, bad: NDArray[np.bool_], fix: str = "") -> None:
        """Add a problem if there is a bad row."""
        if bad.any():
            self.problems[f"{column} {problem}{show_rows(self.frame, bad, column)}"] = fix
            self.odd.add(column)

    def text(self, name: str, *, numbers: bool) -> pd.Series[str]:
        """Return a column as text; ``numbers``: whole numbers are allowed as well."""
        column = self.frame[name]
        kind = pd.api.types.infer_dtype(column, skipna=False)
        replaced = f'{self.noun}["{name}"].str.replace("\\x00", "{"_" if numbers else " "}")'
        self.find(name, "holds a NUL character", hold_nul(column), f'{self.noun}["{name}"] = {replaced}')
        if kind == "string" and column.dtype == object:
            self.find(name, "is not UTF-8 text: it holds half of a surrogate pair,", _are_broken(column), f"make every {name} text")
            return column
        missing = column.isna().to_numpy(bool)
        self.find(name, "is missing", missing, "find where it went missing, e.g. in a merge")
        if kind == "string" or missing.any():
            return column
        if column.empty or (kind == "integer" and numbers):
            return column.astype(str)
        text, whole = are_of(column, str), are_of(column, Integral)
        bad = ~(text | whole) if numbers else ~text
        fix = self._uncast(name) if kind == "floating" else f"make every {name} text"
        self.find(name, f"is not text{' or a whole number' * numbers}", bad, fix)
        if not bad.any() and text.any() and whole.any():
            self.find(name, "is a number, but text elsewhere,", whole, self.cast(name, str))
        return column.astype(object).astype(str)

    def number(self, name: str, wanted: str, is_good: Callable[[Floats], NDArray[np.bool_]], fix: str = "") -> Floats:
        """Return a column as float64; text and booleans are refused."""
        column = self.frame[name]
        if pd.api.types.is_float_dtype(column) or pd.api.types.is_integer_dtype(column):
            number = column.to_numpy(np.float64, na_value=np.nan)
        else:
            real = are_of(column, Real)
            number = np.array([_to_float(value) if ok else np.nan for value, ok in zip(column, real, strict=True)], np.float64)
            fix = fix if real.any() else self.cast(name, float)
        good = np.isfinite(number) & is_good(number)
        self.find(name, f"is not {wanted}", ~good, fix)
        if (np.abs(number[good]) >= EXACT).any():
            pairs = zip(column, number, good, strict=True)
            rounded = [ok and isinstance(whole, Integral) and int(whole) != int(real) for whole, real, ok in pairs]
            cure = f'{self.noun}["{name}"] = {self.noun}.groupby("qid")["{name}"].rank()'
            self.find(name, "is a whole number that float64 would round", np.array(rounded), cure)
        return number

    def once(self, columns: tuple[str, ...], fix: str) -> None:
        """Add the rows that repeat an earlier one."""
        if not self.odd & set(columns):
            keys = [self.frame[name] for name in columns]
            again = pd.Series(pair_codes(*keys) if len(keys) > 1 else keys[0]).duplicated().to_numpy(bool)
            self.find(columns[0] if len(columns) == 1 else f"({', '.join(columns)})", "repeats an earlier row", again, fix)

    def ranked(self, found: Floats, rank: Ints) -> None:
        """Add the ranks that do not follow the scores."""
        if (found == rank + 1).all():
            self.problems["its ranks start at 1, expected 0"] = ADD_RANKS
        else:
            where = show_rows(self.frame.assign(expected=rank), found != rank, "rank", "expected")
            self.problems[f"rank is not score descending, ties by row order, from 0,{where}"] = ADD_RANKS

    def cast(self, column: str, kind: type) -> str:
        """Return the line that converts a column."""
        return f'{self.noun} = {self.noun}.astype({{"{column}": {kind.__name__}}})'

    def _uncast(self, column: str) -> str:
        """Return the line that repairs ids read as floats: a cast, or reading the file again if they may be rounded."""
        number = self.frame[column].to_numpy(np.float64)
        if (number == np.floor(number)).all() and (np.abs(number) < EXACT).all():
            return self.cast(column, int)
        return f'{self.noun} = pd.read_csv(path, dtype={{"{column}": str}})'

    def refuse(self) -> None:
        """Raise one error with all problems."""
        if self.problems:
            raise FrameError(self.what, self.problems, fix="; ".join(dict.fromkeys(filter(None, self.problems.values()))))


def are_of(column: pd.Series[Any], kind: type) -> NDArray[np.bool_]:
    """Mark the values of a type; a boolean is not a number."""
    return np.array([isinstance(value, kind) and not isinstance(value, bool) for value in column], bool)


def _to_float(value: Real) -> float:
    """Convert a number; a whole number beyond float64 becomes the largest float64."""
    try:
        return float(value)
    except OverflowError:
        largest = sys.float_info.max if isinstance(value, Integral) else math.inf
        return -largest if value < 0 else largest


def hold_nul(column: pd.Series[Any]) -> NDArray[np.bool_]:
    """Mark texts with a NUL character, where C programs such as trec_eval and PISA cut them."""
    if pd.api.types.infer_dtype(column) == "string":
        return column.str.contains("\x00", regex=False, na=False).to_numpy(bool)
    return np.array([isinstance(value, str) and "\x00" in value for value in column], bool)


def _are_broken(column: pd.Series[str]) -> NDArray[np.bool_]:
    """Mark texts that UTF-8 cannot encode, e.g. half of a surrogate pair."""
    try:
        "".join(column).encode()
    except UnicodeEncodeError:
        return np.array([text != text.encode(errors="replace").decode() for text in column], bool)
    return np.zeros(len(column), bool)


def show_rows(frame: pd.DataFrame, bad: NDArray[np.bool_], *columns: str) -> str:
    """Return in how many rows, and the first of them."""
    names = [name for name in dict.fromkeys(("qid", "docno", *columns)) if name in frame]
    rows = frame.loc[bad, names].head(_SHOWN).astype(object).itertuples(index=False)
    shown = "; ".join(", ".join(f"{name} {value!r:.60}" for name, value in zip(names, row, strict=True)) for row in rows)
    return f" in {int(bad.sum())} of {count_of(len(frame), 'row')} ({shown}{'; ...' if bad.sum() > _SHOWN else ''})"
