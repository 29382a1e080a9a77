"""Does what a pairwise stage says of two documents depend on company? A few are compared again, in other calls and another order.

What the check costs: up to 3 queries of the first chunk, up to 32 comparisons each, once a stage; and the stage itself is run on up
to 4 documents of a query, so that its own scores, rows and ties are seen. A table adds the answers up for other sets of documents
than they were asked for, so a stage that fails would make every replay wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.preferences import aggregate
from pt_cascade.errors import StageError
from pt_cascade.execution.company import PAIRS, QUERIES, spread
from pt_cascade.execution.comparing import ask_duels, comparer
from pt_cascade.execution.rows import rerank
from pt_cascade.ranking import locate
from pt_cascade.stages.pairwise import say_duel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.analysis.preferences import Aggregation
    from pt_cascade.cascade import Step
    from pt_cascade.execution.comparing import Duelling
    from pt_cascade.ranking import Floats, Ints

_FIX = (
    "let it be run, not replayed: cascade.with_stage({!r}, depends='list'); "
    "if it computes in bf16, fp16 or int8, so that answers move a little: score(..., tolerance=0.05)"
)


def check_comparison(asked: Duelling, tolerance: float) -> bool:
    """Compare some documents again in other company, and refuse a stage whose answers move, or add up to other scores than its own.

    Args:
        asked: What the stage said.
        tolerance: How far a probability may move.

    Returns:
        Whether there was enough to tell: more than two documents.

    Raises:
        StageError: One moved, or a score is not what the answers add up to.
    """
    for rows in _choose(asked):
        documents = np.unique(np.r_[asked.first[rows], asked.second[rows]])[::-1]
        slot = np.full(len(asked.given), -1)
        slot[documents] = np.arange(len(documents))
        given = rerank(asked.given.iloc[documents])
        again = ask_duels(asked.stage, given, slot[asked.first[rows]], slot[asked.second[rows]])
        _refuse_moved(asked, rows, again, tolerance)
    if asked.live is not None:
        _check_live(asked, asked.live, tolerance)
    return len(asked.given) > 2  # noqa: PLR2004 - two have no company


def _choose(asked: Duelling) -> Iterator[Ints]:
    """Give half of some queries' comparisons from the last to the first, the queries mixed; then the rest, a query at a time."""
    query = pd.factorize(asked.given["qid"])[0][asked.first]
    chosen = [spread(np.flatnonzero(query == n), PAIRS) for n in spread(np.unique(query), QUERIES)]
    turn = np.concatenate([np.arange(len(rows))[::2] for rows in chosen])
    yield np.concatenate([rows[::2] for rows in chosen])[np.argsort(turn, kind="stable")[::-1]]
    for rows in chosen:
        if len(rows) > 1:
            yield rows[1::2]


def _refuse_moved(asked: Duelling, rows: Ints, again: Floats, tolerance: float) -> None:
    moved = np.abs(again - asked.p[rows])
    if (moved <= tolerance).all():
        return
    worst = int(moved.argmax())
    n = rows[worst]
    problem = (
        f"{say_duel(asked.given, asked.first[n], asked.second[n])} was {float(asked.p[n])!r}, then {float(again[worst])!r}; "
        f"{int((moved > tolerance).sum())} of {len(rows)} compared again moved; the tolerance is {tolerance:g}"
    )
    name = asked.stage.name
    raise StageError(f"stage {name!r} compares the same documents differently in other company", [problem], fix=_FIX.format(name))


def _check_live(asked: Duelling, live: Step, tolerance: float) -> None:
    """Hold what the stage itself made of a few documents against what its answers may add up to."""
    scorer = comparer(asked.stage)
    if scorer is None:
        return
    for qid, ranked in live.ranked.groupby("qid", sort=False):
        rows = locate(ranked, asked.given)
        wins = np.full((len(rows), len(rows)), np.nan)
        for one, first in enumerate(rows):
            for other, second in enumerate(rows):
                if one != other:
                    wins[one, other] = asked.p[(asked.first == first) & (asked.second == second)][0]
        for n, score in enumerate(ranked["score"].tolist()):
            low, high = (_score(wins, n, scorer.aggregation, shift) for shift in (-tolerance, tolerance))
            if not low <= score <= high:
                docno, name = ranked["docno"].iloc[n], asked.stage.name
                problem = f"qid {qid!r}, docno {docno!r} scored {score!r} among {len(rows)}, expected {low!r} to {high!r}"
                what = f"stage {name!r} does not score as its comparisons add up"
                raise StageError(what, [problem], fix=_FIX.format(name))


def _score(wins: Floats, n: int, aggregation: Aggregation, shift: float) -> float:
    """Score a document as if it had won by so much more."""
    shifted = wins.copy()
    shifted[n] += shift
    shifted[:, n] -= shift
    return float(aggregate(np.clip(shifted, 0, 1), aggregation)[n])
