"""The encoder of the queries for stored vectors: the model that made them, and no other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from pt_cascade.errors import PipelineError
from pt_cascade.files import rm_command
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.provenance import name_model, other_model
from pt_cascade.stages.vectors.pyterrier_dr import DualEncoder, UpstreamEncoder

if TYPE_CHECKING:
    from pt_cascade.stages.vectors.store import VectorStore

AnyEncoder: TypeAlias = Encoder | UpstreamEncoder
Model: TypeAlias = "str | os.PathLike[str] | DualEncoder"


def query_encoder(
    store: VectorStore, model: Model | None, stage: str, *, device: str | None = None, prompt: str | None = None
) -> AnyEncoder:
    """Choose the encoder of the queries; an ``Encoder`` compares its provenance when it loads its model."""
    found = store.encoder
    if model is not None:
        check_model(model, f"{stage} cannot be made")
    if not isinstance(model, DualEncoder):
        return Encoder(known_model(store, model, stage), device, prompt=prompt, provenance=store.provenance)
    encoder = own_encoder(model, device=device, prompt=prompt)
    if store.provenance and (problems := other_model(found, encoder.made_by)):
        anew = f"{rm_command(store.path)}, and " if store.ours else ""
        fix = f"{stage}(vectors) with the model that made them, or {anew}build_vectors again with this one"
        raise PipelineError(f"{store.path} cannot be searched by another model", problems, fix=fix)
    return encoder


def check_model(model: object, what: str) -> None:
    """Refuse what is neither a name, nor a folder, nor a ``pyterrier_dr.BiEncoder``."""
    if (isinstance(model, (str, os.PathLike)) and str(model)) or (isinstance(model, DualEncoder) and not isinstance(model, type)):
        return
    if isinstance(model, type):
        found, fix = f"the class {model.__name__}, expected an object of it", f"model={model.__name__}(...)"
    else:
        shown = f"{' '.join(repr(model).split()):.60} ({type(model).__name__})"
        found = f"{shown}, expected a name on the hub, a folder or a pyterrier_dr.BiEncoder"
        fix = 'model.save_pretrained("folder"), and model="folder"' if hasattr(model, "save_pretrained") else 'model="org/name"'
    raise PipelineError(what, [f"model is {found}"], fix=fix)


def own_encoder(model: DualEncoder, *, batch_size: int = 32, **options: str | int | None) -> UpstreamEncoder:
    """Wrap a bi-encoder of pyterrier_dr, which has its own device, prompts and limit: each of the options must be None."""
    if given := [f"{name} is {value!r}, expected None" for name, value in options.items() if value is not None]:
        fix = f"pass it to {type(model).__name__}(...)"
        raise PipelineError(f"a {type(model).__name__} takes no such option here", given, fix=fix)
    return UpstreamEncoder(model, batch_size)


def known_model(store: VectorStore, model: str | os.PathLike[str] | None, stage: str) -> str:
    """Return the model that is given, else the one that made the vectors, if a name can load it."""
    found = store.encoder
    if model is None and found.get("class"):
        problem = f"{store.path} was made by {found['model']} of {found['class']}, which has no name to load it by"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model=that bi-encoder)")
    known = found.get("model") if model is None else model
    if known is None:
        problem = f"{store.path} does not say which model made its vectors"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model='org/name or folder')")
    return name_model(str(known))
