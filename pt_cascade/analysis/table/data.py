"""The score of each pair at each stage: the data of a score table."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.grid.cutoffs import as_tuple
from pt_cascade.analysis.table.tie_rules import EVERY_RULE, PLAIN, Order, TieRule
from pt_cascade.errors import TableError, did_you_mean
from pt_cascade.numbers import count_of, is_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pt_cascade.ranking import Ints

OWN_COLUMNS = ("qid", "docno", "rank", "docid")


@dataclass(frozen=True)
class Column:
    """One stage of a table, but for its scores."""

    stage: str  # its name, and that of its column of scores
    rule: TieRule = PLAIN  # the order of its rows and of equal scores
    fingerprint: str = ""  # a hash of the stage, to compare the stages of two tables; empty: unknown
    described: str = ""  # e.g. the ``repr`` of its transformers

    def __post_init__(self) -> None:
        """Refuse a name or rule that a table cannot have."""
        problems = (
            [] if self.stage and self.stage not in OWN_COLUMNS else [f"{self.stage!r} is the name of another column of the table"]
        )
        if not self.stage.isprintable():
            problems.append("its name holds a character that is not printed")
        if self.rule not in EVERY_RULE:
            problems.append(f"the tie rule is {self.rule!r}, expected two of {', '.join(get_args(Order))}")
        if problems:
            fix = f"give it another name, such as '{self.stage}_1'" if self.stage in OWN_COLUMNS else ""
            raise TableError(f"stage {self.stage!r} cannot be in a table", problems, fix=fix)


@dataclass(frozen=True)
class Path:
    """One cascade of a table: some of its stages in order."""

    stages: tuple[str, ...]  # the table's first stage first
    cutoffs: tuple[int | None, ...]  # the cascade's own, one a stage
    depths: tuple[int | None, ...] = ()  # the deepest cut-off of each stage but the last that was scored for; None: all
    live: str = ""  # the name of a last stage that depends on the whole list: not in the table, run live; usually empty


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """The score of each (query, document) pair at each stage: the data of ``ScoreTable``, unchecked.

    Attributes:
        frame: Frame[qid, docno, rank, <stage>...], a row for each document that the first stage retrieved: queries in the order of
            the topics, rows of a query in the order in which the first stage returned them; ``rank`` is the first stage's, from 0;
            each stage has a column of float64 scores under its name: NaN was not scored, -inf failed;
            ``docid`` where the tie rule of a stage needs it.
        topics: Frame[qid, query]: all queries, also those without results.
        columns: One entry a stage, the first stage first.
        paths: The cascades that the table was made for, at least one.
        depth: How many documents of each query the first stage passed on at most; None: all that it retrieves.
        about: Its origin: collection, versions of packages, and the like.
        missing: For a table made of runs: what they lack, see ``from_runs``.
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
        """Frame[stage, qid, docno]: pairs that a stage could not score; they rank below the rest of their query."""
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
        """Shape (queries,): how many documents each query retrieved."""
        return np.bincount(self.queries, minlength=len(self.topics))

    def find_path(self, stages: Sequence[str] | None = None) -> Path:
        """Return a path by its stages: one of the table's own, or any that begins with the first stage."""
        if stages is None:
            return self.paths[0]
        names = as_tuple(stages)
        known = all(is_word(name, self.stages) for name in names)
        own = next((path for path in self.paths if known and path.stages == names), None)
        if own is not None:
            return own
        if not known or names[:1] != self.stages[:1] or len(set(names)) < len(names):
            problem = f"its stages are {', '.join(self.stages)}; every cascade begins with {self.stages[0]!r}"
            problem += next((did_you_mean(name, self.stages) for name in names if not is_word(name, self.stages)), "")
            raise TableError(f"the table has no cascade {' → '.join(map(str, names))}", [problem])
        return Path(names, (None,) * len(names), (None,) * (len(names) - 1))

    def __repr__(self) -> str:
        scored = ", ".join(f"{name} {int(np.isfinite(self.frame[name]).sum()):,}" for name in self.stages)
        return f"{type(self).__name__}({count_of(len(self.topics), 'query')}; pairs scored: {scored})"
