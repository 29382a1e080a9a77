"""How a stage orders its rows and equal scores, found out from its answers, so that replay ranks as the live stage does."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.tie_rules import narrow_rules
from pt_cascade.cascade import walk
from pt_cascade.cascade.stand_ins import live
from pt_cascade.errors import CascadeWarning, FrameError, PipelineError, StageError
from pt_cascade.ranking import ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pt_cascade.analysis.table.tie_rules import Order, TieRules
    from pt_cascade.cascade import Stage, Step

Dimension: TypeAlias = Literal["ties", "rows"]

_COPIES = 5
_SHOWN = 6
_FIX = 'let it sort: stage >> pt.apply.generic(lambda results: pt.model.add_ranks(results.sort_values(["qid", "docno"])))'


def observe(step: Step, possible: TieRules) -> TieRules:
    """Keep the tie rules by which a re-ranking stage may have ordered its answer.

    Args:
        step: What it did; it returned the documents that it was given.
        possible: The rules that agree with its earlier answers.

    Returns:
        The rules that agree with all of them, at least one.

    Raises:
        PipelineError: There is none, so that no replay would rank as the stage does.
    """
    left = narrow_rules(possible, step.given, step.ranked)
    if not left:
        raise _refusal(step)
    return left


def probe_copies(stage: Stage, given: pd.DataFrame, possible: TieRules) -> TieRules:
    """Ask a stage for copies of one document, before it scores anything: it can hardly tell them apart, so their scores tie.

    They are asked for another query, of the same words, so that no cache confuses their scores with those of real pairs. A stage
    that fails on them, or reads something else by their docnos, shows its rule later.

    Args:
        stage: A re-ranking stage.
        given: Frame[qid, docno, ...] of the stage before.
        possible: The rules that agree with its earlier answers.

    Returns:
        The rules that agree with this answer as well.

    Raises:
        PipelineError: There is none.
    """
    few = given[given["qid"] == given["qid"].iloc[0]].head(_COPIES)
    copies = pd.concat([few.head(1)] * len(few)).set_axis(few.index)
    copies = copies.assign(**{name: few[name] for name in ("docno", "docid") if name in few})
    if "query" in copies:
        copies["query"] = copies["query"] + " "
    with suppress(StageError, FrameError):
        possible = _probe(stage, copies, possible)
    return possible


def settle(stage: Stage, possible: TieRules, find: Callable[[Dimension, Collection[Order]], pd.DataFrame | None]) -> TieRules:
    """Where several rules agree with all answers, ask the stage for two documents that tell them apart, if there are such.

    At other cut-offs the rule may matter though it made no difference until now.

    Args:
        stage: The stage.
        possible: The rules that agree with its answers.
        find: Given ``ties`` or ``rows``, and the orders to tell apart, gives Frame[qid, docno, ...] of two documents of a query, of
            equal scores for ``ties``; None, where there are none or only one order is left.

    Returns:
        The rules that agree with the new answers as well.

    Raises:
        PipelineError: There is none.
    """
    for dimension in get_args(Dimension):
        before: TieRules = frozenset()
        while possible != before and (two := find(dimension, {getattr(rule, dimension) for rule in possible})) is not None:
            before, possible = possible, _probe(stage, two, possible)
    return possible


def _probe(stage: Stage, few: pd.DataFrame, possible: TieRules) -> TieRules:
    """Ask for a few documents in either order, each time ranked the other way round."""
    for turn in (few, few.iloc[::-1]):
        if len(possible) > 1:
            given = turn.assign(rank=np.arange(len(turn))[::-1]).reset_index(drop=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CascadeWarning)  # the stage's own run tells
                step = next(walk((live(stage, load=True),), given))
            possible = observe(step, possible)
    return possible


def _refusal(step: Step) -> PipelineError:
    """Show the first query that follows none of the rules."""
    given, ranked = step.given, step.ranked
    tied = ranked[ranked.duplicated(["qid", "score"], keep=False)]
    by_score = (ranks(ranked["qid"], ranked["score"].to_numpy(np.float64)) == ranked["rank"]).all()
    qid = (ranked if by_score or tied.empty else tied)["qid"].iloc[0]
    came, went = (frame[frame["qid"] == qid].head(_SHOWN) for frame in (given, ranked))
    problem = (
        f"for qid {qid!r} it was given {_show(came)} and returned {_show(went, scores=True)}: not always in the order of "
        "the rows or ranks that it was given, nor by rank, docno or docid"
    )
    what = f"stage {step.stage.name!r} cannot be replayed: it orders its rows, or equal scores, by no known rule"
    return PipelineError(what, [problem], fix=_FIX)


def _show(frame: pd.DataFrame, *, scores: bool = False) -> str:
    told = [f"{row.docno} (rank {row.rank}{f', score {row.score:.6g}' if scores else ''})" for row in frame.itertuples()]
    return ", ".join(told)
