"""Reads and writes text files, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, RecordError
from pt_cascade.files import PathLike, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable


def read_text(path: PathLike) -> str:
    """Return the text of a file; bytes that are not UTF-8 become lone surrogates, which ``lines`` refuses."""
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except FileNotFoundError:
        raise MissingError(f"there is no file {path}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordError(f"cannot read {path}", [f"its gzip is broken: {error}"], fix="fetch the file again") from error
    except (OSError, TypeError, ValueError) as error:  # a folder, no permission, None, a NUL in the name
        problem = "it is a folder, expected a file" if isinstance(error, IsADirectoryError) else str(error)
        raise MissingError(f"cannot read {path!r:.80}", [problem], fix="give the path of a file that you can read") from error
    return data.decode("utf-8-sig", "surrogateescape")


def write_text(lines: Iterable[str], path: PathLike) -> None:
    """Write lines to a file atomically, as gzip if its name ends in ``.gz``."""
    data = "".join(lines).encode()
    data = gzip.compress(data, compresslevel=6, mtime=0) if str(path).endswith(".gz") else data
    write_file(path, data)
