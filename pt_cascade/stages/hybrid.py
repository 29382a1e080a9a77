"""A hybrid first stage: the results of several retrievers, fused into one ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.fusion.fuse import Fusion, K
from pt_cascade.cascade.calls import call
from pt_cascade.cascade.columns import explain_columns
from pt_cascade.errors import FrameError, PipelineError
from pt_cascade.frames import check_topics
from pt_cascade.numbers import is_several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.fusion.fuse import Method, Missing
    from pt_cascade.analysis.fusion.normalization import Normalise


def hybrid(
    *retrievers: pt.Transformer,
    method: Method = "rrf",
    weights: Sequence[float] | None = None,
    k: float = K,
    normalise: Normalise = "min-max",
    missing: Missing = "worst",
    num_results: int | None = None,
) -> Hybrid:
    """Retrieve with several retrievers and fuse what they find, by reciprocal ranks or by a weighted sum of normalised scores.

    Each (qid, docno) that any of them finds comes out once; ``pt_cascade.fuse`` explains ``rrf``, weight / (k + rank) with ranks
    from 1, ``weighted``, ties and columns. The query of every row is that of the topics, also where a branch rewrites it.

    Given results instead of topics, it passes them to every retriever, so that branches can re-rank them. A score then depends
    on the whole list, so that such a stage cannot be replayed but may be the last one. A branch that only retrieves is refused. A
    hybrid over PISA cannot be pickled, as PISA's retriever cannot.

    Args:
        *retrievers: One or more, e.g. ``bm25``, ``rewriter >> bm25 % 1000``, a Cascade, or another hybrid; each runs once.
        method: ``rrf`` or ``weighted``.
        weights: One a retriever, 0 or more, not all 0; used as they are. None: 1 each.
        k: For ``rrf``: how much less the top ranks count, 0 or more.
        normalise: For ``weighted``, query by query: ``min-max``, ``z-score``, ``max``, ``sum``, ``rank`` or ``none``.
        missing: For ``weighted``, the score of a document that a retriever does not find: ``worst``, its lowest for that query,
            normalised, and less than that of a lone hit or of hits of equal scores; or ``zero``. A retriever that finds nothing for
            a query adds nothing to it.
        num_results: Documents a query at most, 1 or more; None: all that were found.

    Returns:
        A transformer: Frame[qid, query, ...] to Frame[qid, query, ..., docno, score, rank, ...], queries in the order of the
        topics, rows in rank order.

    Raises:
        PipelineError: An option is out of range, or a retriever is not a transformer.

    References:
        Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.
        Bruch, Gai & Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 42(1), 2023: the convex combination.

    Example:
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> one = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "score": [9.0, 5.0], "rank": [0, 1]})
        >>> two = pd.DataFrame({"qid": "1", "docno": ["b", "c"], "score": [-1.0, -2.0], "rank": [0, 1]})
        >>> both = hybrid(pt.Transformer.from_df(one), pt.Transformer.from_df(two))
        >>> (both % 2).transform(topics)["docno"].tolist()
        ['b', 'a']
    """
    return Hybrid(retrievers, method, weights, k, normalise, missing, num_results)


@dataclass(frozen=True)
class Hybrid(pt.Transformer):  # type: ignore[misc]
    """The stage that ``hybrid`` makes; where it re-ranks, scores depend on the list, and a branch may add or lose documents."""

    retrievers: Sequence[pt.Transformer]
    method: Method = "rrf"
    weights: Sequence[float] | None = None
    k: float = K
    normalise: Normalise = "min-max"
    missing: Missing = "worst"
    num_results: int | None = None

    depends: ClassVar[str] = "listwise"
    documents: ClassVar[str] = "any"
    stage_name: ClassVar[str] = "hybrid"
    schematic: ClassVar[dict[str, str | None]] = {"label": "Hybrid", "inner_pipelines_mode": "combine", "help_url": None}

    def __post_init__(self) -> None:
        """Refuse what cannot be fused, all problems at once; lists become tuples, which have a hash."""
        object.__setattr__(self, "retrievers", tuple(self.retrievers))
        object.__setattr__(
            self, "weights", tuple(self.weights) if self.weights is not None and is_several(self.weights) else self.weights
        )
        problems = [
            f"retriever {n} is {branch!r} ({type(branch).__name__}), expected a PyTerrier transformer"
            for n, branch in enumerate(self.retrievers, start=1)
            if not isinstance(branch, pt.Transformer)
        ]
        problems += self.fusion.find_problems(len(self.retrievers))
        if self.num_results is not None and not (type(self.num_results) is int and self.num_results > 0):
            problems.append(f"num_results is {self.num_results!r}, expected 1 or more, or None for all")
        if problems:
            raise PipelineError("hybrid cannot be made", problems, fix='hybrid(bm25, dense, method="rrf")')

    @property
    def fusion(self) -> Fusion:
        """The fusion of their rankings."""
        return Fusion(self.method, self.weights, self.k, self.normalise, self.missing)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Run every retriever on Frame[qid, query, ...] of topics, or [..., docno, ...] of results, and fuse.

        Returns:
            Frame[qid, query, ..., docno, score, rank, ...]; the columns of the topics stay.

        Raises:
            CascadeError: A retriever failed, returned a frame that cannot be used, or cannot re-rank results; the message names it.
        """
        with explain_columns(self.stage_name, inp):
            pt.validate.columns(inp, includes=["qid"], context=self)
        topics = check_topics(_topics(inp))
        self._check_takers(inp)
        runs = {f"retriever {n}, {branch!r:.60}": self._ask(branch, inp) for n, branch in enumerate(self.retrievers, start=1)}
        fused = self.fusion.apply(runs, topics)
        return fused if self.num_results is None else fused[fused["rank"] < self.num_results].reset_index(drop=True)

    def transform_inputs(self) -> list[list[str]]:
        """List the sets of columns that are enough for all retrievers, for PyTerrier's inspection."""
        enough: list[list[str]] = [[]]
        for branch in self.retrievers:
            wanted = pt.inspect.transformer_inputs(branch)
            both = (list(dict.fromkeys([*some, *more])) for some in enough for more in wanted)
            enough = list({frozenset(columns): columns for columns in both}.values())
        return enough

    def _check_takers(self, inp: pd.DataFrame) -> None:
        """Refuse results where a branch can only retrieve: it takes a frame of 0 topics, but not one of 0 results."""
        if "docno" not in inp:
            return
        found, topics = inp.iloc[:0], _topics(inp.iloc[:0])
        unable = [branch for branch in self.retrievers if not _takes(branch, found) and _takes(branch, topics)]
        if unable:
            problems = [f"it passes its documents to each retriever, and {branch!r:.60} takes topics only" for branch in unable]
            fix = "hybrid(bm25, dense) % 20 >> ..., as the first stage"
            raise PipelineError("stage 'hybrid' cannot re-rank", problems, fix=fix)

    def _ask(self, branch: pt.Transformer, inp: pd.DataFrame) -> pd.DataFrame:
        """Run a retriever on a copy of the frame; of no rows, only its columns are found."""
        if len(inp):
            return call(branch, inp.copy(deep=False), self.stage_name)
        return pd.DataFrame(columns=pt.inspect.transformer_outputs(branch, list(inp.columns)))


def _takes(branch: pt.Transformer, nothing: pd.DataFrame) -> bool:
    try:
        branch.transform(nothing.copy())
    except (pt.validate.InputValidationError, FrameError, PipelineError):
        return False
    except Exception:  # noqa: BLE001 - many transformers fail on no rows, which says nothing
        return True
    return True


def _topics(inp: pd.DataFrame) -> pd.DataFrame:
    """Take the columns of the query from results."""
    if "docno" not in inp:
        return inp
    of_query = [name for name in inp if name == "qid" or str(name).startswith("query")]
    return inp[of_query].drop_duplicates("qid")
