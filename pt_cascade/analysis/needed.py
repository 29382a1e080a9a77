"""What makes a table exact: every document, and every two, that some cut-offs within the depths would hand to the next stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.compiling import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints

    Marks = NDArray[np.bool_]


def needed(offsets: Ints, places: NDArray[np.int32], depths: Sequence[int | None]) -> Marks:
    """Mark the documents that the next stage must score, so that all cut-offs up to the depths can be replayed.

    With stages 1 to j that is every document among the top K_j, by stage j, of the top k_(j-1), by stage j - 1, ... of the first
    k_1, for *some* k_1 ≤ K_1, ..., k_(j-1) ≤ K_(j-1). Cutting as tightly before it as keeps a document leaves it the fewest rivals:
    those that all the stages up to i place above it, for each i. So it is needed if these are fewer than K_i, for each i; of
    K_1 documents in random order about K_2 (1 + ln(K_1 / K_2)) are.

    Args:
        offsets: Shape (queries + 1,): where each query's documents begin; they stand in the first stage's rank order.
        places: Shape (j, documents): the place of each document in each stage's order; whatever, where it was not needed there.
        depths: K_1 to K_j, each 1 or more; None: all.

    Returns:
        Shape (documents,).

    Example:
        >>> first, second = np.arange(4), np.array([0, 3, 2, 1])
        >>> needed(np.array([0, 4]), np.stack([first, second]).astype(np.int32), (4, 2)).tolist()
        [True, True, True, True]
        >>> needed(np.array([0, 4]), np.stack([first, second]).astype(np.int32), (3, 1)).tolist()
        [True, False, False, False]
    """
    rank = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    marks: Marks = np.ones(len(rank), np.bool_) if depths[0] is None else rank < depths[0]
    for stage, depth in enumerate(depths[1:], start=2):
        if depth is not None:
            marks = _keep_leaders(offsets, places[:stage], marks, depth)
    return marks


def meetings(offsets: Ints, places: NDArray[np.int32], depths: Sequence[int | None]) -> tuple[Ints, Ints]:
    """List every two documents that some cut-offs up to the depths would hand to the next stage together.

    Cutting as tightly after each stage as keeps both leaves them the least company: after stage s those that every stage up to s
    places no lower than the lower one of the two. They meet if these are at most K_s, after each stage s. Only documents that are
    ``needed`` themselves can be among K_s, and the first K_s of any that come through are; so only they are counted.

    Args:
        offsets: Shape (queries + 1,): where each query's documents begin; they stand in the first stage's rank order.
        places: Shape (j, documents): as for ``needed``.
        depths: K_1 to K_j, as for ``needed``.

    Returns:
        Two arrays of shape (m,), positions of documents: every two of one query once, the upper one in the first stage's order
        first; sorted by query, then by the lower one.

    Example:
        >>> places = np.stack([np.arange(4), np.array([0, 3, 2, 1])]).astype(np.int32)
        >>> upper, lower = meetings(np.array([0, 4]), places, (4, 2))
        >>> upper.tolist(), lower.tolist()
        ([0, 0, 0], [1, 2, 3])
    """
    marks = np.stack([needed(offsets, places[:stage], depths[:stage]) for stage in range(1, len(places) + 1)])
    most = np.array([len(marks[0]) if depth is None else depth for depth in depths], np.int64)
    counts = np.diff(np.r_[0, np.cumsum(marks[-1])][offsets])
    room = int((counts * (counts - 1) // 2).sum())
    upper, lower = np.empty(room, np.int64), np.empty(room, np.int64)
    found = _list_meetings(offsets, places, marks, most, upper, lower)
    return upper[:found].copy(), lower[:found].copy()


@compiled
def _list_meetings(offsets: Ints, places: NDArray[np.int32], marks: Marks, most: Ints, upper: Ints, lower: Ints) -> int:
    """Write down who meets; return how many do."""
    found = 0
    for query in range(len(offsets) - 1):
        begin, end = offsets[query], offsets[query + 1]
        mine = np.flatnonzero(marks[-1, begin:end]) + begin
        along = np.empty((len(places), end - begin), np.int64)  # what each stage may hand on
        for stage in range(1, len(places)):
            handed = np.flatnonzero(marks[stage, begin:end])
            along[stage, : len(handed)] = handed + begin
        for n, low in enumerate(mine):
            for top in mine[:n]:
                meet = True
                for stage in range(1, len(places)):
                    if not _may_pass(places, along[stage], most[stage], stage, top, low):
                        meet = False
                        break
                if meet:
                    upper[found], lower[found] = top, low
                    found += 1
    return found


@compiled
def _may_pass(places: NDArray[np.int32], along: Ints, most: int, stage: int, top: int, low: int) -> bool:
    """Tell whether two documents that reach a stage in the least company may both pass it; ``along`` rises to the lower one."""
    company = 0
    for other in along:
        through = True
        for before in range(1, stage + 1):
            if places[before, other] > max(places[before, top], places[before, low]):
                through = False
                break
        company += through
        if company > most:
            return False
        if other == low:
            break
    return True


@compiled
def _keep_leaders(offsets: Ints, places: NDArray[np.int32], marks: Marks, depth: int) -> Marks:
    """Keep the marked documents that fewer than ``depth`` others stand above at every stage."""
    kept = np.zeros_like(marks)
    for query in range(len(offsets) - 1):
        mine = np.flatnonzero(marks[offsets[query] : offsets[query + 1]]) + offsets[query]
        for n, document in enumerate(mine):
            above = 0
            for other in mine[:n]:
                leads = True
                for stage in range(1, len(places)):
                    if places[stage, other] > places[stage, document]:
                        leads = False
                        break
                above += leads
                if above == depth:
                    break
            kept[document] = above < depth
    return kept
