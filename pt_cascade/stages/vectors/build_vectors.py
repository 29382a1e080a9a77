"""A collection encoded once: the folder that ``dense``, ``bi_encoder`` and ``late_interaction`` read."""

from __future__ import annotations

import json
from itertools import chain, count, islice
from operator import length_hint
from typing import TYPE_CHECKING

import numpy as np
from more_itertools import chunked

from pt_cascade.checksums import hash_text, seal
from pt_cascade.collections.intake import Intake, name_difference
from pt_cascade.errors import CascadeError, PipelineError, StageError
from pt_cascade.files import naming_refusals, new_folder, rm_command, to_path, write_file
from pt_cascade.numbers import count_of
from pt_cascade.progress import show_progress
from pt_cascade.stages.vectors.chunks import Chunk, join_chunks, list_chunks, read_chunk, write_chunk
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.provenance import differences, name_model, shortest
from pt_cascade.stages.vectors.query_encoder import DualEncoder, UpstreamEncoder, check_model, own_encoder
from pt_cascade.stages.vectors.similarity import find_unusable, lengths
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Never

    from tqdm import tqdm

    from pt_cascade.stages.vectors.provenance import Provenance
    from pt_cascade.stages.vectors.query_encoder import AnyEncoder, Model
    from pt_cascade.stages.vectors.similarity import Vectors

_CHUNK = 512  # documents


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
    """Encode a collection once, for ``dense``, ``bi_encoder`` and, with ``tokens``, ``late_interaction``, or resume doing so.

    Every 512 documents that are encoded are kept in ``.name.partial`` beside the folder until all are. After a crash the same call
    resumes from there: it reads the documents again, checks that they are the same, and encodes the rest; the folder is
    byte for byte what it would have been. While the chunks are joined they take their space on the disk twice. A second process
    that builds the same folder waits.

    A folder that is there is compared with what would be made: the model by its files or weights, its limit, and the documents by
    their docnos and the hash of their texts.

    Args:
        docs: Documents with ``docno`` and ``text``; each docno once, in the same order every time.
        model: A name on the hub, a local folder, or a ``pyterrier_dr.BiEncoder``, which has its own limit and device.
        path: The folder to make, or an empty one. It appears only when it is complete; nothing is done if it is there, made by the
            same model from the same documents.
        tokens: Keep token vectors too: 2 bytes x dimension a token. A multi-vector model has these only, and always keeps them.
        max_length: Tokens of a text that are read; None: the model's own limit.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        batch_size: Documents encoded at once.
        verbose: Show a progress bar, over all documents where ``docs`` has a length.

    Returns:
        The folder.

    Raises:
        CascadeError: There are fewer than two documents; or the folder, or its chunks, were made by another model, from other
            documents, without tokens, or not by this function.
        FrameError: A document has no text, or a docno that is empty, has white space or stands twice.
        MissingError: The model cannot be loaded, or a chunk is damaged.
        PipelineError: An option is given that a ``pyterrier_dr.BiEncoder`` has itself, or ``model`` is not a model.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import pandas as pd, pt_cascade as ptc
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = build_vectors(docs, ptc.default_model(), Path(tempfile.mkdtemp()) / "vectors", tokens=True)
        >>> (vectors / "vecs.f4").stat().st_size == 2 * 384 * 4
        True
    """
    check_model(model, "the documents cannot be encoded")
    if not isinstance(tokens, bool):
        raise PipelineError("the documents cannot be encoded", [f"tokens is {tokens!r:.60}, expected True or False"])
    whole, intake = to_path(path), Intake(docs)
    if isinstance(model, DualEncoder):
        options = {"max_length": max_length, "device": device, "tokens": tokens or None}
        encoder: AnyEncoder = own_encoder(model, batch_size=batch_size, **options)
    else:
        encoder = Encoder(name_model(model), device, max_length, batch_size)
    with naming_refusals(whole), new_folder(whole, "partial") as place:
        if place is not None:
            _build(intake, encoder, place, tokens=tokens, verbose=verbose)
            return whole
    _compare(whole, intake, encoder, tokens=tokens)
    return whole


def _build(intake: Intake, encoder: AnyEncoder, place: Path, *, tokens: bool, verbose: bool) -> None:
    """Encode the documents of which there is no chunk beside the folder, and join all chunks in it."""
    folder, made_by = place.parent, encoder.made_by
    try:
        _check_job(folder, made_by, tokens=tokens or encoder.multi_vector)
        last = _encode(intake, encoder, folder, tokens=tokens, verbose=verbose)
        _check_number(intake)
        full = (read_chunk(file) for _, file in sorted(list_chunks(folder).items()))
        join_chunks(chain(full, [last] if last else []), place, made_by, intake.content)
        seal(place)
    except KeyboardInterrupt as error:
        if chunks := list_chunks(folder):
            kept = f"{_CHUNK * len(chunks):,} encoded documents are kept in {folder}"
            error.add_note(f"{kept}: the same call of build_vectors, or the same command, continues from there")
        raise


def _check_number(intake: Intake) -> None:
    intake.verify()
    if (found := len(intake.seen)) < 2:  # noqa: PLR2004 - npids, FlexIndex's table of docnos, divides by their number less one
        raise CascadeError("there are too few documents to encode", [f"docs has {count_of(found, 'document')}, expected 2 or more"])


def _check_job(folder: Path, made_by: Provenance, *, tokens: bool) -> None:
    """Write down what encodes, and refuse chunks that were encoded in another way."""
    job = folder / "job.json"
    if not list_chunks(folder):
        write_file(job, json.dumps({**made_by, "tokens": tokens}).encode())
        return
    try:
        found = dict(json.loads(job.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        problem = f"{job.name}, which names the encoder of the chunks, is missing or damaged"
        raise CascadeError(f"the encoder of {folder} is unknown", [problem], fix=rm_command(folder)) from error
    problems = differences(found, made_by)
    if bool(found.get("tokens")) != tokens:
        problems.append(f"tokens is {tokens}, was {found.get('tokens')}")
    if problems:
        fix = f"{rm_command(folder)}, or use the same model and options"
        raise CascadeError(f"{folder} was built with other options", problems, fix=fix)


def _encode(intake: Intake, encoder: AnyEncoder, folder: Path, *, tokens: bool, verbose: bool) -> Chunk | None:
    """Encode the documents of which there is no chunk; write full chunks, and return the last one if it is not full."""
    files, docs = list_chunks(folder), iter(intake)
    total, kept = length_hint(intake.docs) or None, _CHUNK * len(files)
    with show_progress("encode", "doc", total, shown=verbose, done=kept) as bar:
        for number in count():
            some = list(islice(docs, _CHUNK))
            if intake.error is not None or not (some or number in files):
                return None
            if number in files:
                _check_same(read_chunk(files[number]), some, number * _CHUNK, folder)
                continue
            chunk = _encode_chunk(some, encoder, bar, tokens=tokens)
            if len(some) < _CHUNK:
                return chunk
            write_chunk(folder, number, chunk)
    return None


def _check_same(chunk: Chunk, docs: list[dict[str, str]], start: int, folder: Path) -> None:
    """Refuse documents that are not those of a chunk."""
    now = [(doc["docno"], hash_text(doc["text"])) for doc in docs]
    if now != (stored := [*zip(chunk.docnos.tolist(), chunk.hashes.tolist(), strict=True)]):
        fix = f"{rm_command(folder)}, or give the same documents in the same order"
        raise CascadeError(f"{folder} was built with other documents", [name_difference(now, stored, start + 1)], fix=fix)


def _encode_chunk(docs: list[dict[str, str]], encoder: AnyEncoder, bar: tqdm[Never], *, tokens: bool) -> Chunk:
    """Encode documents in batches of texts of like length."""
    order = sorted(range(len(docs)), key=lambda n: -len(docs[n]["text"]))
    parts, late = [], []
    for some in chunked(order, encoder.batch_size):
        vectors, some_tokens = _encode_batch([docs[n]["text"] for n in some], encoder, tokens=tokens)
        parts.append(vectors)
        late += some_tokens
        bar.update(len(some))
    place = np.argsort(order)
    vectors, docnos = np.concatenate(parts)[place], [doc["docno"] for doc in docs]
    if problem := find_unusable(lengths(vectors), docnos):
        raise StageError(f"{encoder.model} made a vector that cannot be compared", [problem])
    flat = np.concatenate([late[n] for n in place]).astype(np.float16)
    hashes = np.array([hash_text(doc["text"]) for doc in docs])
    return Chunk(np.array(docnos), hashes, vectors, flat, np.array([len(late[n]) for n in place], np.int64))


def _encode_batch(texts: list[str], encoder: AnyEncoder, *, tokens: bool) -> tuple[Vectors, list[Vectors]]:
    """Return the vectors, shape (texts, dimension), and of each text the token vectors; dimension 0 where there are none."""
    nothing = np.empty((0, 0), np.float32)
    if isinstance(encoder, UpstreamEncoder) or not (tokens or encoder.multi_vector):
        return encoder.documents(texts), [nothing] * len(texts)
    if encoder.multi_vector:
        return np.empty((len(texts), 0), np.float32), encoder.document_tokens(texts)
    vectors, late = zip(*encoder.documents_and_tokens(texts), strict=True)
    return np.stack(vectors), list(late)


def _compare(path: Path, intake: Intake, encoder: AnyEncoder, *, tokens: bool) -> None:
    """Refuse a folder that was made by another model or, once all documents are read, from other documents."""
    store = open_vectors(path)
    if not store.ours:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:3])
        problem = f"{path} holds {found}, ..., expected encoder.json and vecs.f4, or nothing"
        raise CascadeError("this folder is not made by build_vectors", [problem], fix="choose another path")
    problems = differences(store.encoder, _provenance(store.encoder, encoder))
    if tokens and not (path / "tokens.npy").exists():
        problems.append(f"{path} has no token vectors")
    if problems := problems or intake.find_changes(store.encoder.get("content"), lambda: store.docnos):
        raise CascadeError("the folder holds other vectors", problems, fix=rm_command(path))


def _provenance(found: Provenance, encoder: AnyEncoder) -> Provenance:
    """Return an encoder's provenance; its model is loaded only if its files are not those that are recorded."""
    if isinstance(encoder, Encoder) and found.get("files") and found["files"] == encoder.model_files:
        return {**found, "max_length": shortest(encoder.max_length, found.get("limit"))}
    return encoder.made_by
