"""A folder that takes long to fill: where it grows, kept over a crash, one process at a time."""

from __future__ import annotations

import os
import shutil
import warnings
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from pt_cascade.errors import CascadeWarning, CollectionError
from pt_cascade.files import is_built, publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FIX = "choose a path where you may write"


def growing_folder(path: Path) -> Path:
    """Name the folder beside a place in which it grows.

    Example:
        >>> from pathlib import Path
        >>> growing_folder(Path("run/vectors")).name
        '.vectors.partial'
    """
    return path.with_name(f".{path.name}.partial")


@contextmanager
def claimed(path: Path) -> Iterator[Path | None]:
    """Hold the folder in which a place grows; whoever else holds it is waited for, and a dead holder's work is handed over.

    Args:
        path: The place.

    Yields:
        The folder, which the block may fill and in the end renames into place or deletes; None if the place is there by now, and
        not empty.

    Raises:
        CollectionError: There is a file at the place, or no folder can be made there.

    Warns:
        CascadeWarning: Another process holds it.
    """
    folder = growing_folder(path)
    while not is_built(path, fix=_FIX):
        _make(folder, path)
        try:
            lock = (folder / "lock").open("a")
        except FileNotFoundError:  # the other one has just deleted the folder
            continue
        with lock:
            _wait(lock, path)
            if _still_there(lock, folder / "lock") and not is_built(path, fix=_FIX):
                yield folder
                return
    yield None


def deliver(folder: Path, whole: Path, path: Path) -> None:
    """Put what has grown into its place, and delete the rest; whatever crashes, the place never holds files that are not whole.

    Args:
        folder: The folder that is held.
        whole: What is in it and goes to the place.
        path: The place.
    """
    publish(whole, path)
    shutil.rmtree(folder)


def _make(folder: Path, path: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        problem = f"{type(error).__name__}: {error.strerror}: {folder}"
        raise CollectionError(f"cannot build {path}", [problem], fix=_FIX) from error


def _wait(lock: IO[str], path: Path) -> None:
    """Take the lock. The system takes it back when a process ends, however it ends."""
    import fcntl  # noqa: PLC0415 - POSIX only

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        warnings.warn(f"another process is making {path}; waiting for it", CascadeWarning, stacklevel=2)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _still_there(lock: IO[str], file: Path) -> bool:
    """Tell whether the lock that was waited for is the one that stands there, not one deleted meanwhile."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), file.stat())
    except FileNotFoundError:
        return False
