"""Reads documents for an index or an encoder: each is checked, counted and hashed."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pt_cascade.checksums import hash_text
from pt_cascade.errors import CascadeError, FrameError
from pt_cascade.numbers import is_several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 256
_FIX = 'docs=[{"docno": "d1", "text": "..."}]; for a DataFrame: docs=docs.to_dict("records")'
_DOCNO = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f\ufeff]{{1,{LONGEST}}}")


class Intake:
    """Documents with ``docno`` and ``text``, perhaps read in a thread where an error would be lost: ``verify`` raises it again."""

    def __init__(self, docs: Iterable[Mapping[str, str]]) -> None:
        """Refuse what is not a series of documents."""
        if not is_several(docs) or isinstance(docs, Mapping):
            problem = f"docs is {docs!r:.60}, expected a series of dicts with docno and text"
            raise FrameError("docs cannot be read", [problem], fix=_FIX)
        self.docs = docs
        self.seen: dict[str, None] = {}  # the docnos in their order
        self.done = False
        self.error: BaseException | None = None
        self._hasher = hashlib.blake2b(digest_size=16)

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield the documents; stop at the first that cannot be stored."""
        try:
            for doc in self.docs:
                docno, text = _check(doc, self.seen)
                self.seen[docno] = None
                self._hasher.update(f"{docno} {hash_text(text)}\n".encode())
                yield {"docno": docno, "text": text}
            self.done = True
        except BaseException as error:
            self.error = error
            if isinstance(error, GeneratorExit):
                raise

    @property
    def content(self) -> str:
        """The hash of the documents that were read: docnos and hashes of texts, in their order."""
        return self._hasher.hexdigest()

    def verify(self) -> None:
        """Raise the error that stopped the reading; refuse an empty collection, and one that was not read to its end."""
        if self.error is not None:
            raise self.error
        if not self.seen:
            raise CascadeError("docs cannot be stored", ["docs has no document"])
        if not self.done:
            raise CascadeError("not all documents were read", [f"reading stopped after {len(self.seen)}"])

    def find_changes(self, content: object, docnos: Callable[[], Iterable[str]]) -> list[str]:
        """Read what is left, and name the first document that is not the one that was stored with this hash."""
        deque(() if self.done else self, 0)
        self.verify()
        return [] if self.content == content else [name_difference(zip(self.seen), zip(docnos()))]


def name_difference(docs: Iterable[tuple[str, ...]], stored: Iterable[tuple[str, ...]], first: int = 1) -> str:
    """Name the first document that differs from the stored one at its place: each is a docno, perhaps with a hash of its text."""
    for place, (doc, other) in enumerate(zip_longest(docs, stored, fillvalue=("",)), first):
        if doc[0] != other[0]:
            found, expected = repr(doc[0]) if doc[0] else "missing", repr(other[0]) if other[0] else "none"
            return f"document {place} is {found}, expected {expected}"
        if doc != other:
            return f"the text of document {place}, {doc[0]!r}, has changed"
    return "a text has changed, while the docnos are the same"


def find_problems(docno: object, text: object, key: str = "docno") -> list[str]:
    """List why a document with this docno, which is written under ``key``, and text cannot be stored."""
    problems = []
    if not isinstance(docno, str) or not _DOCNO.fullmatch(docno):
        found = "missing" if docno is None else repr(docno)
        problems.append(f"{key} is {found}, expected text without white space or control characters, 1 to {LONGEST} characters")
    elif not _is_utf8(docno):
        problems.append(f"{key} is {docno!r}, which has half a surrogate pair and cannot be written in UTF-8")
    elif len(docno.encode()) > 2 * LONGEST:  # Terrier keeps no more of a docno
        problems.append(f"{key} {docno!r} has {len(docno.encode())} bytes in UTF-8, expected {2 * LONGEST} at most")
    if not isinstance(text, str):
        problems.append(f"the text of {key} {docno!r} is {'missing' if text is None else repr(text)}, expected text")
    elif not _is_utf8(text):
        problems.append(f"the text of {key} {docno!r} has half a surrogate pair and cannot be written in UTF-8")
    return problems


def _check(doc: object, seen: Mapping[str, None]) -> tuple[str, str]:
    if not isinstance(doc, Mapping):
        problem = f"document {len(seen) + 1} is {doc!r:.60} ({type(doc).__name__}), expected a dict with docno and text"
        raise FrameError("a document cannot be stored", [problem], fix=_FIX)
    docno: Any = doc.get("docno")
    text: Any = doc.get("text")
    problems = find_problems(docno, text) or [f"docno {docno!r} occurs more than once"] * (docno in seen)
    if problems:
        raise FrameError("a document cannot be stored", problems)
    return docno, text


def _is_utf8(text: str) -> bool:
    return text.isascii() or not re.search("[\ud800-\udfff]", text)
