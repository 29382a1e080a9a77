"""Text on the disk: plain or gzip, read whole, written whole or not at all."""

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
    """Give the text of a file; bytes that are not UTF-8 become lone surrogates, which no pattern of a line takes.

    Args:
        path: Plain or gzip, told apart by the first two bytes. A byte order mark at its start is not text.

    Raises:
        MissingError: There is no such file, or it cannot be read, e.g. as it is a folder or no path.
        RecordError: Its gzip is broken.

    Example:
        >>> path = getfixture("tmp_path") / "ids.txt"
        >>> _ = path.write_bytes(gzip.compress("é".encode()))
        >>> read_text(path)
        'é'
    """
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except FileNotFoundError:
        raise MissingError(f"there is no file {path}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordError(f"cannot read {path}", [f"its gzip is broken: {error}"], fix="fetch the file again") from error
    except (OSError, TypeError, ValueError) as error:  # a folder, no right to read, None, a NUL in its name
        told = "it is a folder, expected a file" if isinstance(error, IsADirectoryError) else str(error)
        raise MissingError(f"cannot read {path!r:.80}", [told], fix="give the path of a file that you may read") from error
    return data.decode("utf-8-sig", "surrogateescape")


def write_text(lines: Iterable[str], path: PathLike) -> None:
    r"""Put the lines in place of a file in one step; whatever fails before leaves the old file and nothing else.

    Args:
        lines: Each with its line end.
        path: gzip if it ends in ``.gz``. A link is followed; the mode of an older file is kept.

    Raises:
        MissingError: The folder is not there.

    Example:
        >>> path = getfixture("tmp_path") / "ids.txt.gz"
        >>> write_text(["d1\n", "d2\n"], path)
        >>> read_text(path).split()
        ['d1', 'd2']
    """
    data = "".join(lines).encode()
    data = gzip.compress(data, compresslevel=6, mtime=0) if str(path).endswith(".gz") else data
    write_file(path, data)
