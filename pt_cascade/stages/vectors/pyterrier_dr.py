"""A bi-encoder of pyterrier_dr (TasB, TctColBert, RetroMAE, ...) as an encoder of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from pt_cascade.errors import PipelineError, StageError
from pt_cascade.stages.vectors.provenance import PROBE, sketch, weigh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.stages.vectors.provenance import Maker
    from pt_cascade.stages.vectors.similarity import Vectors


@runtime_checkable
class DualEncoder(Protocol):
    """What a ``pyterrier_dr.BiEncoder`` has: texts in, an array of one vector a text out."""

    def encode_queries(self, texts: list[str], batch_size: int | None = None) -> NDArray[np.floating]:
        """Encode queries."""

    def encode_docs(self, texts: list[str], batch_size: int | None = None) -> NDArray[np.floating]:
        """Encode documents."""


@dataclass(frozen=True)
class UpstreamEncoder:
    """A model that pyterrier_dr loaded; two are equal if their class, weights and description are.

    A query is encoded by itself, so that its vector never depends on the other queries of a batch. Unlike ``Encoder`` it holds its
    model, so the model travels in a pickle.

    Attributes:
        encoder: A ``pyterrier_dr.BiEncoder``.
        batch_size: Documents encoded at once.
        told: What is known of it before it encodes anything.
    """

    multi_vector: ClassVar[bool] = False

    encoder: DualEncoder = field(compare=False)
    batch_size: int = 32
    told: dict[str, str | int | None] = field(init=False, repr=False, hash=False)

    def __post_init__(self) -> None:
        """Find out who it is, and refuse a batch that holds nothing."""
        if self.batch_size < 1:
            raise PipelineError("the encoder cannot be made", [f"batch_size is {self.batch_size!r}, expected 1 or more"])
        kind = type(self.encoder)
        weights = weigh(getattr(self.encoder, "model", self.encoder), getattr(self.encoder, "tokenizer", None))
        told = {"model": self.model, "max_length": None, "class": f"{kind.__module__}.{kind.__qualname__}", "weights": weights}
        object.__setattr__(self, "told", told)

    @cached_property
    def maker(self) -> Maker:
        """What it says of itself, for ``encoder.json``: it encodes one sentence, which tells what its weights do not."""
        try:
            probe = sketch(self.documents([PROBE])[0])
        except NotImplementedError:  # it encodes queries only
            probe = None
        return {**self.told, "probe": probe}

    @property
    def model(self) -> str:
        """Its own description, e.g. ``SBertBiEncoder('org/name')``, without the addresses of objects."""
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.encoder))

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Encode queries to one vector each.

        Args:
            texts: n texts, at least one.

        Returns:
            Shape (n, dimension).

        Raises:
            StageError: The encoder gives something else than one vector a text.
        """
        return np.concatenate([self._checked(self.encoder.encode_queries([text], batch_size=1), 1) for text in texts])

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Encode documents to one vector each, texts of like length together.

        Args:
            texts: n texts, at least one.

        Returns:
            Shape (n, dimension).

        Raises:
            StageError: The encoder gives something else than one vector a text.
        """
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
