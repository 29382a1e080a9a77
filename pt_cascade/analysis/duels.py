"""Duels: what a pairwise stage said of every two documents that some cut-offs hand it together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from pt_cascade.analysis.preferences import Aggregation
from pt_cascade.errors import TableError

if TYPE_CHECKING:
    from pt_cascade.analysis.bouts import Bouts
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True, eq=False)
class Duels:
    """How sure a pairwise stage was, of two documents of a query, that the first beats the second.

    The score of a document depends on which others reach the stage with it; each of these answers depends on its own query and two
    documents alone. So they are kept, and added up for whatever set of documents some cut-offs hand on.

    Attributes:
        aggregation: How the stage adds them up to a score, see ``analysis.preferences``.
        first: Shape (m,). Rows of the table's frame; rising.
        second: Shape (m,). Other rows of the same query; rising within one ``first``. Each two documents stand in both orders.
        p: Shape (m,). The probability that the first beats the second, 0 to 1.

    Raises:
        TableError: The shapes differ, or the aggregation is unknown.

    Example:
        >>> duels = Duels("sum", np.array([0, 1]), np.array([1, 0]), np.array([0.9, 0.2]))
        >>> len(duels), duels.find_problems(np.array([0, 0]))
        (2, [])
    """

    aggregation: Aggregation
    first: Ints
    second: Ints
    p: Floats

    def __post_init__(self) -> None:
        """Refuse what cannot be read as duels."""
        for name, kind in (("first", np.int64), ("second", np.int64), ("p", np.float64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        shapes = [self.first.shape, self.second.shape, self.p.shape]
        one = shapes == [(len(self.first),)] * len(shapes)
        problems = [] if one else [f"their shapes are {', '.join(map(str, shapes))}, expected one (m,)"]
        if self.aggregation not in get_args(Aggregation):
            problems.append(f"aggregation is {self.aggregation!r}, expected one of {', '.join(get_args(Aggregation))}")
        if problems:
            raise TableError("these are no duels", problems)

    @classmethod
    def gather(cls, aggregation: Aggregation, first: Ints, second: Ints, p: Floats) -> Duels:
        """Put answers in order.

        Args:
            aggregation: How the stage adds them up.
            first: Shape (m,). Rows of the table's frame, in any order.
            second: Shape (m,).
            p: Shape (m,).
        """
        order = np.lexsort((second, first))
        return cls(aggregation, first[order], second[order], p[order])

    def find_problems(self, queries: Ints) -> list[str]:
        """Say what is wrong with duels of a table's rows.

        Args:
            queries: Shape (rows,). The query of each row of the table.

        Returns:
            One sentence each; empty: nothing.
        """
        rows = len(queries)
        both = np.concatenate([self.first, self.second])
        if ((both < 0) | (both >= rows)).any():
            return [f"{int(((both < 0) | (both >= rows)).sum())} duel(s) are of rows that the table does not have"]
        problems = []
        if strange := int((queries[self.first] != queries[self.second]).sum() + (self.first == self.second).sum()):
            problems.append(f"{strange} duel(s) are not of two documents of one query")
        pair, back = self.first * rows + self.second, self.second * rows + self.first
        if (np.diff(pair) <= 0).any():
            problems.append("its duels do not rise by first and second row, each once")
        elif not np.array_equal(np.sort(back), pair):
            problems.append(f"{int((~np.isin(back, pair)).sum())} duel(s) lack the other order of their two documents")
        if wrong := int((~((self.p >= 0) & (self.p <= 1))).sum()):
            problems.append(f"{wrong} duel(s) have no probability from 0 to 1")
        return problems

    def __len__(self) -> int:
        return len(self.first)


def join_duels(parts: list[tuple[Duels, int]], aggregation: Aggregation) -> Duels:
    """Put the duels of several frames together, as the frames are put below each other.

    Args:
        parts: Duels, and how many rows stand above their frame; in order.
        aggregation: Of all of them.

    Example:
        >>> one = Duels("sum", np.array([0, 1]), np.array([1, 0]), np.array([0.9, 0.2]))
        >>> join_duels([(one, 0), (one, 2)], "sum").first.tolist()
        [0, 1, 2, 3]
    """
    none = np.zeros(0, np.int64)
    return Duels(
        aggregation,
        np.concatenate([none, *(duels.first + above for duels, above in parts)]),
        np.concatenate([none, *(duels.second + above for duels, above in parts)]),
        np.concatenate([none.astype(np.float64), *(duels.p for duels, _ in parts)]),
    )


def find_unmet(known: Duels | Bouts, first: Ints, second: Ints) -> Ints:
    """Find the pairs of documents that have no duel.

    Args:
        known: What was fought.
        first: Shape (n,). Documents, as numbered there.
        second: Shape (n,). Others.

    Returns:
        Positions among the n, rising.

    Example:
        >>> duels = Duels("sum", np.array([0, 1]), np.array([1, 0]), np.array([0.9, 0.2]))
        >>> find_unmet(duels, np.array([0, 1]), np.array([1, 2])).tolist()
        [1]
    """
    wide = int(max(first.max(initial=0), second.max(initial=0), known.second.max(initial=0))) + 1
    there, wanted = known.first * wide + known.second, first * wide + second  # what is there rises
    at = np.searchsorted(there, wanted)
    at[at == len(there)] = 0
    unmet: Ints = np.flatnonzero(there[at] != wanted) if len(there) else np.arange(len(wanted))
    return unmet
