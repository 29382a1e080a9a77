"""Text to vectors, one a text or one a token, with any sentence-transformers or ColBERT-like model."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from pt_cascade.errors import MissingError, PipelineError, StageError, require
from pt_cascade.numbers import is_whole
from pt_cascade.stages.base.threads import short_text_threads
from pt_cascade.stages.inference.loading import check_reachable, find_device, find_model, is_local, loading
from pt_cascade.stages.inference.weights import tell_weights
from pt_cascade.stages.vectors.provenance import hash_model, record_model, shortest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    from pt_cascade.stages.vectors.provenance import Provenance
    from pt_cascade.stages.vectors.similarity import Vectors


@dataclass(frozen=True)
class Encoder:
    """A model that encodes queries and documents, loaded when first used.

    Attributes:
        model: A sentence-transformers, ColBERT or PyLate model: a name on the hub or a local folder.
        device: E.g. ``cpu``, ``cuda:0``; None: cuda where there is one.
        max_length: Tokens of a text that are read, at least 1; None: the model's own limit.
        batch_size: Documents encoded at once, at least 1.
        prompt: Text before each query; None: the model's own prompt for queries, if it has one.
        provenance: The hash that the loaded model must have (see ``provenance``); None: any.
    """

    model: str
    device: str | None = None
    max_length: int | None = None
    batch_size: int = 32
    prompt: str | None = None
    provenance: str | None = None

    def __post_init__(self) -> None:
        """Refuse limits below 1."""
        limits = {"max_length": self.max_length, "batch_size": self.batch_size}
        problems = [
            f"{name} is {value!r}, expected 1 or more"
            for name, value in limits.items()
            if value is not None and not is_whole(value, 1)
        ]
        if problems:
            raise PipelineError("the encoder cannot be made", problems)

    @cached_property
    def multi_vector(self) -> bool:
        """Whether the model was trained for late interaction, and so does not encode a text as one vector."""
        require("sentence_transformers", install="sentence-transformers>=6", why="an encoder")
        from sentence_transformers.util import load_file_path  # noqa: PLC0415 - heavy

        name, local = find_model(self.model), check_reachable(self.model)
        marks = (("config_sentence_transformers.json", "MultiVectorEncoder"), ("modules.json", "pylate"), ("artifact.metadata", ""))
        files = ((load_file_path(name, file, local_files_only=local), word) for file, word in marks)
        return any(path is not None and word in _read(path) for path, word in files)

    @property
    def made_by(self) -> Provenance:
        """Return the provenance of its vectors; its model is loaded."""
        network, provenance, limit = self._loaded
        made_by = {"model": record_model(self.model), "max_length": network.max_seq_length, "limit": limit}
        return {**made_by, "provenance": provenance, "files": self.model_files}

    @property
    def model_files(self) -> str | None:
        """Return the hash of the files of its model; None where they are not here."""
        return tell_weights(self.model) if is_local(self.model) else None

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Encode n >= 1 queries, each by itself; return shape (n, dimension)."""
        options = {"prompt": self.prompt, "show_progress_bar": False}
        with short_text_threads(self._pooled):
            return np.stack([np.asarray(self._pooled.encode_query(text, **options), np.float32) for text in texts])

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Encode n >= 1 documents; return shape (n, dimension)."""
        vectors = self._pooled.encode_document(list(texts), batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def query_tokens(self, text: str) -> Vectors:
        """Encode a query to a vector of length 1 for each token; return shape (tokens, dimension)."""
        options = {"prompt": self.prompt, "show_progress_bar": False}
        with short_text_threads(self._loaded[0]):
            if self.multi_vector:
                return np.asarray(self._late.encode_query([text], convert_to_numpy=True, **options)[0], np.float32)
            tokens = self._pooled.encode_query([text], output_value="token_embeddings", **options)
        return _unit(tokens[0].cpu().numpy())

    def document_tokens(self, texts: Sequence[str]) -> list[Vectors]:
        """Encode n >= 1 documents to a vector of length 1 for each token; return n arrays of shape (tokens, dimension)."""
        if self.multi_vector:
            options = {"convert_to_numpy": True, "batch_size": self.batch_size, "show_progress_bar": False}
            return [np.asarray(tokens, np.float32) for tokens in self._late.encode_document(list(texts), **options)]
        return [tokens for _, tokens in self.documents_and_tokens(texts)]

    def documents_and_tokens(self, texts: Sequence[str]) -> Iterator[tuple[Vectors, Vectors]]:
        """Encode n >= 1 documents in one pass; yield for each its vector (dimension,) and its token vectors (tokens, dimension)."""
        options = {"output_value": None, "batch_size": self.batch_size, "show_progress_bar": False}
        for out in self._pooled.encode_document(list(texts), **options):
            read = out["attention_mask"].bool()
            yield out["sentence_embedding"].cpu().numpy(), _unit(out["token_embeddings"][read].cpu().numpy())

    @cached_property
    def _pooled(self) -> SentenceTransformer:
        if self.multi_vector:
            fix = "late_interaction(model), or a bi-encoder such as 'sentence-transformers/all-MiniLM-L6-v2'"
            raise MissingError(f"{self.model!r} does not encode a text as one vector", ["it is a multi-vector model"], fix=fix)
        return cast("SentenceTransformer", self._loaded[0])

    @cached_property
    def _late(self) -> MultiVectorEncoder:
        return cast("MultiVectorEncoder", self._loaded[0])

    @cached_property
    def _loaded(self) -> tuple[SentenceTransformer | MultiVectorEncoder, str | None, int | None]:
        """Load the model; return it, its provenance and its own limit of tokens."""
        from sentence_transformers import MultiVectorEncoder, SentenceTransformer  # noqa: PLC0415 - heavy

        device = find_device(self.device)
        kind = MultiVectorEncoder if self.multi_vector else SentenceTransformer
        name, local = find_model(self.model), check_reachable(self.model)
        with loading(name):
            try:
                network = kind(name, device=str(device), local_files_only=local).eval()
            except OSError:
                if not local or Path(name).is_dir():
                    raise
                network = kind(name, device=str(device)).eval()  # the cache holds a part of it
        provenance, limit = hash_model(network), network.max_seq_length
        if self.provenance is not None and provenance != self.provenance:
            problem = f"{name!r} has the provenance {provenance}, the vectors have {self.provenance}"
            fix = "pass the model that made the vectors; or delete their folder (rm -r), and build_vectors again with this one"
            raise StageError("the vectors were made by another model", [problem], fix=fix)
        if self.max_length is not None:
            network.max_seq_length = shortest(self.max_length, limit)
        return network, provenance, limit

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
