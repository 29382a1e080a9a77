"""Queries as bags of words, and indexes of languages other than English, by the real engines."""

from __future__ import annotations

import math
import pickle
import random
import re
import warnings
from typing import TYPE_CHECKING

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyterrier_dr import FlexIndex
from toys.folders import write_folder

from pt_cascade import Cascade
from pt_cascade.collections import make_collection, open_collection
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, PipelineError
from pt_cascade.execution.defaults import store_index
from pt_cascade.stages import bm25, build_index
from pt_cascade.stages.indexing.engines import open_index
from pt_cascade.stages.indexing.words import SNOWBALL, plain_words

if TYPE_CHECKING:
    from pathlib import Path

ENGINES = [pytest.param("pisa", id="pisa"), pytest.param("terrier", id="terrier", marks=pytest.mark.java)]
TERRIER = pytest.mark.java
TEXTS = {
    "mach": "the mach number has effects",
    "number": "a number of wings",
    "vitamin": "vitamin d has new recommendations",
    "cafe": "a café near the shock tube",
    "flow": "flow flow shock",
    **{f"filler{n}": f"word{n} and some more words" for n in range(20)},
}
QUERIES = [
    "mach number: effects",
    "Vitamin D: new recommendations",
    "docno:mach wings",
    "end:1 number",
    "flow^2.5 shock",
    "+flow -shock",
    '"new recommendations" ~wings',
    "(mach [number {effects",
    "#combine(flow shock)",
    "#1(mach number)",
    "applypipeline:off flows",
    "shock/tube's \\ <wings> & |number| = @flow; 100 % `new`",
    "flow ... !? ???",
    "mach\tnumber\neffects",
]


def asked(*queries: str) -> pd.DataFrame:
    """Make topics."""
    return pd.DataFrame({"qid": [str(n) for n in range(len(queries))], "query": queries})


def found(stage: pt.Transformer, query: str) -> list[str]:
    """Give the docnos that a query finds, best first."""
    docnos: list[str] = stage.transform(asked(query))["docno"].tolist()
    return docnos


@pytest.fixture(scope="module", params=ENGINES)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pt.Transformer:
    """BM25 over a few English documents."""
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one accent does not make a warning
        return bm25(build_index(docs, tmp_path_factory.mktemp("index") / request.param, engine=request.param))


# queries


def test_punctuation_in_a_query_means_nothing(stage: pt.Transformer) -> None:
    """The same documents and scores as for its words alone; Terrier's parser raises for some, and ranks otherwise for others."""
    words = [" ".join(re.findall("[A-Za-z0-9]+", query)) for query in QUERIES]
    got, expected = stage.transform(asked(*QUERIES)), stage.transform(asked(*words))
    assert set(expected["qid"]) == {str(n) for n in range(len(QUERIES))}
    columns = ["qid", "docno", "score", "rank"]
    pd.testing.assert_frame_equal(got[columns], expected[columns])
    assert got["query"].tolist() == [QUERIES[int(qid)] for qid in got["qid"]]


def test_a_word_that_stands_twice_in_a_query_counts_more(stage: pt.Transformer) -> None:
    """By hand, for a word that stands twice and one that stands once: PISA adds 2 and 1 times their scores, as Lucene does.

    Terrier adds (k3 + 1) f / (k3 + f) times, k3 = 8, with frequencies f of 1 and 1/2.
    """
    one, other, both = (
        stage.transform(asked(query)).set_index("docno")["score"]["mach"] for query in ("effects", "mach", "effects mach effects")
    )
    weights = (2, 1) if "Pisa" in repr(stage) else (1, 9 * 0.5 / 8.5)
    assert both == pytest.approx(weights[0] * one + weights[1] * other, rel=1e-4)


SIGNS = st.text(
    st.characters(max_codepoint=0x2FFF, categories=["P", "S", "Z", "Cc"], exclude_characters="'"), min_size=1, max_size=4
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SIGNS, st.sampled_from(["mach", "Flow", "shock", "recommendations"])), min_size=1, max_size=5), SIGNS)
def test_no_sign_in_a_query_means_anything(stage: pt.Transformer, words: list[tuple[str, str]], end: str) -> None:
    """Whatever stands between the words of a query, the documents and scores are those of its words."""
    query = "".join(f"{sign}{word}" for sign, word in words) + end
    got, expected = stage.transform(asked(query, " ".join(word for _, word in words))).groupby("qid")
    assert got[1][["docno", "score"]].to_numpy().tolist() == expected[1][["docno", "score"]].to_numpy().tolist()


@pytest.mark.parametrize(
    ("query", "pisa", "terrier"),
    [("mach's", "mach", "mach s"), ("mach'shock", "mach", "mach shock"), ("F.L.O.W.", "flow", "F L O W")],
)
def test_apostrophes_and_abbreviations_are_those_of_the_engine(stage: pt.Transformer, query: str, pisa: str, terrier: str) -> None:
    """PISA drops what follows an apostrophe, and the points of an abbreviation, in documents too; for Terrier both are signs."""
    same = stage.transform(asked(query, pisa if "Pisa" in repr(stage) else terrier))
    got, expected = (same.loc[same["qid"] == qid, ["docno", "score"]] for qid in "01")
    assert got.to_numpy().tolist() == expected.to_numpy().tolist()


def test_a_nul_character_separates_words(stage: pt.Transformer) -> None:
    """PISA fails on it, and sometimes ends the process with a segmentation fault."""
    got, expected = stage.transform(asked("\0mach\0\0effects\0")), stage.transform(asked("mach effects"))
    assert got[["docno", "score"]].to_numpy().tolist() == expected[["docno", "score"]].to_numpy().tolist()
    assert set(got["query"]) == {"\0mach\0\0effects\0"}


@pytest.mark.parametrize("query", [None, float("nan"), 5])
def test_a_query_that_is_no_text_is_refused(query: object, tmp_path: Path) -> None:
    """PISA fails on it, too; the error names the stage and the query."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    stage = bm25(build_index(library()[-1:], tmp_path / "index", engine="pisa"))
    topics = pd.DataFrame({"qid": ["1", "2"], "query": pd.Series(["books", query], dtype=object)})
    with pytest.raises(FrameError, match=r"bm25.*query is missing or not text in 1 of 2"):
        stage.transform(topics)


def okapi(texts: list[list[str]], query: list[str], engine: str, k1: float, b: float) -> list[float]:
    """BM25 by its definition (Robertson et al., "Okapi at TREC-3"), with the weight that an engine gives to a repeated word."""
    length = sum(map(len, texts)) / len(texts)
    most = max(query.count(word) for word in query)
    scores = [0.0] * len(texts)
    for word in set(query):
        found, count = sum(word in text for text in texts), query.count(word)
        weight = count if engine == "pisa" else 9 * (count / most) / (8 + count / most) / math.log(2)
        idf = math.log((len(texts) - found + 0.5) / (found + 0.5))
        for n, text in enumerate(texts):
            frequency = text.count(word)
            saturated = (k1 + 1) * frequency / (frequency + k1 * (1 - b + b * len(text) / length))
            scores[n] += weight * idf * saturated
    return scores


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_of_queries_with_repeated_words_are_okapis(engine: str, tmp_path: Path) -> None:
    """Golden: brute force over 60 documents and 20 queries of 12 words, of which most stand several times in the query."""
    dice = random.Random(7)  # noqa: S311 - not for secrets
    texts = [[f"w{int(dice.paretovariate(0.6)) % 200}" for _ in range(dice.randint(5, 40))] for _ in range(60)]
    rare = [
        word for word in sorted({word for text in texts for word in text}) if sum(word in text for text in texts) < 30
    ]  # engines differ for idf < 0
    docs = [{"docno": f"d{n}", "text": " ".join(text)} for n, text in enumerate(texts)]
    stage = bm25(build_index(docs, tmp_path / "index", engine=engine), k1=1.2, b=0.75)
    queries = [dice.choices(dice.sample(rare, 5), k=12) for _ in range(20)]
    results = stage.transform(asked(*map(" ".join, queries)))
    for qid, query in enumerate(queries):
        expected = {f"d{n}": score for n, score in enumerate(okapi(texts, query, engine, 1.2, 0.75)) if score > 0}
        got = results[results["qid"] == str(qid)].set_index("docno")["score"].to_dict()
        assert got == pytest.approx(expected, rel=1e-4)


def test_accents_in_a_query_are_read_as_in_a_document(stage: pt.Transformer) -> None:
    """An index for English breaks café into caf, in documents and in queries."""
    assert found(stage, "café") == found(stage, "Café!") == ["cafe"]


@pytest.fixture(scope="module")
def terrier(tmp_path_factory: pytest.TempPathFactory) -> pt.terrier.TerrierIndex:
    """Terrier's index of a few English documents."""
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    return open_index(build_index(docs, tmp_path_factory.mktemp("index") / "terrier", engine="terrier"))


@pytest.mark.java
def test_it_is_a_transformer_like_any(terrier: pt.terrier.TerrierIndex) -> None:
    """It pickles, compares by value, is inspected, and takes a cut-off in."""
    stage, query = bm25(terrier, num_results=9), "mach number: effects"
    assert stage == bm25(terrier, num_results=9) == pickle.loads(pickle.dumps(stage))  # noqa: S301 - our own
    assert hash(stage) == hash(bm25(terrier, num_results=9))
    assert stage != bm25(terrier, num_results=8)
    assert ["qid", "query"] in pt.inspect.transformer_inputs(stage)
    assert pt.inspect.transformer_outputs(stage, ["qid", "query"]) == ["qid", "query", "docid", "docno", "rank", "score"]
    fused = (stage % 1).compile()
    assert (type(fused), found(fused, query)) == (type(stage), found(stage, query)[:1])
    known = Cascade.of(stage % 5)[0]
    assert (known.name, known.depends, known.documents) == ("bm25", "pointwise", "retrieves")


@pytest.mark.java
def test_what_a_rewriter_writes_is_terriers_language(terrier: pt.terrier.TerrierIndex) -> None:
    """Weights and operators of a rewriter reach Terrier; a query that a function has rewritten in words is words."""
    stage, raw = bm25(terrier), terrier.bm25()
    mixed = pt.apply.query(lambda _: "shock") >> pt.rewrite.linear(0.75, 0.25)
    operators = pt.apply.query(lambda _: "#combine:0=0.25(shock) #combine:0=0.75(mach)")
    for rewriter in (terrier.rm3(), mixed, operators):
        ours, theirs = ((one >> rewriter >> one).transform(asked("mach number")) for one in (stage, raw))
        pd.testing.assert_frame_equal(ours, theirs)
    rewritten = pt.apply.query(lambda row: f"{row['query']}: effects") >> stage
    assert found(rewritten, "mach number") == found(stage, "mach number effects")


@pytest.mark.java
def test_documents_may_be_given_and_queries_may_be_missing_in_some_rows(terrier: pt.terrier.TerrierIndex) -> None:
    """As a re-ranker, where a union has left rows without the query, as PyTerrier's Sum does."""
    stage = bm25(terrier)
    rows = pd.DataFrame({"qid": "1", "docno": ["flow", "mach", "cafe"], "query": ["shock: mach", None, None]}, index=[0, 0, 0])
    scored = stage.transform(rows).set_index("docno")
    assert scored["query"].tolist() == ["shock: mach"] * 3
    expected = stage.transform(asked("shock mach")).set_index("docno")["score"]
    assert scored["score"].to_dict() == pytest.approx(expected.to_dict())


@pytest.mark.java
def test_an_index_made_elsewhere_keeps_its_words(tmp_path: Path) -> None:
    """PyTerrier's own index by UTFTokeniser says nowhere how it was made: letters of any script stay as they are."""
    docs = [{"docno": docno, "text": text} for docno, text in {"ru": "новые книги", "fr": "un été"}.items()]
    index = pt.terrier.TerrierIndex(tmp_path / "index")
    index.indexer(tokeniser="utf", stemmer=None, stopwords=None).index(iter(docs))
    assert found(bm25(index), "книги: (новые)") == ["ru"]
    assert found(bm25(index), "Été?") == ["fr"]


# languages

BOOKS = {
    "ru": ("Новые книги про море", "книги: море"),
    "zh": ("今天我们去图书馆看书", "图书馆"),
    "ja": ("新しい本を図書館で読む", "図書館"),
    "ar": ("كتب جديدة في المكتبة", "المكتبة"),
    "ko": ("도서관에서 책을 읽는다", "도서관"),
    "hi": ("नई किताबें पुस्तकालय में", "पुस्तकालय"),
    "th": ("อ่านหนังสือใหม่ในห้องสมุด", "ห้องสมุด"),
    "fr": ("Un été à la bibliothèque", "ÉTÉ bibliothèque"),
    "de": ("Die Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrik in Österreich hat keine Bücher", "bücher österreich"),
    "en": ("New books at the library", "books"),
}
CURE = 'Fix: build_index(docs, path, engine="terrier", language="any"); for a folder: echo any > language.txt there'


def library() -> list[dict[str, str]]:
    """Ten documents in ten languages."""
    return [{"docno": docno, "text": text} for docno, (text, _) in BOOKS.items()]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_index_for_english_says_what_it_drops(engine: str, tmp_path: Path) -> None:
    """By hand: 8 of 10 documents are not in ASCII; the scripts are named, the most frequent first, and the cure."""
    letters = [letter for doc in library() for letter in doc["text"] if letter.isalpha()]
    share = sum("\u0400" <= letter <= "\u04ff" for letter in letters) / len(letters)
    with pytest.warns(CascadeWarning) as warned:
        stage = bm25(build_index(library(), tmp_path / "index", engine=engine))
    (told,) = [str(one.message) for one in warned]
    assert told.startswith(f"engine {engine}: ")
    assert f"CYRILLIC {share:.1%}" in told
    assert all(script in told for script in ("CJK", "HIRAGANA", "ARABIC", "HANGUL", "DEVANAGARI", "THAI", "LATIN"))
    assert "of the letters of the 10 documents are not ASCII, and an index for English drops them" in told
    assert told.endswith(CURE)
    assert found(stage, f"{BOOKS['ru'][1]} books") == ["en"]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_index_for_english_drops_is_counted_to_the_last_document(engine: str, tmp_path: Path) -> None:
    """By hand: 11 letters in each of 1,000 documents in English, then 10 in each of 300 in Russian, 21.4 %."""
    english = [{"docno": f"e{n}", "text": f"The 2 lions {n}: sleep"[:16] + "s"} for n in range(1000)]
    russian = [{"docno": f"r{n}", "text": "два льва, 2 сна!"} for n in range(300)]
    share = 300 * 10 / (sum(map(str.isalpha, "".join(doc["text"] for doc in english))) + 300 * 10)
    with pytest.warns(CascadeWarning) as warned:
        build_index([*english, *russian], tmp_path / "index", engine=engine)
    assert [str(one.message).partition(", and")[0] for one in warned] == [
        f"engine {engine}: CYRILLIC {share:.1%} of the letters of the 1,300 documents are not ASCII"
    ]


def test_a_query_without_a_word_that_the_index_can_contain_is_reported(stage: pt.Transformer) -> None:
    """It finds nothing; the other queries find what they found, without a warning."""
    with pytest.warns(CascadeWarning) as warned:
        results = stage.transform(asked("mach", "лев", "!!!", "лев mach"))
    told = "bm25: 2 queries with no word that the index can contain, e.g. qid '1', 'лев'"
    assert [str(one.message) for one in warned] == [told]
    assert results.groupby("qid")["docno"].agg(list).to_dict() == {"0": ["mach"], "3": ["mach"]}


@pytest.mark.java
def test_a_lone_letter_that_is_indexed_in_pairs_is_reported(tmp_path: Path) -> None:
    """As by Lucene's CJKAnalyzer, one letter finds only the document in which it stands alone; a Latin one is a word."""
    docs = [{"docno": "mat", "text": "猫がマットの上に座る"}, {"docno": "cat", "text": "猫 a"}, {"docno": "en", "text": "a cat"}]
    stage = bm25(build_index([*docs, *({"docno": f"d{n}", "text": f"x{n}"} for n in range(9))], tmp_path / "i", language="any"))
    with pytest.warns(CascadeWarning) as warned:
        assert found(stage, "猫") == ["cat"]
    told = "bm25: 1 query with a lone letter, which is in the index in pairs only, e.g. qid '0', '猫'"
    assert [str(one.message) for one in warned] == [told]
    assert sorted(found(stage, "猫が a")) == ["cat", "en", "mat"]


@pytest.mark.java
def test_any_language_is_found_in_an_index_for_any(tmp_path: Path) -> None:
    """The cure that the warning names: each document is found by a query in its language, and first."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stage = bm25(build_index(library(), tmp_path / "index", engine="terrier", language="any"))
    assert {docno: found(stage, query)[0] for docno, (_, query) in BOOKS.items()} == {docno: docno for docno in BOOKS}
    assert found(stage, "Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrik") == ["de"]


FORMS = {  # two forms of one word, which the Snowball algorithms of these languages give one stem
    "danish": ("kvinder", "kvinderne"),
    "dutch": ("lichamelijk", "lichamelijke"),
    "finnish": ("talossa", "talon"),
    "french": ("nouvelle", "nouvelles"),
    "german": ("Schiff", "Schiffe"),
    "hungarian": ("könyvek", "könyv"),
    "italian": ("libro", "libri"),
    "norwegian": ("jentene", "jenter"),
    "portuguese": ("livro", "livros"),
    "romanian": ("casele", "case"),
    "russian": ("книга", "книги"),
    "spanish": ("libro", "libros"),
    "swedish": ("flickor", "flickorna"),
    "turkish": ("kitap", "kitaplar"),
}


@pytest.mark.java
@pytest.mark.parametrize("language", SNOWBALL.split())
def test_a_language_is_stemmed(language: str, tmp_path: Path) -> None:
    """One form finds the other, and no other document."""
    one, other = FORMS[language]
    docs = [{"docno": "book", "text": f"{one}."}, *({"docno": f"d{n}", "text": f"xyz{n}"} for n in range(9))]
    assert found(bm25(build_index(docs, tmp_path / "index", language=language)), f"{other}?") == ["book"]


@given(st.text(), st.sampled_from(["english", "any", None]))
def test_words_hold_no_sign_and_stay_as_they_are(text: str, language: str | None) -> None:
    """Nothing that Terrier's parser reads is left, and words of words are the same words (but for pairs of letters)."""
    words = plain_words(text.encode(errors="ignore").decode(), language)
    assert not set(words) & set("""^:+-~"'()[]{}#!?.,;_/\\\\&|<>=@%*$`\t\n""")
    assert language == "any" or plain_words(words, language) == words


def test_a_language_that_an_engine_does_not_read_is_refused(tmp_path: Path) -> None:
    """PISA reads English; no engine reads klingon; an index for another language is not taken for ours."""
    with pytest.raises(PipelineError, match=r"language is 'french': expected one of english, for pisa\. Fix: build_index"):
        build_index(library(), tmp_path / "index", engine="pisa", language="french")
    with pytest.raises(
        PipelineError, match=r"language is 'klingon': expected one of english, any, danish, .*, turkish, for terrier"
    ):
        build_index(library(), tmp_path / "index", language="klingon")
    path = build_index([{"docno": "d", "text": "a lion"}], tmp_path / "index", engine="pisa")
    with pytest.raises(CascadeError, match="index has language english, expected any"):
        build_index([], path, language="any")


@pytest.mark.java
def test_a_folder_says_its_language(tmp_path: Path) -> None:
    """The collection's index is for the language in language.txt; a folder without one is in English."""
    topics, qrels = asked("книга"), pd.DataFrame({"qid": ["0"], "docno": ["ru"], "label": [1]})
    folder = tmp_path / "library"
    write_folder(make_collection("library", topics, qrels, library()), folder)
    assert open_collection(folder).language == "english"
    (folder / "language.txt").write_text("russian\n")
    collection = open_collection(folder)
    index = store_index(collection)
    assert index.name == "index-terrier-russian"
    assert found(bm25(index), "книга") == ["ru"]
    write_folder(collection, tmp_path / "again")
    assert open_collection(tmp_path / "again").language == "russian"


@pytest.mark.parametrize("engine", ENGINES)
def test_long_docnos_come_back_whole(engine: str, tmp_path: Path) -> None:
    """Up to 256 characters and 512 bytes of UTF-8, which is all that Terrier keeps; more is refused (test_bm25)."""
    docnos = ["a" * 256, "é" * 256, "日" * 170, "😀" * 128, "-", "#1", 'a"b', "x\u200cy"]
    docs = [{"docno": docno, "text": f"needle word{n}"} for n, docno in enumerate(docnos)]
    fillers = [{"docno": f"f{n}", "text": f"filler{n}"} for n in range(20)]
    assert sorted(found(bm25(build_index([*docs, *fillers], tmp_path / "index", engine=engine)), "needle")) == sorted(docnos)


@pytest.mark.java
def test_an_index_may_be_given_as_terrier_has_it(tmp_path: Path) -> None:
    """A folder, PyTerrier's artifact, Terrier's reference and its opened index find the same; what is none is refused."""
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    index = build_index(docs, tmp_path / "index", engine="terrier")
    artifact = pt.terrier.TerrierIndex(str(index))
    given = {
        "folder": index,
        "artifact": artifact,
        "reference": artifact.index_ref(),
        "opened": pt.terrier.IndexFactory.of(str(index)),
    }
    expected = found(bm25(index), "mach number")
    assert len(expected) > 0
    assert {name: found(bm25(one), "mach number") for name, one in given.items()} == dict.fromkeys(given, expected)
    with pytest.raises(
        PipelineError, match=r"bm25 cannot be made: index is 42 \(int\), expected a folder, a PisaIndex, or an index of"
    ):
        bm25(42)


def test_an_artifact_that_is_not_an_index_is_refused(tmp_path: Path) -> None:
    """Vectors are an artifact, too."""
    with pytest.raises(
        PipelineError, match=r"bm25 cannot be made: FlexIndex.* \(FlexIndex\), expected a PisaIndex or a TerrierIndex"
    ):
        bm25(FlexIndex(str(tmp_path / "vectors")))
