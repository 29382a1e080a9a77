"""Who encodes the queries for some stored vectors: whoever made these, or one that is told and not another."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pt_cascade.errors import PipelineError
from pt_cascade.stages.encoders import Encoder
from pt_cascade.stages.makers import differences
from pt_cascade.stages.upstream import DualEncoder, UpstreamEncoder

if TYPE_CHECKING:
    import os

    from pt_cascade.stages.vectors import VectorStore

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
    if isinstance(model, DualEncoder):
        upstream = own_encoder(model, device=device, prompt=prompt)
        encoder: AnyEncoder = upstream
        problems = differences(found, upstream.maker)
    else:
        expected = found.get("weights")
        weights = None if expected is None else str(expected)
        encoder = Encoder(known_model(store, model, stage), device, prompt=prompt, weights=weights)
        problems = differences({**found, "weights": None}, encoder.told)
    if problems:
        fix = f"{stage}(vectors) with the model that made them, or build_vectors again with this one"
        raise PipelineError(f"{store.path} cannot be searched by another model", problems, fix=fix)
    return encoder


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
    known = model or found.get("model")
    if not known:
        problem = f"{store.path} does not say which model made its vectors"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model='org/name or folder')")
    return str(known)
