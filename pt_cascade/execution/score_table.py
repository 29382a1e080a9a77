"""The score table, with replay at any cut-offs, as a PyTerrier Artifact."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.analysis.table.checks import check_scores
from pt_cascade.analysis.table.data import Scores
from pt_cascade.frames import canonical_topics
from pt_cascade.markup import Shown, Table

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Cutoff, Tail
    from pt_cascade.analysis.pruning.rules import Rule
    from pt_cascade.analysis.table.from_runs import Missing


@dataclass(frozen=True, eq=False, repr=False)
class ScoreTable(Shown, Scores, pt.Artifact):  # type: ignore[misc]
    """The score of each (query, document) pair at each stage, from which the ranking at any cut-offs follows.

    Attributes:
        frame: Frame[qid, docno, rank, <stage>...], a row for each retrieved document, in the order of the topics and then of the
            first stage; ``rank`` is the first stage's, from 0; each stage has a float64 column of scores: NaN if not scored, -inf
            if failed; ``docid`` if a tie rule needs it.
        topics: Frame[qid, query]: all queries, also those without documents.
        columns: One entry a stage, the first stage first.
        paths: The cascades that the table was made for, at least one.
        depth: How many documents of each query the first stage passed on; None: all.
        about: The origin: collection, versions of packages, and so on.
        missing: For a table of runs: the missing documents, see ``from_runs``.
        path: The folder that it was saved to or loaded from, which ``to_hf`` publishes; ``pt.Artifact.NO_PATH`` before.

    Raises:
        TableError: The frame does not fit the other fields.

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.analysis.table.data import Column, Path as Stages
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [0.1, 0.9]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> table = ScoreTable(frame, topics, (Column("bm25"), Column("t5")), (Stages(("bm25", "t5"), (2, 1)),))
        >>> table.replay((2, 1))["docno"].tolist(), table.replay((1, 1))["docno"].tolist()
        (['b'], ['a'])
    """

    path: Path = pt.Artifact.NO_PATH

    ARTIFACT_TYPE: ClassVar[str] = "score_table"
    ARTIFACT_FORMAT: ClassVar[str] = "pt_cascade"

    def __post_init__(self) -> None:
        """Check the fields."""
        object.__setattr__(self, "topics", canonical_topics(self.topics))
        check_scores(self)

    @classmethod
    def of(cls, scores: Scores, path: Path = pt.Artifact.NO_PATH) -> ScoreTable:
        """Make a table from data."""
        return cls(**{field.name: getattr(scores, field.name) for field in fields(Scores)}, path=path)

    def replay(
        self,
        cutoffs: Sequence[Cutoff],
        *,
        tail: Tail = "drop",
        stages: Sequence[str] | None = None,
        fusion: StageFusion | None = None,
        prune: Mapping[str, Rule] | None = None,
    ) -> pd.DataFrame:
        """Return the ranking of the live cascade at these cut-offs, without running a model.

        Args:
            cutoffs: One a stage, each 1 or more, or None for no cut.
            tail: ``drop`` or ``keep``, as in ``run``; without documents beyond the table's ``depth``.
            stages: The names of a path's stages; None: the table's first path.
            fusion: Of the stages' scores, as ``cascade.fusion``; None: the last stage's own ranking.
            prune: By stage, the rule that chooses each query's cut-off, at most that of ``cutoffs``; as ``ptc.prune``.

        Returns:
            Frame[qid, query, docno, score, rank] (and ``cut_by`` for ``tail="keep"``). The rows stand as the live cascade returns
            them, which may be in the order of its first stage; ``.sort_values(["qid", "rank"])`` lists each query from rank 0.

        Raises:
            TableError: The table does not cover these cut-offs.
            SweepError: A rule is of a stage that there is not.
        """
        from pt_cascade.analysis.replay.replay import replay  # noqa: PLC0415 - numba loads when first needed

        return replay(self, cutoffs, tail=tail, stages=stages, fusion=fusion, prune={} if prune is None else prune)

    def covers(self, cutoffs: Sequence[Cutoff], *, stages: Sequence[str] | None = None) -> bool:
        """Whether the table has every pair that the cascade would score at these cut-offs.

        Args:
            cutoffs: One a stage, each 1 or more, or None for no cut.
            stages: The names of a path's stages; None: the table's first path.
        """
        from pt_cascade.analysis.replay.replay import covers  # noqa: PLC0415 - numba loads when first needed

        return covers(self, cutoffs, stages=stages)

    def tabulate(self) -> Table:
        """Return how many pairs each stage scored, and could not score, for a notebook or a paper."""
        scores = self.frame[list(self.stages)]
        counts = {"pairs scored": np.isfinite(scores).sum(), "failed": np.isneginf(scores).sum()}
        frame = pd.DataFrame(counts).rename_axis("stage").reset_index()
        return Table(frame, f"Scores of {len(self.topics):,} queries", dict.fromkeys(counts, "{:,}".format))

    def save(self, path: str | os.PathLike[str]) -> ScoreTable:
        """Write the table to a new folder; ``table.save("t").to_hf("me/t")`` publishes it.

        Args:
            path: A folder that does not exist yet.

        Returns:
            The same table with its path.

        Raises:
            TableError: The path exists.
        """
        from pt_cascade.analysis.table.storage import save_table  # noqa: PLC0415 - pyarrow loads when first needed

        save_table(self, path)
        return replace(self, path=Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ScoreTable:
        """Read a saved table, as ``pt.Artifact.load`` does.

        Args:
            path: Its folder.

        Raises:
            TableError: It is damaged or not a table.
        """
        from pt_cascade.analysis.table.storage import load_table  # noqa: PLC0415 - pyarrow loads when first needed

        return cls.of(load_table(path), Path(path))

    @staticmethod
    def from_runs(
        runs: Mapping[str, pd.DataFrame | str | os.PathLike[str]],
        topics: pd.DataFrame | None = None,
        *,
        missing: Missing = "refuse",
    ) -> ScoreTable:
        """Make a table from TREC runs: the first stage's first, then those that score its documents.

        Args:
            runs: Stage name → Frame[qid, docno, score, ...] or a file in the TREC format.
            topics: Frame[qid, query]; None: the queries of the first run, in its order, without text.
            missing: For first-stage documents that a later run lacks: ``refuse``: an error; ``leave``: no score, and cut-offs that
                need one are refused; ``last``: they rank below the run's documents in their old order.

        Raises:
            TableError: A run lacks documents and ``missing`` is ``refuse``, or the runs share no documents.
        """
        from pt_cascade.analysis.table.from_runs import import_runs  # noqa: PLC0415 - loads when first needed

        return ScoreTable.of(import_runs(runs, topics, missing=missing))
