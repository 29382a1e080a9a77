"""A collection encoded once: the folder that ``bi_encoder`` and ``late_interaction`` read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from more_itertools import chunked, peekable
from tqdm import tqdm

from pt_cascade.collections.cache import build_once
from pt_cascade.errors import CascadeError
from pt_cascade.stages.encoders import Encoder
from pt_cascade.stages.intake import Intake
from pt_cascade.stages.reranker import require
from pt_cascade.stages.vectors import open_vectors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from pt_cascade.stages.encoders import Vectors

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
        path: The folder to make; nothing is done if it is there, made in the same way. It appears only when it is whole.
        tokens: Keep token vectors too: 2 bytes x dimension a token. A multi-vector model keeps them in any case, and nothing else.
        max_length: Tokens of a text that are read; None: the model's own limit.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        batch_size: Documents encoded at once.
        verbose: Show a progress bar.

    Returns:
        The folder.

    Raises:
        CascadeError: There are fewer than two documents, or the folder was made by another model, or without tokens.
        FrameError: A document has no text, or a docno that is empty, has white space or stands twice.
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
        encoded = tqdm(_encode(Intake(docs), encoder, tokens=tokens), desc="encode", unit="doc", disable=not verbose)
        _write(encoded, folder, encoder)

    return _same_vectors(build_once(Path(path), build), encoder, tokens=tokens)


def _same_vectors(path: Path, encoder: Encoder, *, tokens: bool) -> Path:
    """Refuse a folder that was there and is not what was asked for."""
    store = open_vectors(path)
    asked = {"model": encoder.model, "max_length": encoder.max_length}
    problems = [
        f"{path} was made with {name} {store.encoder.get(name)!r}, not {wanted!r}"
        for name, wanted in asked.items()
        if store.encoder.get(name) != wanted
    ]
    if tokens and not (path / "tokens.npy").exists():
        problems.append(f"{path} has no token vectors")
    if problems:
        raise CascadeError("there are other vectors already", problems, fix=f"rm -r {path}")
    return path


def _encode(docs: Intake, encoder: Encoder, *, tokens: bool) -> Iterator[tuple[str, Vectors | None, Vectors | None]]:
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
    docs.verify()  # here, so that an unfit document is told before anything is made of its absence


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
