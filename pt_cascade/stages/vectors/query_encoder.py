"""Who encodes the queries for some stored vectors: whoever made these, or one that is told and not another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from pt_cascade.errors import PipelineError
from pt_cascade.files import rm_command
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.provenance import differences, know_weights, name_model
from pt_cascade.stages.vectors.pyterrier_dr import DualEncoder, UpstreamEncoder

if TYPE_CHECKING:
    from pt_cascade.stages.vectors.store import VectorStore

AnyEncoder: TypeAlias = Encoder | UpstreamEncoder
Model: TypeAlias = "str | os.PathLike[str] | DualEncoder"


def query_encoder(
    store: VectorStore, model: Model | None, stage: str, *, device: str | None = None, prompt: str | None = None
) -> AnyEncoder:
    """Choose the encoder of the queries.

    Args:
        store: The documents' vectors.
        model: A name on the hub, a local folder or a ``pyterrier_dr.BiEncoder``; None: what made the vectors.
        stage: Who asks, for the error.
        device: Where queries are encoded; None: cuda where there is one.
        prompt: Stands before each query; None: the model's own, if it has one.

    Returns:
        The encoder. One that loads its model later refuses then to be another than made the vectors.

    Raises:
        PipelineError: Nobody knows the model, or it is not the one that made the vectors, or it takes no such option.
    """
    found = store.encoder
    if model is not None:
        check_model(model, f"{stage} cannot be made")
    if isinstance(model, DualEncoder):
        upstream = own_encoder(model, device=device, prompt=prompt)
        encoder: AnyEncoder = upstream
        problems = differences(found, upstream.maker if found.get("probe") else upstream.told)
    else:
        weights = know_weights(found)
        encoder = Encoder(known_model(store, model, stage), device, prompt=prompt, weights=weights)
        problems = differences(found, {**encoder.told, "weights": weights})  # they are compared when they are loaded
    if problems:
        anew = f"{rm_command(store.path)}, and " if store.ours else ""
        fix = f"{stage}(vectors) with the model that made them, or {anew}build_vectors again with this one"
        raise PipelineError(f"{store.path} cannot be searched by another model", problems, fix=fix)
    return encoder


def check_model(model: object, what: str) -> None:
    """Refuse what is no model.

    Args:
        model: What was given for one.
        what: What it was given to, for the error.

    Raises:
        PipelineError: It is neither a name, nor a folder, nor a ``pyterrier_dr.BiEncoder``.
    """
    if isinstance(model, (str, os.PathLike)) or (isinstance(model, DualEncoder) and not isinstance(model, type)):
        return
    if isinstance(model, type):
        found, fix = f"the class {model.__name__}, expected an object of it", f"model={model.__name__}(...)"
    else:
        shown = f"{' '.join(repr(model).split()):.60} ({type(model).__name__})"
        found = f"{shown}, expected a name on the hub, a folder or a pyterrier_dr.BiEncoder"
        fix = 'model.save_pretrained("folder"), and model="folder"' if hasattr(model, "save_pretrained") else 'model="org/name"'
    raise PipelineError(what, [f"model is {found}"], fix=fix)


def own_encoder(model: DualEncoder, *, batch_size: int = 32, **options: str | int | None) -> UpstreamEncoder:
    """Take a bi-encoder of pyterrier_dr, which knows its device, its prompts and its limit itself.

    Args:
        model: The bi-encoder.
        batch_size: Documents encoded at once.
        options: What it cannot be told, each None.

    Returns:
        The encoder.

    Raises:
        PipelineError: An option is not None.
    """
    if given := [f"{name} is {value!r}, expected None" for name, value in options.items() if value is not None]:
        raise PipelineError(
            f"a {type(model).__name__} cannot be told this", given, fix="tell the bi-encoder itself when you make it"
        )
    return UpstreamEncoder(model, batch_size)


def known_model(store: VectorStore, model: str | os.PathLike[str] | None, stage: str) -> str:
    """Name the model of some vectors.

    Args:
        store: The vectors.
        model: What the user says; None: nothing.
        stage: Who asks, for the error.

    Returns:
        A name on the hub or a local folder.

    Raises:
        PipelineError: Nobody knows it, or it is a bi-encoder of pyterrier_dr, which no name can bring back.
    """
    found = store.encoder
    if model is None and found.get("class"):
        problem = f"{store.path} was made by {found['model']} of {found['class']}, which must be given itself"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model=that bi-encoder)")
    known = found.get("model") if model is None else model
    if known is None:
        problem = f"{store.path} does not say which model made its vectors"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model='org/name or folder')")
    return name_model(str(known))
