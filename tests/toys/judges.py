"""Re-ranking toys for score tables: they order rows and ties as prescribed, record the scored pairs, and may crash."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cache

import pandas as pd
import pyterrier as pt

from toys.rankers import toss


class Log:
    """What a judge was asked, call by call, and the call at which it fails."""

    def __init__(self, fail_at: int = 0, error: BaseException | None = None) -> None:
        """Begin empty; ``fail_at`` 0 never fails."""
        self._calls: list[list[tuple[str, str]]] = []
        self._last = fail_at
        self._problem = error or RuntimeError("out of memory")

    @property
    def calls(self) -> list[list[tuple[str, str]]]:
        """The (qid, docno) pairs of each call, in row order."""
        return self._calls

    def fail_at(self, call: int) -> None:
        """Fail at this call, counted from the next as 1."""
        self._last = len(self._calls) + call

    @property
    def asked(self) -> list[tuple[str, str]]:
        """All of them."""
        return [pair for call in self._calls for pair in call]

    def note(self, pairs: list[tuple[str, str]]) -> None:
        """Write a call down, or fail."""
        if len(self._calls) + 1 == self._last:
            self._last = 0
            raise self._problem
        self._calls.append(pairs)


@dataclass(frozen=True)
class Judge(pt.Transformer):
    """Scores pairs by a hash with few values; ``rows`` and ``ties`` as in ``analysis.table.tie_rules.TieRule``."""

    seed: int = 1
    levels: int = 3
    rows: str = "given"
    ties: str = "given"
    log: Log = field(default_factory=Log, compare=False)
    documents = "reranks"
    depends = "pointwise"
    stage_name = "judge"

    def judge(self, query: str, docno: str) -> float:
        """Score a pair."""
        return float(toss(self.seed, query, docno, sides=self.levels))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score the rows."""
        pt.validate.result_frame(inp, extra_columns=["query"], context=self)
        if len(inp):
            self.log.note(list(zip(inp["qid"], inp["docno"], strict=True)))
        score = [self.judge(row.query, row.docno) for row in inp.itertuples()]
        out = inp.reset_index(drop=True).assign(score=score).astype({"score": float})
        out = out.assign(docid=out["docno"].map(number)) if "docid" in (self.rows, self.ties) else out
        ranked = pt.model.add_ranks(sort(out, self.ties)).sort_index()
        return ranked if self.rows == "given" else sort(ranked, self.rows).reset_index(drop=True)


def number(docno: str) -> int:
    """Give a document a docid that is in no other order."""
    return zlib.crc32(docno.encode())


def sort(frame: pd.DataFrame, order: str) -> pd.DataFrame:
    """Sort the rows of each query as PyTerrier's own transformers do."""
    if order == "given":
        return frame
    return frame.sort_values(["qid", order.split(maxsplit=1)[0]], ascending=[True, "descending" not in order], kind="stable")


@cache
def _retrieve(retriever: pt.Transformer, query: str) -> tuple[list[str], list[str]]:
    """What a retriever finds for a query, in row order and in rank order."""
    found = retriever.transform(pd.DataFrame({"qid": ["q"], "query": [query]}))
    return found["docno"].tolist(), found.sort_values("rank")["docno"].tolist()


def simulate(
    retriever: pt.Transformer, judges: list[Judge], query: str, cutoffs: tuple[int | None, ...]
) -> list[tuple[list[str], list[str]]]:
    """Work a cascade out by hand for one query: after each stage the documents kept, in row order and in rank order."""
    rows, ranked = _retrieve(retriever, query)
    steps = []
    for n, k in enumerate(cutoffs):
        if n:
            judge = judges[n - 1]
            orders = {
                "given": lambda docs: docs,
                "docno": sorted,
                "docno descending": lambda docs: sorted(docs, reverse=True),
                "docid": lambda docs: sorted(docs, key=number),
            }
            given = ranked if judge.ties == "rank" else orders[judge.ties](rows)
            ranked = sorted(given, key=lambda doc, judge=judge: -judge.judge(query, doc))
            rows = ranked if judge.rows == "rank" else orders[judge.rows](rows)
        ranked = ranked[:k]
        rows = [doc for doc in rows if doc in ranked]
        steps.append((rows, ranked))
    return steps
