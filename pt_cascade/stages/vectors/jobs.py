"""What was begun in a folder that grows: who encodes, whether tokens are kept, how many documents make a chunk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError
from pt_cascade.files import rm_command, write_file
from pt_cascade.stages.vectors.progress import cut, read_records
from pt_cascade.stages.vectors.provenance import differences, other_limits

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.stages.vectors.provenance import Maker

_FILE = "job.json"
_FIRST_CHUNK = 512  # what a job was that does not say it


def begin_job(folder: Path, maker: Maker, *, tokens: bool, chunk: int) -> tuple[int, int]:
    """Write down what is done in a folder, or go on with what was begun there, in its own chunks.

    Args:
        folder: Where vectors grow.
        maker: Who encodes.
        tokens: Whether token vectors are kept.
        chunk: Documents in a chunk, where nothing was begun.

    Returns:
        Documents in a chunk, and how many are encoded.

    Raises:
        CascadeError: Something else was begun, or nobody knows what.
    """
    found = _read(folder)
    if not found and any(read_records(folder)):
        problem = f"{_FILE} is missing or damaged, and there are vectors"
        raise CascadeError(f"nobody knows what was begun in {folder}", [problem], fix=rm_command(folder))
    if found and (done := cut(folder, _chunk(found))):
        problems = [*differences(found, maker, by_name=True), *other_limits(found, maker)]
        if bool(found.get("tokens")) != tokens:
            problems.append(f"tokens is {tokens}, was {found.get('tokens')}")
        if problems:
            fix = f"{rm_command(folder)}, or go on as it was begun"
            raise CascadeError(f"{folder} was begun in another way", problems, fix=fix)
        return _chunk(found), done
    write_file(folder / _FILE, json.dumps({**maker, "tokens": tokens, "chunk": chunk}).encode())
    return chunk, cut(folder, chunk)


def is_worthless(folder: Path) -> bool:
    """Tell whether a folder holds no full chunk of documents, so that nobody misses it.

    Args:
        folder: Where vectors grow.
    """
    if found := _read(folder):
        return not cut(folder, _chunk(found))
    return not any(read_records(folder))


def _read(folder: Path) -> dict[str, str | int | None]:
    """Give what was written down; nothing where it cannot be read."""
    try:
        found = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and _chunk(found) > 0 else {}


def _chunk(job: Maker) -> int:
    chunk = job.get("chunk", _FIRST_CHUNK)
    return chunk if type(chunk) is int else 0
