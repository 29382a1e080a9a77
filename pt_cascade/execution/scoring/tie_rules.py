"""Infers from a stage's results how it orders rows and equal scores, so that a replay ranks as the stage does."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from pt_cascade.analysis.table.tie_rules import EVERY_RULE, narrow_rules
from pt_cascade.cascade.steps import run_stage
from pt_cascade.cascade.wrappers import remove_caches
from pt_cascade.errors import CascadeWarning, PipelineError, QueryError
from pt_cascade.ranking import ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import pandas as pd

    from pt_cascade.analysis.table.tie_rules import Order, TieRules
    from pt_cascade.cascade import Stage, Step

Dimension: TypeAlias = Literal["ties", "rows"]

_SHOWN = 6
_FIX = 'sort its results: stage >> pt.apply.generic(lambda results: pt.model.add_ranks(results.sort_values(["qid", "docno"])))'


def observe(step: Step, possible: TieRules) -> TieRules:
    """Return the tie rules that agree with a result; refuse a stage that follows none."""
    left = narrow_rules(possible, step.given, step.ranked)
    if not left:
        raise _refusal(step)
    return left


def settle(stage: Stage, possible: TieRules, find: Callable[[Dimension, Collection[Order]], pd.DataFrame | None]) -> TieRules:
    """While several rules remain, score two documents that distinguish them, as ``find`` returns them."""
    for dimension in get_args(Dimension):
        before: TieRules = frozenset()
        while possible != before and (two := find(dimension, {getattr(rule, dimension) for rule in possible})) is not None:
            before = possible
            try:
                possible = _probe(stage, two, possible)
            except QueryError:
                if stage.on_error == "raise":
                    raise
    return possible


def join_rules(batches: Iterable[Mapping[str, TieRules]]) -> dict[str, TieRules]:
    """Return the tie rules of each stage that agree with all batches."""
    joined: dict[str, TieRules] = {}
    for rules in batches:
        joined |= {name: joined.get(name, EVERY_RULE) & possible for name, possible in rules.items()}
    if odd := [name for name, possible in joined.items() if not possible]:
        problem = "the orders that explain one batch of queries do not explain another"
        raise PipelineError(f"stage {odd[0]!r} cannot be replayed: it orders equal scores by no known rule", [problem], fix=_FIX)
    return joined


def _probe(stage: Stage, few: pd.DataFrame, possible: TieRules) -> TieRules:
    """Score a few documents in both orders, each time with reversed ranks."""
    for turn in (few, few.iloc[::-1]):
        if len(possible) > 1:
            given = turn.assign(rank=np.arange(len(turn))[::-1]).reset_index(drop=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CascadeWarning)  # given when the stage runs
                step = run_stage(remove_caches(stage, load=True), given)
            possible = observe(step, possible)
    return possible


def _refusal(step: Step) -> PipelineError:
    """Describe the first query that follows none of the rules."""
    given, ranked = step.given, step.ranked
    tied = ranked[ranked.duplicated(["qid", "score"], keep=False)]
    by_score = (ranks(ranked["qid"], ranked["score"].to_numpy(np.float64)) == ranked["rank"]).all()
    qid = (ranked if by_score or tied.empty else tied)["qid"].iloc[0]
    came, went = (frame[frame["qid"] == qid].head(_SHOWN) for frame in (given, ranked))
    problem = (
        f"for qid {qid!r} it was given {_show(came)} and returned {_show(went, scores=True)}; over all results this is neither "
        "the order of the input rows or ranks, nor an order by rank, docno or docid"
    )
    what = f"stage {step.stage.name!r} cannot be replayed: it orders its rows or equal scores by no known rule"
    return PipelineError(what, [problem], fix=_FIX)


def _show(frame: pd.DataFrame, *, scores: bool = False) -> str:
    rows = [f"{row.docno} (rank {row.rank}{f', score {row.score:.6g}' if scores else ''})" for row in frame.itertuples()]
    return ", ".join(rows)
