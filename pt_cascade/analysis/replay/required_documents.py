"""What makes a table exact: every document that some cut-offs within the depths would hand to the next stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.compiling import compiled

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
