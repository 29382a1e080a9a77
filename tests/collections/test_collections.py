"""Collections: the noun itself, folders, PyTerrier's datasets, how they are named, and where what is built is kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import ir_datasets
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, TrecQrels, TsvDocs, TsvQueries
from ir_datasets.util import LocalDownload
from ir_measures import R, calc_aggregate, nDCG
from toys.folders import write_folder

from pt_cascade.caches import cache_folder
from pt_cascade.checksums import build_once
from pt_cascade.collections import Collection, make_collection, open_collection
from pt_cascade.collections.collection import join_title, unjudged
from pt_cascade.collections.folders import open_folder
from pt_cascade.collections.irds import is_dataset, open_dataset
from pt_cascade.errors import CascadeError, CascadeWarning, CollectionError, FrameError, MissingError, RecordError
from pt_cascade.files import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IDS = st.sampled_from(["NA", "null", "None", "007", "7", "1e5", "nan", "", "é-1", "'q'", '"']).filter(bool) | st.text(
    "ab0_", min_size=1
)
TEXTS = st.text(max_size=20)
QUERIES = st.text("aé \"'#N,A0", min_size=1).filter(str.strip)
TITLED = st.fixed_dictionaries({"text": TEXTS}, optional={"title": TEXTS})


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    """Any collection in which a topic is judged; judgments of strangers included."""
    docs = draw(st.dictionaries(IDS, TEXTS, min_size=1, max_size=6))
    topics = draw(st.dictionaries(IDS, QUERIES, min_size=1, max_size=5))
    pairs = draw(st.dictionaries(st.tuples(IDS, IDS), st.integers(-2, 4), max_size=6))
    pairs[(next(iter(topics)), "seen")] = 1
    return make_collection(
        "toy",
        pd.DataFrame({"qid": list(topics), "query": list(topics.values())}),
        pd.DataFrame([(qid, docno, label) for (qid, docno), label in pairs.items()], columns=["qid", "docno", "label"]),
        [{"docno": docno, "text": text} for docno, text in docs.items()],
    )


def write_files(folder: Path, docs: str = "", topics: str = "", qrels: str = "") -> Path:
    """Write a folder's three files as they are given; an empty one is not written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("docs.jsonl", docs), ("topics.tsv", topics), ("qrels.txt", qrels)):
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def toy(**changes: list[object]) -> Collection:
    """One document, one topic, one judgment."""
    topics = {"qid": ["1"], "query": ["running total"]}
    qrels = {"qid": ["1"], "docno": ["cumsum"], "label": [2]}
    frames = [pd.DataFrame({key: changes.get(key, value) for key, value in frame.items()}) for frame in (topics, qrels)]
    return make_collection("toy", *frames, [{"docno": "cumsum", "text": "Cumulative sum."}])


# --- the noun


def test_fingerprint_is_the_hash_of_its_lines() -> None:
    """The fingerprint is the SHA-256 of one JSON array a line: anyone can compute it again.

    Golden: the lines written by hand, hashed by hashlib.
    """
    line = '["cumsum", "Cumulative sum."]\n'
    assert toy().fingerprint == hashlib.sha256(line.encode()).hexdigest()


@given(collections(), st.data())
def test_fingerprint_changes_with_the_documents_only(collection: Collection, data: st.DataObject) -> None:
    """Other texts, docnos or order change it, as they change an index; other queries, judgments or another name do not."""
    docs, topics, qrels = list(collection.docs()), collection.topics, collection.qrels
    asked, judged = topics.assign(query=topics["query"] + "."), qrels.assign(label=qrels["label"] + 1)
    same = make_collection("another name", asked, judged, [dict(document) for document in docs])
    assert same.fingerprint == collection.fingerprint
    row = data.draw(st.integers(0, len(docs) - 1))
    others = [
        Collection("x", topics, qrels, [*docs[:row], {**docs[row], "text": docs[row]["text"] + "."}, *docs[row + 1 :]]),
        Collection("x", topics, qrels, [*docs[:row], *docs[row + 1 :]]),
        Collection("x", topics, qrels, [*docs, {"docno": "another", "text": ""}]),
    ]
    others += [Collection("x", topics, qrels, docs[::-1])] if len(docs) > 1 else []
    assert collection.fingerprint not in {other.fingerprint for other in others}


@given(collections(), st.integers(1, 6))
def test_judged_are_the_first_topics_with_a_judgment(collection: Collection, n: int) -> None:
    """What is judged comes in topic order, n of it at most, and what is given to the caller is not the collection's own."""
    known = set(collection.qrels["qid"])
    expected = [qid for qid in collection.topics["qid"] if qid in known]
    assert collection.judged()["qid"].tolist() == expected
    assert collection.judged(n)["qid"].tolist() == expected[:n]
    before = collection.topics.copy()
    mine = collection.judged()
    mine["query"] = "changed"
    next(collection.docs())["text"] = "changed"
    assert length_hint(collection.docs()) == len(collection)
    pd.testing.assert_frame_equal(collection.topics, before)
    assert "changed" not in {document["text"] for document in collection.docs()}


def test_judged_refuses_none() -> None:
    """No topics at all is a mistake, not a request."""
    with pytest.raises(CollectionError) as caught:
        toy().judged(0)
    assert (
        str(caught.value)
        == "the number of topics is not valid: n is 0, expected a whole number, 1 or more. Fix: collection.judged(50)"
    )


def test_make_collection_refuses_what_cannot_be_evaluated() -> None:
    """Topics and judgments that never meet, most often ids of two kinds, are refused with one of each."""
    with pytest.raises(CollectionError) as caught:
        make_collection("toy", toy().topics, toy().qrels.assign(qid="q1"), [])
    assert str(caught.value) == (
        "collection 'toy' cannot be evaluated: no topic has a judgment: "
        "topics have 1 qid such as '1', qrels have 1 qid such as 'q1'"
    )
    with pytest.raises(FrameError):
        toy(query=[None])


def test_unjudged_says_nothing_where_one_topic_is_judged() -> None:
    """Strangers on both sides are usual in real qrels; none in common is not."""
    topics = pd.DataFrame({"qid": ["1", "2"]})
    assert unjudged(topics, pd.DataFrame({"qid": ["2", "3"]})) == ""
    assert (
        unjudged(topics, pd.DataFrame({"qid": []})) == "no topic has a judgment: topics have 2 qids such as '1', qrels have 0 qids"
    )


@given(TEXTS, TEXTS)
def test_join_title_loses_nothing_and_adds_nothing(title: str, text: str) -> None:
    """Title and text are both there, in this order, and the title is not put before a text that opens with it."""
    joined = join_title(title, text)
    assert joined.startswith(title)
    assert joined.endswith(text)
    assert joined in {title, text, f"{title} {text}"}
    assert join_title(title, joined) == joined


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        ("Wings", "A study.", "Wings A study."),
        ("Wings", "Wings. A study.", "Wings. A study."),
        ("Wing", "Wings.", "Wing Wings."),
        ("", "A study.", "A study."),
        ("Wings", "", "Wings"),
        ("Wings", "Wings", "Wings"),
        ("wings", "Wings", "wings Wings"),
    ],
)
def test_join_title_by_example(title: str, text: str, expected: str) -> None:
    """The title stands once, and only a whole word counts as the title. Golden: written by hand."""
    assert join_title(title, text) == expected


# --- folders


@settings(max_examples=40)
@given(collections(), st.booleans())
def test_written_folder_reads_back(tmp_path_factory: pytest.TempPathFactory, collection: Collection, plain: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
    """A collection written and opened again is the same, gzip or not: ids like NA and 007, empty texts and all."""
    folder = tmp_path_factory.mktemp("written") / "folder"
    write_folder(collection, folder)
    if plain:
        (folder / "docs.jsonl").write_bytes(gzip.decompress((folder / "docs.jsonl.gz").read_bytes()))
        (folder / "docs.jsonl.gz").unlink()
    again = open_collection(folder)
    assert list(again.docs()) == list(collection.docs()) == list(again.docs())
    pd.testing.assert_frame_equal(again.topics, collection.topics)
    pd.testing.assert_frame_equal(again.qrels, collection.qrels)
    assert again.fingerprint == collection.fingerprint
    assert len(again) == len(collection)


@settings(max_examples=40)
@given(st.dictionaries(IDS, TITLED, min_size=1, max_size=5))
def test_folder_gives_each_document_as_its_title_and_text(
    tmp_path_factory: pytest.TempPathFactory, docs: dict[str, dict[str, str]]
) -> None:
    """Documents come in file order, title before text, and other keys do not count."""
    lines = "\n".join(json.dumps({"docno": docno, "url": 1, **fields}) for docno, fields in docs.items())
    folder = write_files(tmp_path_factory.mktemp("titled"), lines + "\n\n", "1\tq\n", "1 0 x 0\n")
    expected = [{"docno": docno, "text": join_title(fields.get("title", ""), fields["text"])} for docno, fields in docs.items()]
    assert list(open_folder(folder).docs()) == expected


GOOD = '{"docno": "d1", "text": "a"}\n'
SPACED = '{"docno": "d 2", "text": ""}'
HALVED = '{"docno": "d3", "text": "\\ud800"}'
ID_RULE = "expected text without white space or control characters, 1 to 256 characters"
FORM = 'Fix: a document is {"docno": "7", "text": "..."}, a topic is 7<TAB>query, a judgment is 7 0 docno 1'


@pytest.mark.parametrize(
    ("docs", "topics", "qrels", "problems"),
    [
        (
            "",
            "",
            "",
            [
                "its documents are expected in one of docs.jsonl.gz, docs.jsonl, corpus.jsonl.gz, corpus.jsonl; found none",
            ],
        ),
        (
            GOOD,
            "q1\ta\n",
            "1 0 d1 1\n",
            ["no topic has a judgment: topics have 1 qid such as 'q1', qrels have 1 qid such as '1'"],
        ),
        (
            GOOD + '{"docno": 7, "text": null}\n[1]\n{"docno": "d 1"}\n{"docno": "d2", "title": 3, "text": "t"}\n',
            "1\ta\n",
            "1 0 d1 1\n",
            [
                f"docs.jsonl: line 2: docno is 7, {ID_RULE}; the text of docno 7 is missing, expected text"
                ': \'{"docno": 7, "text": null}\'',
                "docs.jsonl: line 3: a JSON list, expected an object: '[1]'",
                f"docs.jsonl: line 4: docno is 'd 1', {ID_RULE}; the text of docno 'd 1' is missing, expected text"
                ': \'{"docno": "d 1"}\'',
                'docs.jsonl: line 5: title is 3, expected text: \'{"docno": "d2", "title": 3, "text": "t"}\'',
            ],
        ),
        (
            f"{GOOD}{GOOD}{SPACED}\n{HALVED}\n",
            "1 a\n",
            "1 0 d1\n",
            [
                "docs.jsonl: line 2: docno 'd1' repeats line 1",
                f"docs.jsonl: line 3: docno is 'd 2', {ID_RULE}: {SPACED!r}",
                f"docs.jsonl: line 4: the text of docno 'd3' has half a surrogate pair and cannot be written in UTF-8: {HALVED!r}",
                "topics.tsv: line 1: 1 column, expected 2: '1 a'",
                "qrels.txt: line 1: 3 columns, expected 4: '1 0 d1'",
            ],
        ),
        (
            "{\n" * 7,
            "1\ta\n",
            "1 0 d1 1\n",
            [
                *(
                    f"docs.jsonl: line {number}: not JSON (Expecting property name enclosed in double quotes, column 2): '{{'"
                    for number in range(1, 6)
                ),
                "docs.jsonl: and 2 more",
            ],
        ),
        ("\n", "1\ta\n", "1 0 d1 1\n", ["docs.jsonl: it is empty"]),
    ],
)
def test_folder_is_refused_with_all_its_problems(tmp_path: Path, docs: str, topics: str, qrels: str, problems: list[str]) -> None:
    """Every missing file and every bad line is named at once, by file, line and text."""
    folder = write_files(tmp_path / "bad", docs, topics, qrels)
    with pytest.raises(CollectionError) as caught:
        open_collection(folder)
    found = [problem.format(folder=folder) if "{folder}" in problem else problem for problem in problems]
    head = f"cannot open the collection {folder}:"
    whole = f"{head} {found[0]}. {FORM}" if len(found) == 1 else "\n".join([head, *(f"  - {problem}" for problem in found), FORM])
    assert str(caught.value) == whole


def test_folder_with_a_broken_gzip_or_two_files_is_refused(tmp_path: Path) -> None:
    """A copy that was cut off is not half a collection, and two files of documents are not one."""
    folder = write_files(tmp_path / "cut", "", "1\ta\n", "1 0 d1 1\n")
    (folder / "docs.jsonl.gz").write_bytes(gzip.compress(GOOD.encode() * 9)[:-9])
    with pytest.raises(CollectionError, match=r"docs\.jsonl\.gz: its gzip is broken \(Compressed file ended"):
        open_folder(folder)
    (folder / "docs.jsonl").write_text(GOOD)
    with pytest.raises(CollectionError, match=r"corpus\.jsonl; found docs\.jsonl\.gz and docs\.jsonl"):
        open_folder(folder)


def test_folder_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """A file in another encoding is named with the byte, not read as something else."""
    folder = write_files(tmp_path / "latin", "", "1\ta\n", "1 0 d1 1\n")
    (folder / "docs.jsonl").write_bytes('{"docno": "d1", "text": "é"}'.encode("latin-1"))
    with pytest.raises(CollectionError) as caught:
        open_folder(folder)
    line = r"""'{"docno": "d1", "text": "\\xe9"}'"""
    problem = f"docs.jsonl: line 1: not UTF-8 (invalid continuation byte, byte 26): {line}"
    assert str(caught.value) == f"cannot open the collection {folder}: {problem}. {FORM}"


def test_folder_that_changes_while_open_is_refused(tmp_path: Path) -> None:
    """What was checked is what is read: a line that goes bad later is an error, not a lost document."""
    collection = open_folder(write_files(tmp_path / "moving", GOOD, "1\ta\n", "1 0 d1 1\n"))
    (tmp_path / "moving" / "docs.jsonl").write_text("{}\n")
    with pytest.raises(RecordError) as caught:
        list(collection.docs())
    assert str(caught.value) == (
        f"{tmp_path}/moving/docs.jsonl has changed since it was opened: line 1: docno is missing, {ID_RULE}; "
        "the text of docno None is missing, expected text"
    )


@pytest.mark.parametrize(
    ("fixture", "documents", "queries", "judgments"),
    [
        ("vaswani_folder", 11429, 93, 2083),
        ("cranfield_folder", 1400, 225, 1837),
        ("scifact_folder", 5183, 300, 339),
        ("dl19_folder", 16526, 43, 9260),
    ],
)
def test_real_folders_have_their_published_sizes(
    request: pytest.FixtureRequest, fixture: str, documents: int, queries: int, judgments: int
) -> None:
    """Nothing of a real collection is lost. Golden: the counts that the collections' own README states."""
    collection = open_collection(request.getfixturevalue(fixture))
    assert (len(collection), len(collection.judged()), len(collection.qrels)) == (documents, queries, judgments)
    assert len({document["docno"] for document in collection.docs()}) == documents


@pytest.mark.parametrize(("fixture", "ndcg", "recall"), [("scifact_folder", 0.678, 0.973), ("cranfield_folder", 0.349, 0.951)])
def test_bm25_finds_what_it_should(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str, ndcg: float, recall: float
) -> None:
    """The title stands once in a document, as those who published BM25's quality had it.

    Golden: nDCG@10 and R@1000 of PISA's BM25 (k1 0.9, b 0.4) in the README of the collections; a title twice gives .683 and .362.
    """
    pisa = pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa")
    collection = open_collection(request.getfixturevalue(fixture))
    place = build_once(tmp_path / "index", lambda folder: pisa.PisaIndex(str(folder), text_field="text").index(collection.docs()))
    run = pisa.PisaIndex(str(place)).bm25(k1=0.9, b=0.4, num_results=1000)(collection.judged())
    qrels = collection.qrels.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    found = calc_aggregate([nDCG @ 10, R @ 1000], qrels, run.rename(columns={"qid": "query_id", "docno": "doc_id"}))
    assert found[nDCG @ 10] == pytest.approx(ndcg, abs=0.001)
    assert found[R @ 1000] == pytest.approx(recall, abs=0.001)


# --- PyTerrier's datasets


class Paper(NamedTuple):
    """A document of several fields, of which ir_datasets does not say what its text is."""

    doc_id: str
    abstract: str
    title: str


class Beir(NamedTuple):
    """A document as the BEIR datasets have it."""

    doc_id: str
    text: str
    title: str

    def default_text(self) -> str:
        """Say what the text is."""
        return f"{self.title} {self.text}"


class Claim(NamedTuple):
    """A query of several fields."""

    query_id: str
    note: str
    text: str


class Riddle(NamedTuple):
    """A query that does not say which of its fields is asked."""

    query_id: str
    this: str
    that: str


class Unreachable(BaseDocs, BaseQueries):
    """A dataset whose server is down."""

    def docs_iter(self) -> Iterator[Paper]:
        """Fail as a download fails."""
        raise ConnectionError("no route to host")

    queries_iter = docs_iter

    def docs_count(self) -> None:
        """Say nothing."""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, LocalDownload]:
    """Small files in the forms of ir_datasets."""
    texts = {
        "docs": "d1\tA study.\tWings\nNA\tWings in a slipstream.\tWings\nd3\t\t\n",
        "queries": "1\tWHAT are wings?\n2\tunjudged\n",
        "claims": "1\tnote\tWHAT are wings?\n",
        "qrels": "1 0 NA 2\n1 0 d1 0\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: LocalDownload(str(tmp_path / name)) for name in texts}


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """Register datasets, and take them out of the registry again."""
    names: list[str] = []

    def add(name: str, *parts: object) -> str:
        ir_datasets.registry.register(name, Dataset(*parts))
        names.append(name)
        return f"irds:{name}"

    yield add
    for name in names:
        del ir_datasets.registry._registered[name]


@pytest.mark.parametrize("kind", [Paper, Beir])
def test_dataset_gives_its_documents_topics_and_judgments(
    files: dict[str, LocalDownload], register: Callable[..., str], kind: type
) -> None:
    """Title and text are joined once whichever form the dataset has, queries stay as they are, and NA stays a docno."""
    name = register("toy", TsvDocs(files["docs"], kind), TsvQueries(files["queries"]), TrecQrels(files["qrels"], {}))
    collection = open_collection(name)
    assert list(collection.docs()) == [
        {"docno": "d1", "text": "Wings A study."},
        {"docno": "NA", "text": "Wings in a slipstream."},
        {"docno": "d3", "text": ""},
    ]
    assert (collection.name, len(collection), open_collection(name).fingerprint) == ("irds:toy", 3, collection.fingerprint)
    assert collection.topics.to_dict("list") == {"qid": ["1", "2"], "query": ["WHAT are wings?", "unjudged"]}
    assert collection.qrels.to_dict("list") == {"qid": ["1", "1"], "docno": ["NA", "d1"], "label": [2, 0]}


def test_dataset_with_several_query_fields_gives_its_text(
    files: dict[str, LocalDownload], register: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Among several fields the query is found without a word on the screen; where it cannot be, that is an error."""
    name = register("claims", TsvDocs(files["docs"], Paper), TsvQueries(files["claims"], Claim), TrecQrels(files["qrels"], {}))
    assert open_dataset(name).topics["query"].tolist() == ["WHAT are wings?"]
    name = register("riddles", TsvDocs(files["docs"], Paper), TsvQueries(files["claims"], Riddle), TrecQrels(files["qrels"], {}))
    with pytest.raises(CollectionError) as caught:
        open_dataset(name)
    assert str(caught.value) == (
        "dataset 'irds:riddles' has no known query field: topics have this, that, expected one of query, text, title"
    )
    assert capsys.readouterr() == ("", "")


def test_part_of_a_dataset_names_the_whole_ones_below_it(files: dict[str, LocalDownload], register: Callable[..., str]) -> None:
    """A corpus without judgments is not a collection; the names that are stand in the fix."""
    docs = TsvDocs(files["docs"], Paper)
    part = register("toy", docs)
    register("toy/train", docs, TsvQueries(files["queries"]))
    register("toy/test", docs, TsvQueries(files["queries"]), TrecQrels(files["qrels"], {}))
    with pytest.raises(CollectionError) as caught:
        open_collection(part)
    assert str(caught.value) == (
        "dataset 'irds:toy' is not a test collection: it has no topics and no qrels, expected documents, topics and qrels. "
        "Fix: one of irds:toy/test"
    )


class Picture(NamedTuple):
    """A document without any text."""

    doc_id: str
    pixels: bytes


class Pictures(BaseDocs):
    """A dataset of pictures."""

    def docs_iter(self) -> Iterator[Picture]:
        """Give one."""
        return iter([Picture("p1", b"")])


class Preference(NamedTuple):
    """A judgment that is no grade."""

    query_id: str
    doc_id: str
    preferred: str


class Preferences(BaseQrels):
    """Judgments of pairs."""

    def qrels_iter(self) -> Iterator[Preference]:
        """Give one."""
        return iter([Preference("1", "d1", "d2")])


def test_dataset_without_text_or_grades_is_refused(files: dict[str, LocalDownload], register: Callable[..., str]) -> None:
    """What is no text, and what is no grade, is not made into one."""
    queries = TsvQueries(files["queries"])
    pictures = open_collection(register("pictures", Pictures(), queries, TrecQrels(files["qrels"], {})))
    with pytest.raises(CollectionError) as caught:
        list(pictures.docs())
    assert str(caught.value) == "a document of 'irds:pictures' has no text: docno 'p1', fields pixels: bytes; expected text"
    with pytest.raises(CollectionError) as caught:
        open_collection(register("pairs", TsvDocs(files["docs"], Paper), queries, Preferences()))
    assert str(caught.value) == (
        "dataset 'irds:pairs' has no relevance labels: qrels have query_id, doc_id, preferred, expected relevance"
    )


FETCH = "Fix: connect to the network, or copy the files to ~/.ir_datasets (irds:) or ~/.pyterrier; pydocs needs neither"


def test_dataset_that_cannot_be_fetched_says_what_and_why(files: dict[str, LocalDownload], register: Callable[..., str]) -> None:
    """Whatever a download raises, the error names the dataset, the part and the cure."""
    name = register("away", Unreachable(), TrecQrels(files["qrels"], {}))
    with pytest.raises(MissingError) as caught:
        open_collection(name)
    assert str(caught.value) == f"cannot fetch the topics of dataset 'irds:away': ConnectionError: no route to host. {FETCH}"
    late = open_collection(register("late", TsvQueries(files["queries"]), Unreachable(), TrecQrels(files["qrels"], {})))
    for read in (len, lambda collection: list(collection.docs())):
        with pytest.raises(MissingError) as caught:
            read(late)
        assert str(caught.value) == f"cannot fetch the documents of dataset 'irds:late': ConnectionError: no route to host. {FETCH}"


def test_pyterrier_datasets_are_collections_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset that is PyTerrier's own gives text fields, topics and qrels; one that lacks a part says which."""

    class Whole(pt.datasets.Dataset):
        def get_corpus_iter(self, *, verbose: bool = True) -> Iterator[dict[str, object]]:
            assert not verbose
            return iter([{"docno": "NA", "title": "Wings", "length": 3, "abstract": "A study."}])

        def get_topics(self, _variant: None = None) -> pd.DataFrame:
            return pd.DataFrame({"qid": ["1"], "title": ["WINGS?"], "narrative": ["long"]})

        def get_qrels(self, _variant: None = None) -> pd.DataFrame:
            return pd.DataFrame({"qid": ["1"], "docno": ["NA"], "label": [1], "iteration": ["0"]})

    monkeypatch.setitem(pt.datasets.DATASET_MAP, "whole", Whole())
    monkeypatch.setitem(pt.datasets.DATASET_MAP, "part", pt.datasets.Dataset())
    collection = open_collection("whole")
    assert (list(collection.docs()), len(collection)) == ([{"docno": "NA", "text": "Wings A study."}], 1)
    assert collection.topics.to_dict("list") == {"qid": ["1"], "query": ["WINGS?"]}
    assert collection.qrels.to_dict("list") == {"qid": ["1"], "docno": ["NA"], "label": [1]}
    with pytest.raises(CollectionError) as caught:
        open_collection("part")
    assert str(caught.value) == "dataset 'part' is not a test collection: it has no topics, expected documents, topics and qrels"


def test_dataset_of_another_name_is_unknown() -> None:
    """A name is known or not before anything is fetched. Golden: the two names of the same collection in PyTerrier's own list."""
    assert is_dataset("irds:vaswani")
    assert is_dataset("vaswani")
    assert not is_dataset("irds:vaswany")
    assert not is_dataset("nobody:vaswani")


# --- folders in BEIR's form


def write_beir(folder: Path, *, judgments: str = "1\td1\t2\n2\td2\t0\n", split: str = "test") -> Path:
    """Write two documents, two queries and judgments as BEIR does."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": "d1", "title": "Wings", "text": "lift", "metadata": {}}, {"_id": "d2", "title": "", "text": "drag"}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    queries = [{"_id": "1", "text": "what lifts", "metadata": {}}, {"_id": "2", "text": "what drags\tback"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judgments}")
    return folder


def test_a_beir_folder_is_a_collection(tmp_path: Path) -> None:
    """Golden: by hand; title before text, graded labels and labels of 0 kept, plain or gzip, and its name opens it again."""
    folder = write_beir(tmp_path / "wings")
    collection = open_collection(str(folder))
    assert list(collection.docs()) == [{"docno": "d1", "text": "Wings lift"}, {"docno": "d2", "text": "drag"}]
    assert collection.topics.to_numpy().tolist() == [["1", "what lifts"], ["2", "what drags\tback"]]
    assert collection.qrels.to_numpy().tolist() == [["1", "d1", 2], ["2", "d2", 0]]
    first = collection.fingerprint
    for name in ("corpus.jsonl", "queries.jsonl"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert open_collection(collection.name).fingerprint == first
    with pytest.raises(RecordError, match="has changed since it was opened"):
        list(collection.docs())
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n2\td1\t1\n")
    train = open_collection(f"{folder}:train")
    assert train.qrels.to_numpy().tolist() == [["2", "d1", 1]]
    assert open_collection(train.name).fingerprint == train.fingerprint


def test_judgments_of_what_a_folder_lacks_are_counted(tmp_path: Path) -> None:
    """Once, queries and documents, each with an example; the judgments stay."""
    folder = write_beir(tmp_path / "wings", judgments="1\td1\t2\n7\td1\t1\n8\td1\t1\n2\td9\t1\n1\td9\t0\n")
    found = (
        "2 judged queries are not among its topics, e.g. '7'; 1 judged document is not among its documents, e.g. 'd9': "
        "a relevant document that is missing counts as not found"
    )
    with pytest.warns(CascadeWarning) as told:
        collection = open_collection(folder)
    assert [str(one.message) for one in told] == [f"{folder}: {found}"]
    assert len(collection.qrels) == 5


def test_cranfield_in_beirs_form_is_the_same_collection(cranfield_folder: Path, tmp_path: Path) -> None:
    """All 1,400 documents, 225 queries and 1,837 grades, as the folder that they come from."""
    own = open_collection(cranfield_folder)
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    documents = ({"_id": document["docno"], "title": "", "text": document["text"]} for document in own.docs())
    (folder / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    queries = zip(own.topics["qid"], own.topics["query"], strict=True)
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": qid, "text": query}) + "\n" for qid, query in queries))
    rows = own.qrels.rename(columns={"qid": "query-id", "docno": "corpus-id", "label": "score"})
    rows.to_csv(folder / "qrels" / "test.tsv", sep="\t", index=False)
    assert open_collection(folder).fingerprint == own.fingerprint


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        (
            "corpus.jsonl",
            '{"_id": "d1", "text": "a"}\n{"_id": "d 2", "text": "a"}\n',
            f"corpus.jsonl: line 2: _id is 'd 2', {ID_RULE}",
        ),
        ("corpus.jsonl", '{"docno": "d1", "text": "a"}\n', f"corpus.jsonl: line 1: _id is missing, {ID_RULE}"),
        ("corpus.jsonl", "[" * 99_999, "corpus.jsonl: line 1: its JSON is nested too deeply"),
        (
            "queries.jsonl",
            '{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n',
            "queries.jsonl: line 2: _id '1' repeats line 1",
        ),
        ("queries.jsonl", '{"_id": "1", "text": " "}\n', "queries.jsonl: line 1: the query is blank"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\td1\n", "test.tsv: line 2: 2 columns, expected 3: '1\\td1'"),
        ("qrels/test.tsv", "1\td1\t0.5\n", "test.tsv: line 1: score is not a whole number"),
        ("qrels/test.tsv", "7\td1\t1\n", "no topic has a judgment"),
    ],
)
def test_a_beir_folder_is_refused_by_file_and_line(tmp_path: Path, file: str, text: str, problem: str) -> None:
    """A cut-off file, another form, a label that is no grade: the number of the line stands in the message."""
    folder = write_beir(tmp_path / "bad")
    (folder / file).write_text(text)
    with pytest.raises(CollectionError) as caught:
        open_collection(folder)
    assert str(caught.value).startswith(f"cannot open the collection {folder}: {problem}")
    assert str(caught.value).endswith('Fix: a document or query is {"_id": "7", "text": "..."}, a judgment is 7<TAB>docno<TAB>1')


def test_a_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    """The names in the message open; a split of a folder in another form is refused."""
    folder = write_beir(tmp_path / "dev only", split="dev")
    with pytest.raises(CollectionError) as caught:
        open_collection(folder)
    assert f"there is no file {folder}/qrels/test.tsv" in str(caught.value)
    assert caught.value.fix == f'open_collection("{folder}:dev")'
    assert len(open_collection(f"{folder}:dev").judged()) == 2
    plain = write_files(tmp_path / "plain", GOOD, "1\ta\n", "1 0 d1 1\n")
    with pytest.raises(CollectionError, match="'train' is a split, which only a folder in BEIR's form has"):
        open_collection(f"{plain}:train")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(CollectionError, match=r"there is no file .*queries\.jsonl"):
        open_collection(f"{folder}:dev")


# --- names


@pytest.mark.parametrize(
    "name", ["", "vaswany", "irds:", "irds:nothing/here", "nobody:x", "pydocs:", "pydocs/none", "pydocs/0", "pydocs:a b"]
)
def test_unknown_name_lists_the_three_forms(name: str) -> None:
    """A name that means nothing gets the forms, each with an example."""
    with pytest.raises(CollectionError) as caught:
        open_collection(name)
    forms, _, fix = str(caught.value).rpartition("\n")
    assert fix.startswith('Fix: open_collection("')
    assert forms == "\n".join(
        [
            f"unknown collection {name!r}, expected one of three forms:",
            "  - the built-in collection: pydocs, or pydocs:numpy,scipy for other installed packages, pydocs/all for all queries",
            "  - a PyTerrier dataset: irds:beir/scifact/test, vaswani",
            "  - a folder with docs.jsonl.gz, topics.tsv and qrels.txt, or in BEIR's form, written as a path: ./scifact",
        ]
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vaswany", 'Fix: open_collection("vaswani")'),
        ("irds:beir/scifct/test", 'Fix: open_collection("irds:beir/scifact/test")'),
        ("pydoc", 'Fix: open_collection("pydocs")'),
        ("./cranfeild", "there is no folder cranfeild; did you mean 'cranfield'?"),
        ("./cranfeild:test", "there is no folder cranfeild:test; did you mean 'cranfield'?"),
        ("pydocs:nunpy", "there is no package 'nunpy'; did you mean 'numpy'? Fix: open_collection(\"pydocs:numpy\")"),
    ],
)
def test_a_misspelt_collection_gets_the_closest_name(
    name: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a dataset, of a folder beside, of an installed package."""
    (tmp_path / "cranfield").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CascadeError) as caught:
        open_collection(name)
    assert meant in str(caught.value)


def test_a_folder_is_recognised_by_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is a folder and a bare word is not, so a folder in the way never changes what a name means."""
    write_files(tmp_path / "sub" / "vaswany", GOOD, "1\ta\n", "1 0 d1 1\n")
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = ["./vaswany", "../sub/vaswany", "~/sub/vaswany", str(tmp_path / "sub" / "vaswany"), Path("vaswany")]
    opened = [open_collection(path) for path in paths]
    assert len({collection.fingerprint for collection in opened}) == 1
    assert opened[-1].name == "./vaswany"
    assert all(open_collection(collection.name).fingerprint == opened[0].fingerprint for collection in opened)
    with pytest.raises(CollectionError, match=r"Fix: \./vaswany$"):
        open_collection("vaswany")
    with pytest.raises(MissingError) as caught:
        open_collection("sub/nothing")
    assert str(caught.value) == (
        "there is no folder sub/nothing. "
        "Fix: a folder with docs.jsonl.gz, topics.tsv and qrels.txt, or a name such as irds:vaswani or pydocs"
    )


# --- the cache


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/own", "/xdg", "/own/bm25/key"),
        ("~/own", "", "/home/u/own/bm25/key"),
        ("", "/xdg", "/xdg/pt_cascade/bm25/key"),
        ("", "relative", "/home/u/.cache/pt_cascade/bm25/key"),
        ("", "", "/home/u/.cache/pt_cascade/bm25/key"),
    ],
)
def test_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, own: str, xdg: str, expected: str) -> None:
    """Golden: the XDG Base Directory Specification, by which an empty or relative path counts as unset."""
    for variable, value in (("PT_CASCADE_CACHE", own), ("XDG_CACHE_HOME", xdg), ("HOME", "/home/u")):
        monkeypatch.setenv(variable, value)
    assert cache_folder("bm25", "key") == Path(expected)


@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
)
def test_cache_folders_stay_apart_and_inside(first: list[str], second: list[str]) -> None:
    """Other parts are another folder, below the cache, one folder a part, whatever the parts hold."""
    one, other = cache_folder(*first), cache_folder(*second)
    assert (one == other) == (first == second)
    assert len(one.relative_to(cache_folder()).parts) == len(first)
    assert ".." not in one.parts


def test_build_once_builds_once(tmp_path: Path) -> None:
    """What is there is not built again; an empty folder is not taken for what was built."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for words in ("one", "two"):
        place = build_once(tmp_path / "a" / "b", lambda folder, words=words: (folder / "words").write_text(words))
    assert (place, (place / "words").read_text()) == (tmp_path / "a" / "b", "one")


def test_build_once_leaves_nothing_of_a_crash(tmp_path: Path) -> None:
    """A build that fails half way leaves no folder, and the next one starts from the beginning."""

    def crash(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "index", crash)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CollectionError, match="Not a directory"):  # a file got in the way meanwhile: nobody built it
        build_once(tmp_path / "index", lambda _: (tmp_path / "index").write_text(""))
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


_KILLED = "import os; killed = lambda new: ((new / 'half').touch(), print(new, flush=True), os.kill(os.getpid(), 9))"


def test_build_once_takes_the_result_of_the_first_process(tmp_path: Path) -> None:
    """Of eight builders at once one builds, the others wait and get its folder, and nothing else stays."""
    built: list[Path] = []
    with ThreadPoolExecutor(8) as pool:
        places = {
            *pool.map(lambda _: build_once(tmp_path / "index", lambda new: (built.append(new), (new / "a").touch())), range(8))
        }
    assert places == {tmp_path / "index"} == {*tmp_path.iterdir()}
    assert len(built) == 1


def test_build_once_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    """A real process is killed while it builds; the next build deletes its folder, and fills one of another name."""
    code = f"from pt_cascade.checksums import build_once; from pathlib import Path; {_KILLED}; build_once(Path('index'), killed)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == [".index.building"]
    folders = [Path(done.stdout.strip())]
    build_once(tmp_path / "index", lambda new: (folders.append(new), (new / "whole").touch()))
    assert folders[0].name != folders[1].name
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["SHA256SUMS", "index", "whole"]


@pytest.mark.parametrize("length", [245, 246, 255])
def test_build_once_takes_names_of_any_length(length: int, tmp_path: Path) -> None:
    """Up to the 255 bytes of a Linux file system; two long names that differ at their end have hidden folders of their own."""
    names = ["é" * 120 + "x" * (length - 241) + end for end in "ab"]
    for name in names:
        build_once(tmp_path / name, lambda new: (new / "a").touch())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert len({beside(tmp_path / name, "building") for name in names}) == 2


def test_a_lock_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """The folder and the cure are named: a folder in the place of the lock, as root may open a file of any user."""
    lock = beside(tmp_path / "index", "building") / "lock"
    lock.mkdir(parents=True)
    with pytest.raises(CollectionError) as caught:
        build_once(tmp_path / "index", lambda _: None)
    assert caught.value.what == f"cannot build {tmp_path}/index"
    assert caught.value.problems == (f"IsADirectoryError: Is a directory: {lock.parent}",)
    assert caught.value.fix.startswith("choose a folder where you may write")


def test_build_once_says_why_it_cannot(tmp_path: Path) -> None:
    """A file in the way is named, and so is a place where no folder can be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectionError) as caught:
        build_once(tmp_path / "file", lambda _: None)
    told = f"cannot build {tmp_path}/file: it is a file, expected a folder"
    assert str(caught.value) == f"{told}. Fix: rm -r {tmp_path}/file"
    with pytest.raises(CollectionError) as caught:
        build_once(tmp_path / "file" / "index", lambda _: None)
    fix = "choose a folder where you may write; for the cache: export PT_CASCADE_CACHE=/a/folder/you/may/write"
    problem = f"FileExistsError: File exists: {tmp_path}/file"
    assert str(caught.value) == f"cannot build {tmp_path}/file/index: {problem}. Fix: {fix}"
