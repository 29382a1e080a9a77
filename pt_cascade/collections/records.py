"""Documents and queries in files of JSON Lines, plain or gzip: every line is checked, documents stay on disk."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from pt_cascade.collections.collection import join_title
from pt_cascade.collections.intake import find_problems
from pt_cascade.errors import RecordError, clip, few

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

_LONGEST = 1 << 27  # bytes of a line
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class FileDocuments:
    """The ``size`` documents of a file, streamed at each reading; their ids stand under ``key``."""

    path: Path
    key: str
    size: int

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield each document; RecordError if the file has changed since it was checked."""
        number = 0
        try:
            for number, line in _lines(self.path):  # noqa: B007 - named in the error
                yield _parse(line, self.key)
        except (ValueError, *_UNREADABLE) as error:
            raise RecordError(f"{self.path} has changed since it was opened", [f"line {number}: {error}"]) from None

    def __len__(self) -> int:
        """Return the number of documents when the folder was opened."""
        return self.size


def read_documents(path: Path, key: str) -> tuple[FileDocuments, Collection[str]]:
    """Check every line of a file of documents; return them and their docnos."""
    docnos = _check(path, key, lambda _: None)
    return FileDocuments(path, key, len(docnos)), docnos


def read_queries(path: Path, key: str) -> pd.DataFrame:
    """Read queries, Frame[qid, query]."""
    rows: list[dict[str, str]] = []

    def use(query: dict[str, str]) -> None:
        if not query["text"].strip():
            raise ValueError("the query is blank")
        rows.append(query)

    _check(path, key, use)
    return pd.DataFrame(rows).rename(columns={"docno": "qid", "text": "query"})


def _check(path: Path, key: str, use: Callable[[dict[str, str]], None]) -> Collection[str]:
    """Parse every line, use each record, and return their ids; one error names all bad lines."""
    faults: list[str] = []
    above: dict[str, int] = {}
    try:
        for number, line in _lines(path):
            try:
                record = _parse(line, key)
                use(record)
            except ValueError as error:
                faults.append(f"line {number}: {error}: {clip(line.decode('utf-8', 'backslashreplace').strip())}")
                continue
            if above.setdefault(record["docno"], number) != number:
                faults.append(f"line {number}: {key} {record['docno']!r} repeats line {above[record['docno']]}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        faults.insert(0, f"its gzip is broken ({error})")
    except FileNotFoundError:
        raise
    except OSError as error:
        faults.insert(0, f"it cannot be read: {error.strerror or error}")
    if faults or not above:
        raise RecordError(f"cannot read {path}", few(faults) or ["it is empty"])
    return above.keys()


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers from 1."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST), b""), 1):
            if len(line) == _LONGEST:
                raise OSError(f"line {number} has {_LONGEST:,} bytes or more, expected one record")
            if line.strip():
                yield number, line


def _parse(line: bytes, key: str) -> dict[str, str]:
    """Parse one line as docno and text, or raise ValueError with all its problems."""
    try:
        record = json.loads(line.strip())
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason}, byte {error.start + 1})") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}, expected an object")  # noqa: TRY004 - one type for all problems
    values: dict[str, Any] = {key: None, "text": None, "title": ""} | record
    whole = all(isinstance(values[name], str) for name in ("title", "text"))
    text = join_title(values["title"], values["text"]) if whole else values["text"]
    problems = [] if isinstance(values["title"], str) else [f"title is {values['title']!r}, expected text"]
    if problems := find_problems(values[key], text, key) + problems:
        raise ValueError("; ".join(problems))
    return {"docno": values[key], "text": text}
