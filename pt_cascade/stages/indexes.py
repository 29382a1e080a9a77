"""Building an index for ``bm25``, whole or not at all, quietly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pt_cascade.collections.cache import build_once
from pt_cascade.errors import CascadeError, FrameError
from pt_cascade.stages.bm25 import Engine, check_engine, default_engine, hushed, pisa_index, terrier_index

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

_LONGEST_DOCNO = 256


def build_index(
    docs: Iterable[Mapping[str, str]],
    path: str | os.PathLike[str],
    *,
    engine: Engine | None = None,
    threads: int = 1,
    verbose: bool = False,
) -> Path:
    """Index a collection for ``bm25``, with the engine's own stemming and stop words.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once, without white space, at most 256 characters.
        path: The folder to make; nothing is done if it is there. It appears only when it is whole.
        engine: ``pisa`` or ``terrier``; None: PISA where it is installed, else Terrier.
        threads: Threads of the engine.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        FrameError: A document has no text, or a docno that cannot be kept.
        MissingError: The engine is not there.
        CascadeError: There is no document.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "index"
        >>> build_index([{"docno": "d1", "text": "a lion"}, {"docno": "d2", "text": "a bear"}], path) == path
        True
    """
    engine = engine or default_engine()
    check_engine(engine)

    def build(folder: Path) -> None:
        with hushed() as stderr:
            counted = _Counted(tqdm(docs, desc=f"index ({engine})", unit="doc", disable=not verbose, file=stderr))
            if engine == "pisa":
                pisa_index(folder).indexer(text_field="text", threads=threads).index(iter(counted))
            else:
                indexer = terrier_index(folder).indexer(meta={"docno": _LONGEST_DOCNO}, text_attrs=["text"], threads=threads)
                indexer.index(iter(counted))
        counted.verify()

    return build_once(Path(path), build)


class _Counted:
    """Documents on their way into an engine that may read them in another thread, and drop an error there."""

    def __init__(self, docs: Iterable[Mapping[str, str]]) -> None:
        self.docs = docs
        self.count = 0
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Mapping[str, str]]:
        try:
            for doc in self.docs:
                _check(doc)
                self.count += 1
                yield {"docno": doc["docno"], "text": doc["text"]}
        except Exception as error:  # noqa: BLE001 - raised again by verify, in the caller's thread
            self.error = error

    def verify(self) -> None:
        if self.error is not None:
            raise self.error
        if not self.count:
            raise CascadeError("there is nothing to index", ["docs gave no document"])


def _check(doc: Mapping[str, str]) -> None:
    docno, text = doc.get("docno"), doc.get("text")
    problems = []
    if not isinstance(docno, str) or not docno or len(docno.split()) != 1 or len(docno) > _LONGEST_DOCNO:
        problems.append(f"docno is {docno!r}, expected text without white space, 1 to {_LONGEST_DOCNO} characters")
    if not isinstance(text, str):
        problems.append(f"the text of docno {docno!r} is {text!r}, expected text")
    if problems:
        raise FrameError("a document cannot be indexed", problems)
