"""Tests whether an argument is a number, of Python or NumPy; a boolean and a text are not."""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np


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
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
