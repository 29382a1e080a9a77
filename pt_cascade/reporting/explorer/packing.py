"""Arrays and lists of words as text for a page: the smallest integer type or JSON, gzip, base64."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Packed: TypeAlias = "dict[str, str]"
_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def pack(array: NDArray[np.number]) -> Packed:
    """Return the values, row by row, with the name of their type; integers in the smallest type that holds them.

    Example:
        >>> pack(np.array([1, 300]))["type"]
        'uint16'
    """
    if array.dtype.kind in "iu":
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        small = next(name for name in _INTEGERS if np.iinfo(name).min <= low and high <= np.iinfo(name).max)
        array = array.astype(small)
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"type": array.dtype.name, "data": _encode(little.tobytes())}


def pack_words(words: Sequence[str]) -> Packed:
    """Return a list of texts."""
    return {"type": "json", "data": _encode(json.dumps(list(words)).encode())}


def _encode(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()
