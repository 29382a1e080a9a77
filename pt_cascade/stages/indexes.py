"""Building an index for ``bm25``, whole or not at all, quietly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pt_cascade.collections.cache import build_once
from pt_cascade.errors import CascadeError
from pt_cascade.stages.bm25 import Engine, bm25, check_engine, default_engine, open_index, pisa_index, terrier_index
from pt_cascade.stages.intake import Intake
from pt_cascade.stages.quiet import hushed

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
        engine: ``pisa`` or ``terrier``; None: whoever made the folder, else PISA where it is installed, else Terrier.
        threads: Threads of the engine.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        FrameError: A document has no text, or a docno that cannot be kept.
        MissingError: The engine is not there.
        CascadeError: There is no document, none with a word, or the folder was made by the other engine.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "index"
        >>> build_index([{"docno": "d1", "text": "a lion"}, {"docno": "d2", "text": "a bear"}], path) == path
        True
    """
    by = engine or default_engine()
    check_engine(by)

    def build(folder: Path) -> None:
        with hushed() as stderr:
            intake = Intake(tqdm(docs, desc=f"index ({by})", unit="doc", disable=not verbose, file=stderr), _LONGEST_DOCNO)
            _index(by, folder, intake, threads)
        intake.verify()
        if not intake.words:
            raise CascadeError(
                "there is nothing to index", ["no document has an ASCII letter or digit, which is all that BM25 reads"]
            )
        if by == "pisa":
            bm25(folder)  # PISA writes the scores of its default k1 and b into the folder now, not when it may be read-only
            (folder / ".lock").unlink()

    return _same_engine(build_once(Path(path), build), engine)


def _survivable(docs: Intake) -> Iterator[dict[str, str]]:
    """End with a word where there was none: PISA aborts the process on a collection without terms, before anybody can refuse it."""
    yield from docs
    if not docs.words:
        yield {"docno": "-", "text": "word"}


def _same_engine(path: Path, engine: Engine | None) -> Path:
    """Refuse a folder that was there and is not what was asked for."""
    if engine is None:
        return path
    found = type(open_index(path)).__name__.removesuffix("Index").lower()
    if found != engine:
        raise CascadeError("there is another index already", [f"{path} was made by {found}, not by {engine}"], fix=f"rm -r {path}")
    return path


def _index(engine: Engine, folder: Path, docs: Intake, threads: int) -> None:
    """Run the engine; PISA in a thread, so that Ctrl-C stops it before it is done."""
    if engine == "terrier":
        terrier_index(folder).indexer(meta={"docno": _LONGEST_DOCNO}, text_attrs=["text"], threads=threads).index(iter(docs))
        return
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(pisa_index(folder).indexer(text_field="text", threads=threads).index, _survivable(docs))
        try:
            work.result()
        except KeyboardInterrupt:
            docs.stopped = True
            raise
