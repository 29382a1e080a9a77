"""How loops are compiled.

numba compiles a function at its first call, which takes seconds, and caches the result in ``__pycache__`` beside the source or,
where that cannot be written, in the user's cache folder; ``NUMBA_CACHE_DIR`` names another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of numbers and arrays at its first call, without Python's lock; its types stay, as numba ships none."""
    return cast("Function", njit(cache=True, nogil=True)(function))
