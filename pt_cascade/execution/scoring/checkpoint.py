"""The checkpoint of a table: its finished batches in a folder, from which scoring resumes after a crash."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import ENOENT
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.caches import check_trusted
from pt_cascade.checksums import read_hashed, write_hashed
from pt_cascade.errors import TableError, first_line
from pt_cascade.execution.scoring.chunk import ChunkScores
from pt_cascade.files import rm_command, take_lock, to_path, write_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST, _LOCK, _NEXT = "chunks.json", ".lock", ".next"  # the last one: another call waits
_TRIES = 10


@dataclass(frozen=True)
class Checkpoint:
    """A folder of finished batches.

    Attributes:
        folder: Holds ``chunks.json`` with the parts, and a parquet file for each batch with its SHA-256 in the name.
    """

    folder: Path

    def read(self) -> dict[int, ChunkScores]:
        """Read the finished batches by number."""
        return {int(file.name.partition("-")[0]): self._read(file) for file in sorted(self.folder.glob("[0-9]*.parquet"))}

    def write(self, number: int, scores: ChunkScores) -> None:
        """Save a finished batch."""
        frame, buffer = scores.frame.copy(deep=False), io.BytesIO()
        rules = {name: sorted(possible) for name, possible in scores.rules.items()}
        frame.attrs = {"rules": rules, "cut": scores.cut, "left_out": dict(scores.left_out)}
        frame.to_parquet(buffer, index=False)
        write_hashed(self.folder, f"{number:06d}", ".parquet", buffer.getvalue())

    def remove(self) -> None:
        """Delete the batches, and the folder if it is then empty; leave them to another call that waits."""
        if (self.folder / _NEXT).exists():
            return
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
    """Open or make the checkpoint folder of a table, which is made of ``parts``, for one call at a time: others wait."""
    path = to_path(folder)
    check_trusted(path, lambda other: f"score(..., checkpoint={other!r})")
    what, fix = f"{path} cannot be used as a checkpoint", "score(..., checkpoint='a/new/folder')"
    with ExitStack() as opened:
        try:
            _lock(path, opened)
            manifest = path / MANIFEST
            found = sorted(
                file.name for file in path.iterdir() if file.name not in (MANIFEST, _LOCK, _NEXT) and file.suffix != ".tmp"
            )
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
        yield Checkpoint(path)


def _lock(folder: Path, opened: ExitStack) -> None:
    """Make and lock a folder; where another call removed it at its end, make it again."""
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # removed just now
            lock = opened.enter_context((folder / _LOCK).open("a+"))
            (folder / _NEXT).touch()
            taken = take_lock(lock, folder / _LOCK, f"scoring the table in {folder}")
            (folder / _NEXT).unlink(missing_ok=True)
            if taken:
                return
    raise FileNotFoundError(ENOENT, "no file can be made in it")
