"""The text loader of a collection: it adds the text of each document, for stages that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import pyterrier as pt

from pt_cascade.cascade.columns import explain_columns
from pt_cascade.errors import StageError
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


class Texts(Protocol):
    """What a text loader reads: a ``Collection``, or texts on disk."""

    @property
    def name(self) -> str:
        """What they are texts of."""
        ...

    @property
    def fingerprint(self) -> str:
        """The hash of docnos and texts."""
        ...

    def find_texts(self, docnos: Iterable[str]) -> dict[str, str]:
        """Look up the texts of some documents, those that are there."""
        ...


@dataclass(frozen=True)
class TextLoader(pt.Transformer):  # type: ignore[misc]
    """Adds the text of each document to Frame[docno, ...]."""

    schematic: ClassVar[dict[str, str | None]] = {"label": "Text loader", "help_url": None}
    depends: ClassVar[str] = "pointwise"
    documents: ClassVar[str] = "reranks"

    collection: Texts

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add the column text to Frame[docno, ...]."""
        with explain_columns("text_loader", inp):
            pt.validate.columns(inp, includes=["docno"], context=self)
        text = inp["docno"].map(self.collection.find_texts(inp["docno"])) if len(inp) else inp["docno"]
        if (unknown := text.isna()).any():
            first = inp.loc[unknown.to_numpy(), "docno"].iloc[0]
            problem = f"{int(unknown.sum())} of {count_of(len(inp), 'row')}, first docno {first!r}"
            fix = f"open_collection(name).text_loader() of the collection that was searched, not {self.collection.name!r}"
            raise StageError(f"collection {self.collection.name!r} has no text of a document", [problem], fix=fix)
        return inp.assign(text=text)

    def identify(self) -> dict[str, str]:
        """Identify the texts that it adds by the content of their collection, which it reads."""
        return {"class": type(self).__name__, "collection": self.collection.fingerprint}
