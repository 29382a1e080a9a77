"""The documents that must be scored so that all cut-offs up to some depths can be replayed, and the depths that are covered."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.replay.compiling import compiled
from pt_cascade.analysis.replay.rankings import NOT_SCORED
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.replay.rankings import Rankings
    from pt_cascade.analysis.table.data import Path, Scores
    from pt_cascade.ranking import Ints

    Marks = NDArray[np.bool_]


def required_documents(offsets: Ints, places: NDArray[np.int32], depths: Sequence[int | None]) -> Marks:
    """Mark the documents that the next stage must score, so that all cut-offs up to the depths can be replayed.

    After stages 1 to j these are all documents among the top K_j by stage j of the top k_(j-1) by stage j - 1, ... of the first
    k_1, for *some* k_1 ≤ K_1, ..., k_(j-1) ≤ K_(j-1). The tightest cut-offs that keep a document leave the fewest others: for each
    i those that all stages up to i place above it. So it is required if these are fewer than K_i for each i; of K_1 documents in
    random order about K_2 (1 + ln(K_1 / K_2)) are.

    Args:
        offsets: Shape (queries + 1,): where each query's documents begin; they stand in the first stage's rank order.
        places: Shape (j, documents): their places in each stage's order; any value where a document was not required there.
        depths: K_1 to K_j, each 1 or more; None: all.

    Returns:
        Shape (documents,).

    Example:
        >>> first, second = np.arange(4), np.array([0, 3, 2, 1])
        >>> required_documents(np.array([0, 4]), np.stack([first, second]).astype(np.int32), (3, 1)).tolist()
        [True, False, False, False]
    """
    rank = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    marks: Marks = np.ones(len(rank), np.bool_) if depths[0] is None else rank < depths[0]
    for stage, depth in enumerate(depths[1:], start=2):
        if depth is not None:
            marks = _keep_leaders(offsets, places[:stage], marks, depth)
    return marks


def find_reach(table: Scores, path: Path, rankings: Rankings, queries: Ints) -> tuple[int, ...]:
    """Return how deep each stage but the last (of one stage, its own) may be cut so that everything required was scored.

    The depths are those that the path was made for; where not all of that was scored for the judged queries, the first is less.
    """
    most = max(int(table.retrieved.max(initial=1)), 1)
    depths = path.depths or (None,) * max(len(path.stages) - 1, 1)
    own = [min(most if depth is None else depth, table.depth or most, most) for depth in depths]
    judged = np.zeros(len(table.topics), np.bool_)
    judged[queries] = True
    missing = judged[table.queries[rankings.rows]] & (rankings.places == NOT_SCORED)

    def is_lacking(first: int) -> bool:
        depths = [first, *(min(first, depth) for depth in own[1:])]
        return any(
            bool((required_documents(rankings.offsets, rankings.places[:stage], depths[:stage]) & missing[stage]).any())
            for stage in range(1, len(path.stages))
            if missing[stage].any()
        )

    first = bisect_left(range(1, own[0] + 1), 1, key=is_lacking)
    if first < 1:
        problem = "a stage did not score the first document of some query's list"
        raise SweepError(f"the table covers no cut-offs of {' → '.join(path.stages)}", [problem])
    return (first, *(min(first, depth) for depth in own[1:]))


def find_ends(table: Scores, path: Path, reach: Sequence[int]) -> tuple[int, ...]:
    """Return the same depths, but the cut-offs of the path where no query retrieves as many documents."""
    most, limit = int(table.retrieved.max(initial=1)), table.depth or NO_CUT
    own = path.depths or path.cutoffs[:1]
    return tuple(max(k, min(end, limit)) if k == most and end is not None else k for k, end in zip(reach, own, strict=True))


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
