"""A collection encoded once: the folder that ``dense``, ``bi_encoder`` and ``late_interaction`` read."""

from __future__ import annotations

import json
import shutil
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from more_itertools import chunked
from tqdm import tqdm

from pt_cascade.errors import CascadeError, StageError
from pt_cascade.stages.claiming import claimed, deliver
from pt_cascade.stages.encoders import Encoder
from pt_cascade.stages.intake import Intake
from pt_cascade.stages.query_encoders import own_encoder
from pt_cascade.stages.records import append, cut, hash_text, read_records, write_record
from pt_cascade.stages.storing import store
from pt_cascade.stages.upstream import DualEncoder, UpstreamEncoder
from pt_cascade.stages.vectors import open_vectors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pt_cascade.stages.encoders import Vectors
    from pt_cascade.stages.makers import Maker
    from pt_cascade.stages.query_encoders import AnyEncoder, Model

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

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once, in the same order every time.
        model: A name on the hub, a local folder (see ``Encoder``), or a ``pyterrier_dr.BiEncoder``, which knows limit and device.
        path: The folder to make; nothing is done if it is there, made in the same way. It appears only when it is whole.
        tokens: Keep token vectors too: 2 bytes x dimension a token. A multi-vector model keeps them in any case, and nothing else.
        max_length: Tokens of a text that are read; None: the model's own limit.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        batch_size: Documents encoded at once.
        verbose: Show a progress bar, over all documents where ``docs`` knows their number.

    Returns:
        The folder.

    Raises:
        CascadeError: There are fewer than two documents; the folder, or what is kept of it, was made by another model, from other
            documents or without tokens.
        FrameError: A document has no text, or a docno that is empty, has white space or stands twice.
        MissingError: The model cannot be loaded.
        PipelineError: A ``pyterrier_dr.BiEncoder`` is told what it knows itself.

    Example:
        >>> import tempfile
        >>> import pandas as pd, pt_cascade as ptc
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = build_vectors(docs, ptc.default_model(), Path(tempfile.mkdtemp()) / "vectors", tokens=True)
        >>> open_vectors(vectors).vectors.shape
        (2, 384)
    """
    if isinstance(model, DualEncoder):
        options = {"max_length": max_length, "device": device, "tokens": tokens or None}
        encoder: AnyEncoder = own_encoder(model, batch_size=batch_size, **options)
    else:
        encoder = Encoder(str(model), device, max_length, batch_size)
    whole = Path(path)
    with claimed(whole) as folder:
        if folder is not None:
            deliver(folder, _encode(docs, encoder, folder, tokens=tokens, verbose=verbose), whole)
    return _same_vectors(whole, encoder, tokens=tokens)


def _same_vectors(path: Path, encoder: AnyEncoder, *, tokens: bool) -> Path:
    """Refuse a folder that was there and is not what was asked for."""
    found = open_vectors(path).encoder
    asked = encoder.maker if isinstance(encoder, UpstreamEncoder) else {"class": None, **encoder.told}
    problems = [
        f"{path} was made with {name} {found.get(name)!r}, not {asked[name]!r}" for name in asked if found.get(name) != asked[name]
    ]
    if tokens and not (path / "tokens.npy").exists():
        problems.append(f"{path} has no token vectors")
    if problems:
        raise CascadeError("there are other vectors already", problems, fix=f"rm -r {path}")
    return path


def _encode(docs: Iterable[Mapping[str, str]], encoder: AnyEncoder, folder: Path, *, tokens: bool, verbose: bool) -> Path:
    """Encode what is not encoded yet; where that comes to nothing, nothing is left behind."""
    intake = Intake(docs)
    try:
        maker = encoder.maker
        done = cut(folder, _AT_ONCE)
        _same_job(folder, {**maker, "tokens": tokens or encoder.multi_vector}, begun=done > 0)
        reading = iter(intake)
        _same_documents(reading, intake, folder)
        with tqdm(total=length_hint(docs) or None, initial=done, desc="encode", unit="doc", disable=not verbose) as bar:
            for some in chunked(reading, _AT_ONCE):
                if intake.error is not None:  # the chunk is not full, and will come again
                    break
                write_record(folder, some, *_vectors(some, encoder, tokens=tokens))
                bar.update(len(some))
        _check_whole(intake)
        return store(folder, maker)
    except BaseException:
        if not cut(folder, _AT_ONCE):
            shutil.rmtree(folder)
        raise


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
    if not (finite := np.isfinite(vectors).all(axis=1)).all():
        problem = f"{int((~finite).sum())} of {len(docs)} document(s), first docno {docs[int(np.argmin(finite))]['docno']}"
        raise StageError(f"{encoder.model} made a vector with a value that is not finite", [problem])
    return vectors, late


def _same_job(folder: Path, job: Maker, *, begun: bool) -> None:
    """Write down what is done in a folder, or refuse to go on with something else."""
    file = folder / "job.json"
    if not begun:
        file.unlink(missing_ok=True)
        append(file, json.dumps(job).encode())
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    if problems := [f"{name} is {job[name]!r}, was {found.get(name)!r}" for name in job if found.get(name) != job[name]]:
        raise CascadeError(f"{folder} was begun in another way", problems, fix=f"rm -r {folder}, or go on as it was begun")


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
        fix = f"rm -r {folder}, or give the same documents in the same order"
        raise CascadeError(f"{folder} was begun with other documents", [f"document {place} was {docno!r} and {is_now}"], fix=fix)
