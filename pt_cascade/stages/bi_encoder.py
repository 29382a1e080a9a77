"""Re-ranking by the similarity of a query's vector and stored document vectors: microseconds a pair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from pt_cascade.errors import naming
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.vectors.query_encoder import query_encoder
from pt_cascade.stages.vectors.similarity import check_similarity, similarities
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    import os

    from pyterrier_dr import FlexIndex

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.vectors.query_encoder import AnyEncoder, Model
    from pt_cascade.stages.vectors.similarity import Similarity, Vectors
    from pt_cascade.stages.vectors.store import VectorStore


def bi_encoder(
    vectors: str | os.PathLike[str] | FlexIndex,
    *,
    model: Model | None = None,
    similarity: Similarity = "dot",
    prompt: str | None = None,
    device: str | None = None,
) -> BiEncoder:
    """Re-rank by the dot product or cosine of the query's vector and each document's stored vector.

    Queries are encoded one by one and every pair is summed in the same order: not a bit of a score depends on the other rows.

    Args:
        vectors: A folder made by ``build_vectors``, or any FlexIndex, which needs ``model``.
        model: The encoder of the queries: a name on the hub, a local folder, or a ``pyterrier_dr.BiEncoder``; None: the model that
            encoded the documents. Another model than that is an error.
        similarity: ``dot`` or ``cos``; the same for models whose vectors have length 1.
        prompt: Text before each query, e.g. ``"query: "``; None: the model's own prompt for queries, if it has one.
        device: Where queries are encoded; None: cuda where there is one.

    Returns:
        A transformer: Frame[qid, query, docno, ...] to the same rows with score and rank.

    Raises:
        MissingError: The folder is not there.
        PipelineError: The model is unknown, or another than made the vectors, or the similarity is neither.

    Example:
        >>> import tempfile
        >>> import pandas as pd, pt_cascade as ptc
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = ptc.stages.build_vectors(docs, ptc.default_model(), tempfile.mkdtemp() + "/v")
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "order digits", "docno": ["d1", "d2"]})
        >>> bi_encoder(vectors).transform(found)["rank"].tolist()
        [1, 0]
    """
    with naming(BiEncoder.stage_name):
        check_similarity(similarity)
        store = open_vectors(vectors)
        return BiEncoder(store, query_encoder(store, model, "bi_encoder", device=device, prompt=prompt), similarity)


@dataclass(frozen=True)
class BiEncoder(Reranker):
    """Similarity of stored vectors; made by ``bi_encoder``, which explains its fields."""

    schematic: ClassVar[dict[str, str | None]] = {"label": "Bi-encoder", "help_url": None}
    stage_name: ClassVar[str] = "bi_encoder"

    store: VectorStore
    encoder: AnyEncoder
    similarity: Similarity = "dot"

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        return ["query"]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each of n >= 1 rows; return shape (n,)."""
        rows = self.store.rows(results["docno"], self.stage_name)
        code, queries = pd.factorize(results["query"])
        query_vectors = self.encoder.queries([str(query) for query in queries])
        score = np.empty(len(rows))
        for n, vector in enumerate(query_vectors):
            self.store.check_query(vector, self.encoder.model, self.stage_name)
            mine = np.flatnonzero(code == n)
            score[mine] = similarities(np.asarray(self._vectors[rows[mine]]), vector, self.similarity)
        return score

    @cached_property
    def _vectors(self) -> Vectors:
        return self.store.vectors
