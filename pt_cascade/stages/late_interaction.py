"""Re-ranking by MaxSim over token vectors, stored or encoded on the fly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from pt_cascade.errors import PipelineError
from pt_cascade.progress import show_progress
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.base.threads import one_thread
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.query_encoder import known_model
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.vectors.similarity import Vectors
    from pt_cascade.stages.vectors.store import Halves, VectorStore


def late_interaction(
    model: str | os.PathLike[str] | None = None,
    *,
    vectors: str | os.PathLike[str] | None = None,
    text_field: str = "text",
    max_length: int | None = None,
    device: str | None = None,
    batch_size: int = 32,
    verbose: bool = False,
) -> LateInteraction:
    """Re-rank by MaxSim: for each query token the best cosine among the document's tokens, summed over the query's tokens.

    It works untrained on the token vectors of any sentence-transformers encoder, and with ColBERT, PyLate and multi-vector models
    as they were trained. With stored token vectors a pair costs a small matrix product; without, the document is encoded.

    Args:
        model: A name on the hub or a local folder; None: the model that made ``vectors``.
        vectors: A folder made by ``build_vectors(..., tokens=True)``; None: encode the text of each row.
        text_field: The column of the documents' text, where it is encoded.
        max_length: Tokens that are read of a text that is encoded; None: the model's own limit. Stored vectors keep theirs.
        device: Where to encode; None: cuda where there is one.
        batch_size: Documents encoded at once.
        verbose: Show a progress bar.

    Returns:
        A transformer: Frame[qid, query, docno, ...] to the same rows with score and rank.

    Raises:
        MissingError: The folder is not there.
        PipelineError: The model is unknown, or the vectors were made by a bi-encoder of pyterrier_dr, which has no tokens.

    References:
        Khattab & Zaharia, "ColBERT", SIGIR 2020, equation 3.

    Example:
        >>> import pt_cascade as ptc
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "order digits", "docno": ["d1", "d2"]})
        >>> texts = found.assign(text=["a lion sleeps", "sorting numbers"])
        >>> late_interaction(ptc.default_model()).transform(texts)["rank"].tolist()
        [1, 0]
    """
    store = None if vectors is None else open_vectors(vectors)
    if store is None and model is None:
        fix = "late_interaction(ptc.default_model()), or late_interaction(vectors=folder)"
        raise PipelineError("late_interaction cannot be made", ["neither model nor vectors was given"], fix=fix)
    known = known_model(store, model, "late_interaction") if store else str(model)
    encoder = Encoder(known, device, max_length, batch_size, provenance=store.provenance if store else None)
    return LateInteraction(encoder, store, text_field, verbose)


@dataclass(frozen=True)
class LateInteraction(Reranker):
    """MaxSim over token vectors; made by ``late_interaction``, which explains its fields."""

    schematic: ClassVar[dict[str, str | None]] = {"label": "Late interaction", "help_url": None}
    stage_name: ClassVar[str] = "late_interaction"

    encoder: Encoder
    store: VectorStore | None = None
    text_field: str = "text"
    verbose: bool = False

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        return ["query"] if self.store else ["query", self.text_field]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each of n >= 1 rows; return shape (n,), each from minus to plus the number of the query's tokens."""
        code, queries = pd.factorize(results["query"])
        score = np.empty(len(results))
        with show_progress(self.stage_name, "doc", len(results), shown=self.verbose) as bar:
            for n, query in enumerate(queries):
                mine = np.flatnonzero(code == n)
                tokens = self.encoder.query_tokens(str(query))
                score[mine] = max_sim(tokens, self._documents(results.iloc[mine]))
                bar.update(len(mine))
        return score

    def _documents(self, results: pd.DataFrame) -> Sequence[Vectors | Halves]:
        if self.store is None:
            return self.encoder.document_tokens(results[self.text_field].tolist())
        tokens, starts = self.store.tokens
        rows = self.store.rows(results["docno"], self.stage_name)
        return [tokens[starts[row] : starts[row + 1]] for row in rows]


def max_sim(query: Vectors, documents: Sequence[Vectors | Halves]) -> Floats:
    """Sum, over a query's tokens (m, dimension), the best dot product with a token of each document (tokens, dimension).

    Each document has a matrix product of its own, so that not a bit of its score depends on the others.

    Example:
        >>> eye = np.eye(2, dtype=np.float32)
        >>> max_sim(eye, [eye, eye[:1]]).tolist()
        [2.0, 1.0]
    """
    import torch  # noqa: PLC0415 - heavy; numpy's own matrix product would leave its threads spinning beside torch's

    ends = np.cumsum([len(document) for document in documents])
    tokens = torch.from_numpy(np.concatenate(documents)).float()
    towards = torch.from_numpy(query).T
    similarity = torch.empty(len(tokens), len(query))
    with one_thread():
        for start, end in pairwise([0, *ends.tolist()]):
            torch.mm(tokens[start:end], towards, out=similarity[start:end])
    best = np.maximum.reduceat(similarity.numpy(), [0, *ends[:-1]], axis=0)
    scores: Floats = best.sum(axis=1, dtype=np.float64)
    return scores
