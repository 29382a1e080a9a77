"""A score table: what ranking any cut-off vector makes of the scores; saved as a PyTerrier Artifact."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pyterrier as pt

from pt_cascade.analysis.table.checks import check_scores
from pt_cascade.analysis.table.data import Scores
from pt_cascade.frames import canonical_topics

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from pt_cascade.analysis.grid.cutoffs import Cutoff, Tail
    from pt_cascade.analysis.table.from_runs import Missing


@dataclass(frozen=True, eq=False, repr=False)
class ScoreTable(Scores, pt.Artifact):  # type: ignore[misc]
    """Each (query, document) pair's score at each stage, once: any cut-off vector's ranking follows without running a model.

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
        path: The folder that it was saved to or loaded from, which ``to_hf`` and other methods of a PyTerrier Artifact publish;
            ``pt.Artifact.NO_PATH`` before.

    Raises:
        TableError: The frame does not fit the rest, all reasons at once.

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
        """Refuse what cannot be replayed."""
        object.__setattr__(self, "topics", canonical_topics(self.topics))
        check_scores(self)

    @classmethod
    def of(cls, scores: Scores, path: Path = pt.Artifact.NO_PATH) -> ScoreTable:
        """Make a table of scores, which are checked."""
        return cls(**{field.name: getattr(scores, field.name) for field in fields(Scores)}, path=path)

    def replay(self, cutoffs: Sequence[Cutoff], *, tail: Tail = "drop", stages: Sequence[str] | None = None) -> pd.DataFrame:
        """Give the ranking that the live cascade gives at these cut-offs, without running anything.

        Args:
            cutoffs: One a stage, each 1 or more, or None for no cut.
            tail: ``drop``: what a stage cuts is gone, as with PyTerrier's ``%``; ``keep``: it follows below, see ``run``.
            stages: Which path; None: the table's first.

        Returns:
            Frame[qid, query, docno, score, rank] (and ``cut_by`` for ``tail="keep"``), each query's rows in the order of the live
            cascade. What the first stage found beyond the table's ``depth`` is in no tail.

        Raises:
            TableError: The table does not cover these cut-offs; the call that would is named.
        """
        from pt_cascade.analysis.replay.replay import replay  # noqa: PLC0415 - numba loads when first needed

        return replay(self, cutoffs, tail=tail, stages=stages)

    def covers(self, cutoffs: Sequence[Cutoff], *, stages: Sequence[str] | None = None) -> bool:
        """Tell whether every pair that the cascade would score at these cut-offs is in the table.

        Args:
            cutoffs: One a stage, each 1 or more, or None for no cut.
            stages: Which path; None: the table's first.
        """
        from pt_cascade.analysis.replay.replay import covers  # noqa: PLC0415 - numba loads when first needed

        return covers(self, cutoffs, stages=stages)

    def save(self, path: str | os.PathLike[str]) -> ScoreTable:
        """Write the table to a new folder, Parquet inside; ``table.save("t").to_hf("me/t")`` publishes it.

        Args:
            path: A folder that does not exist yet.

        Returns:
            The same table, which knows its path.

        Raises:
            TableError: There is something already.
        """
        from pt_cascade.analysis.table.storage import save_table  # noqa: PLC0415 - pyarrow loads when first needed

        save_table(self, path)
        return replace(self, path=Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ScoreTable:
        """Read a table that ``save`` wrote, as ``pt.Artifact.load`` does.

        Args:
            path: Its folder.

        Raises:
            TableError: It is damaged, truncated, foreign or of another format.
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
        """Make a table of TREC runs made elsewhere: the first is the first stage's, the others score its documents.

        Args:
            runs: Stage name → Frame[qid, docno, score, ...] or a file in the TREC format.
            topics: Frame[qid, query]; None: the queries of the first run, in its order, without text.
            missing: What becomes of a first-stage document that a later run lacks: ``refuse``: an error that counts them;
                ``leave``: it stays unscored, and the table refuses the cut-offs that would need it; ``last``: it ranks below all
                that the run scored for the query, in its old order.

        Raises:
            TableError: A run lacks documents, and ``missing`` is ``refuse``; or the runs share none.
        """
        from pt_cascade.analysis.table.from_runs import import_runs  # noqa: PLC0415 - the less common way in

        return ScoreTable.of(import_runs(runs, topics, missing=missing))
