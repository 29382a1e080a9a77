"""The duels of a path's last stage, in the order of its documents: what they add to scores, for any sets of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.analysis.preferences import FIXED, has_terms, to_terms

if TYPE_CHECKING:
    from pt_cascade.analysis.duels import Duels
    from pt_cascade.ranking import Floats, Ints

SUM, LEAST, GREATEST = range(3)
_HIGHEST = int(np.iinfo(np.int64).max)


class Bouts(NamedTuple):
    """Duels, ready for replay: whole numbers, so that they add up the same in any order.

    Attributes:
        offsets: Shape (queries + 1,). Where each query's bouts begin.
        first: Shape (m,). Documents, by their position in ``Orders``; rising.
        second: Shape (m,). Their opponents; rising within one ``first``.
        terms: Shape (m,). What each adds to the score of ``first``, as a whole number of ``preferences.FIXED``; for the extremes
            the bits of the probability itself, which order as it does.
        kind: ``SUM``, ``LEAST`` or ``GREATEST`` of them is the score; a document alone scores 0.
    """

    offsets: Ints
    first: Ints
    second: Ints
    terms: Ints
    kind: int


def arrange(duels: Duels, offsets: Ints, rows: Ints) -> Bouts:
    """Put duels in the order of a path's documents.

    Args:
        duels: Of the rows of a table.
        offsets: Shape (queries + 1,). Where each query's documents begin.
        rows: Shape (documents,). The row of each document.

    Returns:
        The bouts.

    Example:
        >>> from pt_cascade.analysis.duels import Duels
        >>> duels = Duels("sum", np.array([0, 1]), np.array([1, 0]), np.array([0.75, 0.5]))
        >>> bouts = arrange(duels, np.array([0, 2]), np.array([1, 0]))
        >>> bouts.first.tolist(), (bouts.terms * FIXED).tolist()
        ([0, 1], [0.5, 0.75])
    """
    position = np.empty(len(rows), np.int64)
    position[rows] = np.arange(len(rows))
    first, second = position[duels.first], position[duels.second]
    order, back = np.lexsort((second, first)), np.lexsort((first, second))  # the n-th of one is the other order of the other's n-th
    first, second = first[order], second[order]
    how = duels.aggregation
    if has_terms(how):
        terms, kind = to_terms(duels.p[order], duels.p[back], how), SUM
    else:
        terms, kind = (duels.p[order] + 0.0).view(np.int64), LEAST if how == "min" else GREATEST  # + 0.0: no minus zero
    return Bouts(np.searchsorted(first, offsets), first, second, terms, kind)


def tally(bouts: Bouts, kept: Ints, query: Ints) -> tuple[Floats, Ints]:
    """Score documents by their bouts with the others of their query that are there.

    Args:
        bouts: Of the path.
        kept: Shape (n,). Documents, in any order.
        query: Shape (n,). Their queries.

    Returns:
        Shape (n,) each: the score, and how many of its bouts a document lacks: its score is of no use unless that is 0.

    Example:
        >>> bouts = Bouts(np.array([0, 2]), np.array([0, 1]), np.array([1, 0]), np.array([2**39, 2**40]), SUM)
        >>> score, lacking = tally(bouts, np.array([1, 0, 2]), np.array([0, 0, 0]))
        >>> score.tolist(), lacking.tolist()
        ([1.0, 0.5, 0.0], [1, 1, 2])
    """
    if not len(kept):
        return np.zeros(0), np.zeros(0, np.int64)
    begin, end = bouts.offsets[query.min()], bouts.offsets[query.max() + 1]
    slot = np.full(int(max(kept.max(), bouts.first[begin:end].max(initial=0))) + 1, -1)
    slot[kept] = np.arange(len(kept))
    first, second = slot[bouts.first[begin:end]], slot[bouts.second[begin:end]]
    met = (first >= 0) & (second >= 0)
    first, terms = first[met], bouts.terms[begin:end][met]
    company = np.bincount(query)[query] - 1
    total = np.full(len(kept), _HIGHEST if bouts.kind == LEAST else 0)
    (np.add, np.minimum, np.maximum)[bouts.kind].at(total, first, terms)
    score = total * FIXED if bouts.kind == SUM else np.where(company > 0, total, 0).view(np.float64)
    return score, company - np.bincount(first, minlength=len(kept))
