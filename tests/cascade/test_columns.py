"""A stage whose input lacks a column: the error names stage, column and cure, and each cure is tried."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest
from toys.counted import TOPICS, collection
from toys.rankers import ToyRetriever

from pt_cascade import Cascade
from pt_cascade.cascade.columns import ColumnsError
from pt_cascade.cascade.stage import Stage
from pt_cascade.errors import CascadeError, FrameError, StageError
from pt_cascade.stages.base.reranker import Reranker

FOUND = pd.DataFrame({"qid": ["1", "1"], "query": "sort", "docno": ["d1", "d3"], "score": [2.0, 1.0], "rank": [0, 1]})
RETRIEVER = pt.Transformer.from_df(FOUND)
EVERY = ["qid", "query", "docno", "score", "rank"]


class Reader(Reranker):
    """Scores by the length of a text and of further columns."""

    stage_name = "reader"

    def __init__(self, *columns: str) -> None:
        """Read these columns."""
        self.columns = columns

    def needs(self) -> list[str]:
        """Name the columns."""
        return list(dict.fromkeys(["query", *self.columns]))

    def score(self, results: pd.DataFrame) -> Any:
        """Add up the lengths."""
        return sum(results[column].str.len() for column in self.columns).to_numpy(float)


CURES: dict[str, tuple[pt.Transformer, pd.DataFrame, str, str, Callable[[pt.Transformer], pt.Transformer]]] = {
    "text": (
        RETRIEVER >> Reader("text"),
        TOPICS,
        "stage 'reader' cannot run: it needs column text; its input has qid, query, docno, score, rank",
        "put ptc.open_collection(name).text_loader() before it, of the collection that was searched",
        lambda reader: RETRIEVER >> collection().text_loader() >> reader,
    ),
    "another column": (
        RETRIEVER >> Reader("note", "sign"),
        TOPICS,
        "stage 'reader' cannot run: it needs columns note, sign; its input has qid, query, docno, score, rank",
        "put pt.apply.note(lambda row: ...) before it, or give the topics a column note",
        lambda reader: RETRIEVER >> pt.apply.note(lambda row: row["docno"]) >> pt.apply.sign(lambda _: "+") >> reader,
    ),
    "docno": (
        Reader("query"),
        TOPICS,
        "stage 'reader' cannot run: it needs column docno; its input has qid, query",
        "put a retriever before it, e.g. bm25(index) % 100 >> stage",
        lambda reader: RETRIEVER % 100 >> reader,
    ),
    "query": (
        Reader("query"),
        FOUND.drop(columns="query"),
        "stage 'reader' cannot run: it needs column query; its input has qid, docno, score, rank",
        'give the topics a column query, e.g. pd.DataFrame({"qid": ["1"], "query": ["heat flow"]})',
        lambda reader: pt.apply.generic(lambda rows: rows.assign(query="heat flow")) >> reader,
    ),
}


@pytest.mark.parametrize("lacking", CURES)
def test_a_stage_names_the_column_that_it_lacks_and_its_cure_works(lacking: str) -> None:
    """As an error of ours that PyTerrier's inspection reads too; with the cure the pipeline ranks."""
    pipeline, given, message, fix, cure = CURES[lacking]
    with pytest.raises(ColumnsError) as error:
        pipeline(given)
    assert isinstance(error.value, StageError)
    assert isinstance(error.value, pt.validate.InputValidationError)
    assert str(error.value) == f"{message}. Fix: {fix}"
    reader = pipeline[-1] if isinstance(pipeline, pt.Compose) else pipeline
    assert cure(reader)(given)["rank"].tolist() in ([0, 1], [1, 0])
    copy = pickle.loads(pickle.dumps(error.value))  # noqa: S301 - our own
    assert str(copy) == str(error.value)


def test_a_missing_query_of_another_package_is_not_cured_by_texts() -> None:
    """Topics without ``query`` reach a retriever: the error asks for the column of the topics; with it the cascade runs."""
    cascade = Cascade.of(ToyRetriever() % 2)
    for run in (cascade.transform, lambda topics: cascade.transform(topics.assign(number=1))):
        with pytest.raises(CascadeError) as error:
            run(TOPICS.rename(columns={"query": "title"}))
        assert "query" in error.value.fix
        assert "text" not in error.value.fix
    assert len(cascade.transform(TOPICS)) == 4


def test_a_retriever_that_is_given_documents_says_so() -> None:
    """A transformer that takes topics only, with either column of the query; without the document's column it runs."""

    def retrieve(rows: pd.DataFrame) -> pd.DataFrame:
        with pt.validate.any(rows) as ways:
            ways.query_frame(["query"])
            ways.query_frame(["query_toks"])
        return FOUND

    retriever = pt.apply.generic(retrieve)
    cascade = Cascade((*Cascade.of(RETRIEVER % 2), Stage("again", (retriever,), documents="any")))
    with pytest.raises(StageError) as error:
        cascade.transform(TOPICS.head(1))
    assert "needs no column docno or column query_toks and no column docno; its input has qid" in str(error.value)
    assert error.value.fix == "put pt.apply.docno(drop=True) before it"
    assert len((pt.Transformer.from_df(FOUND) >> pt.apply.docno(drop=True) >> retriever)(TOPICS.head(1))) == 2


def test_a_missing_text_is_cured_by_the_text_loader() -> None:
    """A row without text is refused by name, and its cure, the loader of the collection, is tried."""
    reader = Reader("text")
    with pytest.raises(FrameError) as error:
        reader.transform(FOUND.assign(text=["a", None]))
    assert error.value.fix.startswith("put ptc.open_collection(name).text_loader() before it")
    out = (collection().text_loader() >> reader).transform(FOUND.assign(text=["a", None]))
    assert out["score"].tolist() == [35.0, 14.0]
