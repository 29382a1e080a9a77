"""A collection in a folder: ``docs.jsonl.gz`` (or ``docs.jsonl``), ``topics.tsv`` and ``qrels.txt``.

=============== ============================================================ =================================================
file            a line                                                       rules
=============== ============================================================ =================================================
docs.jsonl[.gz] ``{"docno": "7", "title": "...", "text": "..."}``             all text; docno once, no white space; title optional
topics.tsv      ``qid<TAB>query``                                            as ``trec.read_topics``
qrels.txt       ``qid 0 docno label``                                        as ``trec.read_qrels``
language.txt    ``french``                                                   optional: ``language`` of ``build_index``
=============== ============================================================ =================================================

A document is its title and text (``join_title``); other keys are ignored. Every line is checked when the folder is opened; the
documents stay on disk.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pt_cascade.collections.collection import Collection, join_title, make_collection, unjudged
from pt_cascade.collections.intake import find_problems
from pt_cascade.errors import CascadeError, CollectionError, MissingError, RecordError, clip, few
from pt_cascade.trec import read_qrels, read_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


_DOCS = ("docs.jsonl.gz", "docs.jsonl")
_LANGUAGE = "language.txt"
_LONGEST = 1 << 27  # bytes of a line
Part = TypeVar("Part")


@dataclass(frozen=True)
class FolderDocuments:
    """The ``size`` documents of a file, streamed at each reading."""

    path: Path
    size: int

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield each document; RecordError if the file has changed since it was checked."""
        for number, line in _lines(self.path):
            try:
                yield _document(line)
            except ValueError as error:
                raise RecordError(f"{self.path} has changed since it was opened", [f"line {number}: {error}"]) from None

    def __len__(self) -> int:
        """Return the number of documents when the folder was opened."""
        return self.size


def open_folder(path: Path) -> Collection:
    """Open a folder and check every line in it; all problems make one error."""
    if not path.is_dir():
        fix = f"a folder with {_DOCS[0]}, topics.tsv and qrels.txt, or a name such as irds:vaswani or pydocs"
        raise MissingError(f"there is no folder {path}", fix=fix)
    problems: list[str] = []
    files = [path / name for name in _DOCS if (path / name).is_file()]
    if len(files) != 1:
        problems.append(f"{'both' if files else 'neither'} of {' and '.join(_DOCS)} are there, expected one")
    documents = _part(files[0], check_documents, problems) if files else None
    topics = _part(path / "topics.tsv", read_topics, problems)
    qrels = _part(path / "qrels.txt", read_qrels, problems)
    if topics is not None and qrels is not None and (problem := unjudged(topics, qrels)):
        problems.append(problem)
    written = path / _LANGUAGE
    language = written.read_bytes().decode(errors="replace").strip() if written.is_file() else Collection.language
    if not language.isalpha():
        problems.append(f"{_LANGUAGE} holds {language!r:.60}, expected a language of build_index, e.g. french")
    if problems or documents is None or topics is None or qrels is None:
        fix = 'a document is {"docno": "7", "text": "..."}, a topic is 7<TAB>query, a judgment is 7 0 docno 1'
        raise CollectionError(f"cannot open the collection {path}", problems, fix=fix)
    name = str(path) if str(path).startswith(("/", ".", "~")) else f"./{path}"
    return replace(make_collection(name, topics, qrels, documents), language=language)


def _part(path: Path, read: Callable[[Path], Part], problems: list[str]) -> Part | None:
    """Read one file; add what is wrong with it to ``problems``."""
    try:
        return read(path)
    except CascadeError as error:
        problems += [f"{path.name}: {problem}" for problem in error.problems] or [error.what]
        return None


def check_documents(path: Path) -> FolderDocuments:
    """Check every line of a file of documents."""
    faults: list[str] = []
    above: dict[str, int] = {}
    try:
        for number, line in _lines(path):
            try:
                docno = _document(line)["docno"]
            except ValueError as error:
                faults.append(f"line {number}: {error}: {clip(line.decode('utf-8', 'backslashreplace').strip())}")
                continue
            if above.setdefault(docno, number) != number:
                faults.append(f"line {number}: docno {docno!r} repeats line {above[docno]}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        faults.insert(0, f"its gzip is broken ({error})")
    except OSError as error:
        faults.insert(0, f"it cannot be read: {error.strerror or error}")
    if faults or not above:
        raise RecordError(f"cannot read {path}", few(faults) or ["it holds no document"])
    return FolderDocuments(path, len(above))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers from 1."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST), b""), 1):
            if len(line) == _LONGEST:
                raise OSError(f"line {number} has {_LONGEST:,} bytes or more, expected a document")
            if line.strip():
                yield number, line


def _document(line: bytes) -> dict[str, str]:
    """Parse one line, or raise ValueError with all its problems."""
    try:
        record = json.loads(line.strip())
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason}, byte {error.start + 1})") from None
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}, expected an object")  # noqa: TRY004 - one type for all problems
    values: dict[str, Any] = {"docno": None, "text": None, "title": ""} | record
    whole = all(isinstance(values[key], str) for key in ("title", "text"))
    text = join_title(values["title"], values["text"]) if whole else values["text"]
    problems = [] if isinstance(values["title"], str) else [f"title is {values['title']!r}, expected text"]
    if problems := find_problems(values["docno"], text) + problems:
        raise ValueError("; ".join(problems))
    return {"docno": values["docno"], "text": text}
