"""Pairwise toys for score tables: what they say of two documents is a hash with few values, so that their scores tie heavily."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
from judges import Judge
from tabling import tabulate
from toys import toss

from pt_cascade.analysis.duels import Duels
from pt_cascade.analysis.tables import Column, Path, ScoreTable
from pt_cascade.analysis.tie_rules import TieRule
from pt_cascade.stages.pairwise import PairReranker, list_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.ranking import Floats, Ints


class Asked:
    """What a duellist was asked to compare, and the query at which it fails; all private, as settings of a stage are hashed."""

    def __init__(self) -> None:
        """Begin empty."""
        self._calls: list[list[tuple[str, str, str]]] = []
        self._live = 0
        self._trap = ""

    @property
    def calls(self) -> list[list[tuple[str, str, str]]]:
        """The (qid, first docno, second docno) of each call."""
        return self._calls

    @property
    def live(self) -> int:
        """How often it compared to rank a frame."""
        return self._live

    @property
    def duels(self) -> list[tuple[str, str, str]]:
        """All (qid, first docno, second docno) of all calls, in order."""
        return [duel for call in self.calls for duel in call]

    def fail_on(self, qid: str) -> None:
        """Fail once, when asked about documents of this query."""
        self._trap = qid

    def take_back(self, calls: int) -> None:
        """Count what came after so many calls as the stage's own, made to rank a frame."""
        self._live += sum(map(len, self.calls[calls:]))
        del self.calls[calls:]

    def note(self, duels: list[tuple[str, str, str]]) -> None:
        """Write a call down, or fail."""
        if self._trap in {qid for qid, _, _ in duels}:
            self._trap = ""
            raise RuntimeError("out of memory")
        self.calls.append(duels)


@dataclass(frozen=True)
class Duellist(PairReranker):
    """Compares by a hash with few values; ``rows`` and ``ties`` as in ``analysis.tables.Column``."""

    aggregation: str = "sym-sum"
    seed: int = 1
    levels: int = 3
    rows: str = "given"
    ties: str = "given"
    log: Asked = field(default_factory=Asked, compare=False)

    stage_name: ClassVar[str] = "duellist"

    def needs(self) -> list[str]:
        """It reads the query only."""
        return ["query"]

    def judge(self, query: str, one: str, other: str) -> float:
        """Say how sure it is that one document beats another."""
        return toss(self.seed, query, one, other, sides=self.levels) / max(self.levels - 1, 1)

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Compare by hash."""
        qid, query, docno = (results[name].tolist() for name in ("qid", "query", "docno"))
        self.log.note([(qid[i], docno[i], docno[j]) for i, j in zip(first, second, strict=True)])
        return np.array([self.judge(query[i], docno[i], docno[j]) for i, j in zip(first, second, strict=True)], np.float64)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank; as told, keep the rows or sort them, break ties by row or by rank."""
        calls = len(self.log.calls)
        ranked = super().transform(inp)
        self.log.take_back(calls)
        if self.ties == "rank" and len(inp):
            ranked = pt.model.add_ranks(ranked.assign(rank=inp["rank"]).sort_values(["qid", "rank"])).loc[inp.index]
        return ranked.sort_values(["qid", "rank"]).reset_index(drop=True) if self.rows == "rank" else ranked


class FineDuellist(Duellist):
    """Probabilities that float64 tells apart and float32 does not."""

    stage_name: ClassVar[str] = "fine_duellist"

    def judge(self, query: str, one: str, other: str) -> float:
        """Compare."""
        return super().judge(query, one, other) * 0.5 + 1e-9 * toss("fine", self.seed, query, one, other, sides=3)


def tabulate_duels(retriever: pt.Transformer, judges: Sequence[Judge], last: Duellist, asked: pd.DataFrame) -> ScoreTable:
    """Make the table of a chain with a pairwise last stage, in which every stage was asked about all that the first one found."""
    table = tabulate(retriever, judges, asked)
    pairs = table.frame[["qid", "docno"]].merge(asked, on="qid")
    first, second = list_pairs(pairs["qid"])
    duels = Duels.gather(last.aggregation, first, second, last.compare(pairs, first, second))
    path = Path((*table.stages, "duo"), (None,) * (len(table.stages) + 1), (None,) * len(table.stages))
    column = Column("duo", TieRule(last.rows, last.ties))
    return replace(table, columns=(*table.columns, column), paths=(path,), duels={"duo": duels})
