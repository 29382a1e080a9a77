"""The attempts at a shard, counted on disk before each begins, so that one that ends the process counts too."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.execution.batch.storage.locks import now, this_process
from pt_cascade.files import write_file

if TYPE_CHECKING:
    from pathlib import Path

DIED = "its process died"


@dataclass(frozen=True)
class Attempts:
    """The attempts at one shard, in a file."""

    file: Path

    def __len__(self) -> int:
        return len(self._read())

    @property
    def last_error(self) -> str:
        """The error of the last attempt; empty while it runs, and where its process died."""
        begun = self._read()
        return begun[-1]["error"] if begun else ""

    def begin(self) -> None:
        """Count an attempt."""
        self._write([*self._read(), {"begun": now(), "by": this_process(), "error": ""}])

    def fail(self, error: str) -> None:
        """Note the error of the last attempt."""
        *before, last = self._read()
        self._write([*before, {**last, "error": error}])

    def withdraw(self) -> None:
        """Do not count the last attempt, which was interrupted."""
        self._write(self._read()[:-1])

    def forget(self) -> None:
        """Count none."""
        self.file.unlink(missing_ok=True)

    def _read(self) -> list[dict[str, str]]:
        with suppress(FileNotFoundError, ValueError):
            return [dict(entry) for entry in json.loads(self.file.read_bytes())]
        return []

    def _write(self, begun: list[dict[str, str]]) -> None:
        if begun:
            self.file.parent.mkdir(exist_ok=True)
            write_file(self.file, json.dumps(begun, indent=1).encode())
        else:
            self.forget()
