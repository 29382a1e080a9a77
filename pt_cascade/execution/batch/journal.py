"""The log of a run: a line of JSON for each event."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.execution.batch.storage.locks import now
from pt_cascade.files import check_writable, naming_refusals

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True)
class Journal:
    """Appends events to a file, or to none."""

    file: Path | None = None

    def note(self, event: str, **values: object) -> None:
        """Append an event with its time."""
        if self.file is not None:
            with naming_refusals(self.file), self.file.open("a", encoding="utf-8") as lines:
                lines.write(f"{json.dumps({'time': now(), 'event': event, **values})}\n")


def open_journal(path: str | os.PathLike[str] | None) -> Journal:
    """Return a log that is appended to a file; None: no log."""
    return Journal(None if path is None else check_writable(path))
