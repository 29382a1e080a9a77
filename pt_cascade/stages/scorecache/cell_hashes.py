"""What stands in the cells of a frame, told by value: equal hashes where a stage would read the same, and only there."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import math
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_cascade.ranking import Ints

_TOLD = (dt.date, dt.timedelta, decimal.Decimal)  # by their repr; a Timestamp is a date
_PRECISE = 8  # bytes of a float that Python has too


def number_cells(column: pd.Series) -> tuple[Ints, list[bytes]]:
    """Number the different values of a column, and hash each once.

    Args:
        column: Shape (n,). Text, numbers, truth values, times, arrays of such, or lists, tuples, sets and dictionaries of all that;
            what is missing is one value, whichever way it is missing. A number is not its text, nor 1 the same as 1.0; an array is
            told by type, shape and content.

    Returns:
        The number of each row's value, as they appear, from 0; the hash of each value, 16 bytes.

    Raises:
        FrameError: A cell holds something else, which has no value to tell it by.

    Example:
        >>> number_cells(pd.Series(["lion", "tiger", "lion"]))[0].tolist()
        [0, 1, 0]
    """
    if isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype)):  # pandas sees what is equal without making text of it all
        code, values = pd.factorize(column, use_na_sentinel=False)
        again, hashes = number_cells(pd.Series(values, dtype=object, name=column.name))
        return again[code], hashes
    cells = column.tolist()
    if not {*map(type, cells)} <= {str}:
        cells = _write_cells(cells, str(column.name))
    seen: defaultdict[str | bytes, int] = defaultdict(count().__next__)
    code = np.fromiter(map(seen.__getitem__, cells), np.int64, len(cells))
    return code, hash_all(_write_text(cell) if isinstance(cell, str) else cell for cell in seen)


def hash_all(parts: Iterable[bytes]) -> list[bytes]:
    """Hash each of some parts to 16 bytes.

    Args:
        parts: Any bytes.
    """
    hasher = hashlib.blake2b
    return [hasher(part, digest_size=16).digest() for part in parts]


def measure(parts: Iterable[bytes]) -> bytes:
    """Write parts down, each after its length, so that no two lists of parts are alike.

    Example:
        >>> measure([b"a", b"b"]) == measure([b"ab"])
        False
    """
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _write_cells(cells: list[object], name: str) -> list[str | bytes]:
    """Write down what is no text; an array that stands in many rows, once."""
    written: dict[int, str | bytes] = {}
    for cell in cells:
        if id(cell) not in written:
            written[id(cell)] = str(cell) if isinstance(cell, str) else _write(cell, name)
    return [written[id(cell)] for cell in cells]


def _write_text(text: str) -> bytes:
    return b"s" + text.encode("utf-8", "surrogatepass")


def _write(value: object, column: str) -> bytes:
    """Write a value down: its kind, then itself."""
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, np.ndarray):
        parts = [str(value.dtype).encode(), str(value.shape).encode()]
        whole = [_write(one, column) for one in value.ravel()] if value.dtype.hasobject else [value.tobytes()]
        return b"a" + measure([*parts, *whole])
    if isinstance(value, (list, tuple)):
        return b"l" + measure(_write(one, column) for one in value)
    if isinstance(value, (set, frozenset)):
        return b"u" + measure(sorted(_write(one, column) for one in value))
    if isinstance(value, dict):
        return b"d" + measure(sorted(measure((_write(key, column), _write(one, column))) for key, one in value.items()))
    return _write_scalar(value, column)


def _write_scalar(value: object, column: str) -> bytes:  # noqa: PLR0911 - a kind each
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, (float, np.floating)) and math.isnan(value)):
        return b"n"
    if isinstance(value, (bool, np.bool_)):
        return b"b" + str(bool(value)).encode()
    if isinstance(value, np.timedelta64):  # which is an integer, too
        return b"t" + measure((str(value.dtype).encode(), value.tobytes()))
    if isinstance(value, (int, np.integer)):
        return b"i" + str(int(value)).encode()
    if isinstance(value, float) or (isinstance(value, np.floating) and value.itemsize <= _PRECISE):
        return b"f" + float(value).hex().encode()
    if isinstance(value, bytes):
        return b"y" + value
    if isinstance(value, np.generic):
        return b"g" + measure((str(value.dtype).encode(), value.tobytes()))
    if isinstance(value, _TOLD):
        return b"r" + repr(value).encode()
    problem = f"column {column} holds {value!r:.80} ({type(value).__name__}), expected text, numbers, arrays, lists or dictionaries"
    fix = "cached(stage, path, reads=['what', 'it', 'reads'])"
    raise FrameError("it cannot be told what a score was made of", [problem], fix=fix)
