"""How deep each stage may be cut so that every pair that is required_documents was scored."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.rankings import NOT_SCORED
from pt_cascade.analysis.replay.required_documents import required_documents
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from pt_cascade.analysis.replay.rankings import Rankings
    from pt_cascade.analysis.table.data import Path, Scores
    from pt_cascade.ranking import Ints


def find_reach(table: Scores, path: Path, rankings: Rankings, queries: Ints) -> tuple[int, ...]:
    """Tell how deep each stage but the last may be cut, at any cut-offs before it, so that everything required_documents was scored."""
    most = max(int(table.retrieved.max(initial=1)), 1)
    depths = path.depths or (None,) * max(len(path.stages) - 1, 1)
    own = [min(most if depth is None else depth, table.depth or most, most) for depth in depths]
    counts = np.zeros(len(table.topics), np.bool_)
    counts[queries] = True
    lacking = counts[table.queries[rankings.rows]] & (rankings.places == NOT_SCORED)

    def lacks(first: int) -> bool:
        depths = [first, *(min(first, depth) for depth in own[1:])]
        return any(
            bool((required_documents(rankings.offsets, rankings.places[:stage], depths[:stage]) & lacking[stage]).any())
            for stage in range(1, len(path.stages))
            if lacking[stage].any()
        )

    first = bisect_left(range(1, own[0] + 1), 1, key=lacks)
    if first < 1:
        problem = "a stage did not score the document at the top of some query's list"
        raise SweepError(f"no cut-offs of {' → '.join(path.stages)} are covered", [problem])
    return (first, *(min(first, depth) for depth in own[1:]))
