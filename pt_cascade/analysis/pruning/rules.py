"""Rules that choose a cut-off for each query from the scores of its ranked list.

A rule reads only the first ``ceiling`` documents of a list, and keeps a number of them from ``floor`` to ``ceiling``: the first
ones. So a pruned ranking is the ranking at a cut-off that depends on the query.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.errors import PipelineError
from pt_cascade.numbers import is_number, is_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

    Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule(ABC):
    """What all rules have in common; use one of the others.

    Attributes:
        floor: The fewest documents kept of each query, as far as there are so many; 1 or more.
        ceiling: The most documents kept of each query, the floor or more; None: no limit.

    Raises:
        PipelineError: A field is out of range.
    """

    floor: int = field(default=1, kw_only=True)
    ceiling: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "rule"
    key: ClassVar[str] = "floor"  # the name of the rule's number
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)  # of the rule's number, both included
    fix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Refuse fields out of range, all at once."""
        if problems := self._find_problems():
            raise PipelineError(f"this {self.word} rule cannot prune", problems, fix=self.fix)

    @property
    def number(self) -> float:
        """The number that loosens or tightens the rule."""
        number: float = getattr(self, self.key)
        return number

    def count(self, score: Floats, offsets: Ints) -> Ints:
        """Choose the cut-off of each list.

        Args:
            score: Shape (documents,). List after list, each in descending order.
            offsets: Shape (lists + 1,). Where each list begins, and where the last one ends.

        Returns:
            Shape (lists,): how many documents are kept; 0 of an empty list.

        Raises:
            PipelineError: The scores are not of the kind that the rule reads.

        Example:
            >>> from pt_cascade.analysis.pruning import Margin
            >>> Margin(0.2, floor=2).count(np.array([0.9, 0.8, 0.75, 0.1, 5.0, 1.0, 0.9]), np.array([0, 4, 7, 7])).tolist()
            [3, 2, 0]
        """
        sizes = np.diff(offsets)
        heads = sizes if self.ceiling is None else np.minimum(sizes, self.ceiling)
        of = np.repeat(np.arange(len(sizes)), heads)  # the list of each document that is read
        starts = np.cumsum(heads) - heads
        read = np.asarray(score, np.float64)[np.arange(len(of)) + np.repeat(offsets[:-1] - starts, heads)]
        passing = self._pass(read, of, starts, heads)
        return np.minimum(np.maximum(np.bincount(of[passing], minlength=len(sizes)), self.floor), heads)

    def within(self, cutoff: int | None) -> Rule:
        """Return the rule with a ceiling of at most ``cutoff``."""
        if cutoff is None or (self.ceiling or cutoff + 1) <= cutoff:
            return self
        if self.floor > cutoff:
            problem = f"floor is {self.floor}, expected at most the cut-off, {cutoff}"
            raise PipelineError(f"this {self.word} rule cannot prune", [problem], fix=repr(replace(self, floor=cutoff)))
        return replace(self, ceiling=cutoff)

    @abstractmethod
    def _pass(self, score: Floats, of: Ints, starts: Ints, heads: Ints) -> Flags:
        """Mark the documents that pass, the first ones of each list."""

    def _find_problems(self) -> list[str]:
        low, high = self.limits
        wanted = f"a number from {low:g}" + (f" to {high:g}" if high < np.inf else "") if low > -np.inf else "a finite number"
        right = is_number(self.number) and low <= self.number <= high and np.isfinite(self.number)
        problems = [] if right else [f"{self.key} is {self.number!r}, expected {wanted}"]
        if not is_whole(self.floor, least=1):
            problems.append(f"floor is {self.floor!r}, expected a whole number, 1 or more")
        if self.ceiling is not None and not is_whole(self.ceiling, least=1):
            problems.append(f"ceiling is {self.ceiling!r}, expected a whole number, 1 or more, or None")
        if not problems and self.ceiling is not None and self.floor > self.ceiling:
            problems.append(f"floor is {self.floor}, expected at most the ceiling, {self.ceiling}")
        return problems

    def __str__(self) -> str:
        return f"{self.word} {self.number:g}"


def at_rank(score: Floats, starts: Ints, heads: Ints, rank: int) -> Floats:
    """Give the score at a rank of each list, from 1, or its last one; of an empty list any."""
    return np.append(score, 0.0)[np.minimum(starts + np.minimum(rank, np.maximum(heads, 1)) - 1, len(score))]
