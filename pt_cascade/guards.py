"""Looks at the columns of a frame, gathers what is wrong with them, and refuses it all at once."""

from __future__ import annotations

import math
import sys
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError
from pt_cascade.ranking import pair_codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

EXACT = 2**53  # float64 holds every whole number below
_SHOWN = 3
ADD_RANKS = 'results = pt.model.add_ranks(results.drop(columns="rank"))'


class Guard:
    """Looks at the columns of a frame, gathers what is wrong with them, and refuses it all at once."""

    def __init__(self, frame: pd.DataFrame, noun: str, columns: tuple[str, ...], stage: str = "") -> None:
        """Refuse what has not these columns, each once."""
        self.frame, self.noun = frame, noun
        self.what = f"stage {stage!r} gave {noun} that are not usable" if stage else f"{noun} are not usable"
        if not hasattr(frame, "columns"):
            problem = f"they are a {type(frame).__name__}, expected a DataFrame of {', '.join(columns)}"
            raise FrameError(self.what, [problem], fix=f'{noun} = pd.DataFrame({{"{columns[0]}": ["1"], "{columns[1]}": ["..."]}})')
        self.problems: dict[str, str] = {}
        self.odd: set[str] = set()
        found = list(frame.columns)
        if odd := [name for name in columns if found.count(name) != 1]:
            problem = f"missing or repeated column(s) {', '.join(odd)}, expected {', '.join(columns)}"
            mend = f".loc[:, ~{noun}.columns.duplicated()]" if odd[0] in found else f'.rename(columns={{"...": "{odd[0]}"}})'
            raise FrameError(self.what, [f"{problem}, found {', '.join(map(str, found)) or 'none'}"], fix=f"{noun} = {noun}{mend}")

    def find(self, column: str, problem: str, bad: NDArray[np.bool_], fix: str = "") -> None:
        """Note a problem, if there is a bad row."""
        if bad.any():
            self.problems[f"{column} {problem}{show_rows(self.frame, bad, column)}"] = fix
            self.odd.add(column)

    def text(self, name: str, *, numbers: bool) -> pd.Series[str]:
        """Give a column as text; where numbers are allowed, it may be of whole numbers instead."""
        column = self.frame[name]
        kind = pd.api.types.infer_dtype(column, skipna=False)
        replaced = f'{self.noun}["{name}"].str.replace("\\x00", "{"_" if numbers else " "}")'
        self.find(name, "holds a NUL character", hold_nul(column), f'{self.noun}["{name}"] = {replaced}')
        if kind == "string" and column.dtype == object:
            self.find(name, "is not UTF-8 text: it holds half of a surrogate pair,", _are_broken(column), f"make every {name} text")
            return column
        missing = column.isna().to_numpy(bool)
        self.find(name, "is missing", missing, "look where it got lost, e.g. in a merge")
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
        """Give a column as float64; text and truth values are no numbers."""
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
            mend = f'{self.noun}["{name}"] = {self.noun}.groupby("qid")["{name}"].rank()'
            self.find(name, "is a whole number that float64 would round", np.array(rounded), mend)
        return number

    def once(self, columns: tuple[str, ...], fix: str) -> None:
        """Note the rows that repeat an earlier one."""
        if not self.odd & set(columns):
            keys = [self.frame[name] for name in columns]
            again = pd.Series(pair_codes(*keys) if len(keys) > 1 else keys[0]).duplicated().to_numpy(bool)
            self.find(
                columns[0] if len(columns) == 1 else f"({', '.join(columns)})", "stands already in an earlier row", again, fix
            )

    def ranked(self, found: Floats, rank: Ints) -> None:
        """Note the ranks that differ from those of the tie rule."""
        if (found == rank + 1).all():
            self.problems["its ranks start at 1, expected 0"] = ADD_RANKS
        else:
            where = show_rows(self.frame.assign(expected=rank), found != rank, "rank", "expected")
            self.problems[f"rank is not score descending, ties by row order, from 0,{where}"] = ADD_RANKS

    def cast(self, column: str, kind: type) -> str:
        """The line that gives a column another type."""
        return f'{self.noun} = {self.noun}.astype({{"{column}": {kind.__name__}}})'

    def _uncast(self, column: str) -> str:
        """The line that makes ids of floats: read again what is no whole number, or may have been rounded."""
        number = self.frame[column].to_numpy(np.float64)
        if (number == np.floor(number)).all() and (np.abs(number) < EXACT).all():
            return self.cast(column, int)
        return f'{self.noun} = pd.read_csv(path, dtype={{"{column}": str}})'

    def refuse(self) -> None:
        """Raise all that was found."""
        if self.problems:
            raise FrameError(self.what, self.problems, fix="; ".join(dict.fromkeys(filter(None, self.problems.values()))))


def are_of(column: pd.Series[Any], kind: type) -> NDArray[np.bool_]:
    """Tell which values are of a kind; a truth value is no number."""
    return np.array([isinstance(value, kind) and not isinstance(value, bool) for value in column], bool)


def _to_float(value: Real) -> float:
    """Convert a number; a whole number beyond float64 becomes its largest value, which differs from it."""
    try:
        return float(value)
    except OverflowError:
        largest = sys.float_info.max if isinstance(value, Integral) else math.inf
        return -largest if value < 0 else largest


def hold_nul(column: pd.Series[Any]) -> NDArray[np.bool_]:
    """Tell which texts hold a NUL character, at which programs in C, such as trec_eval and PISA, cut them."""
    if pd.api.types.infer_dtype(column) == "string":
        return column.str.contains("\x00", regex=False, na=False).to_numpy(bool)
    return np.array([isinstance(value, str) and "\x00" in value for value in column], bool)


def _are_broken(column: pd.Series[str]) -> NDArray[np.bool_]:
    """Tell which texts cannot be written as UTF-8, e.g. half of a surrogate pair."""
    try:
        "".join(column).encode()
    except UnicodeEncodeError:
        return np.array([text != text.encode(errors="replace").decode() for text in column], bool)
    return np.zeros(len(column), bool)


def show_rows(frame: pd.DataFrame, bad: NDArray[np.bool_], *columns: str) -> str:
    """Say in how many rows, and show the first of them."""
    names = [name for name in dict.fromkeys(("qid", "docno", *columns)) if name in frame]
    rows = frame.loc[bad, names].head(_SHOWN).astype(object).itertuples(index=False)
    shown = "; ".join(", ".join(f"{name} {value!r:.60}" for name, value in zip(names, row, strict=True)) for row in rows)
    return f" in {int(bad.sum())} of {len(frame)} row(s) ({shown}{'; ...' if bad.sum() > _SHOWN else ''})"
