"""Each pair's score at each stage: the data of a score table."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.tie_rules import EVERY_RULE, PLAIN, Order, TieRule
from pt_cascade.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_cascade.ranking import Ints

OWN_COLUMNS = ("qid", "docno", "rank", "docid")


@dataclass(frozen=True)
class Column:
    """What a table knows of one stage beyond its scores."""

    stage: str  # The stage's name, and the name of its column of scores
    rule: TieRule = PLAIN  # How it orders its rows and equal scores: what replay needs to rank as the live stage does
    fingerprint: str = ""  # A hash of what the stage is, to tell two tables' stages apart; empty: not known
    described: str = ""  # The stage in words, e.g. the ``repr`` of its transformers

    def __post_init__(self) -> None:
        """Refuse what is not a column."""
        problems = [] if self.stage and self.stage not in OWN_COLUMNS else [f"{self.stage!r} is a column of the table's own"]
        if self.rule not in EVERY_RULE:
            problems.append(f"the tie rule is {self.rule!r}, expected two of {', '.join(get_args(Order))}")
        if problems:
            fix = "give the stage another name: with_stage(0, name=...)"
            raise TableError(f"stage {self.stage!r} cannot be in a table", problems, fix=fix)


@dataclass(frozen=True)
class Path:
    """One cascade of a table: which stages, in which order."""

    stages: tuple[str, ...]  # Names of columns, the table's first one first
    cutoffs: tuple[int | None, ...]  # The cascade's own cut-offs, one a stage
    # How deep each stage but the last was scored on from, one fewer than stages; None: all there was
    depths: tuple[int | None, ...] = ()
    # The name of a last stage that depends on the whole list: it is not in the table and is run, never replayed; usually
    # empty
    live: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Each (query, document) pair's score at each stage, once: what ``ScoreTable`` is made of, unchecked.

    Attributes:
        frame: Frame[qid, docno, rank, <stage>...], a row for each document that the first stage retrieved: queries in the order of
            the topics, rows of a query in the order in which the first stage returned them; ``rank`` is the first stage's, from 0;
            each stage has a column of float64 scores under its name: NaN was not scored, -inf is in ``failed``;
            ``docid`` where the tie rule of a stage needs it.
        topics: Frame[qid, query]: every query that was asked, also those that found nothing.
        columns: One entry a stage, the first stage first.
        paths: The cascades that the table was made for, at least one.
        depth: How many documents of each query the first stage passed on at most; None: all that it retrieves.
        about: Where it comes from: collection, versions of packages, and the like.
        missing: For a table made of runs: what they lacked, see ``from_runs``.

    """

    frame: pd.DataFrame
    topics: pd.DataFrame
    columns: tuple[Column, ...]
    paths: tuple[Path, ...]
    depth: int | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    missing: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"stage": [], "queries": [], "pairs": [], "extra": []}))

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of all stages, the first one first."""
        return tuple(column.stage for column in self.columns)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The names of the columns of the frame that are not scores."""
        return OWN_COLUMNS if any("docid" in column.rule for column in self.columns) else OWN_COLUMNS[:-1]

    @property
    def failed(self) -> pd.DataFrame:
        """Frame[stage, qid, docno]: what a stage could not score; it ranks below the rest of its query, in the order it had."""
        lost = [(name, self.frame[np.isneginf(self.frame[name])]) for name in self.stages]
        return pd.concat([rows[["qid", "docno"]].assign(stage=name) for name, rows in lost])[["stage", "qid", "docno"]]

    @cached_property
    def queries(self) -> Ints:
        """Shape (rows,): the position of each row's query among the topics; -1 for none."""
        codes, found = pd.factorize(self.frame["qid"])
        places: Ints = np.append(pd.Index(self.topics["qid"]).get_indexer(found), -1)[codes].astype(np.int64)
        return places

    @cached_property
    def retrieved(self) -> Ints:
        """Shape (queries,): how many documents each query found."""
        return np.bincount(self.queries, minlength=len(self.topics))

    def find_path(self, stages: Sequence[str] | None = None) -> Path:
        """Return a path by its stages: one of the table's own, or any that begins with the first stage."""
        if stages is None:
            return self.paths[0]
        names = tuple(stages)
        own = next((path for path in self.paths if path.stages == names), None)
        if own is not None:
            return own
        if not set(names) <= set(self.stages) or names[:1] != self.stages[:1] or len(set(names)) < len(names):
            problem = f"its stages are {', '.join(self.stages)}; every path begins with {self.stages[0]!r}"
            raise TableError(f"the table has no path {' → '.join(map(str, names))}", [problem])
        return Path(names, (None,) * len(names), (None,) * (len(names) - 1))

    def __repr__(self) -> str:
        scored = ", ".join(f"{name} {int(np.isfinite(self.frame[name]).sum()):,}" for name in self.stages)
        return f"{type(self).__name__}({len(self.topics):,} queries; pairs scored: {scored})"
