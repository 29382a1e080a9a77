"""Re-ranking by the similarity of a query's vector and stored document vectors: microseconds a pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.errors import PipelineError, StageError
from pt_cascade.stages.encoders import Encoder
from pt_cascade.stages.reranker import Reranker
from pt_cascade.stages.vectors import open_vectors

if TYPE_CHECKING:
    import os

    from pyterrier_dr import FlexIndex

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.encoders import Vectors
    from pt_cascade.stages.vectors import VectorStore

Similarity: TypeAlias = Literal["dot", "cos"]


def bi_encoder(
    vectors: str | os.PathLike[str] | FlexIndex,
    *,
    model: str | os.PathLike[str] | None = None,
    similarity: Similarity = "dot",
    device: str | None = None,
) -> BiEncoder:
    """Re-rank by the dot product or cosine of the query's vector and each document's stored vector.

    A score is bitwise the same in any company: queries are encoded one by one, and every pair is summed in the same order.

    Args:
        vectors: A folder made by ``build_vectors``, or any FlexIndex (then ``model`` must be told).
        model: What encodes the queries, a name on the hub or a local folder; None: what encoded the documents.
        similarity: ``dot`` or ``cos``; the same for models whose vectors have length 1.
        device: Where queries are encoded; None: cuda where there is one.

    Returns:
        A transformer: Frame[qid, query, docno, ...] to the same rows with score and rank.

    Raises:
        MissingError: The folder is not there.
        PipelineError: Nobody knows the model, or the similarity is neither.

    Example:
        >>> import tempfile
        >>> import pandas as pd, pt_cascade as ptc
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = ptc.stages.build_vectors(docs, ptc.default_model(), tempfile.mkdtemp() + "/v")
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "order digits", "docno": ["d1", "d2"]})
        >>> bi_encoder(vectors).transform(found)["rank"].tolist()
        [1, 0]
    """
    if similarity not in get_args(Similarity):
        raise PipelineError(f"similarity is {similarity!r}", [f"expected one of {', '.join(get_args(Similarity))}"])
    store = open_vectors(vectors)
    known = model or store.encoder.get("model")
    if not known:
        problem = f"{store.path} does not say which model made its vectors"
        raise PipelineError("the query encoder is unknown", [problem], fix="bi_encoder(vectors, model='org/name or folder')")
    return BiEncoder(store, Encoder(str(known), device), similarity)


@dataclass(frozen=True)
class BiEncoder(Reranker):
    """Similarity of stored vectors; made by ``bi_encoder``.

    Attributes:
        store: The documents' vectors.
        encoder: The queries' model.
        similarity: ``dot`` or ``cos``.
    """

    schematic: ClassVar[dict[str, str | None]] = {"label": "Bi-encoder", "help_url": None}
    stage_name: ClassVar[str] = "bi_encoder"

    store: VectorStore
    encoder: Encoder
    similarity: Similarity = "dot"

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return ["query"]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row.

        Args:
            results: Frame[qid, query, docno, ...], n rows, at least one.

        Returns:
            Shape (n,).
        """
        rows = self.store.rows(results["docno"], self.stage_name)
        code, queries = pd.factorize(results["query"])
        query_vectors = self.encoder.queries([str(query) for query in queries])
        score = np.empty(len(rows))
        for n, vector in enumerate(query_vectors):
            mine = np.flatnonzero(code == n)
            score[mine] = self._similarities(rows[mine], vector)
        return score

    def _similarities(self, rows: Ints, query: Vectors) -> Floats:
        documents = np.asarray(self._vectors[rows])
        if documents.shape[1] != len(query):
            problem = f"{self.encoder.model} makes vectors of size {len(query)}, {self.store.path} holds size {documents.shape[1]}"
            raise StageError(
                f"stage {self.stage_name!r} cannot compare", [problem], fix="bi_encoder(vectors), with the model that made them"
            )
        dot = np.einsum("ij,j->i", documents, query)
        if self.similarity == "cos":
            lengths = np.sqrt(np.einsum("ij,ij->i", documents, documents)) * np.linalg.norm(query)
            dot = dot / np.where(lengths > 0, lengths, 1)  # a vector of zeros is similar to nothing: 0
        similarities: Floats = dot.astype(np.float64)
        return similarities

    @cached_property
    def _vectors(self) -> Vectors:
        return self.store.vectors
