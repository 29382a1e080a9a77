"""A cached stage answers as the stage itself, and asks it only for what is new."""

from __future__ import annotations

import pickle
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from toys.judges import Judge, Log
from toys.rankers import Broken, ToyRetriever, topics, toss
from toys.storing import MEMORY

from pt_cascade import Cascade
from pt_cascade.cascade.fingerprints import describe, fingerprint
from pt_cascade.cascade.stage import Depends
from pt_cascade.errors import FrameError, PipelineError, ScoreCacheError, StageError
from pt_cascade.ranking import score_below
from pt_cascade.stages.base.pairwise import PairReranker
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.cached import Cached, cached
from pt_cascade.stages.scorecache.score_cache import ScoreCache


@dataclass(frozen=True)
class Reader(Reranker):
    """A stage of ours that scores a text by a hash with few values, and writes down what it was asked."""

    seed: int = 0
    levels: int = 4
    log: Log = field(default_factory=Log, compare=False)
    stage_name: ClassVar[str] = "reader"

    def score(self, results: pd.DataFrame) -> np.ndarray:
        """Score the texts."""
        self.log.note(list(zip(results["qid"], results["docno"], strict=True)))
        pairs = zip(results["query"], results["text"], strict=True)
        return np.array([toss(self.seed, query, text, sides=self.levels) / 7 for query, text in pairs])


@dataclass(frozen=True)
class Lister(Reranker):
    """A stage whose scores depend on the list: the share of each text's length, and a little on the rank before."""

    log: Log = field(default_factory=Log, compare=False)
    depends: ClassVar[str] = "listwise"
    stage_name: ClassVar[str] = "lister"

    def score(self, results: pd.DataFrame) -> np.ndarray:
        """Score each text by its share."""
        self.log.note(list(zip(results["qid"], results["docno"], strict=True)))
        length = results["text"].str.len()
        share = length / length.groupby(results["qid"]).transform("sum") + results["rank"] / 1000
        return share.to_numpy(np.float64)


@dataclass(frozen=True)
class Failing(Reranker):
    """A stage that cannot score some texts: it ranks them below the rest, and says so."""

    fails: set[str] = field(default_factory=set, compare=False)
    log: Log = field(default_factory=Log, compare=False)
    stage_name: ClassVar[str] = "failing"
    failed_column: ClassVar[str] = "llm_failed"
    on_error: ClassVar[str] = "keep"

    def score(self, results: pd.DataFrame) -> np.ndarray:
        """Score by length."""
        self.log.note(list(zip(results["qid"], results["docno"], strict=True)))
        return results["text"].str.len().to_numpy(np.float64)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score, then put such texts below."""
        out = super().transform(inp).assign(calls=len(inp))
        failed, query = out["text"].isin(self.fails), pd.factorize(out["qid"])[0]
        score = score_below(query, out["score"].where(~failed).to_numpy(), inp["rank"].to_numpy())
        return pt.model.add_ranks(out.assign(score=score, llm_failed=failed.astype(bool)))


def frame(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """Make results of (qid, query, docno, text), in rank order, with an index and a column of their own."""
    made = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"], index=range(10, 10 + len(rows)))
    return made.assign(score=-1.0, rank=made.groupby("qid").cumcount(), url="u")


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Some of 3 queries, two of one text, with some of 7 documents, two of one text; rows and ranks in any order."""
    pairs = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 7)), min_size=1, max_size=10, unique=True))
    made = frame(*((f"q{q}", f"query {min(q, 2)}", f"d{d}", f"text {min(d, 6)}") for q, d in pairs))
    order = np.array(draw(st.permutations(range(len(pairs)))))
    rank = pd.Series(order).groupby(made["qid"].to_numpy()).rank().astype(int) - 1
    return made.assign(rank=rank.to_numpy(), score=-order.astype(float))


def same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Compare the rows of each query in their order, scores as float64; columns and queries in any order."""
    theirs = theirs.astype({"score": np.float64})
    one, other = (results.sort_values("qid", kind="stable").reset_index(drop=True) for results in (ours, theirs))
    assert_frame_equal(one, other[list(ours.columns)], check_exact=True)
    assert set(ours.columns) == set(theirs.columns)


@settings(max_examples=30)
@given(st.lists(frames(), min_size=1, max_size=4), st.integers(1, 6))
def test_a_cached_stage_of_ours_returns_what_the_stage_returns(given_frames: list[pd.DataFrame], batch_size: int) -> None:
    """Cold, warm and half warm, in any micro-batches: bit for bit, with index and columns; each (query, text) asked once."""
    alone, inner = Reader(), Reader()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        kept = cached(inner, f"{folder}/s", batch_size=batch_size)
        for results in (*given_frames, *given_frames):
            before = results.copy()
            assert_frame_equal(kept.transform(results), alone.transform(results), check_exact=True)
            assert_frame_equal(results, before)
        asked = {(f"query {min(int(qid[1]), 2)}", min(int(docno[1]), 6)) for qid, docno in inner.log.asked}
        assert len(inner.log.asked) == len(asked) == kept.score_cache().count()
        assert max(map(len, inner.log.calls)) <= batch_size


RULES = [
    pytest.param("given", "given", id="keeps rows, ties by rows"),
    pytest.param("given", "rank", id="keeps rows, ties by rank"),
    pytest.param("rank", "given", id="sorts rows, ties by rows"),
    pytest.param("rank", "rank", id="sorts rows, ties by rank"),
]


@pytest.mark.parametrize(("rows", "ties"), RULES)
@settings(max_examples=12)
@given(given_frames=st.lists(frames(), min_size=1, max_size=4), batch_size=st.integers(1, 6))
def test_a_foreign_stage_is_repeated_in_its_order_and_ties(
    given_frames: list[pd.DataFrame], batch_size: int, rows: str, ties: str
) -> None:
    """Whether it sorts or keeps rows, and whichever rule its ties follow, found out by looking, at most 20 rows more."""
    inner = Judge(1, 2, rows, ties, log=Log())
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for results in (*given_frames, *given_frames):
            kept = cached(inner, f"{folder}/s", identity="judge", batch_size=batch_size)
            same(kept.transform(results), Judge(1, 2, rows, ties).transform(results))
        assert len(inner.log.asked) <= kept.score_cache().count() + 4 * 5
        asked = len(inner.log.asked)
        for results in given_frames:
            kept.transform(results)
        assert len(inner.log.asked) == asked


def _grouped(results: pd.DataFrame) -> pd.DataFrame:
    """Return query by query, as they come, rows as they were."""
    return pd.concat([some for _, some in results.groupby("qid", sort=False)])


FOREIGN: dict[str, pt.Transformer] = {
    "by row": pt.apply.doc_score(lambda row: float(toss(row["docno"], row["text"], sides=3))),
    "in batches": pt.apply.doc_score(lambda df: [toss(text, sides=3) for text in df["text"]], batch_size=3),
    "float32": pt.apply.generic(
        lambda df: pt.model.add_ranks(df.assign(score=(df["docno"].str[1:].astype(int) / 7).astype("float32")))
    ),
    "whole numbers": pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["docno"].str[1:].astype(int)))),
    "query by query": pt.apply.generic(
        lambda df: _grouped(pt.model.add_ranks(df.assign(score=df["docno"].str[1:].astype(float) % 2)))
    ),
    "two in a row": pt.apply.text(lambda row: row["text"] + "!") >> pt.apply.doc_score(lambda row: float(len(row["docno"]))),
}


@pytest.mark.parametrize("kind", FOREIGN)
@settings(max_examples=8)
@given(given_frames=st.lists(frames(), min_size=1, max_size=2))
def test_any_foreign_re_ranker_is_repeated(given_frames: list[pd.DataFrame], kind: str) -> None:
    """PyTerrier's own, per row and in batches, scores of any type, rows in any order; what they say of the text stays as given."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        kept = cached(FOREIGN[kind], f"{folder}/s", identity=kind, depends="pointwise", batch_size=4)
        for results in (*given_frames, *given_frames):
            same(kept.transform(results).drop(columns="text"), FOREIGN[kind].transform(results).drop(columns="text"))


def test_two_of_one_text_share_a_score(tmp_path: Path) -> None:
    """Golden, by hand: two topics and two documents of one text are four rows, one score, one question."""
    inner = Reader()
    kept = cached(inner, tmp_path / "s")
    rows = [(qid, "lions", docno, "a lion") for qid in ("1", "2") for docno in ("a", "b")]
    out = kept.transform(frame(*rows))
    assert inner.log.asked == [("1", "a")]
    assert out["score"].nunique() == kept.score_cache().count() == 1
    assert out["rank"].tolist() == [0, 1, 0, 1]


def test_the_columns_that_identify_a_document_can_be_given(tmp_path: Path) -> None:
    """Scores of foreign stages are identified by all input columns, unless the caller names the columns."""
    inner = pt.apply.doc_score(lambda row: float(len(row["url"])))
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "x"))
    for number, reads in enumerate((("url",), ["url"], "url", None)):
        kept = cached(inner, tmp_path / f"{number}", identity="url length", depends="pointwise", reads=reads)
        assert kept.transform(results.assign(url=["u", "u"]))["score"].tolist() == [1.0, 1.0]
        assert kept.transform(results.assign(url=["u", "long"]))["score"].tolist() == [1.0, 4.0]
        assert kept.score_cache().count() == (2 if reads else 3)
    by_text = cached(inner, tmp_path / "t", identity="url length", depends="pointwise", reads=["text"])
    by_text.transform(results)
    assert by_text.transform(results.assign(url="long"))["score"].tolist() == [1.0, 1.0]


@dataclass(frozen=True)
class Features(pt.Transformer):
    """A foreign stage that adds up an array, text of a column of its own, and what the stages before said, as it is told to."""

    column: str = "body"
    depends = "pointwise"
    documents = "reranks"
    stage_name = "features"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by what is in the column."""
        cells = [len(cell) if isinstance(cell, str) else float(np.sum(cell)) for cell in inp[self.column]]
        return pt.model.add_ranks(inp.assign(score=np.array(cells, float)))


@pytest.mark.parametrize(
    ("column", "one", "other", "depends"),
    [
        ("body", ["a", "bb"], ["aaa", "b"], "pointwise"),
        ("query_vec", [np.array([1.0, 2.0])] * 2, [np.array([5.0, 2.0])] * 2, "pointwise"),
        ("features", [np.array([1, 2]), np.array([3, 4])], [np.array([1, 2]), np.array([3, 5])], "pointwise"),
        ("features", [[1, 2], [3, 4]], [[1, 2], [3, 5]], "listwise"),
        ("score", [4.0, 2.0], [4.0, 1.0], "listwise"),
        ("score", [4.0, 2.0], [4.0, 1.0], "pairwise"),
        ("rank", [0, 1], [1, 2], "listwise"),
    ],
)
def test_what_a_foreign_stage_is_given_tells_its_scores(
    tmp_path: Path, column: str, one: list[object], other: list[object], depends: Depends
) -> None:
    """Other vectors, features, texts, and for a list other scores and ranks: never the kept scores of what was there before."""
    base, inner = frame(("1", "q", "a", "x"), ("1", "q", "b", "x")), Features(column)
    kept = cached(inner, tmp_path / "s", identity="sum", depends=depends)
    for cells in (one, other, one, other):
        results = base.assign(**{column: pd.Series(cells, index=base.index)})
        same(kept.transform(results), inner.transform(results))
    assert kept.score_cache().count() == (4 if depends != "pointwise" or column != "features" else 3)


def test_columns_that_do_not_identify_a_document_are_ignored(tmp_path: Path) -> None:
    """The qid, and what the stages before scored and ranked: another topic of one text, or another cascade, asks nothing."""
    kept = cached(Features("text"), tmp_path / "s", identity="text")
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "yy"))
    kept.transform(results)
    kept.transform(results.assign(qid="2", score=7.0, rank=[1, 0]))
    assert kept.score_cache().count() == 2


def _searcher(pattern: str) -> pt.Transformer:
    compiled = re.compile(pattern)
    return pt.apply.doc_score(lambda row: float(len(compiled.findall(row["text"]))))


def test_nothing_of_a_foreign_stage_is_guessed(tmp_path: Path) -> None:
    """Two regular expressions in a closure look alike to any fingerprint: without words they are refused, with them they differ."""
    with pytest.raises(PipelineError, match=r"it has no method identify\(\), so its model, version and settings") as refused:
        cached(_searcher("[a-z]"), tmp_path / "s", depends="pointwise")
    assert refused.value.fix.startswith("cached(stage, path, identity='its model, version and settings")
    results = frame(("1", "q", "a", "aa1"))
    letters = cached(_searcher("[a-z]"), tmp_path / "s", identity="letters", depends="pointwise")
    assert letters.transform(results)["score"].tolist() == [2.0]
    with pytest.raises(ScoreCacheError, match="its identity is letters, expected digits"):
        cached(_searcher("[0-9]"), tmp_path / "s", identity="digits", depends="pointwise")
    with pytest.raises(ScoreCacheError, match=r"its class is .*, expected .*Judge"):
        cached(Judge(), tmp_path / "s", identity="letters")


class Lazy(pt.Transformer):
    """A foreign stage that changes its own attributes when it scores: it loads its model, and counts its calls."""

    documents = "reranks"
    depends = "pointwise"

    def __init__(self) -> None:
        """Have no model yet."""
        self.model: dict[str, float] | None = None
        self.calls = 0

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Load, count, score."""
        self.model = self.model or {"weight": 2.0}
        self.calls += 1
        return pt.model.add_ranks(inp.assign(score=inp["text"].str.len() * self.model["weight"]))


def test_a_foreign_stage_may_change_itself(tmp_path: Path) -> None:
    """A model that is loaded, a counter that goes on: it is the stage that its user says it is, at the second call too."""
    inner = Lazy()
    kept = cached(inner, tmp_path / "s", identity="lazy v1")
    results = frame(("1", "q", "a", "aa"))
    for _ in range(3):
        assert kept.transform(results)["score"].tolist() == [4.0]
    assert cached(Lazy(), tmp_path / "s", identity="lazy v1").transform(results)["score"].tolist() == [4.0]
    assert inner.calls == 1


@pytest.mark.parametrize("told", [{}, {"seed": 1}, ["seed"], None])
def test_an_identity_that_is_not_words_is_refused(tmp_path: Path, told: object) -> None:
    """What a stage's own method gives has to be words by name, and at least one."""
    inner = Judge()
    inner.__dict__["identify"] = lambda: told
    with pytest.raises(PipelineError, match=r"its identify\(\) returned .*, expected a dict of text by name"):
        cached(inner, tmp_path / "s").transform(frame(("1", "q", "a", "x")))
    for words in ("", " ", 7):
        with pytest.raises(PipelineError, match=r"identity is .*, expected text"):
            cached(Judge(), tmp_path / "s", identity=words)


def test_words_count_beside_what_a_stage_says_itself(tmp_path: Path) -> None:
    """Somebody who knows more of a stage than it says may add it; without it, it is another stage."""
    results = frame(("1", "q", "a", "x"))
    kept = cached(Reader(), tmp_path / "s", identity="by the book")
    assert_frame_equal(kept.transform(results), Reader().transform(results))
    assert cached(Reader(), tmp_path / "s", identity="by the book").score_cache().count() == 1
    with pytest.raises(ScoreCacheError, match="its identity is by the book, expected none"):
        cached(Reader(), tmp_path / "s")


def test_cached_scores_need_no_model(tmp_path: Path) -> None:
    """Where all scores are cached, the stage is not called; where one is missing, it is."""
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "y"))
    wanted = cached(Reader(), tmp_path / "s").transform(results)
    broken = cached(Reader(log=Log(fail_at=1)), tmp_path / "s")
    assert_frame_equal(broken.transform(results), wanted)
    with pytest.raises(StageError, match=r"stage 'reader' failed on 1 row: .* raised RuntimeError: out of memory"):
        broken.transform(frame(("1", "q", "c", "z")))


def test_a_crash_keeps_the_finished_batches(tmp_path: Path) -> None:
    """The third of four micro-batches fails, here by Ctrl-C: two are kept, and the next call asks for the rest."""
    results = frame(*(("1", "q", f"d{n}", f"t{n}") for n in range(8)))
    with pytest.raises(KeyboardInterrupt):
        cached(Reader(log=Log(3, KeyboardInterrupt())), tmp_path / "s", batch_size=2).transform(results)
    inner = Reader()
    kept = cached(inner, tmp_path / "s", batch_size=2)
    assert kept.score_cache().count() == 4
    assert_frame_equal(kept.transform(results), Reader().transform(results))
    assert [docno for _, docno in inner.log.asked] == ["d4", "d5", "d6", "d7"]


def _nan_at_b(out: pd.DataFrame) -> pd.DataFrame:
    return out.assign(score=out["score"].where(out["docno"] != "b"))


SPOILT: dict[str, tuple[Callable[[pd.DataFrame], object], str]] = {
    "NaN": (_nan_at_b, r"1 of 2 documents scored NaN or infinite, first qid 1, docno b"),
    "infinite": (lambda out: out.assign(score=[1.0, -np.inf]), r"scored NaN or infinite, first qid 1, docno b"),
    "lost": (lambda out: out.iloc[:1], r"1 of 2 documents lost, first qid 1, docno b"),
    "added": (lambda out: pd.concat([out, out.assign(docno="z").head(1)]), r"1 of 2 documents added, first qid 1, docno z"),
    "twice": (lambda out: pd.concat([out, out.head(1)]), r"1 of 2 documents added, first qid 1, docno a"),
    "no rank": (lambda out: out.drop(columns="rank"), r"it returned no rank. Fix: broken >> pt.apply.generic\(pt.model.add_"),
    "no frame": (lambda _: None, "returned NoneType, expected a DataFrame"),
    "rank": (lambda out: out.assign(rank=[1, 0]), "orders its rows or equal scores by no known rule"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_an_invalid_answer_is_refused_and_not_stored(tmp_path: Path, case: str) -> None:
    """The pair is named; the batch before stays stored, of this one not even the good scores."""
    spoil, problem = SPOILT[case]
    inner = Broken(lambda out: out if out["docno"].iloc[0] == "first" else spoil(out))
    inner.__dict__["identify"] = lambda: {"class": "broken"}
    kept = cached(inner, tmp_path / "s", depends="pointwise", batch_size=2)
    kept.transform(frame(("1", "q", "first", "x"), ("1", "q", "second", "y")))
    with pytest.raises(StageError, match=problem):
        kept.transform(frame(("1", "q", "first", "x"), ("1", "q", "a", "z"), ("1", "q", "b", "z")))
    assert kept.score_cache().count() == 2


def test_a_pair_may_not_stand_twice(tmp_path: Path) -> None:
    """A (qid, docno) with two texts cannot be told apart in an answer of another order; in the same order it can."""
    twice = frame(("1", "q", "b", "w"), ("1", "q", "a", "x"), ("1", "q", "a", "y"))
    assert_frame_equal(cached(Reader(), tmp_path / "s").transform(twice), Reader().transform(twice))
    turned = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["text"].map(ord).astype(float))).iloc[::-1])
    with pytest.raises(StageError, match=r"it was given a \(qid, docno\) twice"):
        cached(turned, tmp_path / "t", identity="turned", depends="pointwise").transform(twice)


def test_texts_and_queries_must_be_there(tmp_path: Path) -> None:
    """As for the stage itself: a missing column is PyTerrier's error, a missing text ours; nothing is stored."""
    kept = cached(Reader(), tmp_path / "s")
    with pytest.raises(pt.validate.InputValidationError):
        kept.transform(frame(("1", "q", "a", "x")).drop(columns="text"))
    for inner in (Reader(), Judge()):
        with pytest.raises(pt.validate.InputValidationError):
            cached(inner, tmp_path / "s", identity="v1", reads=("title",)).transform(frame(("1", "q", "a", "x")))
    with pytest.raises(FrameError, match="stage 'reader' cannot read its documents"):
        kept.transform(frame(("1", "q", "a", "x")).assign(text=None))
    kept = cached(FOREIGN["by row"], tmp_path / "t", identity="by row", depends="pointwise")
    with pytest.raises(FrameError, match="stage 'doc_score' cannot read its queries"):
        kept.transform(frame(("1", "q", "a", "x")).assign(query=np.nan))
    assert [*tmp_path.iterdir()] == []


@settings(max_examples=20)
@given(st.lists(frames(), min_size=1, max_size=3), st.integers(1, 6))
def test_the_scores_of_a_list_are_stored_whole(given_frames: list[pd.DataFrame], batch_size: int) -> None:
    """As the stage itself, bit for bit; each different list is scored once, with all its documents, and stored with all scores."""
    inner, alone = Lister(), Lister()
    lists = set()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        kept = cached(inner, f"{folder}/s", batch_size=batch_size)
        for results in (*given_frames, *given_frames):
            assert_frame_equal(kept.transform(results), alone.transform(results), check_exact=True)
            for _, some in results.groupby("qid"):
                lists.add((some["query"].iloc[0], *zip(some["text"], some["rank"], strict=True)))
        count = kept.score_cache().count()
    assert count == sum(len(one) - 1 for one in lists) == len(inner.log.asked)
    for call in inner.log.calls:
        sizes = pd.Series([qid for qid, _ in call]).value_counts(sort=False)
        assert sizes[:-1].sum() < batch_size


def test_a_shorter_or_reordered_list_is_another_list(tmp_path: Path) -> None:
    """No score of a list answers for a part of it, for another order, or for other ranks."""
    inner = Lister()
    kept = cached(inner, tmp_path / "s")
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "yy"), ("1", "q", "c", "zzz"))
    for one in (results, results.head(2), results.iloc[[1, 0, 2]], results.assign(rank=[0, 2, 1]), results):
        assert_frame_equal(kept.transform(one), Lister().transform(one))
    assert [len(call) for call in inner.log.calls] == [3, 2, 3, 3]


@dataclass(frozen=True)
class Numbers(PairReranker):
    """A pairwise stage of ours: the share of the first text's number in the sum of both."""

    aggregation: str = "sym-sum"
    log: Log = field(default_factory=Log, compare=False)
    stage_name: ClassVar[str] = "numbers"

    def compare(self, results: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Compare the numbers at the end of the texts."""
        qid, docno = (results[name].to_numpy() for name in ("qid", "docno"))
        size = results["text"].str[-1].astype(float).to_numpy()
        self.log.note([(qid[one], f"{docno[one]}{docno[two]}") for one, two in zip(first, second, strict=True)])
        return size[first] / (size[first] + size[second] + 0.125)


@settings(max_examples=20)
@given(st.lists(frames(), min_size=1, max_size=4), st.integers(1, 6))
def test_each_comparison_of_a_pairwise_stage_is_computed_once(given_frames: list[pd.DataFrame], batch_size: int) -> None:
    """In whatever lists it comes: the scores are those of the stage alone, bit for bit, and no two documents are compared twice."""
    alone, inner = Numbers(), Numbers()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        kept = cached(inner, f"{folder}/s", batch_size=batch_size)
        wanted: set[tuple[int, int, int]] = set()
        for results in (*given_frames, *given_frames):
            assert_frame_equal(kept.transform(results), alone.transform(results), check_exact=True)
            for _, mine in results.groupby("qid"):
                query, sizes = min(int(mine["qid"].iloc[0][1]), 2), mine["text"].str[-1].astype(int).tolist()
                wanted |= {(query, one, two) for n, one in enumerate(sizes) for k, two in enumerate(sizes) if n != k}
        assert len(inner.log.asked) == len(wanted) == kept.score_cache().count()
        assert max(map(len, inner.log.calls), default=0) <= batch_size


def test_failed_scores_are_returned_but_not_stored(tmp_path: Path) -> None:
    """A failed document ranks below the rest, marked; the others are stored; the next call scores the failed one again."""
    inner = Failing({"bad"})
    kept = cached(inner, tmp_path / "s")
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "bad"), ("2", "r", "a", "x"), ("2", "r", "b", "longer"))
    out = kept.transform(results)
    assert_frame_equal(out[["score", "rank", "llm_failed"]], inner.transform(results)[["score", "rank", "llm_failed"]])
    assert out["score"].tolist() == [1.0, 0.0, 1.0, 6.0]
    assert "calls" not in out
    assert kept.score_cache().count() == 3
    inner.fails.clear()
    out = kept.transform(results)
    assert inner.log.calls[-1] == [("1", "b")]
    assert (out["score"].tolist(), out["llm_failed"].any()) == ([1.0, 3.0, 1.0, 6.0], False)
    same(kept.transform(results), inner.transform(results).drop(columns="calls"))


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_what_failed_ranks_below_all_of_its_query(tmp_path: Path, batch_size: int) -> None:
    """Also below what was kept before, or is asked for in another micro-batch: as the stage itself has it, in the order it had."""
    inner = Failing({"bad", "worse"})
    kept = cached(inner, tmp_path / "s", batch_size=batch_size)
    kept.transform(frame(("1", "q", "a", "x")))
    results = frame(("1", "q", "b", "bad"), ("1", "q", "a", "x"), ("1", "q", "d", "worse"), ("1", "q", "c", "long enough"))
    out = kept.transform(results)
    same(out, inner.transform(results).drop(columns="calls"))
    assert out["score"].tolist() == [0.0, 1.0, -1.0, 11.0]
    assert out["llm_failed"].tolist() == [True, False, True, False]


def test_a_failed_list_is_not_stored(tmp_path: Path) -> None:
    """Nothing of it is, not even of the documents that did not fail; the list beside it is."""
    inner = Failing({"bad"})
    kept = cached(inner, tmp_path / "s", depends="listwise")
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "bad"), ("2", "r", "a", "x"))
    same(kept.transform(results), inner.transform(results).drop(columns="calls"))
    assert kept.score_cache().count() == 1


def test_a_cascade_reads_it_as_the_stage_itself(tmp_path: Path) -> None:
    """Name, dependence, documents, fingerprint and words are those of the stage; the answer of the pipeline too."""
    first, results = ToyRetriever(docs=8), topics(3)
    kept, plain = (Cascade.of(first % 5 >> stage % 3) for stage in (cached(Judge(), tmp_path / "s", identity="v1"), Judge()))
    assert repr(kept) == repr(plain) == "toy → 5 · judge → 3"
    assert (kept[1].depends, kept[1].documents) == (plain[1].depends, plain[1].documents) == ("pointwise", "reranks")
    assert fingerprint(kept[1]) == fingerprint(plain[1])
    assert describe(kept[1]) == describe(plain[1])
    for _ in range(2):
        same(kept.transform(results), plain.transform(results))
        same(kept.pipeline().transform(results), plain.pipeline().transform(results))
    lists = Cascade.of(first % 5 >> pt.apply.text(lambda row: row["docno"]) >> cached(Lister(), tmp_path / "t"))
    assert (lists[1].name, cached(Lister(), tmp_path / "t").depends) == ("lister", "listwise")


def test_inspection_sees_the_stage_itself(tmp_path: Path) -> None:
    """Inputs and outputs as PyTerrier tells them of the stage, without columns that are not kept, and no file is made."""
    for inner in (Reader(), Failing(), Judge()):
        kept = cached(inner, tmp_path / "s", identity="v1")
        columns = ["qid", "query", "docno", "text", "rank", "score"]
        assert pt.inspect.transformer_inputs(kept) == pt.inspect.transformer_inputs(inner)
        theirs = [name for name in pt.inspect.transformer_outputs(inner, columns) if name != "calls"]
        assert pt.inspect.transformer_outputs(kept, columns) == theirs
        nothing = frame(("1", "q", "a", "x")).head(0)
        assert_frame_equal(kept.transform(nothing), inner.transform(nothing).drop(columns="calls", errors="ignore"))
    assert [*tmp_path.iterdir()] == []


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a retriever": (lambda path: cached(ToyRetriever(), path), "is not a re-ranker: it may add or remove documents"),
    "unknown": (
        lambda path: cached(pt.apply.doc_score(len), path),
        "depends is 'unknown', expected one of pointwise, pairwise",
    ),
    "a word": (lambda path: cached(Reader(), path, depends="query"), "depends is 'query', expected"),
    "batch size": (lambda path: cached(Reader(), path, batch_size=0), "batch_size is 0, expected 1 or more rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_uncacheable_stage_is_refused_when_it_is_made(tmp_path: Path, case: str) -> None:
    """Each with its reason and the line to write instead, which asks for words where the stage has none."""
    make, problem = REFUSED[case]
    with pytest.raises(PipelineError, match=problem) as refused:
        make(tmp_path / "s")
    words = "identity='its model, version and settings', " if case in ("unknown", "a retriever") else ""
    fix = f"Fix: cached(stage, path, {words}depends='pointwise'), if a score depends on query and document alone"
    assert str(refused.value).endswith(fix)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda _: "bm25", "'bm25' (str) is not a PyTerrier transformer"),
        (lambda _: None, "None (NoneType) is not a PyTerrier transformer"),
        (lambda path: cached(Reader(), path), "(Cached) has cached scores already"),
    ],
)
def test_what_is_no_stage_or_is_cached_already_is_refused(make: Callable[[Path], object], problem: str, tmp_path: Path) -> None:
    """With that one problem, whatever the other arguments are."""
    with pytest.raises(PipelineError) as refused:
        cached(make(tmp_path / "a"), tmp_path / "b", batch_size=0, identity="x")
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].endswith(problem)
    assert refused.value.fix == "cached(stage, path), of a re-ranker itself"


def _by_length(df: pd.DataFrame) -> pd.DataFrame:
    return pt.model.add_ranks(df.assign(score=df["text"].str.len() * 1.0))


ODD: dict[str, pt.Transformer] = {
    "its own row order": pt.apply.generic(lambda df: _by_length(df).sort_values("docno", key=lambda docno: docno.map("bac".index))),
    "ranks from 1": pt.apply.generic(lambda df: _by_length(df).assign(rank=_by_length(df)["rank"] + 1)),
}


@pytest.mark.parametrize("kind", ODD)
def test_the_cure_for_an_order_without_rule_works(tmp_path: Path, kind: str) -> None:
    """A stage whose order cannot be repeated is refused, and the cure in the error is cached and repeated."""
    rows = [(qid, f"query {qid}", docno, "x" * n) for qid in "21" for n, docno in enumerate("abc")]
    results, names = frame(*rows), {"cached": cached, "pt": pt, "stage": ODD[kind], "path": tmp_path / "t"}
    with pytest.raises(StageError, match="by no known rule") as refused:
        cached(ODD[kind], tmp_path / "s", identity=kind, depends="pointwise").transform(results)
    kept = eval(refused.value.fix, names)  # noqa: S307 - our own words
    for some in (results.iloc[[4, 1]], results, results):
        same(kept.transform(some), kept.stage.transform(some))
    assert kept.score_cache().count() == 6


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """Two mistakes, one error."""
    with pytest.raises(PipelineError) as refused:
        cached(ToyRetriever(), tmp_path / "s", batch_size=-1)
    assert len(refused.value.problems) == 3


def test_another_stage_at_the_same_path_is_refused(tmp_path: Path) -> None:
    """When it is made, not only when it runs: another setting, another class; speed does not matter; the scores stay."""
    results = frame(("1", "q", "a", "x"))
    cached(Reader(1), tmp_path / "s").transform(results)
    with pytest.raises(ScoreCacheError, match=r"belong to another stage: its seed is 1, expected 2\. Fix: cached"):
        cached(Reader(2), tmp_path / "s")
    with pytest.raises(ScoreCacheError, match=r"its class is .*Reader, expected .*Lister"):
        cached(Lister(), tmp_path / "s")
    with pytest.raises(ScoreCacheError, match="belong to another stage"):
        cached(pt.apply.doc_score(lambda _: 1.0), tmp_path / "s", identity="ones", depends="pointwise")
    inner = Reader(1, log=Log(fail_at=1))
    assert_frame_equal(cached(inner, tmp_path / "s").transform(results), Reader(1).transform(results))


@dataclass(frozen=True)
class Modelled(Reader):
    """A reader with a model, which it loads, and may train, when it first scores."""

    model: str = ""
    train: Callable[[], object] = field(default=lambda: None, compare=False)

    def score(self, results: pd.DataFrame) -> np.ndarray:
        """Train, then score."""
        scores = super().score(results)
        self.train()
        return scores


def test_a_model_trained_on_in_place_is_another_model(tmp_path: Path) -> None:
    """Same name, same size of its file, other weights: its cached scores are refused, before and after it is loaded."""
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"old weights")
    results = frame(("1", "q", "a", "x"))
    kept = cached(Modelled(model=str(weights.parent)), tmp_path / "s")
    kept.transform(results)
    weights.write_bytes(b"new weights")
    with pytest.raises(StageError, match=r"its files have changed since it loaded them\. Fix: build the stage again"):
        kept.transform(results)
    with pytest.raises(ScoreCacheError, match=r"belong to another stage: its model is files [0-9a-f]*, expected files [0-9a-f]*"):
        cached(Modelled(model=str(weights.parent)), tmp_path / "s")
    loaded = Modelled(model=str(weights.parent))
    loaded.transform(results)
    weights.write_bytes(b"old weights")
    with pytest.raises(StageError, match="its files have changed since it loaded them"):
        cached(loaded, tmp_path / "s")
    copy = (tmp_path / "model").rename(tmp_path / "moved")
    assert_frame_equal(
        cached(Modelled(model=str(copy), log=Log(1)), tmp_path / "s").transform(results), Reader().transform(results)
    )


def test_a_model_that_changes_while_it_scores_keeps_nothing(tmp_path: Path) -> None:
    """The weights of the scores are unknown, so the scores are refused."""
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"old weights")
    inner = Modelled(model=str(weights.parent), train=lambda: weights.write_bytes(b"new weights"))
    with pytest.raises(StageError, match="its files have changed since it loaded them"):
        cached(inner, tmp_path / "s").transform(frame(("1", "q", "a", "x")))
    assert not (tmp_path / "s").exists()


def test_an_answer_needs_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is cached, but a tie is new: the stage is asked how it breaks it, and the disk is full when that is written."""
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "x"))
    kept = cached(Features("text"), tmp_path / "s", identity="text")
    for n in (0, 1):
        kept.transform(results.iloc[[n]])

    def refuse(*_: object) -> None:
        raise ScoreCacheError("database or disk is full")

    monkeypatch.setattr(ScoreCache, "put", refuse)
    turned = results.assign(rank=[1, 0])
    same(kept.transform(turned), Features("text").transform(turned))


@pytest.mark.parametrize("dtype", ["Float64", "float16", "Int64", "bool", "object"])
def test_scores_of_any_type_are_repeated(tmp_path: Path, dtype: str) -> None:
    """As float64, cold and warm, also where NumPy has no such type."""
    inner = pt.apply.generic(lambda df: pt.model.add_ranks(df.assign(score=df["text"].str.len() - 1.0)).astype({"score": dtype}))
    kept = cached(inner, tmp_path / "s", identity="length", depends="pointwise")
    results = frame(("1", "q", "a", "x"), ("1", "q", "b", "yy"))
    for _ in range(2):
        same(kept.transform(results), inner.transform(results))


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fixed when the stage is made."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    stages = [cached(Reader(), path) for path in ("s", Path("t"), "~/v")]
    monkeypatch.chdir("/")
    for kept in stages:
        kept.transform(frame(("1", "q", "a", "x")))
    assert {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()} == {"s", "t", "home/v"}


def test_it_travels_in_a_pickle(tmp_path: Path) -> None:
    """A copy, as a worker gets it, answers from the same file."""
    results = frame(("1", "q", "a", "x"))
    kept = cached(Reader(), tmp_path / "s")
    wanted = kept.transform(results)
    copy: Cached = pickle.loads(pickle.dumps(kept))  # noqa: S301 - our own
    copy.stage.__dict__["log"] = Log(fail_at=1)
    assert_frame_equal(copy.transform(results), wanted)
    assert copy == kept


def test_a_real_cross_encoder_is_cached(tmp_path: Path) -> None:
    """A tiny one of random weights: warm equals cold bit for bit, close to the stage alone, and the model is not loaded for it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from pt_cascade.stages.cross_encoder import cross_encoder

    folder = tmp_path / "model"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "num_labels": 1}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=64, **size)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    results = frame(*(("1", "a b c", f"d{n}", " ".join("abcdefgh"[: n + 1])) for n in range(8)))
    cold = cached(cross_encoder(folder, device="cpu"), tmp_path / "s", batch_size=3).transform(results)
    alone = cross_encoder(folder, device="cpu").transform(results)
    assert np.abs(cold["score"] - alone["score"]).max() < 1e-5
    inner = cross_encoder(folder, batch_tokens=64)
    assert_frame_equal(cached(inner, tmp_path / "s").transform(results), cold, check_exact=True)
    assert "_loaded" not in vars(inner)
    with pytest.raises(ScoreCacheError, match="its max_length is null, expected 32"):
        cached(cross_encoder(folder, max_length=32), tmp_path / "s")
