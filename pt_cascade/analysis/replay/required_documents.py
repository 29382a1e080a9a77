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


def required_documents(offsets: Ints, places: NDArray[np.int32], depths: Sequence[int | None]) -> Marks:
    """Mark the documents that the next stage must score, so that all cut-offs up to the depths can be replayed."""
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
