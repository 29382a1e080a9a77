"""What an experiment reads: its judgments, and for each of its systems a cascade and a table of scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.collections import open_collection
from pt_cascade.execution.composing import parse_cascade
from pt_cascade.execution.defaults import score_collection
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.experiments.cascade_file import find_collection, find_path, set_options
from pt_cascade.experiments.systems import list_systems
from pt_cascade.trec import read_qrels

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.cascade import Cascade
    from pt_cascade.collections import Collection
    from pt_cascade.experiments.schema import ExperimentFile
    from pt_cascade.experiments.systems import System


@dataclass(frozen=True, eq=False)
class Material:
    """The inputs of an experiment, each opened once.

    Attributes:
        file: The experiment.
        path: Its file.
        collection: None with runs.
        qrels: Frame[qid, docno, label].
        topics: Frame[qid, query], those that are run; None with runs.
        verbose: Show progress.
    """

    file: ExperimentFile
    path: Path
    collection: Collection | None
    qrels: pd.DataFrame
    topics: pd.DataFrame | None
    verbose: bool = False

    @classmethod
    def open(cls, file: ExperimentFile, path: Path, *, verbose: bool = False) -> Material:
        """Open the collection, or read the judgments of the runs; a script has neither."""
        if file.script:
            return cls(
                file, path, None, pd.DataFrame({"qid": [], "docno": [], "label": []}), pd.DataFrame({"qid": [], "query": []})
            )
        if file.collection is None:
            return cls(file, path, None, read_qrels(find_path(file.qrels or "", path)), None, verbose)
        collection = open_collection(find_collection(file.collection, path))
        topics = collection.judged(file.queries)
        return cls(file, path, collection, collection.qrels[collection.qrels["qid"].isin(topics["qid"])], topics, verbose)

    @cache  # noqa: B019 - lives as long as the experiment runs
    def cascade(self, system: System) -> Cascade | None:
        """Build a system's cascade at its deepest cut-offs; None with runs."""
        if self.collection is None:
            return None
        cascade = parse_cascade(system.line(), self.collection, engine=self.file.engine, verbose=self.verbose)
        return set_options(cascade, self.file.options)

    def chain(self, system: System) -> System:
        """Return the longest system that begins with this one: its table has the scores of both."""
        return max((one for one in list_systems(self.file) if system.begins(one)), key=lambda one: len(one.stages))

    def stages(self, system: System) -> tuple[str, ...]:
        """Return the names that the table has for the stages of a system."""
        return self.table(system).stages[: len(system.stages)]

    def table(self, system: System) -> ScoreTable:
        """Return the scores of a system, which are in the table of its chain."""
        return self._score(self.chain(system))

    @cache  # noqa: B019 - lives as long as the experiment runs
    def _score(self, system: System) -> ScoreTable:
        """Score a system, or read its scores where they are kept; or import its runs."""
        if self.collection is None or self.topics is None:
            runs = self.file.runs or {}
            return ScoreTable.from_runs(
                {name: find_path(runs[name], self.path) for name in system.stages}, missing=self.file.missing
            )
        cascade = self.cascade(system)
        assert cascade is not None  # noqa: S101 - for mypy: there is a collection
        return score_collection(self.collection, cascade, self.topics, verbose=self.verbose)
