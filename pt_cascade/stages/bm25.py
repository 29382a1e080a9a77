"""BM25 as the first stage, by PISA (no Java) or by Terrier."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias, get_args

import pyterrier as pt

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.reranker import require

if TYPE_CHECKING:
    from collections.abc import Iterator

Engine: TypeAlias = Literal["pisa", "terrier"]


def bm25(
    index: str | os.PathLike[str] | pt.Artifact,
    *,
    num_results: int = 1000,
    k1: float | None = None,
    b: float | None = None,
    threads: int = 1,
    verbose: bool = False,
) -> pt.Transformer:
    """Retrieve with BM25 from a PISA or a Terrier index; what comes back is that engine's own retriever.

    Args:
        index: A folder that holds an index of either engine, e.g. made by ``build_index``; or a PisaIndex or TerrierIndex.
        num_results: Documents a query, at least 1.
        k1: How fast further occurrences of a word stop counting, 0 or more; None: the engine's default, PISA 0.9, Terrier 1.2.
        b: How much length counts, 0 to 1; None: the engine's default, PISA 0.4, Terrier 0.75.
        threads: Queries retrieved at once.
        verbose: Show a progress bar.

    Returns:
        A transformer: Frame[qid, query] to Frame[qid, query, docno, score, rank], rows in rank order.

    Raises:
        MissingError: The folder, the engine's package or Java is not there.
        PipelineError: An argument is out of its range, or the folder holds neither engine's index.

    References:
        Robertson et al., "Okapi at TREC-3", 1994.

    Example:
        >>> import tempfile
        >>> from pt_cascade.stages import build_index
        >>> docs = [{"docno": "d1", "text": "a lion"}, {"docno": "d2", "text": "a bear"}, {"docno": "d3", "text": "an owl"}]
        >>> index = build_index(docs, Path(tempfile.mkdtemp()) / "index")
        >>> bm25(index).search("lions")["docno"].tolist()
        ['d1']
    """
    problems = [
        *([f"num_results is {num_results!r}, expected 1 or more"] if num_results < 1 else []),
        *([f"k1 is {k1!r}, expected 0 or more"] if k1 is not None and not k1 >= 0 else []),
        *([f"b is {b!r}, expected 0 to 1"] if b is not None and not 0 <= b <= 1 else []),
    ]
    if problems:
        raise PipelineError("bm25 cannot be made", problems)
    opened = index if isinstance(index, pt.Artifact) else open_index(index)
    parameters = {name: value for name, value in (("k1", k1), ("b", b)) if value is not None}
    with hushed():  # PISA prepares the index for these parameters, and prints while it does
        return opened.bm25(num_results=num_results, threads=threads, verbose=verbose, **parameters)


def default_engine() -> Engine:
    """Name the engine to use where nobody says: PISA where it is installed, else Terrier."""
    return "pisa" if find_spec("pyterrier_pisa") else "terrier"


def open_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Open an index folder with the engine that made it.

    Args:
        path: A folder with a PISA or a Terrier index.

    Returns:
        A PisaIndex or a TerrierIndex.

    Raises:
        MissingError: There is no such folder, or its engine is not there.
        PipelineError: It holds neither engine's index.
    """
    folder = Path(path)
    fix = "build_index(docs, path)"
    if not folder.is_dir():
        raise MissingError("there is no index", [f"{folder} is not a folder"], fix=fix)
    if any((folder / name).exists() for name in ("pt_pisa_config.json", "fwd.documents", "inv.docs")):
        return pisa_index(folder)
    if (folder / "data.properties").exists():
        return terrier_index(folder)
    found = ", ".join(sorted(file.name for file in folder.iterdir())[:4]) or "nothing"
    raise PipelineError(f"{folder} is no index", [f"expected one made by PISA or Terrier; found {found}"], fix=fix)


def pisa_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Give PISA's index at a folder, made or yet to be made.

    Raises:
        MissingError: The package is not installed.
    """
    require("pyterrier_pisa", install="pyterrier-pisa", why="BM25 by PISA (Linux only; engine='terrier' runs everywhere with Java)")
    from pyterrier_pisa import PisaIndex  # noqa: PLC0415 - an extra

    return PisaIndex(str(path), text_field="text")


def terrier_index(path: str | os.PathLike[str]) -> pt.Artifact:
    """Give Terrier's index at a folder, made or yet to be made; starts Java, which fetches Terrier once.

    Raises:
        MissingError: Java cannot be started.
    """
    if not pt.java.started():
        try:
            pt.java.init()
        except Exception as error:
            problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
            fix = "install a JDK, 11 or later, and set JAVA_HOME; or, on Linux without Java: pip install pyterrier-pisa"
            raise MissingError("Terrier cannot be started", [problem], fix=fix) from error
    return pt.terrier.TerrierIndex(str(path))


def check_engine(engine: str) -> None:
    """Refuse an engine that is neither.

    Raises:
        PipelineError: It is not ``pisa`` or ``terrier``.
    """
    if engine not in get_args(Engine):
        raise PipelineError(f"engine is {engine!r}", [f"expected one of {', '.join(get_args(Engine))}"])


@contextmanager
def hushed() -> Iterator[TextIO]:
    """Send what an engine prints from C++ to nowhere; it does not go through Python's own streams.

    Yields:
        The real standard error, for a progress bar.
    """
    kept = [os.dup(stream) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        with open(kept[1], "w", encoding="utf-8", closefd=False) as stderr:
            yield stderr
    finally:
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)
