"""Costs in the unit that each stage of a table works in: documents, or duels between two of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.costs import Cost
    from pt_cascade.analysis.tables import ScoreTable


def match_units(cost: Cost, table: ScoreTable, stages: Sequence[str]) -> Cost:
    """Refuse a price a document of a stage that compares documents, and a price a duel of one that does not.

    Args:
        cost: One entry a stage, in order.
        table: Which says what compares; made of runs, it does not, and a price a duel may be right.
        stages: The path.

    Returns:
        The cost, in which each stage that has duels ``compares``.

    Raises:
        SweepError: A unit is not the stage's.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from pt_cascade.analysis.costs import Cost, StageCost
        >>> from pt_cascade.analysis.tables import Column, Path, ScoreTable
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a"], "rank": [0], "bm25": [1.0]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> table = ScoreTable(frame, topics, (Column("bm25"),), (Path(("bm25",), (2,)),))
        >>> match_units(Cost.of(StageCost(fixed_ms=2)), table, ["bm25"]).stages[0].compares
        False
    """
    problems, fix = [], ""
    for name, one in zip(stages, cost.stages, strict=True):
        if name in table.duels and not one.compares and (one.per_doc_ms or one.tokens_per_doc):
            given = f"per_doc_ms={one.per_doc_ms:g}" if one.per_doc_ms else f"tokens_per_doc={one.tokens_per_doc:g}"
            problems.append(f"stage {name!r} compares each two documents, but its cost is a document's, {given}")
            fix = fix or f"StageCost({name!r}, per_duel_ms=...)"
        if name not in table.duels and one.compares and table.about.get("made of") != "runs":
            given = f"per_duel_ms={one.per_duel_ms:g}" if one.per_duel_ms else f"tokens_per_duel={one.tokens_per_duel:g}"
            problems.append(f"stage {name!r} scores each document by itself, but its cost is a duel's, {given}")
            fix = fix or f"StageCost({name!r}, per_doc_ms=...)"
    if problems:
        what = "the cost does not fit the stages"
        raise SweepError(what, problems, fix=fix if cost.sample is None else "profile(cascade, topics).cost(), of this cascade")
    fought = [replace(one, compares=True) if name in table.duels else one for name, one in zip(stages, cost.stages, strict=True)]
    return replace(cost, stages=tuple(fought))
