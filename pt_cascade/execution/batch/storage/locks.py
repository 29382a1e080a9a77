"""Locks of a folder, each a file in it, which the system takes back when a process ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from pt_cascade.errors import CascadeError
from pt_cascade.files import naming_refusals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TRIES, _PAUSE = 5, 0.1  # seconds; ``is_locked`` holds a lock for less


@contextmanager
def lock(file: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Lock a file, alone or shared with others that share it; refuse one that is locked already, or wait."""
    with naming_refusals(file.parent), open(file, "a+", encoding="utf-8", opener=_open) as opened:
        if not _take(opened, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, file, wait=wait):
            opened.seek(0)
            holder = opened.read().strip() or "another process"
            raise CascadeError(f"another run uses {file.parent}", [holder], fix="wait until it ends")
        if not (shared or wait):
            opened.truncate(0)
            opened.write(f"{this_process()}, since {now()}\n")
            opened.flush()
        yield


def is_locked(file: Path) -> bool:
    """Whether a process holds a lock."""
    if not file.exists():
        return False
    with file.open("r+" if os.access(file, os.W_OK) else "r", encoding="utf-8") as opened:  # NFS locks what may be written
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def this_process() -> str:
    """Name the process and its machine."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def now() -> str:
    """Return the time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _open(name: str, flags: int) -> int:
    """Open a lock, which is emptied: no link to another file."""
    return os.open(name, flags | os.O_NOFOLLOW, 0o666)


def _take(opened: IO[str], kind: int, file: Path, *, wait: bool) -> bool:
    for _ in range(_TRIES):
        try:
            fcntl.flock(opened, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError as error:
            problem = f"its file system has no locks: {error.strerror}"
            fix = "choose a folder on another file system; Lustre has locks with the mount option flock"
            raise CascadeError(f"cannot run into {file.parent}", [problem], fix=fix) from error
        else:
            return True
    return False
