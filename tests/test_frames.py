"""Frames: what is canonical, what is refused and with which words, and that nothing given is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.errors import FrameError
from pt_cascade.frames import canonical_qrels, canonical_results, canonical_topics, check_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = str(pd.Series(dtype=str).dtype)  # "object" in pandas 2, "str" in pandas 3
ADD_RANKS = 'Fix: results = pt.model.add_ranks(results.drop(columns="rank"))'
FINITE = "Fix: fix the scorer, or drop those rows: results = results[np.isfinite(results.score)]"
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from([0.0, -0.0, 1.0, 2.5, -1e300])),
    max_size=20,
    unique_by=lambda row: row[:2],
)
# the same ids as anyone may hold them
KINDS = {
    "int": lambda ids: pd.Series(ids, dtype=np.int64),
    "str": lambda ids: pd.Series([str(value) for value in ids], dtype=str),
    "object of str": lambda ids: pd.Series([str(value) for value in ids], dtype=object),
    "object of int": lambda ids: pd.Series(ids, dtype=object),
    "Int64": lambda ids: pd.Series(ids, dtype="Int64"),
    "string": lambda ids: pd.Series([str(value) for value in ids], dtype="string"),
    "categories of str": lambda ids: pd.Series([str(value) for value in ids], dtype=str).astype("category"),
    "categories of int": lambda ids: pd.Series(ids, dtype=np.int64).astype("category"),
}


def results_of(rows: list[tuple[int, int, float]], kind: str = "str", docno_kind: str = "str") -> pd.DataFrame:
    """Results with ids of some kind."""
    qids, docnos = KINDS[kind]([row[0] for row in rows]), KINDS[docno_kind]([row[1] for row in rows])
    return pd.DataFrame({"qid": qids, "docno": docnos, "score": np.array([row[2] for row in rows], float)})


def three(**columns: object) -> pd.DataFrame:
    """Three good rows of two queries, with the given other columns."""
    return pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["a", "b", "a"], "score": [2.0, 1.0, 3.0], **columns})


def objects(*values: object) -> pd.Series[Any]:
    """Values of any types, as they are."""
    return pd.Series(list(values), dtype=object)


# what is canonical


@given(ROWS, st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(KINDS)))
def test_results_become_what_pyterrier_means(rows: list[tuple[int, int, float]], kind: str, docno_kind: str) -> None:
    """Whole numbers and text of any type become str, ranks are PyTerrier's, rows and index stay, the input is not changed."""
    frame = results_of(rows, kind, docno_kind).assign(text="t")
    frame.index = pd.Index([row % 2 for row in range(len(rows))])
    before = frame.copy(deep=True)
    found = canonical_results(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert found.index.equals(frame.index)
    assert found["qid"].tolist() == [str(row[0]) for row in rows]
    assert found["docno"].tolist() == [str(row[1]) for row in rows]
    assert found["score"].tolist() == frame["score"].tolist()
    assert found["rank"].tolist() == pt.model.add_ranks(found.drop(columns="rank"))["rank"].tolist()
    assert (str(found["score"].dtype), str(found["rank"].dtype)) == ("float64", "int64")


@given(ROWS, st.sampled_from(sorted(KINDS)))
def test_canonical_frames_stay_as_they_are(rows: list[tuple[int, int, float]], kind: str) -> None:
    """Making canonical twice is making canonical once; what PyTerrier ranked is canonical."""
    once = canonical_results(results_of(rows, kind))
    pd.testing.assert_frame_equal(canonical_results(once), once)
    pd.testing.assert_frame_equal(canonical_results(pt.model.add_ranks(once.copy())), once)
    topics = canonical_topics(pd.DataFrame({"qid": KINDS[kind](list(range(5))), "query": list("abcde")}))
    pd.testing.assert_frame_equal(canonical_topics(topics), topics)
    qrels = canonical_qrels(results_of(rows, kind).assign(label=1))
    pd.testing.assert_frame_equal(canonical_qrels(qrels), qrels)


@pytest.mark.parametrize(
    "score",
    [
        pytest.param([2, 1, 3], id="int"),
        pytest.param(np.array([2, 1, 3], np.uint8), id="uint8"),
        pytest.param(np.array([2, 1, 3], np.float16), id="float16"),
        pytest.param(pd.Series([2, 1, 3], dtype="Float64"), id="Float64"),
        pytest.param(pd.Series([2, 1, 3], dtype="Int64"), id="Int64"),
        pytest.param(objects(2, 1.0, np.float32(3)), id="object"),
    ],
)
def test_scores_may_be_any_numbers(score: object) -> None:
    """A score of any number type is that number, as float64."""
    found = canonical_results(three(score=score))
    assert found["score"].tolist() == [2.0, 1.0, 3.0]
    assert found["score"].dtype == np.float64


@pytest.mark.parametrize("kind", ["int64", "uint64", "Int64", "object"])
def test_whole_numbers_that_float64_would_round_are_refused(kind: str) -> None:
    """2**53 + 1 and 2**53 are one float64: PyTerrier's tie rule would rank them by row order. The cure keeps their order."""
    results = three(score=pd.Series([2**53, 2**53 + 1, 2**60], dtype=kind))  # 2**60 is a float64
    with pytest.raises(FrameError, match="score is a whole number that float64 would round in 1 of 3 row") as error:
        canonical_results(results)
    names = {"results": results}
    exec(error.value.fix, names)  # noqa: S102 - the cure, as it is printed
    assert canonical_results(names["results"]).loc[[1, 0], "rank"].tolist() == [0, 1]
    exact = three(score=pd.Series([2**53, 2**53 + 2, -(2**60)], dtype=kind if kind != "uint64" else "int64"))
    assert canonical_results(exact)["score"].tolist() == [2.0**53, 2.0**53 + 2, -(2.0**60)]


@pytest.mark.parametrize("rank", [[0, 1, 0], [0.0, 1.0, 0.0], pd.Series([0, 1, 0], dtype="Int64"), objects(0, 1, 0)])
def test_good_ranks_may_be_any_numbers(rank: object) -> None:
    """A rank of any number type is that number, as int64."""
    found = canonical_results(three(rank=rank))
    assert found["rank"].tolist() == [0, 1, 0]
    assert found["rank"].dtype == np.int64


@pytest.mark.parametrize(
    "empty",
    [
        pytest.param(pd.DataFrame(columns=["qid", "docno", "score", "rank", "label", "query"]), id="object"),
        pytest.param(pd.DataFrame({name: np.empty(0) for name in ("qid", "docno", "score", "label", "query")}), id="float"),
        pytest.param(three(label=1, query="q").head(0), id="typed"),
        pytest.param(three(label=1, query="q").astype({"qid": "category", "docno": "category"}).head(0), id="categories"),
    ],
)
def test_no_rows_have_columns_and_types(empty: pd.DataFrame) -> None:
    """A frame without rows comes out with the columns and types of one with rows."""

    def types(frame: pd.DataFrame, *columns: str) -> list[str]:
        return [str(frame[name].dtype) for name in columns]

    assert types(canonical_results(empty), "qid", "docno", "score", "rank") == [TEXT, TEXT, "float64", "int64"]
    assert types(canonical_qrels(empty), "qid", "docno", "label") == [TEXT, TEXT, "int64"]
    assert types(canonical_topics(empty), "qid", "query") == [TEXT, TEXT]


def test_queries_may_come_mixed() -> None:
    """Rows of one query need not stand together."""
    frame = pd.DataFrame({"qid": ["1", "2", "1", "2"], "docno": list("abcd"), "score": [1, 1, 2, 1], "rank": [1, 0, 0, 1]})
    assert canonical_results(frame)["rank"].tolist() == [1, 0, 0, 1]


def test_whole_labels_become_integers() -> None:
    """A label of 2.0 is 2, and one below zero is a label."""
    qrels = pd.DataFrame({"qid": [1, 1], "docno": [7, 8], "label": [2.0, -1.0], "iteration": ["0", "0"]})
    assert canonical_qrels(qrels).to_dict("list") == {
        "qid": ["1", "1"],
        "docno": ["7", "8"],
        "label": [2, -1],
        "iteration": ["0", "0"],
    }


def test_real_material_is_canonical(dl19_folder: Path) -> None:
    """PyTerrier's own reader of a real run gives results that need only their ranks to count from 0."""
    read = pt.io.read_results(str(dl19_folder / "runs" / "rankllm.tasb.res.gz"))
    with pytest.raises(FrameError, match="its ranks start at 1, expected 0"):
        canonical_results(read)
    found = canonical_results(read.assign(rank=read["rank"] - 1), "tas-b")
    assert found["qid"].nunique() == 43


# what is refused

BAD_RESULTS = [
    pytest.param(
        pd.DataFrame({"query": ["q"]}),
        "missing or repeated columns: qid, docno, score, expected qid, docno, score, found query."
        ' Fix: results = results.rename(columns={"...": "qid"})',
        id="columns",
    ),
    pytest.param(
        pd.DataFrame(),
        "missing or repeated columns: qid, docno, score, expected qid, docno, score, found none."
        ' Fix: results = results.rename(columns={"...": "qid"})',
        id="no columns",
    ),
    pytest.param(
        three().rename(columns={"docno": "doc_no", "score": "Score"}),
        "missing or repeated columns: docno, score, expected qid, docno, score, found qid, doc_no, Score."
        ' Fix: results = results.rename(columns={"doc_no": "docno", "Score": "score"})',
        id="misspelt columns",
    ),
    pytest.param(
        pd.concat([three(), three()[["docno"]]], axis=1),
        "missing or repeated columns: docno, expected qid, docno, score, found qid, docno, score, docno."
        " Fix: results = results.loc[:, ~results.columns.duplicated()]",
        id="a column twice",
    ),
    pytest.param(
        three(score=[np.nan, 1, -np.inf]),
        f"score is not a finite number in 2 of 3 rows (qid '1', docno 'a', score nan; qid '2', docno 'a', score -inf). {FINITE}",
        id="NaN",
    ),
    pytest.param(
        three(score=pd.Series([1.0, None, 2.0], dtype="Float64")),
        f"score is not a finite number in 1 of 3 rows (qid '1', docno 'b', score <NA>). {FINITE}",
        id="NA",
    ),
    pytest.param(
        three(score=objects(1, None, "high")),
        f"score is not a finite number in 2 of 3 rows (qid '1', docno 'b', score None; qid '2', docno 'a', score 'high'). {FINITE}",
        id="None",
    ),
    pytest.param(
        three(score=["2", "1", "3"]),
        "score is not a finite number in 3 of 3 rows (qid '1', docno 'a', score '2'; qid '1', docno 'b', score '1'; "
        "qid '2', docno 'a', score '3'). Fix: results = results.astype({\"score\": float})",
        id="scores of text",
    ),
    pytest.param(
        three(score=[True, False, True]),
        "score is not a finite number in 3 of 3 rows (qid '1', docno 'a', score True; qid '1', docno 'b', score False; "
        "qid '2', docno 'a', score True). Fix: results = results.astype({\"score\": float})",
        id="truth values",
    ),
    pytest.param(
        three(qid=[1, 1, 1]),
        "(qid, docno) repeats an earlier row in 1 of 3 rows (qid 1, docno 'a')."
        ' Fix: results = results.sort_values("score", ascending=False).drop_duplicates(["qid", "docno"])',
        id="repeated",
    ),
    pytest.param(
        three(qid=[1.0, 1.0, 2.0]),
        "qid is not text or a whole number in 3 of 3 rows (qid 1.0, docno 'a'; qid 1.0, docno 'b'; qid 2.0, docno 'a')."
        ' Fix: results = results.astype({"qid": int})',
        id="float qids",
    ),
    pytest.param(
        three(qid=[101.1, 101.1, 101.2]),
        "qid is not text or a whole number in 3 of 3 rows (qid 101.1, docno 'a'; qid 101.1, docno 'b'; qid 101.2, docno 'a')."
        ' Fix: results = pd.read_csv(path, dtype={"qid": str})',
        id="qids of two parts, read as float",
    ),
    pytest.param(
        three(docno=[2.0**53, 1, 2]),
        "docno is not text or a whole number in 3 of 3 rows (qid '1', docno 9007199254740992.0; qid '1', docno 1.0; "
        "qid '2', docno 2.0). Fix: results = pd.read_csv(path, dtype={\"docno\": str})",
        id="docnos that float64 may have rounded",
    ),
    pytest.param(
        three(score=objects(10**400, -(10**400), 1)),
        "score is a whole number that float64 would round in 2 of 3 rows "
        f"(qid '1', docno 'a', score {repr(10**400)[:60]}; qid '1', docno 'b', score {repr(-(10**400))[:60]})."
        ' Fix: results["score"] = results.groupby("qid")["score"].rank()',
        id="beyond float64",
    ),
    pytest.param(
        three(qid=[1, None, 2]),
        "qid is missing in 1 of 3 rows (qid nan, docno 'b'). Fix: find where it went missing, e.g. in a merge",
        id="a missing qid among numbers",
    ),
    pytest.param(
        three(docno=pd.Series(["a", None, "b"], dtype="string")),
        "docno is missing in 1 of 3 rows (qid '1', docno <NA>). Fix: find where it went missing, e.g. in a merge",
        id="a missing docno among strings",
    ),
    pytest.param(
        three(docno=pd.Series(["a", None, "b"], dtype="category")),
        "docno is missing in 1 of 3 rows (qid '1', docno nan). Fix: find where it went missing, e.g. in a merge",
        id="a missing docno among categories",
    ),
    pytest.param(
        three(docno=pd.Series(["a", np.nan, "b"], dtype=str)),
        "docno is missing in 1 of 3 rows (qid '1', docno nan). Fix: find where it went missing, e.g. in a merge",
        id="a missing docno among str",
        marks=pytest.mark.skipif(TEXT == "object", reason="in pandas 2, astype(str) makes text of NaN"),
    ),
    pytest.param(
        three(qid=objects(1, "1", 2)),
        "qid is a number, but text elsewhere, in 2 of 3 rows (qid 1, docno 'a'; qid 2, docno 'a')."
        ' Fix: results = results.astype({"qid": str})',
        id="mixed qids",
    ),
    pytest.param(
        three(docno=objects(b"a", True, ["b"])),
        "docno is not text or a whole number in 3 of 3 rows (qid '1', docno b'a'; qid '1', docno True; qid '2', docno ['b'])."
        " Fix: make every docno text",
        id="odd docnos",
    ),
    pytest.param(three(rank=[1, 2, 1]), f"its ranks start at 1, expected 0. {ADD_RANKS}", id="ranks from 1"),
    pytest.param(
        three(rank=[1, 0, 0]),
        "rank is not score descending, ties by row order, from 0, in 2 of 3 rows (qid '1', docno 'a', rank 1, expected 0; "
        f"qid '1', docno 'b', rank 0, expected 1). {ADD_RANKS}",
        id="ranks turned",
    ),
    pytest.param(
        three(rank=pd.Series([0, 1, None], dtype="Int64")),
        f"rank is not a whole number in 1 of 3 rows (qid '2', docno 'a', rank <NA>). {ADD_RANKS}",
        id="a rank missing",
    ),
    pytest.param(
        pd.DataFrame({"qid": [1] * 5, "docno": [f"d{i}" for i in range(5)], "score": [np.nan] * 5}),
        "score is not a finite number in 5 of 5 rows (qid 1, docno 'd0', score nan; qid 1, docno 'd1', score nan; "
        f"qid 1, docno 'd2', score nan; ...). {FINITE}",
        id="many",
    ),
]


@pytest.mark.parametrize(("frame", "message"), BAD_RESULTS)
def test_results_that_are_not_usable_say_why(frame: pd.DataFrame, message: str) -> None:
    """The error says what was found where, what was expected, and the line that mends it; the frame stays as it is."""
    before = frame.copy(deep=True)
    with pytest.raises(FrameError) as error:
        canonical_results(frame)
    assert str(error.value) == f"results are not usable: {message}"
    pd.testing.assert_frame_equal(frame, before)


def test_all_problems_are_reported_at_once() -> None:
    """All columns are checked before the error is raised, and the stage that made the frame is named."""
    frame = three(qid=objects(1, "1", 2.5), docno=objects("a", None, "b"), score=[1.0, np.nan, 2.0], rank=list("012"))
    with pytest.raises(FrameError) as error:
        canonical_results(frame, "mono_t5")
    assert str(error.value) == (
        "stage 'mono_t5' returned results that are not usable:\n"
        "  - qid is not text or a whole number in 1 of 3 rows (qid 2.5, docno 'b')\n"
        "  - docno is missing in 1 of 3 rows (qid '1', docno None)\n"
        "  - score is not a finite number in 1 of 3 rows (qid '1', docno None, score nan)\n"
        "  - rank is not a whole number in 3 of 3 rows (qid 1, docno 'a', rank '0'; qid '1', docno None, rank '1'; "
        "qid 2.5, docno 'b', rank '2')\n"
        "Fix: make every qid text; find where it went missing, e.g. in a merge; fix the scorer, or drop those rows: "
        "results = results[np.isfinite(results.score)]; "
        'results = results.astype({"rank": float})'
    )


BAD_TOPICS = [
    pytest.param(
        {"qid": ["1"]},
        'missing or repeated columns: query, expected qid, query, found qid. Fix: topics = topics.rename(columns={"...": "query"})',
        id="columns",
    ),
    pytest.param(
        {"qid": [1, 1], "query": ["a", "b"]},
        'qid repeats an earlier row in 1 of 2 rows (qid 1). Fix: topics = topics.drop_duplicates("qid")',
        id="repeated",
    ),
    pytest.param(
        {"qid": ["1", "2"], "query": objects("a", None)},
        "query is missing in 1 of 2 rows (qid '2', query None). Fix: find where it went missing, e.g. in a merge",
        id="missing query",
    ),
    pytest.param(
        {"qid": ["1", "2"], "query": [1, 2]},
        "query is not text in 2 of 2 rows (qid '1', query 1; qid '2', query 2). Fix: make every query text",
        id="queries of numbers",
    ),
    pytest.param(
        {"qid": ["1"], "query": ["a\x00b"]},
        "query holds a NUL character in 1 of 1 row (qid '1', query 'a\\x00b'). "
        r'Fix: topics["query"] = topics["query"].str.replace("\x00", " ")',
        id="NUL",
    ),
]


@pytest.mark.parametrize(("columns", "message"), BAD_TOPICS)
def test_topics_that_are_not_usable_say_why(columns: dict[str, object], message: str) -> None:
    """A topic without query, or a repeated qid, is an error before any model runs."""
    with pytest.raises(FrameError) as error:
        canonical_topics(pd.DataFrame(columns))
    assert str(error.value) == f"topics are not usable: {message}"


GRADE = "Fix: grade with whole numbers, and drop the unjudged rows"
BAD_QRELS = [
    pytest.param([1, 2.5], f"label is not a whole number in 1 of 2 rows (qid 1, docno 'b', label 2.5). {GRADE}", id="half"),
    pytest.param([1, None], f"label is not a whole number in 1 of 2 rows (qid 1, docno 'b', label nan). {GRADE}", id="missing"),
    pytest.param([1, 1e300], f"label is not a whole number in 1 of 2 rows (qid 1, docno 'b', label 1e+300). {GRADE}", id="huge"),
    pytest.param(
        ["1", "2"],
        "label is not a whole number in 2 of 2 rows (qid 1, docno 'a', label '1'; qid 1, docno 'b', label '2')."
        ' Fix: qrels = qrels.astype({"label": float})',
        id="text",
    ),
]


@pytest.mark.parametrize(("label", "message"), BAD_QRELS)
def test_labels_that_are_not_usable_say_why(label: list[object], message: str) -> None:
    """A grade is a whole number; nothing else is taken for one."""
    with pytest.raises(FrameError) as error:
        canonical_qrels(pd.DataFrame({"qid": [1, 1], "docno": ["a", "b"], "label": label}))
    assert str(error.value) == f"qrels are not usable: {message}"


def test_a_pair_is_judged_once() -> None:
    """Two judgments of one document are not silently one."""
    with pytest.raises(FrameError) as error:
        canonical_qrels(pd.DataFrame({"qid": [1, 1], "docno": ["a", "a"], "label": [0, 1]}))
    assert str(error.value) == (
        "qrels are not usable: (qid, docno) repeats an earlier row in 1 of 2 rows (qid 1, docno 'a')."
        ' Fix: qrels = qrels.drop_duplicates(["qid", "docno"])'
    )


@pytest.mark.parametrize("make", [canonical_topics, canonical_qrels, canonical_results])
def test_a_given_frame_is_never_shared(make: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Writing into what comes back does not reach what was given."""
    frame = three(query=["q", "q", "r"], label=[1, 0, 1])
    frame = frame.iloc[[0, 2]].reset_index(drop=True) if make is canonical_topics else frame
    before = frame.copy(deep=True)
    found = make(frame)
    found["qid"] = "changed"
    found.loc[0, "docno"] = "changed"
    pd.testing.assert_frame_equal(frame, before)


# texts


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["a", "", "c"], id="str"),
        pytest.param(objects("a", "", "c"), id="object"),
        pytest.param(pd.Series(["a", "", "c"], dtype="string"), id="string"),
        pytest.param(pd.Series(["a", "", "c"], dtype="category"), id="category"),
    ],
)
def test_texts_may_be_empty(texts: object) -> None:
    """An empty text is a text, of whatever type the column is; so is no row, and no column."""
    check_text(three(text=texts), "text", "mono_t5")
    check_text(three(text=texts).head(0), "text", "mono_t5")
    check_text(three(), "text", "mono_t5")


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        pytest.param(objects("a", None, "c"), "None", id="None"),
        pytest.param(objects("a", np.nan, "c"), "nan", id="NaN"),
        pytest.param(objects("a", 7, "c"), "7", id="number"),
        pytest.param(objects("a", b"x" * 99, "c"), "b'" + "x" * 58, id="bytes"),
        pytest.param(pd.Series(["a", None, "c"], dtype="string"), "<NA>", id="string"),
        pytest.param(pd.Series(["a", None, "c"], dtype="category"), "nan", id="category"),
        pytest.param(pd.Series(["a", None, "c"], dtype=object).astype(TEXT), "None" if TEXT == "object" else "nan", id="str"),
    ],
)
def test_missing_texts_are_refused(texts: object, shown: str) -> None:
    """A model never reads a missing text, whatever value marks it."""
    with pytest.raises(FrameError) as error:
        check_text(three(text=texts), "text", "mono_t5")
    assert str(error.value) == (
        "stage 'mono_t5' cannot read its documents: "
        f"text is missing or not text in 1 of 3 rows (qid '1', docno 'b', text {shown})."
        " Fix: put ptc.open_collection(name).text_loader() before it, of the collection that was searched; or drop those rows"
    )


@pytest.mark.parametrize("column", ["qid", "docno"])
@pytest.mark.parametrize("kind", [TEXT, object, "category"])
def test_an_id_with_a_nul_character_is_refused(column: str, kind: type | str) -> None:
    """The programs of trec_eval end a text there, and take two documents for one; the cure gives ids of which they see all."""
    ids = pd.Series(["d\x00x", "d\x00y"]).astype(kind)
    results = pd.DataFrame({"qid": ["1", "2"], "docno": ["a", "b"], "score": [2.0, 1.0]}).assign(**{column: ids})
    qrels = results.drop(columns="score").assign(label=1)
    told = rf"{column} holds a NUL character in 2 of 2 rows "
    with pytest.raises(FrameError, match=told):
        canonical_qrels(qrels)
    with pytest.raises(FrameError, match=told) as error:
        canonical_results(results)
    names = {"results": results}
    exec(error.value.fix, names)  # noqa: S102 - the cure that the message gives
    assert canonical_results(names["results"])[column].tolist() == ["d_x", "d_y"]


def test_the_cure_for_qids_that_were_read_as_float_keeps_every_topic(tmp_path: Path) -> None:
    """CAsT's qids are turn and conversation, such as 101.10; int would make one of 101.1 and 101.2, float of 101.1 and 101.10."""
    path = tmp_path / "topics.csv"
    path.write_text("qid,query\n101.1,a\n101.2,b\n101.10,c\n")
    with pytest.raises(FrameError) as error:
        canonical_topics(pd.read_csv(path))
    names = {"pd": pd, "path": path}
    exec(error.value.fix.partition(";")[0], names)  # noqa: S102 - the cure that the message gives
    assert canonical_topics(names["topics"])["qid"].tolist() == ["101.1", "101.2", "101.10"]


def test_a_label_beyond_float64_is_refused() -> None:
    """It is no label, and no raw OverflowError."""
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": objects(10**400)})
    with pytest.raises(FrameError, match=r"label is not a whole number in 1 of 1 row .* Fix: grade with whole numbers, and drop"):
        canonical_qrels(qrels)


def test_the_cure_for_scores_beyond_float64_keeps_their_order() -> None:
    """By hand: of 10**400, -10**400 and 1 the ranks, ascending, are 3, 1 and 2."""
    results = pd.DataFrame({"qid": "1", "docno": list("abc"), "score": objects(10**400, -(10**400), 1)})
    with pytest.raises(FrameError) as error:
        canonical_results(results)
    exec(error.value.fix, {"results": results})  # noqa: S102 - the cure that the message gives
    assert canonical_results(results)["rank"].tolist() == [0, 2, 1]
