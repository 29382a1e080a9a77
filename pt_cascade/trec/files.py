"""Reads and writes text files, plain or gzip."""

from __future__ import annotations

import gzip
import shlex
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

from pt_cascade.errors import RecordError
from pt_cascade.files import PathLike, read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIMES = 100  # texts that are larger than their gzip by more are no runs
_ALWAYS = 1 << 26  # bytes that are unpacked in any case


def read_text(path: PathLike) -> str:
    """Return the text of a file; bytes that are not UTF-8 become lone surrogates, which ``lines`` refuses."""
    data = read_file(path)
    if data.startswith(b"\x1f\x8b"):
        largest = max(_ALWAYS, _TIMES * len(data))
        try:
            with gzip.open(BytesIO(data)) as file:
                data = file.read(largest + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise RecordError(f"cannot read {path}", [f"its gzip is broken: {error}"], fix="fetch the file again") from error
        if len(data) > largest:
            problem = f"its gzip holds more than {largest:,} bytes, {_TIMES} times its size, expected text"
            raise RecordError(
                f"cannot read {path}", [problem], fix=f"gunzip {shlex.quote(str(path))}, and read the file that it makes"
            )
    return data.decode("utf-8-sig", "surrogateescape")


def write_text(lines: Iterable[str], path: PathLike) -> None:
    """Write lines to a file atomically, as gzip if its name ends in ``.gz``."""
    write_file(path, pack(lines) if str(path).endswith(".gz") else "".join(lines).encode())


def pack(lines: Iterable[str]) -> bytes:
    """Return lines as gzip, without the time."""
    return gzip.compress("".join(lines).encode(), compresslevel=6, mtime=0)
