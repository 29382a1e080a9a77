"""A bi-encoder of pyterrier_dr (TasB, TctColBert, RetroMAE, ...) as an encoder of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from pt_cascade.errors import PipelineError, StageError
from pt_cascade.stages.vectors.provenance import hash_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.stages.vectors.provenance import Provenance
    from pt_cascade.stages.vectors.similarity import Vectors


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
        if self.batch_size < 1:
            raise PipelineError("the encoder cannot be made", [f"batch_size is {self.batch_size!r}, expected 1 or more"])
        object.__setattr__(self, "provenance", hash_encoder(self.encoder))

    @property
    def made_by(self) -> Provenance:
        """Return the provenance of its vectors."""
        kind = type(self.encoder)
        return {"model": self.model, "class": f"{kind.__module__}.{kind.__qualname__}", "provenance": self.provenance}

    @property
    def model(self) -> str:
        """Return its own description, e.g. ``SBertBiEncoder('org/name')``, without the addresses of objects."""
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.encoder))

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Encode n >= 1 queries, each by itself; return shape (n, dimension)."""
        return np.concatenate([self._checked(self.encoder.encode_queries([text], batch_size=1), 1) for text in texts])

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Encode n >= 1 documents, texts of like length together; return shape (n, dimension)."""
        order = np.argsort([-len(text) for text in texts], kind="stable")
        found = self.encoder.encode_docs([texts[n] for n in order], batch_size=self.batch_size)
        vectors: Vectors = self._checked(found, len(texts))[np.argsort(order)]
        return vectors

    def _checked(self, found: NDArray[np.floating], texts: int) -> Vectors:
        vectors = np.asarray(found, np.float32)
        if vectors.ndim != 2 or len(vectors) != texts:  # noqa: PLR2004 - a matrix
            problem = f"{self.model} gave shape {vectors.shape} for {texts} text(s), expected ({texts}, dimension)"
            raise StageError("a bi-encoder must give one vector a text", [problem])
        return vectors
