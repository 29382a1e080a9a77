"""A re-ranker that fails on some queries and remembers its calls, and a clock that its work moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toys.rankers import ToyReranker

if TYPE_CHECKING:
    import pandas as pd

TICK_MS = 1000 / 1024


@dataclass(frozen=True)
class Fragile(ToyReranker):
    """Re-ranks as ToyReranker does, and raises an error on some queries."""

    fails: frozenset[str] = frozenset()
    error: BaseException = field(default_factory=lambda: ConnectionError("no answer"), compare=False)
    batch_size: int = 4
    most: int = 1_000_000  # failures
    _calls: list[list[str]] = field(default_factory=list, init=False, compare=False, repr=False)
    stage_name = "fragile"

    @property
    def calls(self) -> list[list[str]]:
        """The qids of the rows of each call."""
        return self._calls

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Fail, or re-rank."""
        self._calls.extend([inp["qid"].tolist()] if len(inp) else [])  # inspection gives it no rows
        if self.fails & set(inp["qid"]) and sum(not self.fails.isdisjoint(qids) for qids in self._calls) <= self.most:
            raise self.error
        return super().transform(inp)


@dataclass(frozen=True)
class WorkClock:
    """A clock that moves by a tick for each row that a stage was given; ticks are exact in binary."""

    stage: Fragile

    def __call__(self) -> float:
        """Read it, in seconds."""
        return sum(map(len, self.stage.calls)) * TICK_MS / 1000
