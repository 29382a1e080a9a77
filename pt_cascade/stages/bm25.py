"""BM25 as the first stage, by PISA (no Java) or by Terrier."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import pyterrier as pt

from pt_cascade.checksums import SUMS, OpenFolder, check_sealed, seal, unsealed_files
from pt_cascade.errors import MissingError, PipelineError, require
from pt_cascade.files import rm_command
from pt_cascade.stages.indexing.silence import hushed
from pt_cascade.stages.indexing.words import ENGLISH, BagOfWords, read_language

if TYPE_CHECKING:
    from collections.abc import Iterator

Engine: TypeAlias = Literal["pisa", "terrier"]

_SCORES = "bm25.*"  # what PISA writes for new parameters


def bm25(
    index: object,
    *,
    num_results: int = 1000,
    k1: float | None = None,
    b: float | None = None,
    threads: int = 1,
    verbose: bool = False,
) -> pt.Transformer:
    """Retrieve with BM25 from a PISA or a Terrier index, by that engine's own retriever; a query is the bag of its words.

    Punctuation separates words, as in the documents, and means nothing else. A word that stands twice in a query counts for more.
    With PISA it counts twice, as in Lucene (once by PISA's own retriever, unless ``query_weighted`` is True); Terrier multiplies by
    (k3 + 1) f / (k3 + f), k3 = 8, f the word's frequency over that of the query's most frequent word.

    Args:
        index: A folder that holds an index of either engine, e.g. made by ``build_index``; a PisaIndex or
            TerrierIndex; or Terrier's own IndexRef or Index.
        num_results: Documents a query, 1 to 1,000,000.
        k1: How fast further occurrences of a word stop counting, 0 to 1000; None: the engine's default, PISA 0.9, Terrier 1.2.
        b: How much length counts, 0 to 1; None: the engine's default, PISA 0.4, Terrier 0.75.
        threads: Queries retrieved at once.
        verbose: Show a progress bar.

    Returns:
        A transformer: Frame[qid, query] to Frame[qid, query, docno, score, rank], rows in rank order.

    Raises:
        MissingError: The folder, the engine's package or Java is not there, or the index is damaged.
        PipelineError: An argument is out of its range, or the folder holds neither engine's index.

    Warns:
        CascadeWarning: When used: the index keeps no word of a query, or a query has a lone letter that is only in pairs there.

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
    bounds = {"num_results": (num_results, 1, 1_000_000), "k1": (k1, 0, 1000), "b": (b, 0, 1)}
    problems = [
        f"{name} is {value!r}, expected {low} to {high:,}"
        for name, (value, low, high) in bounds.items()
        if not (value is None and name != "num_results") and not (isinstance(value, (int, float)) and low <= value <= high)
    ]
    if problems:
        raise PipelineError("bm25 cannot be made", problems)
    source = index if isinstance(index, pt.Artifact) else _find_folder(index)
    folder = Path(str(getattr(source, "path", source)))
    check_sealed(folder, fix=f"{rm_command(folder)}, and build_index again")
    opened = source if isinstance(source, pt.Artifact) else open_index(source)
    if not callable(getattr(opened, "bm25", None)):
        found = f"{opened!r} ({type(opened).__name__}), expected a PisaIndex or a TerrierIndex"
        raise PipelineError("bm25 cannot be made", [found], fix="build_index(docs, path)")
    parameters = {name: value for name, value in (("k1", k1), ("b", b)) if value is not None}
    pisa = type(opened).__name__ == "PisaIndex"
    counted = {"query_weighted": True} if pisa else {}
    with prepared(opened, parameters), hushed():
        noted = OpenFolder(str(folder))
        retriever = opened.bm25(num_results=num_results, threads=threads, verbose=verbose, **parameters, **counted)
    return BagOfWords(retriever, read_language(folder) or (ENGLISH if pisa else None), noted, rewrites=not pisa)


def _find_folder(index: object) -> str | os.PathLike[str]:
    """Give the folder of an index that Terrier has opened, or a reference to one; a path is one already."""
    if isinstance(index, (str, os.PathLike)):
        return index
    reference = index.getIndexRef() if hasattr(index, "getIndexRef") else index
    place = Path(str(reference.toString())) if hasattr(reference, "toString") else None
    if place is None or not place.exists():
        problem = (
            f"index is {index!r:.60} ({type(index).__name__}), expected a folder, a PisaIndex, or an index of Terrier on the disk"
        )
        raise PipelineError("bm25 cannot be made", [problem], fix="build_index(docs, path)")
    return place if place.is_dir() else place.parent


@contextmanager
def prepared(index: pt.Artifact, parameters: dict[str, float]) -> Iterator[None]:
    """Let one process at a time open a PISA index: for new parameters PISA writes into the folder, and dies if it cannot.

    Args:
        index: A PisaIndex; anything else passes.
        parameters: ``k1`` and ``b``, where they are not PISA's defaults.

    Raises:
        MissingError: The scores for these parameters are not there, and the folder is read-only.
    """
    folder = Path(str(getattr(index, "path", "")))
    if type(index).__name__ != "PisaIndex":
        yield
        return
    if not os.access(folder, os.W_OK):
        k1, b = parameters.get("k1", 0.9), parameters.get("b", 0.4)
        if not list(folder.glob(f"bm25.k1-{k1:g}.b-{b:g}.*")):
            problem = f"{folder} is read-only, and PISA must write the scores for k1 {k1:g} and b {b:g} into it"
            raise MissingError("the index cannot be opened", [problem], fix=f"chmod u+w {folder}, or copy it")
        yield
        return
    import fcntl  # noqa: PLC0415 - POSIX only, as PISA is

    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if sealed := (folder / SUMS).exists():
            for file in unsealed_files(folder, _SCORES):  # half written by a process that was killed
                file.unlink()
        yield
        if sealed:
            seal(folder, _SCORES)


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
