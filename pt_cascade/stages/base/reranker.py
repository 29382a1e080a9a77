"""What every re-ranking stage shares: it gives each row a score and leaves the rest of the frame as it was."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyterrier as pt

from pt_cascade.errors import StageError
from pt_cascade.frames import check_text
from pt_cascade.ranking import rescore
from pt_cascade.stages.base.identity import SPEED_FIELDS, WEIGHT_FIELDS, identify, stamp_weights

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.base.identity import Identity


class Reranker(pt.Transformer):  # type: ignore[misc]
    """A PyTerrier transformer that scores the rows it is given: none lost, none added, none moved.

    A subclass is a frozen dataclass of plain arguments, so that two stages built alike are equal. It loads its model in a
    ``functools.cached_property``, when first asked for a score; the model does not travel in a pickle.

    Attributes:
        depends: What a score depends on: ``pointwise`` (query, document), ``pairwise`` or ``listwise``.
        documents: ``reranks``: the documents that come out are those that went in.
        stage_name: What a cascade calls it.
        speed_fields: Arguments that change when a score comes, not what it is.
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
        """Name the columns that must be there beside qid and docno."""
        return ["query", "text"]

    def reads(self) -> list[str]:
        """Name the columns that, with the query, tell one score from another; one that is not there is passed over."""
        return [column for column in self.needs() if column != "query"] or ["docno"]

    def identify(self) -> Identity:
        """Tell all that its scores depend on beside the query and the document, for those who keep them.

        Returns:
            Words by name, e.g. the class, the hash of the model's weights, the limits; no speed fields.

        Raises:
            MissingError: The revision of a model is unknown.
            PipelineError: An argument has no value to tell it by.
            StageError: The files of the model were written to after it was loaded, so that nobody knows which scores these are.
        """
        if self.__dict__.get("_loaded_from", now := stamp_weights(self)) != now:
            problem = "the files of its model were written to after it was loaded"
            raise StageError(f"stage {self.stage_name!r} is not what its files say", [problem], fix="make the stage anew")
        return identify(self)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Give every row its score and its rank, and keep every other column.

        Args:
            inp: Frame[qid, docno, ...] with the columns of ``needs``.

        Returns:
            The same rows in the same order, with score and rank.
        """
        pt.validate.result_frame(inp, extra_columns=self.needs(), context=self)
        for column in self.needs():
            check_text(inp, column, self.stage_name)
        scores = self.score(inp) if len(inp) else np.empty(0)
        if len(inp):
            self.note_files()
        return rescore(inp, scores)

    def note_files(self) -> None:
        """Note from which files the model was loaded, after it was first asked; ``identify`` refuses others from then on."""
        if "_loaded_from" not in self.__dict__:
            self.__dict__["_loaded_from"] = stamp_weights(self)

    def __getstate__(self) -> dict[str, object]:
        """Pickle the arguments only: a copy loads its own model."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
