"""A cut-off for each query, as a PyTerrier transformer in the place of ``% k``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.pruning.rules import Rule
from pt_cascade.errors import FrameError, PipelineError

if TYPE_CHECKING:
    from pt_cascade.ranking import Ints

CAP = "max_docs"


def prune(rule: Rule) -> pt.Transformer:
    """Cut each query's ranking where a rule says, in the place of ``% k``.

    A column ``max_docs`` of the topics, where there is one, caps single queries: whole numbers from 1, or NaN for no cap. It counts
    more than the rule's floor, and is not replayed from a score table.

    Args:
        rule: ``Margin``, ``Threshold``, ``Probability``, ``Mass`` or ``Gate`` of ``pt_cascade.analysis.pruning``.

    Returns:
        A transformer from Frame[qid, docno, score, rank, ...] to its first documents of each query; ``Cascade.of`` reads it as a
        cut-off at the rule's ceiling.

    Raises:
        PipelineError: This is not a rule.

    Example:
        >>> import pandas as pd, pyterrier as pt, pt_cascade as ptc
        >>> from pt_cascade.analysis.pruning import Margin
        >>> run = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b", "c"], "score": [2.0, 1.9, 1.0], "rank": [0, 1, 2]})
        >>> pipeline = pt.Transformer.from_df(run) >> ptc.prune(Margin(0.2, ceiling=100)) >> pt.apply.doc_score(len) % 20
        >>> pipeline.search("q", qid="1")["docno"].tolist(), ptc.Cascade.of(pipeline)
        (['a', 'b'], run → 100 (margin 0.2) · doc_score → 20)
    """
    given: object = rule  # types are hints
    if not isinstance(given, Rule):
        problem = f"{rule!r} ({type(rule).__name__}) is not a rule"
        raise PipelineError("this cannot prune", [problem], fix="prune(Margin(0.2, floor=5, ceiling=100))")
    return Prune(rule)


@dataclass(frozen=True)
class Prune(pt.Transformer):  # type: ignore[misc]
    """Cuts each query's ranking where a rule says; see ``prune``."""

    rule: Rule

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Keep the first documents of each query."""
        pt.validate.result_frame(inp, extra_columns=["score", "rank"], context=self)
        query, score = pd.factorize(inp["qid"])[0], inp["score"].to_numpy(np.float64)
        if np.isnan(score).any():
            row = inp[np.isnan(score)].iloc[0]
            problem = f"qid {row['qid']!r}, docno {row['docno']!r} has no score"
            raise FrameError("this ranking cannot be pruned", [problem], fix="give every row a finite score, e.g. 0.0")
        by_rank = np.lexsort((inp["rank"].to_numpy(), query))
        offsets = np.r_[0, np.cumsum(np.bincount(query))].astype(np.int64)
        place = np.empty(len(inp), np.int64)  # a filter before may have left gaps between ranks
        place[by_rank] = np.arange(len(inp)) - offsets[query[by_rank]]
        limit = self.rule.count(score[by_rank], offsets)[query]
        if CAP in inp:
            limit = np.minimum(limit, _read_caps(inp))
        return inp[place < limit].reset_index(drop=True)

    def schematic(self, *, input_columns: list[str] | None = None) -> dict[str, str]:  # noqa: ARG002 - as PyTerrier calls it
        """Return the schematic of a cut-off."""
        return {"label": f"% {self.rule}"}

    def __repr__(self) -> str:
        return f"prune({self.rule!r})"


def _read_caps(inp: pd.DataFrame) -> Ints:
    """Return the most documents of each row's query; refuse what is no number of documents."""
    cap = pd.to_numeric(inp[CAP], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = (inp[CAP].notna() & np.isnan(cap)).to_numpy() | (cap < 1) | (cap != np.floor(cap)) & ~np.isnan(cap)
    if bad.any():
        row = inp[bad].iloc[0]
        problem = f"qid {row['qid']!r} has {row[CAP]!r}, expected a whole number, 1 or more, or NaN"
        raise FrameError(f"column {CAP} caps no query", [problem], fix=f'topics["{CAP}"] = 100')
    return np.where(np.isnan(cap), NO_CUT, np.minimum(cap, NO_CUT)).astype(np.int64)
