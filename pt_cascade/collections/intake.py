"""Documents on their way into an index or an encoder: checked, counted, each once."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError, FrameError
from pt_cascade.stages.indexing.words import ENGLISH, plain_words
from pt_cascade.stages.vectors.progress import hash_text

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 256
_DOCNO = re.compile(rf"[^\s\x00-\x1f\x7f-\x9f\ufeff]{{1,{LONGEST}}}")
_ASCII = re.compile(r"[\x00-\x7f]+")
_NO_LETTERS = bytes(byte for byte in range(128) if not chr(byte).isalpha())


class Intake:
    """Documents read by an engine, perhaps in a thread of its own where an error would be lost; ``verify`` raises it again.

    Args:
        docs: Documents with ``docno`` and ``text``.
        language: What the index is for, see ``words``.
    """

    def __init__(self, docs: Iterable[Mapping[str, str]], language: str = ENGLISH) -> None:
        """Begin with none read, and refuse what is no series of documents."""
        if hasattr(docs, "to_dict") or isinstance(docs, (str, Mapping)) or not isinstance(docs, Iterable):
            fix = 'docs.to_dict("records")' if hasattr(docs, "to_dict") else '[{"docno": "d1", "text": "..."}, ...]'
            problem = f"docs is a {type(docs).__name__}, expected dicts with docno and text, one after the other"
            raise FrameError("these are no documents", [problem], fix=fix)
        self.docs, self.language = docs, language
        self.seen: set[str] = set()
        self.letters: Counter[str] = Counter()
        self.done = self.stopped = self.words = False
        self.error: BaseException | None = None
        self._hasher = hashlib.blake2b(digest_size=16)

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Read them, and stop at the first that is unfit."""
        try:
            for doc in self.docs:
                if self.stopped:
                    return
                docno, text = _check(doc, self.seen)
                self.seen.add(docno)
                self._hasher.update(f"{docno} {hash_text(text)}\n".encode())
                self.letters["a"] += len(
                    text.encode("ascii", "ignore").translate(None, _NO_LETTERS)
                )  # fast: a microsecond a kilobyte
                self.letters.update(filter(str.isalpha, "" if text.isascii() else _ASCII.sub("", text)))
                plain = text if self.language == ENGLISH else plain_words(text, self.language)
                self.words = self.words or bool(plain_words(plain, self.language))
                yield {"docno": docno, "text": plain}
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
        """Refuse what did not come in whole.

        Raises:
            FrameError: A document was unfit.
            CascadeError: There was none, or not all were read.
        """
        if self.error is not None:
            raise self.error
        if not self.seen:
            raise CascadeError("there is nothing to store", ["docs gave no document"])
        if not self.done:
            raise CascadeError("not all documents were read", [f"it stopped after {len(self.seen)}"])


def _check(doc: object, seen: set[str]) -> tuple[str, str]:
    if not isinstance(doc, Mapping):
        problem = f"document {len(seen) + 1} is {doc!r:.60} ({type(doc).__name__}), expected a dict with docno and text"
        raise FrameError("a document cannot be stored", [problem], fix='docs.to_dict("records"), for a DataFrame')
    docno, text = doc.get("docno"), doc.get("text")
    problems = []
    if not isinstance(docno, str) or not _DOCNO.fullmatch(docno):
        problems.append(f"docno is {docno!r}, expected text without white space or control characters, 1 to {LONGEST} characters")
    elif not _is_utf8(docno):
        problems.append(f"docno is {docno!r}, which UTF-8 cannot hold: it has half a surrogate pair")
    elif len(docno.encode()) > 2 * LONGEST:  # Terrier keeps no more of a docno
        problems.append(f"docno {docno!r} has {len(docno.encode())} bytes in UTF-8, expected {2 * LONGEST} at most")
    elif docno in seen:
        problems.append(f"docno {docno!r} stands more than once")
    if not isinstance(text, str):
        problems.append(f"the text of docno {docno!r} is {text!r}, expected text")
    elif not _is_utf8(text):
        problems.append(f"the text of docno {docno!r} holds half a surrogate pair, which UTF-8 cannot hold")
    if problems or not isinstance(docno, str) or not isinstance(text, str):
        raise FrameError("a document cannot be stored", problems)
    return docno, text


def _is_utf8(text: str) -> bool:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True
