"""Scores kept on the disk across runs, in one SQLite file a stage, about 30 bytes a score.

A file holds the scores of one stage, and says of which. A score has two keys: a *group*, 16 bytes that tell the query (or, where a
score depends on the list, the query and its whole list), and an *item* in it, a 64-bit hash of the document (or its place in the
list). Scores of a group lie together, so they are read in one go; of n documents of a query two share an item, and so a score, with
a chance of n²/2⁶⁵: 3e-14 for a thousand.

Every call opens the file, does one transaction and closes it. So nothing is shared between threads, processes or forks, and
whoever is killed leaves what was committed, whole. Writers wait for each other. The first score written for a key stays: who comes
second with another changes nothing.

Each file has a salt, under which the keys of its groups are hashed, and its own numbers for them: what SQLite finds in a log that
another file left behind answers for nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import StoreError
from pt_cascade.stages.scorecache.sqlite_file import find_path, make_file, open_file, say_removal, transaction
from pt_cascade.stages.scorecache.sqlite_locks import hold

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from pt_cascade.ranking import Floats, Ints

_IDENTITY, _SALT = "identity", "salt"
_READ = "SELECT item, score FROM json_each(?) AS asked CROSS JOIN scores ON owner = ? AND item = asked.value"


@dataclass(frozen=True, eq=False)
class ScoreStore:
    """The kept scores of one stage.

    Attributes:
        path: The file; made when the first score is kept. While somebody writes, a ``-wal`` and a ``-shm`` file lie beside it and
            belong to it: remove, copy and move all three. Keep it on a local disk: SQLite's locks do not hold on network file
            systems. Relative to where the process is when the store is made.
        identity: What the stage is, see ``identity.identify``; empty takes the file as it is.

    Example:
        >>> store = ScoreStore(str(getfixture("tmp_path") / "scores.sqlite"), {"class": "toy"})
        >>> store.put([b"q" * 16], np.array([0, 0]), np.array([7, 8]), np.array([0.5, 0.25]))
        >>> store.get([b"q" * 16], np.array([0, 0, 0]), np.array([8, 9, 7])).tolist()
        [0.25, nan, 0.5]
    """

    path: str
    identity: Mapping[str, str]

    def __post_init__(self) -> None:
        """Fix the path."""
        object.__setattr__(self, "path", find_path(self.path))

    def get(self, groups: Sequence[bytes], group: Ints, item: Ints) -> Floats:
        """Read scores in bulk.

        Args:
            groups: g different groups, 16 bytes each.
            group: Shape (n,). The number of each score's group, from 0 to g - 1.
            item: Shape (n,). Its item.

        Returns:
            Shape (n,). The scores, bit for bit as they were put; NaN where there is none.

        Raises:
            StoreError: The file is of another stage or version, cannot be read, or holds what is no finite number.
        """
        scores = np.full(len(item), np.nan)
        if not Path(self.path).exists():
            return scores
        order = np.lexsort((item, group))
        ends = np.cumsum(np.bincount(group, minlength=len(groups)))
        with self._open() as file:
            for key, rows in zip(_salt(file, groups), np.split(order, ends[:-1]), strict=True):
                if found := file.execute("SELECT id FROM groups WHERE key = ?", (key,)).fetchone():
                    asked = item[rows].tolist()
                    kept = dict(file.execute(_READ, (json.dumps(asked), *found)))
                    _check(kept)
                    scores[rows] = [kept.get(one, np.nan) for one in asked]
        return scores

    def put(self, groups: Sequence[bytes], group: Ints, item: Ints, score: Floats) -> None:
        """Keep scores, all or none of them; those that are there stay as they are.

        Args:
            groups: g different groups, 16 bytes each.
            group: Shape (n,). The number of each score's group, from 0 to g - 1.
            item: Shape (n,). Its item.
            score: Shape (n,). Finite.

        Raises:
            StoreError: A score is not finite, or the file is of another stage or version, or cannot be written.
        """
        if not np.isfinite(score).all():
            raise StoreError("scores cannot be kept", [f"{int((~np.isfinite(score)).sum())} of {len(score)} are not finite"])
        order = np.lexsort((item, group))
        owner, items, scores = group[order], item[order].tolist(), score[order].tolist()
        self._make()
        with self._open() as file, transaction(file):
            keys = _salt(file, groups)
            file.executemany("INSERT OR IGNORE INTO groups (key) VALUES (?)", [(key,) for key in keys])
            ids = [file.execute("SELECT id FROM groups WHERE key = ?", (key,)).fetchone()[0] for key in keys]
            rows = zip(np.array(ids, np.int64)[owner].tolist(), items, scores, strict=True)
            file.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?, ?)", rows)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep the file open, if it is there, while several batches are put: SQLite then moves them into it once, at the end.

        Raises:
            StoreError: As for ``put``: what cannot be written to is told before anything is scored.
        """
        if not Path(self.path).exists():
            yield
            return
        with self._open() as file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("UPDATE about SET value = value")
            file.execute("ROLLBACK")
        with hold(self.path):
            yield

    def note(self, name: str, value: str) -> None:
        """Write down what was learned of the stage, in place of what stood there.

        Args:
            name: Of what; not ``identity`` or ``salt``.
            value: What was learned.

        Raises:
            StoreError: As for ``put``.
        """
        self._make()
        with self._open() as file, transaction(file):
            file.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def notes(self) -> dict[str, str]:
        """Read what the file says of itself: the ``identity`` of its stage, as JSON, and what was noted; nothing without a file.

        Raises:
            StoreError: As for ``get``.
        """
        if not Path(self.path).exists():
            return {}
        with self._open() as file:
            return dict(file.execute("SELECT name, value FROM about WHERE name != ?", (_SALT,)))

    def count(self) -> int:
        """Count the scores; it reads the whole file.

        Raises:
            StoreError: As for ``get``.
        """
        if not Path(self.path).exists():
            return 0
        with self._open() as file:
            return int(file.execute("SELECT count(*) FROM scores").fetchone()[0])

    def size(self) -> int:
        """Measure the file, with what lies beside it while somebody writes."""
        files = (Path(self.path + end) for end in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def __repr__(self) -> str:
        try:
            scores = f"{self.count()} scores"
        except StoreError as error:
            scores = error.what
        return f"ScoreStore({self.path!r}: {scores}, {self.size()} bytes)"

    def _make(self) -> None:
        make_file(self.path, {_IDENTITY: json.dumps(self.identity), _SALT: secrets.token_hex(hashlib.blake2b.SALT_SIZE)})

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction, if it is of this stage; what goes wrong meanwhile is laid to the file."""
        with open_file(self.path) as file:
            self._check_identity(file)
            yield file

    def _check_identity(self, file: sqlite3.Connection) -> None:
        told = _read_identity(file)
        names = dict.fromkeys((*told, *self.identity)) if self.identity else ()
        problems = [
            f"its {name} is {told.get(name, 'not told')}, expected {self.identity.get(name, 'none')}"
            for name in names
            if told.get(name) != self.identity.get(name)
        ]
        if problems:
            fix = f"cached(stage, 'another/path'), or {say_removal(self.path)} if nobody needs its scores"
            raise StoreError(f"the scores in {self.path} are of another stage", problems, fix=fix)


def _read_identity(file: sqlite3.Connection) -> dict[str, str]:
    (words,) = file.execute("SELECT value FROM about WHERE name = ?", (_IDENTITY,)).fetchone() or ("{}",)
    told = json.loads(words)
    if not isinstance(told, dict):
        raise TypeError(f"its identity is {words!r:.80}, expected words by name")
    return told


def _salt(file: sqlite3.Connection, groups: Sequence[bytes]) -> list[bytes]:
    """Give the keys under which this file keeps some groups."""
    (salt,) = file.execute("SELECT value FROM about WHERE name = ?", (_SALT,)).fetchone() or ("",)
    salt = bytes.fromhex(salt)
    if len(salt) != hashlib.blake2b.SALT_SIZE:
        raise ValueError(f"its salt has {len(salt)} bytes, expected {hashlib.blake2b.SALT_SIZE}")
    return [hashlib.blake2b(group, digest_size=16, salt=salt).digest() for group in groups]


def _check(kept: Mapping[int, object]) -> None:
    """Refuse what nobody put there."""
    if bad := [one for one in kept.values() if type(one) is not float or not math.isfinite(one)]:
        raise ValueError(f"a score is {bad[0]!r:.80}, expected a finite number")
