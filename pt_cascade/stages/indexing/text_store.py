"""The texts of a collection on disk, apart from its index: an SQLite file in which they are looked up by docno."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pt_cascade.checksums import build_once, check_sealed
from pt_cascade.collections.collection import to_line
from pt_cascade.collections.intake import Intake
from pt_cascade.collections.texts import TextLoader
from pt_cascade.errors import CascadeError, MissingError
from pt_cascade.files import rm_command, to_path
from pt_cascade.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_FILE, _MADE_OF = "texts.sqlite", "texts.json"
_MAKE = 'stages.build_texts(collection.docs(), "texts")'


def build_texts(docs: Iterable[Mapping[str, str]], path: str | os.PathLike[str], *, verbose: bool = False) -> Path:
    """Write the texts of a collection to a folder for ``text_loader``, apart from index and vectors, which keep none.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once.
        path: The folder to make. If it is there, ``docs`` are read and compared with it, and nothing is written. It appears only
            when it is complete; a second process that makes it waits.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        FrameError: A document has no text, or a docno that is empty, has white space or stands twice.
        CascadeError: There is no document; the disk is full; or the folder holds other texts, or was not made by this function.
        MissingError: The folder is damaged.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> docs = [{"docno": "d1", "text": "a lion"}, {"docno": "d2", "text": "a bear"}]
        >>> texts = build_texts(docs, Path(tempfile.mkdtemp()) / "texts")
        >>> text_loader(texts).transform(pd.DataFrame({"qid": ["1"], "docno": ["d2"]}))["text"].tolist()
        ['a bear']
    """
    intake, digest = Intake(docs), hashlib.sha256()

    def build(folder: Path) -> None:
        with show_progress("texts", "doc", length_hint(docs) or None, shown=verbose) as bar:

            def rows() -> Iterator[tuple[str, str]]:
                for doc in intake:
                    digest.update(to_line(doc["docno"], doc["text"]))
                    yield doc["docno"], doc["text"]
                    bar.update()

            _write(folder / _FILE, rows())
        intake.verify()
        about = {"documents": len(intake.seen), "content": intake.content, "fingerprint": digest.hexdigest()}
        (folder / _MADE_OF).write_text(json.dumps(about), encoding="utf-8")

    folder = build_once(to_path(path), build)
    store = TextStore(str(folder))
    if problems := intake.find_changes(store.about["content"], store.list_docnos):
        raise CascadeError("the folder holds other texts", problems, fix=rm_command(folder))
    return folder


def text_loader(texts: str | os.PathLike[str]) -> TextLoader:
    """Return a transformer that adds the text of each document, read from a folder of ``build_texts``.

    It is ``collection.text_loader()`` for a large collection: the texts stay on disk, and the collection is not opened.

    Args:
        texts: A folder made by ``build_texts``.

    Returns:
        A transformer: Frame[docno, ...] to the same rows with the column text. A document without a text is a StageError.

    Raises:
        MissingError: The folder is missing or damaged.

    Example:
        >>> import tempfile
        >>> text_loader(build_texts([{"docno": "d1", "text": "a lion"}], Path(tempfile.mkdtemp()) / "texts"))
        TextLoader(collection=TextStore(path=...))
    """
    loader = TextLoader(TextStore(str(to_path(texts).absolute())))
    loader.collection.fingerprint  # noqa: B018 - it checks the files
    return loader


@dataclass(frozen=True)
class TextStore:
    """The texts in a folder of ``build_texts``.

    Attributes:
        path: The folder.
        of: What they are texts of, for messages; empty: the folder.
    """

    path: str
    of: str = ""

    @property
    def name(self) -> str:
        """What they are texts of."""
        return self.of or self.path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of docnos and texts, as ``Collection.fingerprint``."""
        return str(self.about["fingerprint"])

    @cached_property
    def about(self) -> dict[str, object]:
        """The number of documents and the hashes of their docnos and texts; the files are compared with their checksums."""
        file = Path(self.path, _MADE_OF)
        if not file.is_file():
            raise MissingError("there are no texts", [f"{self.path} has no {_MADE_OF}"], fix=_MAKE)
        check_sealed(file.parent, fix=rm_command(self.path))
        return dict(json.loads(file.read_text(encoding="utf-8")))

    def find_texts(self, docnos: Iterable[str]) -> dict[str, str]:
        """Look up the texts of some documents, those that are there."""
        wanted = json.dumps([*dict.fromkeys(docnos)])
        found = self._select("SELECT docno, text FROM texts WHERE docno IN (SELECT value FROM json_each(?))", wanted)
        return {docno: text for docno, text in found}  # noqa: C416 - of two cells

    def list_docnos(self) -> list[str]:
        """List the docnos in the order of the documents."""
        return [docno for (docno,) in self._select("SELECT docno FROM texts ORDER BY rowid")]

    def _select(self, query: str, *values: str) -> list[tuple[str, ...]]:
        self.about  # noqa: B018 - it checks the files
        file = f"file:{quote(os.fsencode(Path(self.path, _FILE)))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(file, uri=True)) as texts:
            return texts.execute(query, values).fetchall()


def _write(file: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write a table of docno and text; its index is made at the end, in one pass."""
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as texts:
            texts.execute("PRAGMA journal_mode = OFF")  # the folder appears only when it is complete
            texts.execute("PRAGMA synchronous = OFF")
            texts.execute("CREATE TABLE texts (docno TEXT NOT NULL, text TEXT NOT NULL)")
            texts.execute("BEGIN")
            texts.executemany("INSERT INTO texts VALUES (?, ?)", rows)
            texts.execute("CREATE UNIQUE INDEX docnos ON texts (docno)")
            texts.execute("COMMIT")
    except sqlite3.Error as error:
        fix = "free some space on the disk, or choose a folder on another one where you may write"
        raise CascadeError(f"cannot write {file}", [str(error)], fix=fix) from error
