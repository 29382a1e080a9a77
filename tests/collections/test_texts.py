"""The text loader of a collection: the texts of its documents, read once, and the same by PyTerrier's own function."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.counted import TEXTS, collection
from toys.folders import write_folder

from pt_cascade.collections import open_collection
from pt_cascade.collections.texts import TextLoader
from pt_cascade.errors import CollectionError, StageError


@given(st.lists(st.tuples(st.sampled_from("12"), st.sampled_from(sorted(TEXTS))), max_size=9, unique=True), st.randoms())
def test_a_text_loader_adds_texts_and_changes_nothing_else(pairs: list[tuple[str, str]], random: object) -> None:
    """Same rows, same order, same index, same columns; each row has its own document's text. Golden: the dict of texts."""
    index = random.sample(range(99), len(pairs))
    frame = pd.DataFrame(pairs, columns=["qid", "docno"], index=index).astype(str).assign(score=1.5, rank=3, text="old")
    before = frame.copy(deep=True)
    out = TextLoader(collection()).transform(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert [*out.columns] == [*before.columns]
    pd.testing.assert_frame_equal(out.drop(columns="text"), before.drop(columns="text"))
    assert out["text"].tolist() == [TEXTS[docno] for _, docno in pairs]


def test_a_text_loader_reads_its_collection_once() -> None:
    """And not before the first row: 0 rows give 0 rows with text, and read nothing."""
    toy = collection()
    loader = TextLoader(toy)
    empty = loader.transform(pd.DataFrame({"qid": [], "docno": []}, dtype=str))
    assert ([*empty.columns], len(empty), toy.documents.reads) == (["qid", "docno", "text"], 0, 0)
    for _ in range(2):
        loader.transform(pd.DataFrame({"docno": ["d1"]}))
    assert toy.documents.reads == 1


def test_an_unknown_document_is_an_error() -> None:
    """With the exact message; an empty text is a text."""
    loader = TextLoader(collection())
    assert loader.transform(pd.DataFrame({"docno": ["d2"]}))["text"].tolist() == [""]
    with pytest.raises(StageError) as error:
        loader.transform(pd.DataFrame({"docno": ["d1", "d9", "d8", "d9"]}, index=[7, 7, 7, 7]))
    assert str(error.value) == (
        "collection 'toy' has no text of a document: 3 of 4 rows, first docno 'd9'."
        " Fix: open_collection(name).text_loader() of the collection that was searched, not 'toy'"
    )


def test_a_text_loader_is_pickled_without_texts(tmp_path: Path) -> None:
    """Where the documents are on disk a used loader's pickle holds none of them, and the copy reads them again."""
    write_folder(collection(), tmp_path / "toy")
    loader = TextLoader(open_collection(tmp_path / "toy"))
    frame = pd.DataFrame({"docno": [*TEXTS]})
    wanted = loader.transform(frame)
    sent = pickle.dumps(loader)
    assert b"cumulative" not in sent
    copy = pickle.loads(sent)  # noqa: S301 - our own
    assert "_texts" not in vars(copy.collection)
    pd.testing.assert_frame_equal(copy.transform(frame), wanted)


def test_pyterrier_inspects_a_text_loader() -> None:
    """It wants docno and adds text, reading nothing for that; loaders of one collection are equal, so pipelines share them."""
    toy = collection()
    loader = TextLoader(toy)
    assert pt.inspect.transformer_inputs(loader) == [["docno"]]
    assert pt.inspect.transformer_outputs(loader, ["qid", "docno"]) == ["qid", "docno", "text"]
    assert [(attribute.name, attribute.value) for attribute in pt.inspect.transformer_attributes(loader)] == [("collection", toy)]
    assert pt.schematic.transformer_schematic(loader, input_columns=["docno"])["label"] == "Text loader"
    assert toy.documents.reads == 0
    assert (loader, hash(loader)) == (TextLoader(toy), hash(TextLoader(toy)))
    assert loader != TextLoader(collection())
    with pytest.raises(pt.validate.InputValidationError):
        loader.transform(pd.DataFrame({"qid": ["1"]}))


def test_pyterrier_gets_the_text_loader_of_a_collection() -> None:
    """``pt.text.get_text`` asks a collection as it asks a dataset, whatever it calls the field."""
    toy = collection()
    assert isinstance(toy, pt.text.HasTextLoader)
    assert toy.text_loader() == pt.text.get_text(toy) == pt.text.get_text(toy, ["text"], verbose=True) == TextLoader(toy)
    with pytest.raises(CollectionError) as error:
        pt.text.get_text(toy, "title")
    assert str(error.value) == "collection 'toy' has the field text, not 'title'. Fix: collection.text_loader()"


def test_the_cure_of_a_document_without_text_is_the_other_collection() -> None:
    """The error of an unknown document names its own collection and where to get the loader; that of the right one has the text."""
    toy, found = collection(), pd.DataFrame({"qid": ["1"], "query": ["sum"], "docno": ["numpy.cumsum"]})
    with pytest.raises(StageError) as error:
        toy.text_loader().transform(found)
    assert error.value.fix == "open_collection(name).text_loader() of the collection that was searched, not 'toy'"
    assert "cumulative" in open_collection("pydocs").text_loader().transform(found)["text"].item()
