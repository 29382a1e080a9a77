"""How loops are compiled, and where the result is kept.

numba compiles a function when it is first called, which takes seconds, and keeps the result in ``__pycache__`` beside the source;
where that cannot be written, as in a read-only install, in the user's cache folder. ``NUMBA_CACHE_DIR`` names another one.
A cached function does not see that one in another file changed: functions that call each other stand in one file, or the calling
file ends with ``forget_older``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, without Python's lock, so that threads run it side by side."""
    return cast("Function", njit(cache=True, nogil=True)(function))


def forget_older(function: Callable[..., object], *used: ModuleType) -> None:
    """Delete what numba keeps of a file's functions if it is older than another file whose functions they call."""
    newest = max(Path(str(module.__file__)).stat().st_mtime_ns for module in used)
    stem = function.__module__.rpartition(".")[2]
    for index in Path(function.stats.cache_path).glob(f"{stem}.*.nbi"):  # type: ignore[attr-defined] # a numba dispatcher's
        with suppress(OSError):  # another process was quicker, or it is not ours to delete
            if index.stat().st_mtime_ns < newest:
                index.unlink()
