"""How a stage orders what it returns, found out by looking: what replay must repeat to break ties as the live stage does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from pt_cascade.cascade import walk
from pt_cascade.cascade.stand_ins import live
from pt_cascade.errors import PipelineError
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from pt_cascade.analysis.tables import Rows, Ties
    from pt_cascade.cascade import Stage, Step
    from pt_cascade.ranking import Ints

    Marks: TypeAlias = NDArray[np.bool_]

_SHOWN = 6
_NOT_REPLAYABLE = "stage {!r} cannot be replayed"


@dataclass(frozen=True)
class Habit:
    """What is still possible of a stage, after some looking.

    Attributes:
        rows: ``keeps`` if all rows came back in the order they were given in; ``sorts`` if in rank order.
        ties: ``rows`` if equal scores were ranked in the order of the rows given; ``rank`` if in that of their ranks.
    """

    rows: frozenset[Rows] = frozenset({"keeps", "sorts"})
    ties: frozenset[Ties] = frozenset({"rows", "rank"})

    @property
    def told(self) -> tuple[Rows, Ties]:
        """The rule to replay by; where both did, it makes no difference to what was seen, and rows are kept."""
        return "keeps" if "keeps" in self.rows else "sorts", "rows" if "rows" in self.ties else "rank"


def combine(habits: Iterable[Mapping[str, Habit]]) -> dict[str, Habit]:
    """Put together what was seen of the stages in several chunks.

    Args:
        habits: Of each chunk, by the name of the stage.

    Returns:
        What is possible still, by the name of the stage.

    Raises:
        PipelineError: Nothing is.

    Example:
        >>> seen = combine([{"s": Habit(ties=frozenset({"rank"}))}, {"s": Habit()}, {}])
        >>> seen["s"].told
        ('keeps', 'rank')
    """
    both: dict[str, Habit] = {}
    for name, habit in (pair for chunk in habits for pair in chunk.items()):
        before = both.get(name, Habit())
        both[name] = Habit(before.rows & habit.rows, before.ties & habit.ties)
        if not both[name].rows or not both[name].ties:
            raise PipelineError(_NOT_REPLAYABLE.format(name), ["it orders equal scores, or its rows, now so, now so"])
    return both


def observe(step: Step, before: Habit) -> Habit:
    """Look at what a stage made of a frame.

    Args:
        step: A re-ranking stage's, that returned the pairs it was given.
        before: What was possible until now.

    Returns:
        What is possible still.

    Raises:
        PipelineError: Nothing is: replay could not tell how the stage breaks ties, or how the next one will.
    """
    name, given, ranked = step.stage.name, step.given, step.ranked
    place = locate(ranked, given)
    query = pd.factorize(ranked["qid"])[0]
    old, new = given["rank"].to_numpy()[place], ranked["rank"].to_numpy()
    by_query, by_rank = np.argsort(query, kind="stable"), np.lexsort((new, query))
    seen_rows: dict[Rows, Marks] = {"keeps": _falls(query, place, by_query), "sorts": _falls(query, new, by_query)}
    score = ranked["score"].to_numpy(np.float64)
    tied = np.r_[False, np.diff(score[by_rank]) == 0][: len(score)]
    seen_ties: dict[Ties, Marks] = {"rows": _falls(query, place, by_rank) & tied, "rank": _falls(query, old, by_rank) & tied}
    habit = Habit(
        before.rows & {rule for rule, broken in seen_rows.items() if not broken.any()},
        before.ties & {rule for rule, broken in seen_ties.items() if not broken.any()},
    )
    if not habit.rows:
        _refuse_rows(name, given, ranked, np.logical_or.reduce([*seen_rows.values()]), by_query)
    if not habit.ties:
        _refuse_ties(name, given, ranked, np.logical_or.reduce([*seen_ties.values()]), by_rank)
    return habit


def settle(stage: Stage, habit: Habit, find: Callable[[bool], pd.DataFrame | None]) -> Habit:
    """Where looking left two rules possible, ask the stage for two documents that tell them apart, if there are such.

    Two of equal scores are given in the order opposite to their ranks: one rule puts the first of them on top, the other the
    second. Two of different scores are given the lower one first: rows that are kept stay so, rows that are sorted do not. On
    another path of a table, or at other cut-offs, the rule may matter though it made no difference until now.

    Args:
        stage: The stage.
        habit: What is possible still.
        find: Given whether the scores should be equal, gives Frame[qid, docno, ...] of two such documents of a query, the lower one
            first; or None.

    Returns:
        What is possible after that: one rule, or both where no two documents can tell.

    Raises:
        PipelineError: Nothing is.
    """
    for equal in (True, False):
        two = find(equal) if len(habit.ties if equal else habit.rows) > 1 else None
        if two is not None:
            habit = observe(next(walk((live(stage),), two.assign(rank=[1, 0]))), habit)
    return habit


def _falls(query: Ints, value: Ints, order: Ints) -> Marks:
    """Mark, in an order of the rows, those whose value is below that of the row before, in the same query."""
    query, value = query[order], value[order]
    falls: Marks = np.r_[False, (np.diff(query) == 0) & (np.diff(value) < 0)][: len(query)]
    return falls


def _refuse_rows(stage: str, given: pd.DataFrame, ranked: pd.DataFrame, broken: Marks, order: Ints) -> None:
    qid = ranked["qid"].iloc[order[np.flatnonzero(broken)[0]]]
    came, went = (frame[frame["qid"] == qid].head(_SHOWN) for frame in (given, ranked))
    problem = (
        f"it returns its rows neither as they were given nor by rank, or now so, now so: for qid {qid!r} it was given "
        f"{', '.join(came['docno'])} and returned {', '.join(went['docno'])} with ranks {', '.join(map(str, went['rank']))}"
    )
    fix = 'end it with pt.apply.generic(lambda results: results.sort_values(["qid", "rank"])), or keep the order of the rows'
    raise PipelineError(_NOT_REPLAYABLE.format(stage), [problem], fix=fix)


def _refuse_ties(stage: str, given: pd.DataFrame, ranked: pd.DataFrame, broken: Marks, order: Ints) -> None:
    row = int(np.flatnonzero(broken)[0])
    upper, lower = (ranked.iloc[order[n]] for n in (row - 1, row))
    places = locate(pd.DataFrame([upper, lower]), given)
    ranks = given["rank"].to_numpy()[places].tolist()
    problem = (
        f"it ranks equal scores neither by the order of the rows it is given nor by their rank, or now so, now so: for qid "
        f"{upper['qid']!r} it ranked {upper['docno']} above {lower['docno']}, both {float(upper['score'])!r}; they were given in "
        f"row(s) {', '.join(map(str, places.tolist()))} with rank(s) {', '.join(map(str, ranks))}"
    )
    fix = "end it with pt.apply.generic(pt.model.add_ranks), which ranks equal scores by row order"
    raise PipelineError(_NOT_REPLAYABLE.format(stage), [problem], fix=fix)
