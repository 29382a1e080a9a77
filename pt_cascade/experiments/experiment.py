"""An experiment of a YAML file, opened: its systems for ``pt.Experiment``, and its run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyterrier as pt

from pt_cascade.errors import did_you_mean
from pt_cascade.experiments.documents import Document
from pt_cascade.experiments.folder import Results, read_results, write_results
from pt_cascade.experiments.material import Material
from pt_cascade.experiments.schema import ExperimentFile
from pt_cascade.experiments.systems import list_systems, normalise_row
from pt_cascade.files import to_path

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pt_cascade.experiments.systems import System
    from pt_cascade.experiments.verification import Check
    from pt_cascade.files import PathLike


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment of a YAML file.

    Attributes:
        path: The file.
        file: What it says.
        verbose: Show progress.
    """

    path: Path
    file: ExperimentFile
    verbose: bool = False

    @property
    def name(self) -> str:
        """The name of the file without its ending."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """Where results are written by default: ``results/NAME`` beside the file."""
        return self.path.parent / "results" / self.name

    @cached_property
    def material(self) -> Material:
        """The collection, or the judgments of the runs."""
        return Material.open(self.file, self.path, verbose=self.verbose)

    @cached_property
    def combinations(self) -> list[System]:
        """The combinations of stages, each with its cut-offs and fusions."""
        return list_systems(self.file)

    def line(self, check: Check) -> int:
        """Return the line of an expected number in the file."""
        return Document(self.path).line(("expected", check.part, check.row, check.column))

    @property
    def topics(self) -> pd.DataFrame:
        """Frame[qid, query]: the queries that are run; of runs without text."""
        topics = self.material.topics
        return self.material.table(self.combinations[0]).topics if topics is None else topics

    @property
    def qrels(self) -> pd.DataFrame:
        """Frame[qid, docno, label]."""
        return self.material.qrels

    def systems(self) -> dict[str, pt.Transformer]:
        """Return every system, at each of its cut-offs and fusions, as a PyTerrier pipeline under its name.

        A published run is a transformer that returns its documents.

        Returns:
            A dict: ``pt.Experiment([*systems.values()], experiment.topics, experiment.qrels, measures, names=[*systems])``.
        """
        made: dict[str, pt.Transformer] = {}
        for system in self.combinations:
            cascade = self.material.cascade(system)
            for vector in system.vectors:
                for fusion in system.fusions:
                    name = system.row(vector, fusion)
                    if cascade is None:
                        replayed = self.material.table(system).replay(vector, fusion=fusion, stages=self.material.stages(system))
                        made[name] = pt.Transformer.from_df(replayed)
                    else:
                        made[name] = cascade.with_cutoffs(*vector).fused(fusion).pipeline()
        return made

    def run(self, folder: PathLike | None = None) -> Results:
        """Score, measure, choose and prune as the file says, and write it to a folder; kept scores are not computed again.

        Args:
            folder: Where to write; None: ``results/NAME`` beside the file.

        Returns:
            The numbers, and what they depend on.
        """
        return write_results(self.material, self.folder if folder is None else to_path(folder, "write"))

    def last_results(self) -> Results | None:
        """Return the results of the last run in the default folder; None: not run there yet."""
        return read_results(self.folder)


def open_experiment(path: PathLike, *, verbose: bool = False) -> Experiment:
    r"""Open an experiment of a YAML file; nothing is built or run yet.

    Args:
        path: The file.
        verbose: Show progress of what is built and run later.

    Returns:
        The experiment.

    Raises:
        ExperimentError: The file is not valid; all problems are listed, each with its line.
        MissingError: There is no such file.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> text = "title: BM25\ncollection: pydocs\nstages: [{stage: bm25, cutoff: [10, 100]}]\nmeasures: nDCG@10"
        >>> file = Path(mkdtemp(), "first.yaml")
        >>> written = file.write_text(text, encoding="utf-8")
        >>> [*open_experiment(file).systems()]
        ['bm25 → 10', 'bm25 → 100']
    """
    document = Document(path)
    opened = Experiment(document.path, document.read(ExperimentFile), verbose)
    if opened.file.baseline is not None and not opened.file.script:
        row = normalise_row(opened.file.baseline)
        rows = [one.row(cut, fused) for one in opened.combinations for cut in one.vectors for fused in one.fusions]
        if row not in rows:
            raise document.refuse([(("baseline",), f"there is no system {row!r} to compare with{did_you_mean(row, rows)}")])
    return opened
