"""A collection encoded once: the folder that ``dense``, ``bi_encoder`` and ``late_interaction`` read."""

from __future__ import annotations

import os
import shutil
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from more_itertools import chunked
from tqdm import tqdm

from pt_cascade.checksums import hash_text
from pt_cascade.collections.intake import Intake
from pt_cascade.errors import CascadeError, PipelineError, StageError
from pt_cascade.files import rm_command
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.finished import check_finished
from pt_cascade.stages.vectors.folder_lock import claimed, deliver
from pt_cascade.stages.vectors.jobs import begin_job, is_worthless
from pt_cascade.stages.vectors.progress import measure, read_records, write_record
from pt_cascade.stages.vectors.provenance import name_model
from pt_cascade.stages.vectors.pyterrier_dr import DualEncoder, UpstreamEncoder
from pt_cascade.stages.vectors.query_encoder import check_model, own_encoder
from pt_cascade.stages.vectors.similarity import are_usable, lengths
from pt_cascade.stages.vectors.storing import store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pt_cascade.stages.vectors.query_encoder import AnyEncoder, Model
    from pt_cascade.stages.vectors.similarity import Vectors

_AT_ONCE = 512


def build_vectors(
    docs: Iterable[Mapping[str, str]],
    model: Model,
    path: str | os.PathLike[str],
    *,
    tokens: bool = False,
    max_length: int | None = None,
    device: str | None = None,
    batch_size: int = 32,
    verbose: bool = False,
) -> Path:
    """Encode a collection once, for ``dense``, ``bi_encoder`` and, with ``tokens``, ``late_interaction``, or go on doing so.

    What is encoded is kept in ``.name.partial`` beside the folder until it is whole. However the process ends, the same call
    goes on from there: it reads the documents again, checks that they are the same, and encodes those that follow. At most the last
    512 documents are encoded twice, and the folder is byte for byte what it would have been. Another process that makes the same
    folder is waited for.

    A folder that is there is compared with what would be made: the model by its files or weights, its limit, and, in one pass over
    ``docs``, every docno and a hash of every text.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once, in the same order every time.
        model: A name on the hub, a local folder (see ``Encoder``), or a ``pyterrier_dr.BiEncoder``, which knows limit and device.
        path: The folder to make; nothing is done if it is there, made in the same way, of the same documents. An empty one is
            used. It appears only when it is whole.
        tokens: Keep token vectors too: 2 bytes x dimension a token. A multi-vector model keeps them in any case, and nothing else.
        max_length: Tokens of a text that are read; None: the model's own limit.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        batch_size: Documents encoded at once.
        verbose: Show a progress bar, over all documents where ``docs`` knows their number.

    Returns:
        The folder.

    Raises:
        CascadeError: There are fewer than two documents; the folder, or what is kept of it, was made by another model, from other
            documents or without tokens, or not by this function.
        FrameError: A document has no text, or a docno that is empty, has white space or stands twice.
        MissingError: The model cannot be loaded.
        PipelineError: A ``pyterrier_dr.BiEncoder`` is told what it knows itself, or the model is none.

    Example:
        >>> import tempfile
        >>> import pandas as pd, pt_cascade as ptc
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = build_vectors(docs, ptc.default_model(), Path(tempfile.mkdtemp()) / "vectors", tokens=True)
        >>> (vectors / "vecs.f4").stat().st_size == 2 * 384 * 4
        True
    """
    check_model(model, "nothing can be encoded")
    whole, intake = _check_path(path), Intake(docs)
    if isinstance(model, DualEncoder):
        options = {"max_length": max_length, "device": device, "tokens": tokens or None}
        encoder: AnyEncoder = own_encoder(model, batch_size=batch_size, **options)
    else:
        encoder = Encoder(name_model(model), device, max_length, batch_size)
    with claimed(whole) as folder:
        if folder is not None:
            deliver(folder, _encode(intake, encoder, folder, tokens=tokens, verbose=verbose), whole)
            return whole
    check_finished(whole, intake, encoder, tokens=tokens)
    return whole


def _check_path(path: str | os.PathLike[str]) -> Path:
    """Refuse what cannot be the path of a new folder."""
    if not isinstance(path, (str, os.PathLike)):
        raise PipelineError("nothing can be encoded", [f"path is {path!r:.60} ({type(path).__name__}), expected a folder to make"])
    if (whole := Path(path)).name in ("", ".."):
        problem = f"path is {str(path)!r}, expected a folder of their own"
        raise CascadeError("vectors cannot be put there", [problem], fix='build_vectors(docs, model, "vectors")')
    return whole


def _encode(intake: Intake, encoder: AnyEncoder, folder: Path, *, tokens: bool, verbose: bool) -> Path:
    """Encode what is not encoded yet; where that comes to nothing, nothing is left behind."""
    try:
        maker = encoder.maker
        chunk, done = begin_job(folder, maker, tokens=tokens or encoder.multi_vector, chunk=_AT_ONCE)
        reading = iter(intake)
        _same_documents(reading, intake, folder)
        sizes = measure(folder)
        with tqdm(total=length_hint(intake.docs) or None, initial=done, desc="encode", unit="doc", disable=not verbose) as bar:
            for some in chunked(reading, chunk):
                if intake.error is not None:  # the chunk is not full, and will come again
                    break
                vectors, late = _vectors(some, encoder, tokens=tokens)
                sizes = _check_sizes(encoder, sizes, vectors, late)
                write_record(folder, some, vectors, late)
                bar.update(len(some))
        _check_whole(intake)
        return store(folder, maker, intake.content)
    except BaseException:
        if is_worthless(folder):
            shutil.rmtree(folder)
        raise


def _check_sizes(
    encoder: AnyEncoder, sizes: tuple[int, int], vectors: Vectors | None, late: list[Vectors] | None
) -> tuple[int, int]:
    """Refuse vectors of size 0, or of another size than those before them; give the sizes."""
    found = (0 if vectors is None else vectors.shape[1], 0 if late is None else late[0].shape[1])
    if sizes not in ((0, 0), found) or not any(found):
        expected = f"size {sizes[0] or sizes[1]}, as before" if any(sizes) else "1 or more values"
        raise StageError(f"{encoder.model} made vectors of size {found[0] or found[1]}", [f"expected {expected}"])
    return found


def _check_whole(intake: Intake) -> None:
    """Refuse a collection that did not come in whole, or that FlexIndex's own table of docnos, npids, cannot hold."""
    intake.verify()
    if (count := len(intake.seen)) < 2:  # noqa: PLR2004 - npids divides by the number of docnos less one
        raise CascadeError("there is too little to encode", [f"docs gave {count} document(s), expected 2 or more"])


def _vectors(
    docs: Sequence[Mapping[str, str]], encoder: AnyEncoder, *, tokens: bool
) -> tuple[Vectors | None, list[Vectors] | None]:
    """Encode a chunk of documents, many at a time so that like lengths meet in a batch."""
    texts = [doc["text"] for doc in docs]
    if isinstance(encoder, UpstreamEncoder) or not (tokens or encoder.multi_vector):
        vectors, late = encoder.documents(texts), None
    elif encoder.multi_vector:
        return None, encoder.document_tokens(texts)
    else:
        pairs = list(encoder.documents_and_tokens(texts))
        vectors, late = np.stack([vector for vector, _ in pairs]), [some for _, some in pairs]
    length = lengths(vectors)
    if not (usable := are_usable(length)).all():
        first = int(np.argmin(usable))
        found = f"{int((~usable).sum())} of {len(docs)} document(s), first docno {docs[first]['docno']}"
        problem = f"{found}, of length {length[first]:.1e}, expected 0, or 1e-19 to 1e19"
        raise StageError(f"{encoder.model} made a vector that cannot be compared", [problem])
    return vectors, late


def _same_documents(reading: Iterator[Mapping[str, str]], intake: Intake, folder: Path) -> None:
    """Read the documents that are encoded already, and refuse to go on with others."""
    known = ((docno, text) for record in read_records(folder) for docno, text in zip(record.docnos, record.hashes, strict=True))
    for place, (docno, text) in enumerate(known, 1):
        doc = next(reading, None)
        if doc is None:
            if intake.error is not None:
                raise intake.error
            is_now = "is not there"
        elif doc["docno"] != docno:
            is_now = f"is {doc['docno']!r}"
        elif hash_text(doc["text"]) != text:
            is_now = "has another text"
        else:
            continue
        fix = f"{rm_command(folder)}, or give the same documents in the same order"
        raise CascadeError(f"{folder} was begun with other documents", [f"document {place} was {docno!r} and {is_now}"], fix=fix)
