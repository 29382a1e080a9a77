"""The SQLite file behind kept scores: made whole, opened only if it is ours, and what is wrong with it in words."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pt_cascade.errors import StoreError
from pt_cascade.stages.scorecache import sqlite_locks as store_opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FORMAT = 2
BESIDE = ("-wal", "-shm")
_MAGIC, _OURS = b"SQLite format 3\0", 0x70746373  # "ptcs", where SQLite keeps the number of an application
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_OUTSIDE = ("unable to open", "readonly", "full", "disk i/o")
# score has no type: as REAL it would lose the sign of -0.0
_SCHEMA = f"""
PRAGMA journal_mode = WAL;
PRAGMA application_id = {_OURS};
PRAGMA user_version = {FORMAT};
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE groups (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE scores (owner INTEGER, item INTEGER, score NOT NULL, PRIMARY KEY (owner, item)) WITHOUT ROWID;
"""
# groups are numbered on from anywhere, so that those of two files do not meet
_FIRST_GROUP = "INSERT INTO groups VALUES (abs(random() % 1000000000), randomblob(8))"


def find_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Say where a file is, wherever the process goes later.

    Args:
        path: As it was given: relative, with ``~``, as bytes.

    Returns:
        Its absolute path.

    Example:
        >>> find_path(b"/kept/../scores")
        '/scores'
    """
    return os.path.abspath(os.path.expanduser(os.fsdecode(path)))  # noqa: PTH100, PTH111 - may be bytes, and must not touch the disk


def say_removal(path: str, ends: Sequence[str] = ("", *BESIDE)) -> str:
    """Write the command that removes a file with what belongs to it.

    Args:
        path: The file.
        ends: What is to go.

    Example:
        >>> say_removal("/my scores")
        "rm -f '/my scores' '/my scores-wal' '/my scores-shm'"
    """
    return "rm -f " + " ".join(shlex.quote(path + end) for end in ends)


@contextmanager
def open_file(path: str) -> Iterator[sqlite3.Connection]:
    """Open a file of ours, close it in any case, and say what is wrong with it.

    Args:
        path: The file; it is there.

    Yields:
        A connection in which every statement is a transaction, unless one is begun.

    Raises:
        StoreError: It is none of ours, or of another version, or holds what it should not, or SQLite failed while it was open.

    Example:
        >>> path = str(getfixture("tmp_path") / "scores")
        >>> make_file(path, {"identity": "{}"})
        >>> with open_file(path) as file:
        ...     file.execute("SELECT * FROM about").fetchall()
        [('identity', '{}')]
    """
    try:
        file, inode = store_opening.connect(path, _check_header)
        try:
            yield file
        finally:
            store_opening.disconnect(file, inode)
    except (OSError, sqlite3.Error, TypeError, ValueError) as error:
        refuse(path, error)


def make_file(path: str, about: Mapping[str, str]) -> None:
    """Make a file of ours, unless there is one: beside its place, then moved there whole; who comes second takes the first one's.

    Args:
        path: Where; its folder is made too.
        about: What it says of itself.

    Raises:
        StoreError: It cannot be made, or what is left of another one, which SQLite would take for a part of it, lies beside it.
    """
    place = Path(path)
    if place.exists():
        return
    left = [path + end for end in BESIDE if Path(path + end).exists()]
    if left and not place.exists():  # else somebody has made it since, and is at work
        problem = f"{' and '.join(left)} is left of a file that is not there any more"
        raise StoreError(f"no scores can be kept in {path}", [problem], fix=f"bring that file back, or {say_removal(path, BESIDE)}")
    beside = place.with_name(f".{place.name}.{secrets.token_hex(8)}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with store_opening.at_work(), closing(sqlite3.connect(beside, isolation_level=None)) as file:
            file.executescript(_SCHEMA)
            file.execute(_FIRST_GROUP)
            file.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        _move(beside, place)
    except (OSError, sqlite3.Error) as error:
        refuse(path, error)
    finally:
        for end in ("", *BESIDE):
            with suppress(OSError):
                Path(f"{beside}{end}").unlink()


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


def refuse(path: str, error: Exception) -> NoReturn:
    """Say what is wrong with a file, and what to do.

    Args:
        path: The file.
        error: What came of using it.

    Raises:
        StoreError: Always.
    """
    words, outside = str(error), isinstance(error, OSError)
    fix = f"bring back a copy, or {say_removal(path)}"
    if "locked" in words:
        fix = "wait until the other process is done; a store on a network file system cannot be shared"
    elif outside or any(part in words.lower() for part in _OUTSIDE):
        fix = f"see that {path} and its folder can be written, and that the disk is not full"
    raise StoreError(f"the scores in {path} cannot be used", [f"{type(error).__name__}: {words}"], fix=fix) from error


def _move(beside: Path, place: Path) -> None:
    """Put a file where none is; where the file system knows no hard links, makers take turns by a lock file."""
    try:
        os.link(beside, place)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return
    lock = place.with_name(f".{place.name}.lock")
    with _lock(lock):
        if not place.exists():
            beside.rename(place)


@contextmanager
def _lock(lock: Path) -> Iterator[None]:
    """Be the only one who has made a file."""
    end = time.monotonic() + store_opening.PATIENCE
    while True:
        try:
            lock.touch(exist_ok=False)
            break
        except FileExistsError:
            if time.monotonic() > end:
                raise StoreError(f"{lock} is never taken away", ["who made it was killed"], fix=f"rm {lock}") from None
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink()


def _check_header(path: str) -> None:
    """Read the first bytes: nothing that is not ours is opened, so nothing that is not ours is touched."""
    with Path(path).open("rb") as file:
        head = file.read(100)
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
