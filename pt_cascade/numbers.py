"""Tests of arguments of any type, arrays and ``pd.NA`` included: a number (not a boolean), one of some words, several values.

And how many there are of something, for a message.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether something is a number; NaN and infinity are.

    Example:
        >>> is_number(2), is_number(np.float32(2)), is_number(True), is_number("2")
        (True, True, False, False)
    """
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_amount(value: object) -> TypeGuard[float]:
    """Tell whether something is a finite number, 0 or more, that fits a float64.

    Example:
        >>> is_amount(0), is_amount(-1), is_amount(float("inf")), is_amount(10**400)
        (True, False, False, False)
    """
    try:
        return is_number(value) and 0 <= float(value) < math.inf
    except OverflowError:
        return False


def is_whole(value: object, least: int = 0) -> TypeGuard[int]:
    """Tell whether something is a whole number, at or above the least one allowed.

    Example:
        >>> is_whole(np.int64(5)), is_whole(5.0), is_whole(0, least=1)
        (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(least <= value <= sys.maxsize)


def is_word(value: object, words: Collection[str]) -> bool:
    """Tell whether something is one of some words.

    Example:
        >>> is_word("rrf", ("rrf", "weighted")), is_word(np.array(["rrf"]), ("rrf", "weighted"))
        (True, False)
    """
    return isinstance(value, str) and value in words


def check_word(name: str, value: object, words: Collection[str]) -> list[str]:
    """List the problem of an argument that is not one of some words.

    Example:
        >>> check_word("tail", "drop", ("drop", "keep")), check_word("tail", None, ("drop", "keep"))
        ([], ['tail is None, expected one of drop, keep'])
    """
    return [] if is_word(value, words) else [f"{name} is {value!r}, expected one of {', '.join(words)}"]


def is_several(value: object) -> bool:
    """Tell whether something holds values that can be listed, and is no text.

    Example:
        >>> is_several([1]), is_several(np.array(1)), is_several("one"), is_several(None)
        (True, False, False, False)
    """
    listed = hasattr(value, "__iter__") and not isinstance(value, str | bytes | type)
    return listed and bool(getattr(value, "ndim", 1))


def count_of(number: float, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1.

    Example:
        >>> count_of(1, "query"), count_of(1200, "query"), count_of(0, "document"), count_of(2, "entry")
        ('1 query', '1,200 queries', '0 documents', '2 entries')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{int(number):,} {noun if number == 1 else plural}"
