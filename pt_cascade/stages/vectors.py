"""Stored vectors of a collection: a pyterrier_dr FlexIndex, with token vectors beside it where late interaction wants them.

A folder made here is a FlexIndex (``vecs.f4``, ``docnos.npids``, ``pt_meta.json``) and holds besides

- ``encoder.json``: the model that made it and its token limit, so that queries are encoded by the same one;
- ``tokens.f2``, ``tokens.npy``: token vectors in float16, and where each document's begin, shape (documents + 1,).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from more_itertools import chunked, peekable
from tqdm import tqdm

from pt_cascade.collections.cache import build_once
from pt_cascade.errors import CascadeError, MissingError, StageError
from pt_cascade.stages.encoders import Encoder, Vectors
from pt_cascade.stages.reranker import require

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    import pandas as pd
    from npids import Lookup
    from numpy.typing import NDArray
    from pyterrier_dr import FlexIndex

    from pt_cascade.ranking import Ints

Halves: TypeAlias = "NDArray[np.float16]"

_AT_ONCE = 512


def build_vectors(
    docs: Iterable[Mapping[str, str]],
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    tokens: bool = False,
    max_length: int | None = None,
    device: str | None = None,
    batch_size: int = 32,
    verbose: bool = False,
) -> Path:
    """Encode a collection once, for ``bi_encoder`` and, with ``tokens``, for ``late_interaction``.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once.
        model: A name on the hub or a local folder; see ``Encoder``.
        path: The folder to make; nothing is done if it is there. It appears only when it is whole.
        tokens: Keep token vectors too: 2 bytes x dimension a token. A multi-vector model keeps them in any case, and nothing else.
        max_length: Tokens of a text that are read; None: the model's own limit.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        batch_size: Documents encoded at once.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        CascadeError: There are fewer than two documents.
        MissingError: The model cannot be loaded.

    Example:
        >>> import tempfile
        >>> import pandas as pd, pt_cascade as ptc
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = build_vectors(docs, ptc.default_model(), Path(tempfile.mkdtemp()) / "vectors", tokens=True)
        >>> open_vectors(vectors).vectors.shape
        (2, 384)
    """
    encoder = Encoder(str(model), device, max_length, batch_size)

    def build(folder: Path) -> None:
        encoded = tqdm(_encode(docs, encoder, tokens=tokens), desc="encode", unit="doc", disable=not verbose)
        _write(encoded, folder, encoder)

    return build_once(Path(path), build)


@dataclass(frozen=True)
class VectorStore:
    """The stored vectors of a collection, looked up by docno.

    Attributes:
        path: A folder made by ``build_vectors``, or any FlexIndex.
    """

    path: str

    @cached_property
    def encoder(self) -> dict[str, str | int | None]:
        """The ``model`` and ``max_length`` that made the folder; empty for a FlexIndex made elsewhere."""
        file = Path(self.path) / "encoder.json"
        read: dict[str, str | int | None] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return read

    @cached_property
    def vectors(self) -> Vectors:
        """One vector a document, shape (documents, dimension), mapped from disk."""
        meta = self._need("pt_meta.json", "the folder is no FlexIndex")
        size = json.loads(meta.read_text(encoding="utf-8"))
        shape = (int(size["doc_count"]), int(size["vec_size"]))
        return np.memmap(Path(self.path) / "vecs.f4", mode="r", dtype=np.float32, shape=shape)

    @cached_property
    def tokens(self) -> tuple[Halves, Ints]:
        """Token vectors, shape (tokens, dimension), and where each document's begin, shape (documents + 1,)."""
        starts: Ints = np.load(self._need("tokens.npy", "no token vectors were kept"))
        flat = np.memmap(Path(self.path) / "tokens.f2", mode="r", dtype=np.float16)
        return flat.reshape(int(starts[-1]), -1), starts

    def rows(self, docno: pd.Series[str], stage: str) -> Ints:
        """Look documents up.

        Args:
            docno: Shape (n,).
            stage: Who asks, for the error.

        Returns:
            Shape (n,). The row of each document.

        Raises:
            StageError: A document has no vector.
        """
        rows: Ints = np.asarray(self._docnos.inv[docno.to_numpy(object)], np.int64)
        if (unknown := rows < 0).any():
            first = docno.to_numpy(object)[unknown][0]
            problem = (
                f"{int(unknown.sum())} of {len(rows)} row(s), first docno {first}; {self.path} has {len(self._docnos)} documents"
            )
            raise StageError(f"stage {stage!r} has no vector of a document", [problem], fix="build_vectors over the same documents")
        return rows

    @cached_property
    def _docnos(self) -> Lookup:
        from npids import Lookup  # noqa: PLC0415 - comes with pyterrier_dr

        return Lookup(self._need("docnos.npids", "the folder is no FlexIndex"))

    def _need(self, name: str, problem: str) -> Path:
        file = Path(self.path) / name
        if not file.exists():
            found = f"{problem}: {self.path} has no {name}"
            raise MissingError("these vectors cannot be used", [found], fix="build_vectors(docs, model, path, tokens=True)")
        return file

    def __getstate__(self) -> dict[str, str]:
        """Pickle the path only."""
        return {"path": self.path}


def open_vectors(vectors: str | os.PathLike[str] | FlexIndex) -> VectorStore:
    """Open a folder of vectors, or a FlexIndex.

    Args:
        vectors: A folder made by ``build_vectors``, the folder of a FlexIndex, or a FlexIndex.

    Raises:
        MissingError: There is no such folder.
    """
    path = Path(getattr(vectors, "index_path", vectors))
    if not path.is_dir():
        raise MissingError("there are no vectors", [f"{path} is not a folder"], fix="build_vectors(docs, model, path)")
    return VectorStore(str(path))


def _encode(
    docs: Iterable[Mapping[str, str]], encoder: Encoder, *, tokens: bool
) -> Iterator[tuple[str, Vectors | None, Vectors | None]]:
    """Yield docno, vector and token vectors, many documents at a time so that like lengths meet in a batch."""
    for some in chunked(docs, _AT_ONCE):
        docnos, texts = [doc["docno"] for doc in some], [doc["text"] for doc in some]
        if encoder.multi_vector:
            yield from ((docno, None, late) for docno, late in zip(docnos, encoder.document_tokens(texts), strict=True))
        elif tokens:
            pairs = encoder.documents_and_tokens(texts)
            yield from ((docno, *pair) for docno, pair in zip(docnos, pairs, strict=True))
        else:
            yield from ((docno, vector, None) for docno, vector in zip(docnos, encoder.documents(texts), strict=True))


def _write(encoded: Iterable[tuple[str, Vectors | None, Vectors | None]], folder: Path, encoder: Encoder) -> None:
    """Write what was encoded in FlexIndex's own form, tokens beside it, document by document."""
    require("npids", why="stored vectors")
    from npids import Lookup  # noqa: PLC0415 - comes with pyterrier_dr

    encoded = peekable(encoded)
    if len(first := encoded[:2]) < 2:  # noqa: PLR2004 - npids, FlexIndex's own table of docnos, cannot hold a single one
        raise CascadeError("there is too little to encode", [f"docs gave {len(first)} document(s), expected 2 or more"])
    folder.mkdir(parents=True, exist_ok=True)
    lengths, size = [], 0
    with (
        (folder / "vecs.f4").open("wb") as vecs,
        (folder / "tokens.f2").open("wb") as late,
        Lookup.builder(folder / "docnos.npids") as ids,
    ):
        for docno, vector, token_vectors in encoded:
            ids.add(docno)
            lengths.append(0 if token_vectors is None else len(token_vectors))
            if vector is not None:
                size = len(vector)
                vecs.write(np.asarray(vector, np.float32).tobytes())
            if token_vectors is not None:
                late.write(token_vectors.astype(np.float16).tobytes())
    if any(lengths):
        np.save(folder / "tokens.npy", np.cumsum([0, *lengths]))
    else:
        (folder / "tokens.f2").unlink()
    made_by = {"model": encoder.model, "max_length": encoder.max_length}
    (folder / "encoder.json").write_text(json.dumps(made_by), encoding="utf-8")
    meta = {"type": "dense_index", "format": "flex", "vec_size": size, "doc_count": len(lengths)}
    if size:
        (folder / "pt_meta.json").write_text(json.dumps(meta), encoding="utf-8")
