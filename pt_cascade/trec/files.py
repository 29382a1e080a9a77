"""Reads and writes text files, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from pt_cascade.errors import RecordError
from pt_cascade.files import PathLike, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_text(path: PathLike) -> str:
    """Return the text of a file; bytes that are not UTF-8 become lone surrogates, which ``lines`` refuses."""
    data = read_file(path)
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise RecordError(f"cannot read {path}", [f"its gzip is broken: {error}"], fix="fetch the file again") from error
    return data.decode("utf-8-sig", "surrogateescape")


def write_text(lines: Iterable[str], path: PathLike) -> None:
    """Write lines to a file atomically, as gzip if its name ends in ``.gz``."""
    write_file(path, pack(lines) if str(path).endswith(".gz") else "".join(lines).encode())


def pack(lines: Iterable[str]) -> bytes:
    """Return lines as gzip, without the time."""
    return gzip.compress("".join(lines).encode(), compresslevel=6, mtime=0)
