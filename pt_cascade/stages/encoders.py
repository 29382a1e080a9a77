"""Text to vectors, one a text or one a token, with any sentence-transformers or ColBERT-like model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pt_cascade.errors import MissingError, PipelineError, StageError
from pt_cascade.stages.loading import find_device, find_model, loading
from pt_cascade.stages.makers import weigh
from pt_cascade.stages.reranker import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

Vectors: TypeAlias = "NDArray[np.float32]"

_STAGE = "encoder"


@dataclass(frozen=True)
class Encoder:
    """A model that turns queries and documents into vectors, loaded when first used.

    A query is encoded by itself, so that its vector never depends on the other queries of a batch.

    Attributes:
        model: A sentence-transformers model, or a ColBERT, PyLate or sentence-transformers multi-vector one: a name on the hub or a
            local folder.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        max_length: Tokens of a text that are read, at least 1; None: the model's own limit.
        batch_size: Documents encoded at once, at least 1.
        prompt: Stands before each query, as an instruction or a mark; None: the model's own prompt for queries, if it has one.
        weights: The hash that its weights must have (see ``makers``); None: any.
    """

    model: str
    device: str | None = None
    max_length: int | None = None
    batch_size: int = 32
    prompt: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        """Refuse limits that no model could be run with."""
        limits = {"max_length": self.max_length, "batch_size": self.batch_size}
        problems = [f"{name} is {value!r}, expected 1 or more" for name, value in limits.items() if value is not None and value < 1]
        if problems:
            raise PipelineError("the encoder cannot be made", problems)

    @cached_property
    def multi_vector(self) -> bool:
        """Whether the model was trained for late interaction, and so has no single vector a text."""
        require("sentence_transformers", install="sentence-transformers>=6", why="an encoder")
        from sentence_transformers.util import load_file_path  # noqa: PLC0415 - heavy

        name = find_model(self.model, _STAGE)
        marks = (("config_sentence_transformers.json", "MultiVectorEncoder"), ("modules.json", "pylate"), ("artifact.metadata", ""))
        files = ((load_file_path(name, file), word) for file, word in marks)
        return any(path is not None and word in _read(path) for path, word in files)

    @property
    def told(self) -> dict[str, str | int | None]:
        """What is known of it before it is loaded."""
        return {"model": self.model, "max_length": self.max_length}

    @property
    def maker(self) -> dict[str, str | int | None]:
        """What it says of itself, for ``encoder.json``."""
        return {**self.told, "weights": weigh(self._late if self.multi_vector else self._pooled)}

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Encode queries to one vector each.

        Args:
            texts: n texts, at least one.

        Returns:
            Shape (n, dimension).
        """
        options = {"prompt": self.prompt, "show_progress_bar": False}
        return np.stack([np.asarray(self._pooled.encode_query(text, **options), np.float32) for text in texts])

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Encode documents to one vector each.

        Args:
            texts: n texts, at least one.

        Returns:
            Shape (n, dimension).
        """
        vectors = self._pooled.encode_document(list(texts), batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def query_tokens(self, text: str) -> Vectors:
        """Encode a query to one vector of length 1 a token.

        Args:
            text: The query.

        Returns:
            Shape (tokens, dimension).
        """
        options = {"prompt": self.prompt, "show_progress_bar": False}
        if self.multi_vector:
            return np.asarray(self._late.encode_query([text], convert_to_numpy=True, **options)[0], np.float32)
        tokens = self._pooled.encode_query([text], output_value="token_embeddings", **options)
        return _unit(tokens[0].cpu().numpy())

    def document_tokens(self, texts: Sequence[str]) -> list[Vectors]:
        """Encode documents to one vector of length 1 a token.

        Args:
            texts: n texts, at least one.

        Returns:
            n arrays of shape (tokens, dimension).
        """
        if self.multi_vector:
            options = {"convert_to_numpy": True, "batch_size": self.batch_size, "show_progress_bar": False}
            return [np.asarray(tokens, np.float32) for tokens in self._late.encode_document(list(texts), **options)]
        return [tokens for _, tokens in self.documents_and_tokens(texts)]

    def documents_and_tokens(self, texts: Sequence[str]) -> Iterator[tuple[Vectors, Vectors]]:
        """Encode documents to one vector each and one a token, in a single pass of the model.

        Args:
            texts: n texts, at least one.

        Yields:
            For each text a vector of shape (dimension,), and its token vectors of length 1, shape (tokens, dimension).
        """
        options = {"output_value": None, "batch_size": self.batch_size, "show_progress_bar": False}
        for out in self._pooled.encode_document(list(texts), **options):
            read = out["attention_mask"].bool()
            yield out["sentence_embedding"].cpu().numpy(), _unit(out["token_embeddings"][read].cpu().numpy())

    @cached_property
    def _pooled(self) -> SentenceTransformer:
        if self.multi_vector:
            fix = "late_interaction(model), or a bi-encoder such as 'sentence-transformers/all-MiniLM-L6-v2'"
            raise MissingError(f"{self.model!r} has no single vector a text", ["it is a multi-vector model"], fix=fix)
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy

        return self._load(SentenceTransformer)

    @cached_property
    def _late(self) -> MultiVectorEncoder:
        from sentence_transformers import MultiVectorEncoder  # noqa: PLC0415 - heavy

        return self._load(MultiVectorEncoder)

    def _load(self, kind: type[SentenceTransformer | MultiVectorEncoder]) -> SentenceTransformer | MultiVectorEncoder:
        name = find_model(self.model, _STAGE)
        device = find_device(self.device, _STAGE)
        with loading(name, _STAGE):
            network = kind(name, device=str(device)).eval()
        if self.max_length is not None:
            network.max_seq_length = min(self.max_length, network.max_seq_length or self.max_length)
        if self.weights is not None and (found := weigh(network)) != self.weights:
            problem = f"{name!r} has the weights {found}, the vectors were made with {self.weights}"
            fix = "pass the model that made the vectors, or build_vectors again with this one"
            raise StageError("the vectors were made by another model", [problem], fix=fix)
        return network

    def __getstate__(self) -> dict[str, object]:
        """Pickle the arguments only: a copy loads its own model."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return unit


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a path from the hub's cache
        return json.dumps(json.load(file))
