"""The guards at every boundary: what a stage may and may not do to its frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from toys.rankers import Broken, Counting, FakeClock, ToyReranker, ToyRetriever, topics, toss

from pt_cascade import Cascade, run, score
from pt_cascade.cascade import Stage, walk
from pt_cascade.errors import CascadeError, CascadeWarning, FrameError, StageError
from pt_cascade.frames import LOAD_TEXT
from pt_cascade.numbers import count_of

RETRIEVER = ToyRetriever(docs=3, levels=5)


def two(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its first document standing twice."""
    return pd.concat([frame, frame.head(1)], ignore_index=True)


SPOILED = {
    "NaN": (
        lambda df: df.assign(score=[np.nan, *df["score"][1:]]),
        "stage 'broken' returned results that are not usable: score is not a finite number in 1 of 4 rows "
        "(qid 'q0', docno 'd0', score nan). "
        "Fix: fix the scorer, or drop those rows: results = results[np.isfinite(results.score)]",
    ),
    "infinite": (
        lambda df: df.assign(score=-np.inf),
        "stage 'broken' returned results that are not usable: score is not a finite number in 4 of 4 rows "
        "(qid 'q0', docno 'd0', score -inf; qid 'q0', docno 'd1', score -inf; qid 'q0', docno 'd2', score -inf; ...). "
        "Fix: fix the scorer, or drop those rows: results = results[np.isfinite(results.score)]",
    ),
    "lost": (
        lambda df: pt.model.add_ranks(df.iloc[1:].copy()),
        "stage 'broken' did not return the documents of its input: documents removed in 1 of 4 rows (qid 'q0', docno 'd0'). "
        "Fix: if this is intended: Cascade.of(pipeline).with_stage('broken', documents='any')",
    ),
    "invented": (
        lambda df: pt.model.add_ranks(df.assign(docno=["x", *df["docno"][1:]])),
        "stage 'broken' did not return the documents of its input:\n  - documents removed in 1 of 4 rows (qid 'q0', docno 'd0')\n"
        "  - documents added in 1 of 4 rows (qid 'q0', docno 'x')\n"
        "Fix: if this is intended: Cascade.of(pipeline).with_stage('broken', documents='any')",
    ),
    "a strange query": (
        lambda df: df.assign(qid="other", docno=[f"x{i}" for i in range(len(df))], rank=range(len(df))),
        "stage 'broken' returned queries that are not in its input: 1 qid, e.g. other",
    ),
    "no score": (
        lambda df: df.drop(columns="score"),
        "stage 'broken' returned results that are not usable: missing or repeated columns: score, expected qid, docno, score, "
        'found qid, query, docno, rank. Fix: results = results.rename(columns={"...": "score"})',
    ),
    "not a frame": (lambda df: df.to_dict(), None),
    "raises": (lambda _: 1 / 0, None),
}


@pytest.mark.parametrize("case", SPOILED)
def test_invalid_results_of_a_stage_are_reported(case: str) -> None:
    """NaN, infinite, lost, invented, duplicated: one error that names stage, qid, docno and remedy."""
    spoil, message = SPOILED[case]
    broken = Broken(spoil)
    with pytest.raises(CascadeError) as error:
        Cascade.of(RETRIEVER % 10 >> broken).transform(topics(2))
    if message is None:
        assert str(error.value).startswith("stage 'broken' failed")
        assert repr(broken) in str(error.value)
    else:
        assert str(error.value) == message


def test_duplicates_are_reported() -> None:
    """A pair that stands twice is an error, with the line that keeps the better one."""
    with pytest.raises(FrameError, match=r"repeats an earlier row in 1 of 5 rows \(qid 'q0', docno 'd0'\)"):
        Cascade.of(RETRIEVER % 10 >> Broken(two)).transform(topics(2))


def test_ranks_from_one_are_reported() -> None:
    """A 1-based run, of which PyTerrier's % 10 silently returns 9 documents, is refused."""
    from_one = Broken(lambda df: df.assign(rank=df["rank"] + 1))
    with pytest.raises(FrameError, match="its ranks start at 1, expected 0"):
        Cascade.of(RETRIEVER % 10 >> from_one % 10).transform(topics(2))


def test_a_missing_column_names_the_part_and_the_remedy() -> None:
    """PyTerrier's validation error comes with the stage, the missing column and what adds it."""
    needs_text = pt.apply.generic(lambda df: pt.validate.result_frame(df, extra_columns=["text"]) or df)
    reranker = Stage("toy_reranker", (needs_text, ToyReranker()), documents="reranks")
    cascade = Cascade((*Cascade.of(RETRIEVER % 10), reranker))
    with pytest.raises(StageError) as error:
        cascade.transform(topics(2))
    assert "stage 'toy_reranker' cannot run" in str(error.value)
    assert "needs column text; its input has qid, query, docno, score, rank" in str(error.value)
    assert str(error.value).endswith(f"Fix: {LOAD_TEXT}")


@dataclass(frozen=True)
class Reader(pt.Transformer):
    """Scores by the length of the text, and remembers what it read."""

    read: list[str] = field(default_factory=list)
    documents = "reranks"
    depends = "pointwise"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Read."""
        pt.validate.result_frame(inp, extra_columns=["text"], context=self)
        self.read.extend(inp["text"])
        return pt.model.add_ranks(inp.assign(score=inp["text"].astype(str).str.len().astype(float)))


def test_a_missing_text_is_reported_before_the_model_runs() -> None:
    """None as text, which pyterrier_t5 scores as the text 'None', is an error, and no pair has been scored."""
    reader = Reader()
    holes = pt.apply.text(lambda row: None if row["docno"] == "d1" else "text")
    with pytest.raises(FrameError, match=r"text is missing or not text in 2 of 4 rows \(qid 'q0', docno 'd1', text (nan|None); "):
        Cascade.of(RETRIEVER % 10 >> holes >> reader).transform(topics(2))
    assert reader.read == []


def test_a_missing_text_is_reported_where_it_may_be_read() -> None:
    """A function may read any column, so a warning counts the documents; a retriever that re-ranks reads none, and is silent."""
    holes = pt.apply.text(lambda row: None if row["docno"] == "d1" else "text")
    told = r"stage 'doc_score' ranks 1 document without a text, or with an empty one, e.g. docno d1"
    with pytest.warns(CascadeWarning, match=told):
        Cascade.of(RETRIEVER % 10 >> holes >> pt.apply.doc_score(lambda _: 1.0)).transform(topics(2))
    ones = RETRIEVER % 10 >> holes >> (pt.apply.doc_score(lambda _: 1.0) + ToyReranker())
    assert len(Cascade.of(ones).transform(topics(2))) == 4


def test_a_text_that_is_loaded_later_may_be_missing_before() -> None:
    """A union of a retriever that brings texts and one that does not: the loader after it fills them."""
    text = {f"d{n}": f"text {n}" for n in range(20)}
    brings = RETRIEVER >> pt.apply.text(lambda row: text[row["docno"]])
    fills = pt.apply.text(lambda row: text[row["docno"]])
    pipeline = (brings | ToyRetriever(docs=9, seed=5)) >> fills >> Reader() % 5
    columns = ["qid", "docno", "score", "rank"]
    live = pipeline.transform(topics(3))[columns].sort_values(["qid", "rank"]).reset_index(drop=True)
    ours = Cascade.of(pipeline).transform(topics(3))[columns].sort_values(["qid", "rank"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, live)


def test_an_empty_text_is_scored_with_a_warning() -> None:
    """Cranfield has two documents without a word: they are ranked, with a warning."""
    empty = pt.apply.text(lambda row: "" if row["docno"] == "d1" else "text")
    with pytest.warns(
        CascadeWarning, match=r"stage 'toy_reranker' ranks 1 document without a text, or with an empty one, e.g. docno d1"
    ):
        Cascade.of(RETRIEVER % 10 >> empty >> ToyReranker()).transform(topics(2))


def test_declared_changes_of_documents_are_let_through() -> None:
    """A stage that says that it may lose documents loses them in peace."""
    loses = Cascade.of(RETRIEVER % 10 >> Broken(lambda df: pt.model.add_ranks(df.iloc[1:].copy())))
    kept = loses.with_stage("broken", documents="any").transform(topics(2))
    assert len(kept) == 3


def test_a_stage_with_nothing_to_rank_is_not_called() -> None:
    """pyterrier_dr's scorers crash on 0 rows; a query without results never reaches them."""
    frame = pd.DataFrame({"qid": ["a"], "query": ["nothing"]})
    counting = Counting()
    out = Cascade.of(RETRIEVER % 10 >> counting % 3).transform(frame)
    assert len(out) == 0
    assert {"qid", "docno", "score", "rank"} <= set(out)
    assert counting.asked == []


def test_each_pair_is_scored_once_and_the_input_is_left_alone() -> None:
    """The second stage sees each passed pair once; neither topics nor any frame between is changed."""
    counting, asked = Counting(), topics(3)
    before = asked.copy(deep=True)
    steps = list(walk(Cascade.of(RETRIEVER % 2 >> counting % 1), asked))
    assert sorted(counting.asked) == sorted(zip(steps[0].kept["qid"], steps[0].kept["docno"], strict=True))
    pd.testing.assert_frame_equal(asked, before)


def test_time_is_the_stages_own() -> None:
    """With a clock that ticks a second a reading, a stage of one part takes two: its own and its cut's."""
    steps = list(walk(Cascade.of(RETRIEVER % 2 >> Counting()), topics(1), clock=FakeClock()))
    assert [step.ms for step in steps] == [2000.0, 2000.0]


def test_a_stage_without_documents_takes_no_time() -> None:
    """It is not run, and nothing is cut: 0 ms, whatever the clock says."""
    nothing = pt.Transformer.from_df(RETRIEVER.transform(topics(1)).iloc[:0])
    steps = list(walk(Cascade.of(nothing % 2 >> Counting() % 1), topics(1), clock=FakeClock()))
    assert [step.ms for step in steps] == [1000.0, 0.0]


def test_candidates_without_scores_can_be_re_ranked() -> None:
    """A frame of qid, query and docno is enough to start from; it is checked all the same."""
    candidates = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"]})
    assert len(Cascade.of(ToyReranker() % 1).transform(candidates)) == 1
    with pytest.raises(FrameError, match="repeats an earlier row"):
        Cascade.of(ToyReranker() % 1).transform(two(candidates))


def test_integer_qids_become_text() -> None:
    """Topics with integer qids run, and their results carry str qids that match the qrels."""
    out = Cascade.of(RETRIEVER % 2).transform(pd.DataFrame({"qid": [1, 2], "query": ["x", "y"]}))
    assert set(out["qid"]) <= {"1", "2"}


def test_a_loader_that_filters_is_let_through() -> None:
    """A user's own filter between stages may drop documents; the scorer after it is not blamed."""
    filtered = pt.apply.generic(lambda df: df[df["docno"] != "d0"])
    out = Cascade.of(RETRIEVER % 10 >> filtered >> ToyReranker() % 5).transform(topics(2))
    assert len(out)
    assert "d0" not in set(out["docno"])


def test_equal_scores_may_stand_in_any_order() -> None:
    """A stage that leaves the old ranks on equal scores (here * 0) is cut by them, as PyTerrier does."""
    pipeline = RETRIEVER % 10 >> (ToyReranker() * 0) % 2
    pd.testing.assert_frame_equal(Cascade.of(pipeline).transform(topics(3)), pipeline.transform(topics(3)))


def test_float32_scores_go_on_as_they_are() -> None:
    """What a later stage computes from a float32 score is what the plain pipeline computes."""
    narrow = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=(df["score"] + 5000.1).astype("float32"))))
    adds = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["score"] + np.float32(1e8))))
    pipeline = RETRIEVER % 10 >> narrow % 5 >> adds % 3
    pd.testing.assert_frame_equal(Cascade.of(pipeline).transform(topics(3)), pipeline.transform(topics(3)))


def test_a_query_without_results_keeps_the_columns() -> None:
    """Where nothing is left to rank, what follows still finds the columns that a stage adds."""
    text = pt.apply.text(lambda _: "t")
    needs_text = pt.apply.generic(lambda df: pt.validate.result_frame(df, extra_columns=["text"]) or df)
    pipeline = RETRIEVER % 10 >> text >> ToyReranker() % 5
    nothing = pd.DataFrame({"qid": ["a"], "query": ["nothing"]})
    out = (Cascade.of(pipeline) >> needs_text).transform(nothing)
    assert (len(out), out["score"].dtype, out["rank"].dtype) == (0, np.float64, np.int64)
    assert "text" in out


def test_topics_may_come_without_a_query() -> None:
    """A pipeline that reads another column than query is given its topics all the same."""
    pipeline = pt.apply.rename({"question": "query"}) >> RETRIEVER % 5
    asked = topics(2).rename(columns={"query": "question"})
    cascade = Cascade.of(pipeline)
    assert cascade[0].documents == "retrieves"
    pd.testing.assert_frame_equal(cascade.transform(asked), pipeline.transform(asked))


def test_a_text_column_of_topics_is_not_a_document() -> None:
    """Topics may carry a column text, even an empty one."""
    assert len(Cascade.of(RETRIEVER % 5).transform(topics(2).assign(text=None)))


def test_an_ending_that_fails_is_named() -> None:
    """What runs after the last cut-off has no stage; its error says so."""
    fails = pt.apply.text(lambda row: row["no_such_column"])
    with pytest.raises(StageError, match=r"stage 'the ending' failed on .* it fails on qid 'q0', docno 'd\d'$"):
        Cascade.of(RETRIEVER % 5 >> fails).transform(topics(2))


@pytest.mark.parametrize("lost", ["d0", "d2", "d8"])
def test_the_document_on_which_a_function_fails_is_named(lost: str) -> None:
    """It is asked for each row once; the printed cure, a finite score for every row, works."""
    found = ToyRetriever(docs=9)
    asked: list[str] = []
    stage = pt.apply.doc_score(
        lambda row: asked.append(row["docno"]) or (float("nan") if tuple(row[["qid", "docno"]]) == ("q0", lost) else 1.0)
    )
    with pytest.raises(StageError) as error:
        Cascade.of(found % 9 >> stage).transform(topics(2))
    rows = len(found.transform(topics(2)))
    assert len(asked) == rows
    assert str(error.value) == (
        f"stage 'doc_score' failed on {count_of(rows, 'row')}: pt.apply.doc_score() returned a score that is NaN or infinite; "
        f"it fails on qid 'q0', docno '{lost}'. Fix: give every row a finite score, e.g. 0.0"
    )
    cured = pt.apply.doc_score(lambda row: 0.0 if row["docno"] == lost else 1.0)
    assert len(Cascade.of(found % 9 >> cured).transform(topics(2))) == rows


def test_the_query_on_which_a_function_fails_is_named() -> None:
    """Topics have no docno; of a function that fails on all rows only, the first row is named."""
    with pytest.raises(StageError, match=r"it fails on qid 'q1', query 'query 1'$"):
        Cascade.of(pt.apply.query(lambda row: row["query"] if row["qid"] == "q0" else 1 / 0) >> RETRIEVER % 5).transform(topics(2))
    together = pt.apply.generic(lambda df: df if len(df) < 2 else 1 / 0)
    with pytest.raises(StageError, match=r"raised ZeroDivisionError: division by zero; the first row is qid 'q0', docno 'd\d'"):
        Cascade.of(RETRIEVER % 5 >> together).transform(topics(2))


def toss_scores(df: pd.DataFrame) -> pd.Series:
    """Scores by a hash, with a fraction that no float16 holds, of which some products leave an int8."""
    return df["docno"].map(lambda docno: toss(docno, sides=5) + 0.3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "Float32", "int8"])
def test_scores_go_on_in_the_type_that_the_stage_gave_them(dtype: str) -> None:
    """What the next stage computes from them, rounding and overflow included, is what the plain pipeline computes."""
    typed = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=toss_scores(df).astype(dtype)).drop(columns="rank")))
    adds = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["score"] * df["score"] * 9).drop(columns="rank")))
    pipeline = ToyRetriever(docs=12) % 9 >> typed % 8 >> adds % 6
    live = pipeline.transform(topics(3)).sort_values(["qid", "rank"])[["qid", "docno", "rank", "score"]].to_numpy().tolist()
    replayed = score(pipeline, topics(3)).replay((9, 8, 6))
    for done in (Cascade.of(pipeline).transform(topics(3)), run(pipeline, topics(3)).results, replayed):
        assert done.sort_values(["qid", "rank"])[["qid", "docno", "rank", "score"]].to_numpy().tolist() == live


@pytest.mark.java
def test_an_error_of_java_is_one_line() -> None:
    """Its message holds the whole stack, which stays in the cause; the line names what failed and the row."""
    if not pt.java.started():
        pt.java.init()
    parse = pt.java.autoclass("java.lang.Integer").parseInt
    with pytest.raises(StageError) as caught:
        Cascade.of(RETRIEVER >> pt.apply.doc_score(lambda row: parse(row["docno"]))).transform(topics(1))
    said = 'JVM exception occurred: java.lang.NumberFormatException: For input string: "d0"'
    problem = f"pt.apply.doc_score() raised JavaException: {said}; it fails on qid 'q0', docno 'd0'"
    assert str(caught.value) == f"stage 'doc_score' failed on 3 rows: {problem}"
    assert "Integer.java" in str(caught.value.__cause__)
