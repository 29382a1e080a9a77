"""Toy transformers and a fake clock: what a cascade meets, small enough to reason about."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import pyterrier as pt

if TYPE_CHECKING:
    from collections.abc import Callable


def toss(*parts: object, sides: int) -> int:
    """A number below ``sides`` that depends on nothing but the parts."""
    return zlib.crc32("|".join(map(str, parts)).encode()) % sides


@dataclass(frozen=True)
class ToyRetriever(pt.Transformer):
    """Retrieves up to ``docs`` documents with heavily tied scores; some queries find nothing."""

    docs: int = 20
    levels: int = 3
    seed: int = 0
    documents = "retrieves"
    depends = "pointwise"
    stage_name = "toy"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank by a hash of query and document."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        rows = [
            (query.qid, query.query, f"d{doc}", float(toss(self.seed, query.query, doc, sides=self.levels)))
            for query in inp.itertuples()
            for doc in range(self.docs if query.query != "nothing" else 0)
            if toss("found", self.seed, query.query, doc, sides=4)
        ]
        found = pd.DataFrame(rows, columns=["qid", "query", "docno", "score"]).astype({"score": float})
        return pt.model.add_ranks(found)


@dataclass(frozen=True)
class ToyReranker(pt.Transformer):
    """Scores pairs by a hash with few values; keeps its input's row order, or sorts by score as some plugins do."""

    levels: int = 3
    seed: int = 1
    sort: bool = False
    documents = "reranks"
    depends = "pointwise"
    stage_name = "toy_reranker"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Re-rank by a hash of query and document."""
        pt.validate.result_frame(inp, extra_columns=["query"], context=self)
        score = [float(toss(self.seed, row.query, row.docno, sides=self.levels)) for row in inp.itertuples()]
        out = pt.model.add_ranks(inp.assign(score=score).astype({"score": float}))
        return out.sort_values(["qid", "rank"]).reset_index(drop=True) if self.sort else out


@dataclass(frozen=True)
class Counting(pt.Transformer):
    """A re-ranker that remembers every pair it was asked for."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    documents = "reranks"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by length of the docno."""
        pt.validate.result_frame(inp, context=self)
        self.asked.extend(zip(inp["qid"], inp["docno"], strict=True))
        return pt.model.add_ranks(inp.assign(score=inp["docno"].str.len().astype(float)))


@dataclass(frozen=True)
class Broken(pt.Transformer):
    """A re-ranker whose output a function spoils."""

    spoil: Callable[[pd.DataFrame], object]
    documents = "reranks"
    stage_name = "broken"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by 1, then spoil."""
        pt.validate.result_frame(inp, context=self)
        good = pt.model.add_ranks(inp.assign(score=1.0))
        return self.spoil(good) if len(inp) else good


class FakeClock:
    """A clock that goes on by one second each time it is read."""

    def __init__(self) -> None:
        """Start at 0."""
        self.now = 0.0

    def __call__(self) -> float:
        """Read it."""
        self.now += 1.0
        return self.now


def topics(n: int) -> pd.DataFrame:
    """Make n topics."""
    return pd.DataFrame({"qid": [f"q{i}" for i in range(n)], "query": [f"query {i}" for i in range(n)]})
