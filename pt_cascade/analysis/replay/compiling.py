"""How loops are compiled, and where the result is kept.

numba compiles a function when it is first called, which takes seconds, and keeps the result in ``__pycache__`` beside the source;
where that cannot be written, as in a read-only install, in the user's cache folder. ``NUMBA_CACHE_DIR`` names another one.
A cached function does not see that one in another file changed: who edits a kernel deletes the caches with ``make clean``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, without Python's lock, so that threads run it side by side.

    Args:
        function: Plain loops over numbers and arrays.

    Returns:
        The same, typed as it was: numba ships no types.
    """
    return cast("Function", njit(cache=True, nogil=True)(function))
