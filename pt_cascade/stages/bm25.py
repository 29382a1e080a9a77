"""BM25 as the first stage, by PISA (no Java) or by Terrier."""

from __future__ import annotations

import os
from pathlib import Path

import pyterrier as pt

from pt_cascade.checksums import check_sealed
from pt_cascade.errors import PipelineError
from pt_cascade.files import rm_command, to_path
from pt_cascade.stages.base.identity import check_files
from pt_cascade.stages.indexing.engines import MOST_THREADS, open_index, write_scores
from pt_cascade.stages.indexing.words import ENGLISH, BagOfWords, IndexFiles, read_language


def bm25(
    index: object,
    *,
    num_results: int = 1000,
    k1: float | None = None,
    b: float | None = None,
    threads: int = 1,
    verbose: bool = False,
) -> pt.Transformer:
    """Retrieve with BM25 from a PISA or a Terrier index, by that engine's own retriever.

    Punctuation in a query separates words, as in the documents. A word that occurs twice in a query counts twice with PISA, as in
    Lucene; Terrier multiplies by (k3 + 1) f / (k3 + f), k3 = 8, f its frequency over that of the query's most frequent word.

    Args:
        index: A folder with an index of either engine, a PisaIndex or TerrierIndex, or Terrier's own IndexRef or Index.
        num_results: Documents a query, 1 to 1,000,000.
        k1: Saturation of term frequency, 0 to 1000; None: the engine's default, PISA 0.9, Terrier 1.2.
        b: Length normalisation, 0 to 1; None: the engine's default, PISA 0.4, Terrier 0.75.
        threads: Queries run at once, 1 to 1024.
        verbose: Show a progress bar.

    Returns:
        A transformer: Frame[qid, query] to Frame[qid, query, docno, score, rank], rows in rank order.

    Raises:
        MissingError: The folder, the engine's package or Java is missing, or the index is damaged.
        PipelineError: An argument is out of its range, or the folder is not an index of either engine.

    Warns:
        CascadeWarning: At retrieval: a query has no word that the index can contain, or a letter that it has in pairs only.

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
    bounds = {
        "num_results": (num_results, 1, 1_000_000),
        "threads": (threads, 1, MOST_THREADS),
        "k1": (k1, 0, 1000),
        "b": (b, 0, 1),
    }
    problems = [
        f"{name} is {value!r}, expected {low} to {high:,}"
        for name, (value, low, high) in bounds.items()
        if not (value is None and name in ("k1", "b"))
        and not (isinstance(value, (int, float) if name in ("k1", "b") else int) and low <= value <= high)
    ]
    if problems:
        raise PipelineError("bm25 cannot be made", problems)
    source = index if isinstance(index, pt.Artifact) else _find_folder(index)
    folder = to_path(str(getattr(source, "path", source)))
    check_sealed(folder, fix=f"{rm_command(folder)}, and build_index again")
    opened = source if isinstance(source, pt.Artifact) else open_index(source)
    if not callable(getattr(opened, "bm25", None)):
        found = f"{opened!r} ({type(opened).__name__}), expected a PisaIndex or a TerrierIndex"
        raise PipelineError("bm25 cannot be made", [found], fix="build_index(docs, path)")
    parameters = {name: value for name, value in (("k1", k1), ("b", b)) if value is not None}
    pisa = type(opened).__name__ == "PisaIndex"
    counted = {"query_weighted": True} if pisa else {}
    write_scores(opened, k1, b)
    retriever = opened.bm25(num_results=num_results, threads=threads, **parameters, **counted)
    language = read_language(folder) or (ENGLISH if pisa else None)
    made = BagOfWords(retriever, language, IndexFiles(str(folder)), not pisa, verbose)
    check_files(made)  # notes the state of the files that are open now
    return made


def _find_folder(index: object) -> str | os.PathLike[str]:
    """Return the folder of an index, of one that Terrier has opened, or of a reference to one."""
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
