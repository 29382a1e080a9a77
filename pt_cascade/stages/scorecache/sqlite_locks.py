"""Who in this process has which file of kept scores open: POSIX locks belong to the process, so it has to know.

A process that closes a file by anything but SQLite drops all the locks that SQLite has on it; others then take away what lies
beside it while it is in use, and commits are lost. So a file is looked into by other means only while nobody here has it open, and
whoever opens it is counted. A forked child takes over what SQLite believes of its locks, but not the locks: so a fork waits until
nobody is at work, and what is held open is closed before it, and opened again by the parent.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Inode: TypeAlias = "tuple[int, int]"

PATIENCE = 60.0  # seconds that a writer waits for the others
_NOWHERE = (0, 0)
_TURN = threading.Condition()
_USERS: Counter[Inode] = Counter()
_HELD: list[Held] = []


@dataclass(eq=False)
class Held:
    """A file that is kept open between transactions, so that what is written stays beside it until the end.

    Attributes:
        path: The file.
        file: The connection; None while the process forks, and in a child.
        inode: What is counted.
    """

    path: str
    file: sqlite3.Connection | None = None
    inode: Inode = _NOWHERE

    def open(self) -> None:
        """Open it."""
        self.file, self.inode = connect(self.path, lambda _: None)

    def close(self) -> None:
        """Close it, if it is open."""
        if self.file is not None:
            disconnect(self.file, self.inode)
            self.file = None


def connect(path: str, look: Callable[[str], None]) -> tuple[sqlite3.Connection, Inode]:
    """Open a file, and count it.

    Args:
        path: The file; it is there.
        look: Reads the file by other means, and raises if it is none of ours; it runs only if nobody here has the file open.

    Returns:
        A connection, for ``disconnect``, and what was counted.

    Raises:
        OSError: The file is not there.
        sqlite3.Error: It cannot be opened.
    """
    while True:
        with _TURN:
            inode = _find_inode(path)
            if not _USERS[inode]:
                look(path)
            _USERS[inode] += 1
        file = None
        try:
            file = _connect(path)
            if _find_inode(path) == inode:
                return file, inode
        except BaseException:
            _leave(file, inode)
            raise
        _leave(file, inode)  # another file was put in its place


def disconnect(file: sqlite3.Connection, inode: Inode) -> None:
    """Close what ``connect`` opened.

    Args:
        file: The connection.
        inode: What was counted.
    """
    _leave(file, inode)


@contextmanager
def at_work() -> Iterator[None]:
    """Count a file that is being made, and is nowhere yet."""
    with _TURN:
        _USERS[_NOWHERE] += 1
    try:
        yield
    finally:
        _leave(None, _NOWHERE)


@contextmanager
def hold(path: str) -> Iterator[None]:
    """Keep a file open that was looked at just now; what cannot be held is left alone.

    Args:
        path: The file.
    """
    held = Held(path)
    with _TURN, suppress(OSError, sqlite3.Error):
        held.open()
        _HELD.append(held)
    try:
        yield
    finally:
        with _TURN, suppress(sqlite3.Error):
            if held in _HELD:
                _HELD.remove(held)
            held.close()


def _connect(path: str) -> sqlite3.Connection:
    """Open a file of ours; where nothing may be written beside it, and nothing is waiting there, read it as it lies."""
    where = f"file:{quote(os.fsencode(path))}"
    file = sqlite3.connect(f"{where}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        file.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut may, the last commits, each whole
        file.execute("SELECT 1 FROM about").fetchone()
    except sqlite3.Error as error:
        file.close()
        waiting = Path(f"{path}-wal").exists()
        if waiting or not isinstance(error, sqlite3.OperationalError) or os.access(Path(path).parent, os.W_OK):
            raise
        file = sqlite3.connect(f"{where}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
    return file


def _find_inode(path: str) -> Inode:
    state = os.stat(path)  # noqa: PTH116 - a path is text here
    return state.st_dev, state.st_ino


def _leave(file: sqlite3.Connection | None, inode: Inode) -> None:
    """Close, then count: while it is counted, nobody looks into the file by other means."""
    try:
        if file is not None:
            file.close()
    finally:
        with _TURN:
            _USERS[inode] -= 1
            if not _USERS[inode]:
                del _USERS[inode]
            _TURN.notify_all()


def _before_fork() -> None:
    """Wait until nothing is open but what is held, and close that."""
    _TURN.acquire()
    _TURN.wait_for(lambda: _USERS.total() <= sum(held.file is not None for held in _HELD), PATIENCE)
    for held in _HELD:
        with suppress(sqlite3.Error):
            held.close()


def _after_fork_in_parent() -> None:
    for held in _HELD:
        with suppress(OSError, sqlite3.Error):
            held.open()
    _TURN.release()


def _after_fork_in_child() -> None:
    _HELD.clear()
    _TURN.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
