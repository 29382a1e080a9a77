"""``pt-cascade cache``: what the cache holds, and how it is cleared."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.caches import COLLECTION_NAME, cache_root
from pt_cascade.errors import CascadeError
from pt_cascade.execution.scoring.checkpoint import MANIFEST
from pt_cascade.numbers import count_of
from pt_cascade.reporting.tables import format_table
from pt_cascade.reporting.widths import line_width

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

KINDS = {
    "index": "stored/*/index-*",
    "vectors": "stored/*/vectors-*",
    "texts": "stored/*/texts",
    "scores": "stored/*/scores-*",
    "checkpoint": "scores/*",
    "pydocs": "pydocs/*/*",
    "checksum": "checksums/*",
    "page": "stored/*/*.html",
}
_UNFINISHED = ("stored/*/.*", "scores/.*", "pydocs/*/.*", "checksums/.*")
_HASH = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")
_OURS = re.compile(r"\..+\.(building|partial|tmp)")
_HOUR, _DAY = 3600, 86400
_OTHERS = 36  # columns of a line beside a name


@dataclass(frozen=True)
class Entry:
    """A file or folder that the cache keeps for one purpose."""

    kind: str
    path: Path
    of: str
    size: int
    written: float


EXAMPLES = """\
pt-cascade cache list
pt-cascade cache clear --kind scores checkpoint
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("action", choices=("list", "clear"), help="show what the cache holds, or delete it")
    parser.add_argument(
        "--kind", nargs="+", choices=(*KINDS, "unfinished"), metavar="KIND", help=f"only {', '.join(KINDS)}, unfinished"
    )
    parser.add_argument("--yes", action="store_true", help="delete without a question")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """List the cache, and delete what is listed after a question; yield the paragraphs of the output."""
    root = cache_root()
    entries = [entry for entry in find_entries(root) if arguments.kind is None or entry.kind in arguments.kind]
    size = show_size(sum(entry.size for entry in entries))
    total = f"{count_of(len(entries), 'entry')}, {size}, in {root}"
    if entries:
        yield f"{_table(entries)}\n"
    yield total
    if arguments.action == "clear" and entries:
        if not arguments.yes:
            yield "Delete these? No other program may be using them. [y/N]"
        if not (arguments.yes or sys.stdin.readline().strip().lower() in ("y", "yes")):
            raise CascadeError("nothing was deleted", fix="pt-cascade cache clear --yes")
        for entry in entries:
            _delete(entry.path, root)
        yield "deleted"


def find_entries(root: Path) -> Iterator[Entry]:
    """Find what pt_cascade made in its cache folder; behind links and under other names nothing is looked for."""
    for kind, pattern in [*KINDS.items(), *(("unfinished", pattern) for pattern in _UNFINISHED)]:
        for path in sorted(root.glob(pattern)):
            between = [parent for parent in path.parents if root in parent.parents]
            hashed = path.parent.name if pattern.startswith("stored") else path.name
            ours = _OURS.fullmatch(path.name) if kind == "unfinished" else not path.name.startswith(".") and _HASH.fullmatch(hashed)
            if ours and not any(parent.is_symlink() for parent in between):
                yield _describe(kind, path)


def _describe(kind: str, path: Path) -> Entry:
    files = [path] if path.is_symlink() or path.is_file() else [path, *path.rglob("*")]
    states = []
    for file in files:
        with suppress(FileNotFoundError):  # another process has finished it
            states.append(file.lstat())
    written = max((state.st_mtime for state in states), default=0.0)
    return Entry(kind, path, _origin(kind, path), sum(state.st_size for state in states), written)


def _origin(kind: str, path: Path) -> str:
    """Name the collection, the packages, or of unfinished scoring the stages; a dash where nothing says it."""
    if kind == "pydocs":
        return path.parent.name
    with suppress(OSError, ValueError, LookupError, TypeError):  # nothing is there, or it is damaged
        if kind != "checkpoint":
            return path.with_name(COLLECTION_NAME).read_text(encoding="utf-8")
        return f"scoring of {' → '.join(json.loads(json.loads((path / MANIFEST).read_text(encoding='utf-8'))['stages']))}"
    return "-"


def _table(entries: list[Entry]) -> str:
    """Give a row for the entries of one kind and origin, with the age of the newest; a wide name loses its beginning."""
    now, room = time.time(), max(line_width() - _OTHERS, _OTHERS)
    alike: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        alike.setdefault((entry.kind, entry.of), []).append(entry)
    rows = [
        (kind, len(some), show_size(sum(one.size for one in some)), _age(now - max(one.written for one in some)), of)
        for (kind, of), some in alike.items()
    ]
    table = pd.DataFrame(rows, columns=["kind", "entries", "size", "age", "of"])
    table["of"] = [of if len(of) <= room else f"…{of[1 - room :]}" for of in table["of"]]
    return format_table(table, {}, left=("kind", "of"))


def show_size(size: float) -> str:
    """Show a number of bytes."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 - a kilo
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _age(seconds: float) -> str:
    return f"{seconds / _DAY:.0f} d" if seconds >= _DAY else f"{seconds / _HOUR:.0f} h" if seconds >= _HOUR else "< 1 h"


def _delete(path: Path, root: Path) -> None:
    """Delete an entry, of a link only the link, and the folders above it that it leaves empty."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)
    for folder in path.parents:
        if root not in (folder, *folder.parents):
            return
        with suppress(OSError):  # it is not empty
            if [file.name for file in folder.iterdir()] == [COLLECTION_NAME]:
                (folder / COLLECTION_NAME).unlink()
            folder.rmdir()
