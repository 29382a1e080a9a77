"""A saved score table as a PyTerrier Artifact, so that it is loaded, packed and published as indexes are."""

from __future__ import annotations

import pyterrier as pt

from pt_cascade.analysis.tables import ScoreTable


class ScoreTableArtifact(pt.Artifact):  # type: ignore[misc]
    """The folder that ``ScoreTable.save`` wrote, to be published with ``to_hf`` and had back with ``from_hf``, and the like.

    Example:
        >>> import pandas as pd
        >>> run = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "score": [2.0, 1.0]})
        >>> place = getfixture("tmp_path") / "table"
        >>> ScoreTable.from_runs({"bm25": run}).save(place)
        >>> pt.Artifact.load(str(place)).table()
        ScoreTable(1 queries; pairs scored: bm25 2)
    """

    ARTIFACT_TYPE = "score_table"
    ARTIFACT_FORMAT = "pt_cascade"

    def table(self) -> ScoreTable:
        """Read the table.

        Raises:
            TableError: It is damaged, truncated, foreign or of another format.
        """
        return ScoreTable.load(self.path)
