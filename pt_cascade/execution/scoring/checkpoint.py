"""The checkpoint of a table: its finished batches in a folder, from which scoring resumes after a crash."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from os.path import samestat
from typing import IO, TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.checksums import read_hashed, write_hashed
from pt_cascade.errors import TableError, first_line
from pt_cascade.execution.scoring.chunk import ChunkScores
from pt_cascade.files import rm_command, to_path, write_file

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

MANIFEST, _LOCK = "chunks.json", ".lock"
_TRIES = 1000  # to lock a folder that other calls remove


@dataclass(frozen=True)
class Checkpoint:
    """A folder of finished batches.

    Attributes:
        folder: Holds ``chunks.json`` with the parts, and a parquet file for each batch with its SHA-256 in the name.
        lock: An open file of the folder, locked: shared while calls use the folder, exclusively by the one that removes it.
        shared: Whether another call used the folder when this one opened it.
    """

    folder: Path
    lock: IO[str]
    shared: bool

    def read(self, known: Container[int] = ()) -> dict[int, ChunkScores]:
        """Read the finished batches by number, without those that are known."""
        files = {int(file.name.partition("-")[0]): file for file in sorted(self.folder.glob("[0-9]*.parquet"))}
        return {number: self._read(file) for number, file in files.items() if number not in known}

    def write(self, number: int, scores: ChunkScores) -> None:
        """Save a finished batch."""
        frame, buffer = scores.frame.copy(deep=False), io.BytesIO()
        rules = {name: sorted(possible) for name, possible in scores.rules.items()}
        frame.attrs = {"rules": rules, "cut": scores.cut, "left_out": dict(scores.left_out)}
        frame.to_parquet(buffer, index=False)
        write_hashed(self.folder, f"{number:06d}", ".parquet", buffer.getvalue())

    def remove(self) -> None:
        """Delete the batches, and the folder if it is then empty; a folder that another call uses is left to that call."""
        with suppress(BlockingIOError):
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for pattern in ("[0-9]*.parquet", ".*.tmp", MANIFEST, _LOCK):
                for file in self.folder.glob(pattern):
                    file.unlink()
            with suppress(OSError):  # it holds other files
                self.folder.rmdir()

    def _read(self, file: Path) -> ChunkScores:
        try:
            frame = pd.read_parquet(io.BytesIO(read_hashed(file))).astype({"qid": str, "docno": str, "rank": np.int64})
            meta, frame.attrs = frame.attrs, {}
            rules = {name: frozenset(TieRule(*rule) for rule in possible) for name, possible in meta["rules"].items()}
            return ChunkScores(frame, rules, bool(meta["cut"]), dict(meta["left_out"]))
        except (OSError, LookupError, TypeError, ValueError, AttributeError, TableError) as error:
            problem = f"{file}: {type(error).__name__}: {first_line(error)}"
            raise TableError("a finished batch is damaged", [problem], fix=f"{rm_command(file)}, and score again") from error


@contextmanager
def open_checkpoint(folder: str | os.PathLike[str], parts: Mapping[str, str]) -> Iterator[Checkpoint]:
    """Open or make the checkpoint folder of a table, which is made of ``parts``; calls for the same table share it."""
    path = to_path(folder)
    what, fix = f"{path} cannot be used as a checkpoint", "score(..., checkpoint='a/new/folder')"
    with ExitStack() as opened:
        try:
            checkpoint = _lock(path, opened)
            manifest = path / MANIFEST
            found = sorted(file.name for file in path.iterdir() if file.name not in (MANIFEST, _LOCK) and file.suffix != ".tmp")
            if not manifest.exists() and not found:
                write_file(manifest, json.dumps(dict(parts), indent=1).encode())
            found_parts = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else None
        except OSError as error:
            raise TableError(what, [f"{type(error).__name__}: {error.strerror}"], fix=fix) from error
        except (ValueError, RecursionError) as error:
            raise TableError(what, [f"its {MANIFEST} is damaged: {error}"], fix=rm_command(path)) from error
        if not isinstance(found_parts, dict):
            (path / _LOCK).unlink()
            raise TableError(what, [f"it holds other files: {', '.join(found[:4])}"], fix=fix)
        if others := [name for name, value in parts.items() if found_parts.get(name) != value]:
            problem = f"it holds batches of another table, with other {', '.join(others)}"
            raise TableError(what, [problem], fix=f"{fix}, or {rm_command(path)} if they are not needed")
        yield checkpoint


def _lock(path: Path, opened: ExitStack) -> Checkpoint:
    """Lock a folder together with other calls, also of other processes; the system unlocks it when a process ends."""
    for _ in range(_TRIES):
        path.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another call has removed the folder since
            lock, shared = opened.enter_context((path / _LOCK).open("a+")), False
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                shared = True
            fcntl.flock(lock, fcntl.LOCK_SH)
            if samestat(os.fstat(lock.fileno()), (path / _LOCK).stat()):
                return Checkpoint(path, lock, shared)
    raise FileNotFoundError(errno.ENOENT, "no file can be made in it")
