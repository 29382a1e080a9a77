"""The base class of re-ranking stages: each row gets a score, and the rest of the frame stays as it was."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyterrier as pt

from pt_cascade.cascade.columns import check_input
from pt_cascade.errors import naming
from pt_cascade.ranking import rescore
from pt_cascade.stages.base.identity import SPEED_FIELDS, WEIGHT_FIELDS, check_files, identify

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.base.identity import Identity


class Reranker(pt.Transformer):  # type: ignore[misc]
    """A PyTerrier transformer that scores the rows of its input; it keeps all rows and their order.

    A subclass is a frozen dataclass of plain arguments, so that two stages built alike are equal. It loads its model in a
    ``functools.cached_property``, when first asked for a score; a pickle does not contain the model.

    Attributes:
        depends: What a score depends on: ``pointwise`` (query, document), ``pairwise`` or ``listwise``.
        documents: ``reranks``: the documents that come out are those that went in.
        stage_name: Its name in a cascade.
        speed_fields: Arguments that change how fast a score is computed, not the score.
        weight_fields: Arguments that name a model, by a folder or on the hub.
    """

    depends: ClassVar[str] = "pointwise"
    documents: ClassVar[str] = "reranks"
    stage_name: ClassVar[str]
    speed_fields: ClassVar[frozenset[str]] = SPEED_FIELDS
    weight_fields: ClassVar[frozenset[str]] = WEIGHT_FIELDS

    @abstractmethod
    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row.

        Args:
            results: Frame[qid, query, docno, ...], at least one row, with the columns of ``needs``.

        Returns:
            Shape (n,), finite, in row order; higher is better.
        """

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        return ["query", "text"]

    def reads(self) -> list[str]:
        """Name the columns that, with the query, distinguish one score from another; a missing one is skipped."""
        return [column for column in self.needs() if column != "query"] or ["docno"]

    def identify(self) -> Identity:
        """Identify all that its scores depend on beside the query and the document, as text by name, e.g. its model's weights."""
        return identify(self)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score and its rank, and keep every other column.

        Args:
            inp: Frame[qid, docno, ...] with the columns of ``needs``.

        Returns:
            The same rows in the same order, with score and rank.

        Raises:
            CascadeError: The model cannot be loaded or run, or its files were written to after it was loaded.
        """
        check_input(self, inp, self.needs(), self.needs())
        if not len(inp):
            return rescore(inp, np.empty(0))
        with naming(self.stage_name):
            check_files(self)
            scores = self.score(inp)
            check_files(self)  # weights are mapped from the disk: what was written meanwhile may have been read
        return rescore(inp, scores)

    def __getstate__(self) -> dict[str, object]:
        """Pickle the arguments only: a copy loads its own model."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
