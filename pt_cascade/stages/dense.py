"""Dense retrieval as the first stage: exact nearest neighbours by stored vectors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
from more_itertools import chunked

from pt_cascade.cascade.columns import explain_columns
from pt_cascade.errors import FrameError, PipelineError, StageError
from pt_cascade.frames import canonical_topics
from pt_cascade.progress import show_progress
from pt_cascade.stages.base.identity import check_files, identify
from pt_cascade.stages.vectors.exact_search import open_searcher
from pt_cascade.stages.vectors.query_encoder import DualEncoder, query_encoder
from pt_cascade.stages.vectors.similarity import check_similarity, find_unusable
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    import os

    from pyterrier_dr import FlexIndex

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.base.identity import Identity
    from pt_cascade.stages.vectors.exact_search import Searcher
    from pt_cascade.stages.vectors.query_encoder import AnyEncoder, Model
    from pt_cascade.stages.vectors.similarity import Similarity
    from pt_cascade.stages.vectors.store import VectorStore

_AT_ONCE = 64


def dense(
    vectors: str | os.PathLike[str] | FlexIndex,
    *,
    model: Model | None = None,
    num_results: int = 1000,
    similarity: Similarity = "dot",
    prompt: str | None = None,
    device: str | None = None,
    verbose: bool = False,
) -> Dense:
    """Retrieve the documents whose stored vectors are most similar to the query's, exactly.

    The results of a query do not depend on the other queries, not in a bit, and the scores are those of ``bi_encoder`` on the same
    vectors. Documents with equal scores are ranked in the order in which they were stored.

    Args:
        vectors: A folder made by ``build_vectors``, or any FlexIndex, which needs ``model``.
        model: The encoder of the queries: a name on the hub, a local folder, or a ``pyterrier_dr.BiEncoder``; None: the model that
            encoded the documents. Another model than that is an error.
        num_results: Documents a query, at least 1; all where there are fewer. A later cut-off cannot ask for more.
        similarity: ``dot`` or ``cos``; the same for models whose vectors have length 1. The ``sim_fn`` of a FlexIndex is not read.
        prompt: Text before each query, e.g. ``"query: "``; None: the model's own prompt for queries, if it has one.
        device: Where queries are encoded, unless by a ``pyterrier_dr.BiEncoder``, and where vectors are searched: a GPU keeps them
            all, 4 bytes x documents x dimension. None: cuda where there is one.
        verbose: Show a progress bar, one tick a query.

    Returns:
        A transformer: Frame[qid, query, ...] to Frame[qid, query, ..., docno, score, rank], rows in rank order.

    Raises:
        MissingError: The folder is not there.
        PipelineError: The model is unknown, or another than made the vectors, or an argument is not as above.

    Example:
        >>> import tempfile
        >>> import pt_cascade as ptc
        >>> from pt_cascade.stages.vectors.build_vectors import build_vectors
        >>> docs = [{"docno": "d1", "text": "a lion sleeps"}, {"docno": "d2", "text": "sorting numbers"}]
        >>> vectors = build_vectors(docs, ptc.default_model(), tempfile.mkdtemp() + "/v")
        >>> dense(vectors).search("order digits")["docno"].tolist()
        ['d2', 'd1']
    """
    if type(num_results) is not int or num_results < 1:
        raise PipelineError("dense cannot be made", [f"num_results is {num_results!r}, expected a whole number, 1 or more"])
    check_similarity(similarity)
    store = open_vectors(vectors)
    encoder = query_encoder(store, model, "dense", device=None if isinstance(model, DualEncoder) else device, prompt=prompt)
    return Dense(store, encoder, num_results, similarity, device, verbose)


@dataclass(frozen=True)
class Dense(pt.Transformer):  # type: ignore[misc]
    """Exact retrieval over stored vectors; made by ``dense``, which explains its fields."""

    schematic: ClassVar[dict[str, str | None]] = {"label": "Dense", "help_url": None}
    depends: ClassVar[str] = "pointwise"
    documents: ClassVar[str] = "any"
    stage_name: ClassVar[str] = "dense"

    store: VectorStore
    encoder: AnyEncoder
    num_results: int = 1000
    similarity: Similarity = "dot"
    device: str | None = None
    verbose: bool = False

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve for Frame[qid, query, ...], each qid once; queries stay in their order, rows are in rank order."""
        if "docno" in inp:
            problem = "its input has a column docno, expected topics: dense retrieves, it does not re-rank"
            raise FrameError(
                "dense cannot take documents", [problem], fix="bi_encoder(vectors), or inp[['qid', 'query']].drop_duplicates()"
            )
        with explain_columns(self.stage_name, inp):
            pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        topics = canonical_topics(inp)
        check_files(self)
        found = self._search(topics["query"].tolist()) if len(topics) else []
        counts = [len(rows) for rows, _ in found]
        results = topics.iloc[np.repeat(np.arange(len(topics)), counts)].reset_index(drop=True)
        docnos = [docno for rows, _ in found for docno in self.store.docnos[rows]]
        scores = np.concatenate([np.empty(0), *(scores for _, scores in found)])
        places = np.concatenate([np.empty(0, np.int64), *map(np.arange, counts)])
        return results.assign(docno=pd.Series(docnos, dtype=str), score=scores, rank=places)

    def fuse_rank_cutoff(self, k: int) -> Dense | None:
        """Retrieve only k documents: the same as the first k without a cut-off, ties included."""
        return replace(self, num_results=k) if 1 <= k < self.num_results else None

    def _search(self, queries: list[str]) -> list[tuple[Ints, Floats]]:
        """Return rows and scores for each query; each text is encoded and searched once."""
        code, texts = pd.factorize(np.array(queries, object))
        found: list[tuple[Ints, Floats]] = []
        with show_progress("dense", "query", len(texts), shown=self.verbose) as bar:
            for some in chunked(texts.tolist(), _AT_ONCE):
                vectors = self.encoder.queries(some)
                for vector in vectors:
                    self.store.check_query(vector, self.encoder.model, self.stage_name)
                found += self._searcher.search(vectors, self.num_results)
                bar.update(len(some))
        return [found[n] for n in code]

    @cached_property
    def _searcher(self) -> Searcher:
        searcher = open_searcher(self.store.vectors, self.similarity, self.device)
        if problem := find_unusable(searcher.lengths, self.store.docnos):
            raise StageError(f"{self.store.path} holds a vector that cannot be compared", [problem], fix=self.store.rebuild)
        return searcher

    def identify(self) -> Identity:
        """Return all that its results depend on beside the query, see ``identity.identify``."""
        return identify(self)

    def __getstate__(self) -> dict[str, object]:
        """Pickle the arguments only: a copy loads its own model."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
