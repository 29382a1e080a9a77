"""How loops are compiled.

numba compiles a function at its first call, which takes seconds, and caches the result in ``__pycache__`` beside the source or,
where that cannot be written, in the user's cache folder; ``NUMBA_CACHE_DIR`` names another one. Where none can be written, as in a
container without a home, each process compiles for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of numbers and arrays at its first call, without Python's lock; its types stay, as numba ships none."""
    try:
        return cast("Function", njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder for the cache
        return cast("Function", njit(nogil=True)(function))
