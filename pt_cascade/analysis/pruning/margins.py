"""Rules that compare the scores of a list with one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.pruning.rules import Rule, at_rank
from pt_cascade.numbers import is_whole

if TYPE_CHECKING:
    from pt_cascade.analysis.pruning.rules import Flags
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True)
class Margin(Rule):
    """Keeps the documents whose score is at most ``tau`` below that of the best, or of that at rank ``to``; more loosens.

    Attributes:
        tau: 0 or more; in the units of the scores, or as a share of their range.
        to: The rank, from 1, of the document that the others are compared with; in a shorter list it is the last.
        relative: Whether tau is a share of the range of the list's scores, from the best to the last one down to the ceiling: for
            scores whose scale differs from query to query, such as those of BM25.

    Example:
        >>> scores = np.array([0.9, 0.8, 0.6, 0.1])
        >>> [Margin(0.25, to=rank).count(scores, np.array([0, 4])).tolist() for rank in (1, 2)]
        [[2], [3]]
        >>> Margin(0.5, relative=True).count(np.array([30.0, 21.0, 12.0, 10.0]), np.array([0, 4])).tolist()
        [2]
    """

    tau: float
    to: int = 1
    relative: bool = False

    word = "margin"
    key = "tau"
    limits = (0.0, np.inf)
    fix = "Margin(0.2, floor=5, ceiling=100)"

    def _pass(self, score: Floats, of: Ints, starts: Ints, heads: Ints) -> Flags:
        unit = (
            at_rank(score, starts, heads, 1) - at_rank(score, starts, heads, len(score)) if self.relative else np.ones(len(heads))
        )
        return (at_rank(score, starts, heads, self.to)[of] - score) <= (self.tau * unit)[of]

    def _find_problems(self) -> list[str]:
        problems = super()._find_problems() + ([] if is_whole(self.to, least=1) else [f"to is {self.to!r}, expected a rank from 1"])
        return problems + ([] if isinstance(self.relative, bool) else [f"relative is {self.relative!r}, expected True or False"])

    def __str__(self) -> str:
        return super().__str__() + " of the range" * self.relative + (f" to rank {self.to}" if self.to > 1 else "")


@dataclass(frozen=True)
class Gate(Rule):
    """Keeps ``floor`` documents where the best is at least ``margin`` above the one at rank ``to``, else up to the ceiling.

    With a floor of 1 the next stage has nothing to reorder; with ``tail="keep"`` the others follow in their old order. A larger
    margin loosens.

    Attributes:
        margin: In the units of the scores, 0 or more.
        to: The rank, from 2, of the document that the best is compared with; where the list is not so long, the gate is shut.

    Example:
        >>> Gate(0.3, ceiling=3).count(np.array([0.9, 0.5, 0.1, 0.9, 0.8, 0.1]), np.array([0, 3, 6])).tolist()
        [1, 3]
    """

    margin: float
    to: int = 2

    word = "gate"
    key = "margin"
    limits = (0.0, np.inf)
    fix = "Gate(0.3, floor=1, ceiling=100)"

    def _pass(self, score: Floats, of: Ints, starts: Ints, heads: Ints) -> Flags:
        gap = at_rank(score, starts, heads, 1) - at_rank(score, starts, heads, self.to)
        return ((gap < self.margin) & (heads >= self.to))[of]

    def _find_problems(self) -> list[str]:
        return super()._find_problems() + ([] if is_whole(self.to, least=2) else [f"to is {self.to!r}, expected a rank from 2"])
