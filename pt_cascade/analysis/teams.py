"""A set of documents in the order of their duels with each other, from which some leave and which others enter.

Who enters or leaves adds or takes away one term for each of the others. The terms are whole numbers, so that sums do not depend on
who came when: they are those of ``preferences.aggregate`` over the set, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.bouts import LEAST, SUM
from pt_cascade.analysis.compiling import compiled
from pt_cascade.analysis.preferences import FIXED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints

    Numbers = NDArray[np.int32]

_HIGHEST, _NO_DUEL = int(np.iinfo(np.int64).max), int(np.iinfo(np.int64).min)


@compiled
def sit_down(first: Ints, second: Ints, terms: Ints, begin: int, seats: Numbers, gains: Ints) -> None:
    """Give each document that has duels a seat, and lay their terms out by seats.

    Args:
        first: Shape (m,). One query's bouts: documents, see ``Bouts``.
        second: Shape (m,). Their opponents.
        terms: Shape (m,). What each adds.
        begin: The position of the query's first document.
        seats: As in ``records.Ring``, filled.
        gains: As there, filled.
    """
    seats[:] = -1
    taken = 0
    for document in first:
        if seats[document - begin] < 0:
            seats[document - begin] = taken
            taken += 1
    gains[:taken, :taken] = _NO_DUEL
    for n in range(len(first)):
        gains[seats[first[n] - begin], seats[second[n] - begin]] = terms[n]


@compiled
def _enter(doc: int, team: Numbers, size: int, seats: Numbers, gains: Ints, totals: Ints, kind: int) -> int:
    """Let a document enter a set; return one that it has no duel with, or -1."""
    mine = seats[doc]
    total = _HIGHEST if kind == LEAST else 0
    for n in range(size):
        other = team[n]
        theirs = seats[other]
        if mine < 0 or theirs < 0 or gains[mine, theirs] == _NO_DUEL:
            return int(other)
        if kind == SUM:
            total += gains[mine, theirs]
            totals[other] += gains[theirs, mine]
        elif kind == LEAST:
            total = min(total, gains[mine, theirs])
            totals[other] = min(totals[other], gains[theirs, mine])
        else:
            total = max(total, gains[mine, theirs])
            totals[other] = max(totals[other], gains[theirs, mine])
    totals[doc] = total
    team[size] = doc
    return -1


@compiled
def _send_off(team: Numbers, size: int, seats: Numbers, gains: Ints, totals: Ints, stamps: Ints, wanted: int) -> int:
    """Let all that do not bear the stamp leave the set, and take their terms away; return how many stay."""
    stay = 0
    for n in range(size):
        if stamps[team[n]] != wanted:
            for k in range(size):
                if stamps[team[k]] == wanted:
                    totals[team[k]] -= gains[seats[team[k]], seats[team[n]]]
    for n in range(size):
        if stamps[team[n]] == wanted:
            team[stay] = team[n]
            stay += 1
    return stay


@compiled
def gather(listed: Numbers, team: Numbers, size: int, seats: Numbers, gains: Ints, totals: Ints, stamps: Ints, kind: int) -> int:
    """Make the set that of the documents listed.

    Args:
        listed: Shape (count,). Documents, counted from the query's first.
        team: As in ``records.Ring``, as are the other arrays; changed.
        size: How many are in the set.
        seats: See ``sit_down``.
        gains: See ``sit_down``.
        totals: Of the set.
        stamps: Of any documents.
        kind: See ``Bouts``.

    Returns:
        How many are now in the set; or, where two have no duel, ~(one * len(team) + the other).
    """
    stamps[-1] += 2
    wanted, there, count = stamps[-1], stamps[-1] + 1, len(listed)
    for doc in listed:
        stamps[doc] = wanted
    stay = 0
    for n in range(size):
        stay += stamps[team[n]] == wanted
    gone = size - stay
    if gone and (kind != SUM or gone * size + (count - stay) * count > count * count // 2):
        size = 0  # an extreme cannot be taken back; and few that stay are sooner added up anew
    elif gone:
        size = _send_off(team, size, seats, gains, totals, stamps, wanted)
    for n in range(size):
        stamps[team[n]] = there
    for doc in listed:
        if stamps[doc] != there:
            other: int = _enter(doc, team, size, seats, gains, totals, kind)
            if other >= 0:
                return ~(int(doc) * len(team) + other)
            size += 1
    return size


@compiled
def line_up(team: Numbers, size: int, totals: Ints, scores: Floats, ties: Numbers, kind: int) -> None:
    """Score the set, and put it in order, by insertion: it was almost in order before.

    Args:
        team: The set; put in order.
        size: How many are in it.
        totals: What each has gained.
        scores: Filled for the set.
        ties: Shape (documents,). Of equal scores, the lower one stands first.
        kind: See ``Bouts``.
    """
    bits = totals.view(np.float64)
    for n in range(size):
        doc = team[n]
        if kind == SUM:
            scores[doc] = totals[doc] * FIXED
        else:
            scores[doc] = bits[doc] if size > 1 else 0.0
    for n in range(1, size):
        doc, at = team[n], n
        while at > 0 and (
            scores[team[at - 1]] < scores[doc] or (scores[team[at - 1]] == scores[doc] and ties[team[at - 1]] > ties[doc])
        ):
            team[at] = team[at - 1]
            at -= 1
        team[at] = doc
