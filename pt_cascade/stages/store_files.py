"""The SQLite file behind kept scores: made whole, opened only if it is ours, and what is wrong with it in words."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from pt_cascade.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT = 1
_MAGIC, _OURS = b"SQLite format 3\0", 0x70746373  # "ptcs", where SQLite keeps the number of an application
_PATIENCE = 60.0  # seconds that a writer waits for the others
# score has no type: as REAL it would lose the sign of -0.0
_SCHEMA = f"""
PRAGMA journal_mode = WAL;
PRAGMA application_id = {_OURS};
PRAGMA user_version = {FORMAT};
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE groups (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE scores (owner INTEGER, item INTEGER, score NOT NULL, PRIMARY KEY (owner, item)) WITHOUT ROWID;
"""


@contextmanager
def open_file(path: str) -> Iterator[sqlite3.Connection]:
    """Open a file of ours, close it in any case, and say what is wrong with it.

    Args:
        path: The file; it is there.

    Yields:
        A connection in which every statement is a transaction, unless one is begun.

    Raises:
        StoreError: It is none of ours, or of another version, or SQLite failed while it was open.

    Example:
        >>> path = str(getfixture("tmp_path") / "scores")
        >>> make_file(path, {"identity": "{}"})
        >>> with open_file(path) as file:
        ...     file.execute("SELECT * FROM about").fetchall()
        [('identity', '{}')]
    """
    _check_header(path)
    file = None
    try:
        file = _connect(path)
        yield file
    except sqlite3.Error as error:
        _refuse(path, error)
    finally:
        if file is not None:
            file.close()


def make_file(path: str, about: Mapping[str, str]) -> None:
    """Make a file of ours, unless there is one: beside its place, then moved there whole; who comes second takes the first one's.

    Args:
        path: Where; its folder is made too.
        about: What it says of itself.

    Raises:
        StoreError: It cannot be made.
    """
    place = Path(path)
    if place.exists():
        return
    beside = place.with_name(f".{place.name}.{secrets.token_hex(8)}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(beside, isolation_level=None)
        try:
            file.executescript(_SCHEMA)
            file.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        finally:
            file.close()
        with suppress(FileExistsError):
            os.link(beside, place)
    except (OSError, sqlite3.Error) as error:
        _refuse(path, error)
    finally:
        with suppress(OSError):
            beside.unlink()


@contextmanager
def transaction(file: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing; the lock is taken first, so that two writers wait for each other and never stop each other.

    Args:
        file: An open file.
    """
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself where the disk is full
            file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def _connect(path: str) -> sqlite3.Connection:
    """Open a file of ours; where nothing may be written beside it, and nothing is waiting there, read it as it lies."""
    where = f"file:{quote(str(Path(path).absolute()))}"
    file = sqlite3.connect(f"{where}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        file.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing; a power cut may, the last commits, each whole
        file.execute("SELECT 1 FROM about").fetchone()
    except sqlite3.Error as error:
        file.close()
        waiting = Path(f"{path}-wal").exists()
        if waiting or not isinstance(error, sqlite3.OperationalError) or os.access(Path(path).absolute().parent, os.W_OK):
            raise
        file = sqlite3.connect(f"{where}?mode=ro&immutable=1", uri=True, isolation_level=None)
    return file


def _check_header(path: str) -> None:
    """Read the first bytes: nothing that is not ours is opened, so nothing that is not ours is touched."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(100)
    except OSError as error:
        _refuse(path, error)
    application, version = (int.from_bytes(head[at : at + 4], "big") for at in (68, 60))
    if not head.startswith(_MAGIC):
        problem = "it is no SQLite file"
    elif application != _OURS:
        problem = "it is an SQLite file of something else"
    elif version != FORMAT:
        problem = f"its format is {version}, expected {FORMAT}: another version of pt_cascade made it"
    else:
        return
    raise StoreError(f"there are no kept scores in {path}", [problem], fix="cached(stage, 'another/path')")


def _refuse(path: str, error: OSError | sqlite3.Error) -> NoReturn:
    words = str(error)
    fix = f"see that {path} and its folder can be written, and that the disk is not full"
    if "malformed" in words or "not a database" in words:
        fix = f"rm {path}, or bring back a copy"
    elif "locked" in words:
        fix = "wait until the other process is done; a store on a network file system cannot be shared"
    raise StoreError(f"the scores in {path} cannot be used", [f"{type(error).__name__}: {words}"], fix=fix) from error
