"""The query encoder for stored vectors: the model that made them, by name or loaded by pyterrier_dr."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from pt_cascade.cascade.fingerprints import remove_places
from pt_cascade.errors import PipelineError, StageError
from pt_cascade.files import rm_command
from pt_cascade.numbers import count_of, is_whole
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.provenance import find_recorded, hash_encoder, name_model, other_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.stages.vectors.provenance import Provenance
    from pt_cascade.stages.vectors.similarity import Vectors
    from pt_cascade.stages.vectors.store import VectorStore


@runtime_checkable
class DualEncoder(Protocol):
    """The interface of ``pyterrier_dr.BiEncoder``: texts to an array of one vector a text."""

    def encode_queries(self, texts: list[str], batch_size: int | None = None) -> NDArray[np.floating]:
        """Encode queries."""

    def encode_docs(self, texts: list[str], batch_size: int | None = None) -> NDArray[np.floating]:
        """Encode documents."""


@dataclass(frozen=True)
class UpstreamEncoder:
    """A model that pyterrier_dr loaded, which travels in a pickle; two are equal if their provenance is.

    Attributes:
        encoder: A ``pyterrier_dr.BiEncoder``.
        batch_size: Documents encoded at once.
        provenance: See ``provenance.hash_encoder``.
    """

    multi_vector: ClassVar[bool] = False

    encoder: DualEncoder = field(compare=False)
    batch_size: int = 32
    provenance: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Hash the encoder, and refuse a batch size below 1."""
        if not is_whole(self.batch_size, 1):
            raise PipelineError("the encoder cannot be made", [f"batch_size is {self.batch_size!r}, expected 1 or more"])
        object.__setattr__(self, "provenance", hash_encoder(self.encoder))

    @property
    def made_by(self) -> Provenance:
        """Return the provenance of its vectors."""
        kind = type(self.encoder)
        limit = getattr(getattr(self.encoder, "model", None), "max_seq_length", None)
        named = {"model": self.model, "class": f"{kind.__module__}.{kind.__qualname__}"}
        return {**named, "max_length": limit, "provenance": self.provenance}

    @property
    def model(self) -> str:
        """Return its own description, e.g. ``SBertBiEncoder('org/name')``."""
        return remove_places(repr(self.encoder))

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Encode n >= 1 queries, each by itself; return shape (n, dimension)."""
        return np.concatenate([self._checked(self.encoder.encode_queries([text], batch_size=1), 1) for text in texts])

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Encode n >= 1 documents; return shape (n, dimension)."""
        return self._checked(self.encoder.encode_docs(list(texts), batch_size=self.batch_size), len(texts))

    def _checked(self, found: NDArray[np.floating], texts: int) -> Vectors:
        vectors = np.asarray(found, np.float32)
        if vectors.ndim != 2 or len(vectors) != texts:  # noqa: PLR2004 - a matrix
            problem = f"{self.model} gave shape {vectors.shape} for {count_of(texts, 'text')}, expected ({texts}, dimension)"
            raise StageError("a bi-encoder must give one vector a text", [problem])
        return vectors


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
    if isinstance(model, type) or not ((isinstance(model, (str, os.PathLike)) and str(model)) or isinstance(model, DualEncoder)):
        shown = f"{' '.join(repr(model).split()):.60} ({type(model).__name__})"
        problem = f"model is {shown}, expected a name on the hub, a folder or a pyterrier_dr.BiEncoder object"
        raise PipelineError(what, [problem], fix='model="org/name", or model.save_pretrained("folder") and model="folder"')


def own_encoder(model: DualEncoder, *, batch_size: int = 32, **options: str | int | None) -> UpstreamEncoder:
    """Wrap a bi-encoder of pyterrier_dr, which has its own device, prompts and limit: each of the options must be None."""
    if given := [f"{name} is {value!r}, expected None" for name, value in options.items() if value is not None]:
        fix = f"pass it to {type(model).__name__}(...)"
        raise PipelineError(f"a {type(model).__name__} does not take this option here", given, fix=fix)
    return UpstreamEncoder(model, batch_size)


def known_model(store: VectorStore, model: str | os.PathLike[str] | None, stage: str) -> str:
    """Return the model that is given, else the one that made the vectors, if a name can load it."""
    found = store.encoder
    if model is None and found.get("class"):
        problem = f"{store.path} was made by {found['model']} of {found['class']}, which has no name to load it by"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model=the_bi_encoder)")
    known = found.get("model") if model is None else model
    if known is None:
        problem = f"{store.path} does not say which model made its vectors"
        raise PipelineError("the query encoder is unknown", [problem], fix=f"{stage}(vectors, model='org/name or folder')")
    return name_model(find_recorded(str(known)))
