"""Windows of words: documents cut into passages, and scores of passages put together, as PyTerrier does both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.errors import FrameError, did_you_mean
from pt_cascade.guards import show_rows
from pt_cascade.numbers import is_whole, is_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.ranking import Ints

Take: TypeAlias = Literal["max", "first", "mean", "kmax"]
_MARK = "%p"  # between a docno and the number of a passage, as pt.text.sliding writes it
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Windows:
    """How documents are cut into passages, and what they take of their scores; ``passages`` explains the fields."""

    length: int
    stride: int
    take: Take
    k: int | None
    text_field: str
    title_field: str | None

    def find_problems(self) -> Iterator[str]:
        """Name the fields that are out of range."""
        if not is_whole(self.length, least=1):
            yield f"length is {self.length!r}, expected a whole number of words, 1 or more"
        elif not (is_whole(self.stride, least=1) and self.stride <= self.length):
            yield f"stride is {self.stride!r}, expected 1 to the length, {self.length}: a larger one skips words"
        if not is_word(self.take, get_args(Take)):
            yield f"take is {self.take!r}, expected one of {', '.join(get_args(Take))}{did_you_mean(self.take, get_args(Take))}"
        if self.k is not None if self.take != "kmax" else not is_whole(self.k, least=1):
            yield f"k is {self.k!r} with take={self.take!r}, expected 1 or more with 'kmax', else None"

    def count(self, documents: pd.DataFrame) -> Ints:
        """Count the passages of each document that are scored: shape (n,)."""
        if self.take == "first":
            return np.ones(len(documents), np.int64)
        words = np.array([len(_SPACE.split(text)) for text in documents[self.text_field]], np.int64)
        return np.maximum((words - self.length) // self.stride + 1, 1)

    def cut(self, documents: pd.DataFrame, stage: str) -> tuple[pd.DataFrame, Ints]:
        """Cut each document into passages; return them, with the columns of their documents, and the row of each one's document."""
        if (odd := documents["docno"].str.contains(_MARK, regex=False).to_numpy(bool)).any():
            problem = f"a docno holds {_MARK!r}, as that of a passage does{show_rows(documents, odd)}"
            fix = f"results.assign(docno=results['docno'].str.replace('{_MARK}', '-p'))"
            raise FrameError(f"stage {stage!r} cannot cut its documents into passages", [problem], fix=fix)
        texts = pd.DataFrame({"docno": np.arange(len(documents)).astype(str), "text": documents[self.text_field].to_numpy(object)})
        if self.title_field:
            texts["title"] = documents[self.title_field].to_numpy(object)
        title = "title" if self.title_field else None
        cut = pt.text.sliding("text", self.length, self.stride, prepend_attr=title).transform(texts)  # no qid: no progress bar
        number = cut["docno"].str.split(_MARK, expand=True)
        if self.take == "first":
            cut, number = cut[number[1] == "0"], number[number[1] == "0"]
        document = number[0].to_numpy().astype(np.int64)
        passages = documents.drop(columns=self.text_field).iloc[document].reset_index(drop=True)
        docno = passages["docno"] + _MARK + number[1].to_numpy()
        return passages.assign(**{"docno": docno, self.text_field: cut["text"].to_numpy()}), document

    def aggregate(self, answer: pd.DataFrame) -> pd.DataFrame:
        """Give each document the score of its passages, Frame[qid, docno, score, rank], by qid and docno."""
        take = {"max": pt.text.max_passage, "mean": pt.text.mean_passage, "first": pt.text.first_passage}
        aggregation = pt.text.kmaxavg_passage(self.k) if self.take == "kmax" else take[self.take]()
        taken: pd.DataFrame = aggregation.transform(answer[["qid", "docno", "score"]])
        return taken
