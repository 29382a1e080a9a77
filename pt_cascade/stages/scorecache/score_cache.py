"""The SQLite file of a score cache: every call opens it, runs one transaction and closes it."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from pt_cascade.caches import check_trusted
from pt_cascade.errors import ScoreCacheError
from pt_cascade.files import to_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

APPLICATION = 0x70746373  # "ptcs", in the place where SQLite keeps the number of an application
PATIENCE = 60.0  # seconds that a call waits for other processes
_IDENTITY = "identity"
_SCORE = np.dtype([("item", "<i8"), ("score", "<f8")])
_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION}",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE scores (id INTEGER PRIMARY KEY, query BLOB NOT NULL, scores BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE INDEX scores_of_query ON scores (query)",
)
_OUTSIDE = ("unable to open", "readonly", "full", "disk i/o")


@dataclass(frozen=True, eq=False)
class ScoreCache:
    """The cached scores of one stage in an SQLite file, about 18 bytes a score.

    A row of the file holds what one call has put for one query: 64-bit items with their scores, and a CRC-32 of all that. The
    first score of an item stays; later ones are ignored. Of n documents of a query two share an item, and so a score, with a
    probability of n²/2⁶⁵: 3e-14 for a thousand. No connection outlives a call, so that threads, processes and forks share nothing.
    A process that is forked in the middle of another thread's call must not use the same file. Keep the file on a local disk:
    SQLite's locks do not hold on network file systems.

    A ScoreCacheError says that the file is of another stage, damaged, or cannot be read or written.

    Attributes:
        path: The file; the first ``put`` creates it. Relative paths and ``~`` are resolved when the object is made.
        identity: What the stage is, see ``stages.base.identity``; empty: any.

    Example:
        >>> cache = ScoreCache(str(getfixture("tmp_path") / "scores.sqlite"), {"class": "toy"})
        >>> cache.put([b"q" * 16], np.array([0, 0]), np.array([7, 8]), np.array([0.5, 0.25]))
        >>> cache.get([b"q" * 16], np.array([0, 0, 0]), np.array([8, 9, 7])).tolist()
        [0.25, nan, 0.5]
    """

    path: str
    identity: Mapping[str, str]

    def __post_init__(self) -> None:
        """Make the path absolute."""
        object.__setattr__(self, "path", find_path(self.path))

    def get(self, groups: Sequence[bytes], group: Ints, item: Ints) -> Floats:
        """Read the scores of n items, each in the group with its number; NaN where there is none.

        Args:
            groups: 16 bytes each.
            group: Shape (n,). From 0 to len(groups) - 1.
            item: Shape (n,).
        """
        scores = np.full(len(item), np.nan)
        with self._read() as file:
            for number, rows in _split(group):
                found = _read_group(file, groups[number])
                items, first = np.unique(found["item"], return_index=True)
                at = np.searchsorted(items, item[rows])
                known = items.take(at, mode="clip") == item[rows] if len(items) else np.zeros(len(rows), bool)
                scores[rows[known]] = found["score"][first[at[known]]]
        return scores

    def put(
        self,
        groups: Sequence[bytes],
        group: Ints,
        item: Ints,
        score: Floats,
        notes: Mapping[str, str] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        """Write scores in one transaction; a score that is there stays.

        Args:
            groups: As for ``get``, like ``group`` and ``item``.
            group: Shape (n,).
            item: Shape (n,).
            score: Shape (n,). Finite.
            notes: What is known of the stage by name, in place of what was noted before.
            durable: Wait until the disk has it. Otherwise a power cut may damage the file; a killed process never does.
        """
        if bad := int((~np.isfinite(score)).sum()):
            raise ScoreCacheError("scores cannot be cached", [f"{bad} of {len(score)} are not finite"])
        rows = []
        for number, some in _split(group):
            found = np.empty(len(some), _SCORE)
            found["item"], found["score"] = item[some], score[some]
            rows.append((groups[number], content := found.tobytes(), zlib.crc32(groups[number] + content)))
        with self._write(durable=durable) as file:
            file.executemany("INSERT INTO scores (query, scores, crc) VALUES (?, ?, ?)", rows)
            _write_meta(file, notes or {})

    def check_writable(self) -> None:
        """Refuse an existing file that cannot be written, before a stage scores anything."""
        if self.size():
            with self._write() as file:
                file.execute("UPDATE meta SET crc = crc")
                file.execute("ROLLBACK")
                file.execute("BEGIN")

    def notes(self) -> dict[str, str]:
        """Read the identity of the stage, as JSON, and what was noted; nothing without a file."""
        with self._read() as file:
            return _read_meta(file) if file else {}

    def count(self) -> int:
        """Count the scores, and check all of them; it reads the whole file."""
        with self._read() as file:
            groups = file.execute("SELECT DISTINCT query FROM scores").fetchall() if file else []
            return sum(np.unique(_read_group(file, group)["item"]).size for (group,) in groups)

    def size(self) -> int:
        """Give the size of the file in bytes; 0 without a file."""
        return Path(self.path).stat().st_size if Path(self.path).exists() else 0

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection | None]:
        """Give the file as it is at one moment; None where nothing was put yet."""
        if self.size():
            with self._open("BEGIN") as file:
                yield file if self._is_made(file) else None
        else:
            yield None

    @contextmanager
    def _write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the file, created where there is none, while other writers wait."""
        with self._open("BEGIN IMMEDIATE", "NORMAL" if durable else "OFF") as file:
            if not self._is_made(file):
                for line in _SCHEMA:
                    file.execute(line)
                _write_meta(file, {_IDENTITY: json.dumps(self.identity)})
            yield file

    @contextmanager
    def _open(self, begin: str, synchronous: str = "NORMAL") -> Iterator[sqlite3.Connection]:
        """Run one transaction; whatever fails, SQLite undoes it when the file is closed."""
        check_trusted(Path(self.path), lambda other: f"cached(stage, {other!r})")
        try:
            if begin != "BEGIN":
                Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            address = f"file:{quote(os.fsencode(self.path))}?mode={'rw' if begin == 'BEGIN' else 'rwc'}"
            with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)) as file:
                file.execute(f"PRAGMA synchronous = {synchronous}")
                file.execute(begin)
                yield file
                file.execute("COMMIT")
        except (OSError, sqlite3.Error, TypeError, ValueError) as error:
            raise self._explain(error) from error

    def _is_made(self, file: sqlite3.Connection) -> bool:
        """Check that a file is the cache of this stage; False where it is empty."""
        if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return False
        if file.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
            raise self._refuse("it is an SQLite file of another application")
        found = json.loads(_read_meta(file)[_IDENTITY])
        names = dict.fromkeys((*found, *self.identity)) if self.identity else ()
        problems = [
            f"its {name} is {found.get(name, 'not given')}, expected {self.identity.get(name, 'none')}"
            for name in names
            if found.get(name) != self.identity.get(name)
        ]
        if problems:
            fix = f"cached(stage, 'another/path'), or {self._removal} if its scores are not needed"
            raise ScoreCacheError(f"the scores in {self.path} belong to another stage", problems, fix=fix)
        return True

    @property
    def _removal(self) -> str:
        return f"rm {shlex.quote(self.path)}"

    def _refuse(self, problem: str) -> ScoreCacheError:
        return ScoreCacheError(f"{self.path} is not a score cache", [problem], fix="cached(stage, 'another/path')")

    def _explain(self, error: Exception) -> ScoreCacheError:
        words = str(error)
        if "not a database" in words:
            return self._refuse("it is not an SQLite file")
        fix = f"{self._removal}, so that its scores are computed again"
        if "locked" in words:
            fix = "wait until the other process is done; processes cannot share a score cache on a network file system"
        elif isinstance(error, OSError) or any(part in words.lower() for part in _OUTSIDE):
            fix = f"check that {self.path} and its folder can be written, and that the disk is not full"
        return ScoreCacheError(f"the score cache {self.path} cannot be used", [f"{type(error).__name__}: {words}"], fix=fix)


def find_path(path: str | os.PathLike[str]) -> str:
    """Make a path absolute, so that the process may change its folder."""
    return str(to_path(path).absolute())


def _split(group: Ints) -> Iterator[tuple[int, Ints]]:
    """Give each group with its rows."""
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(group) else ():
        yield int(group[rows[0]]), rows


def _read_group(file: sqlite3.Connection | None, group: bytes) -> NDArray[np.void]:
    """Read what was put for a group, in the order in which it was put."""
    line = "SELECT scores, crc FROM scores WHERE query = ? ORDER BY id"
    rows = file.execute(line, (group,)).fetchall() if file else []
    for content, crc in rows:
        _check(group + content, crc, "scores")
    return np.frombuffer(b"".join(content for content, _ in rows), _SCORE)


def _write_meta(file: sqlite3.Connection, notes: Mapping[str, str]) -> None:
    rows = [(name, value, zlib.crc32(f"{name} {value}".encode())) for name, value in notes.items()]
    file.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)


def _read_meta(file: sqlite3.Connection) -> dict[str, str]:
    rows = file.execute("SELECT name, value, crc FROM meta").fetchall()
    for name, value, crc in rows:
        _check(f"{name} {value}".encode(), crc, f"its {name}")
    if _IDENTITY not in {name for name, *_ in rows}:
        raise ValueError(f"its table meta has no {_IDENTITY}")
    return {name: value for name, value, _ in rows}


def _check(content: bytes, crc: int, what: str) -> None:
    if zlib.crc32(content) != crc:
        raise ValueError(f"{what}: the checksum is wrong, so the file is damaged")
