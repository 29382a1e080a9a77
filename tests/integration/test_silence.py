"""Never a wrong answer without a word: stages that change what they are given, odd qids, caches, scorers that read whole frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_caching import Hdf5ScorerCache, RetrieverCache, ScorerCache
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, profile, run, score
from pt_cascade.errors import FrameError, PipelineError, StageError

FIRST = ToyRetriever(docs=20, levels=20)
TOPICS = topics(4)


def sort_in_place(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort the very frame that was given, then score it by docno."""
    frame.sort_values("docno", ascending=False, inplace=True)  # noqa: PD002 - the fault
    frame["score"] = frame["docno"].str[1:].astype(float)
    return pt.model.add_ranks(frame)


def drop_in_place(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop rows of the very frame that was given."""
    frame.drop(frame.index[::2], inplace=True)  # noqa: PD002 - the fault
    return pt.model.add_ranks(frame.assign(score=frame["docno"].str[1:].astype(float)))


class Rude(pt.Transformer):
    """A re-ranker that works on the frame it is given."""

    documents = "reranks"
    depends = "pointwise"

    def __init__(self, work: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Keep what it does."""
        self.work = work

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Do it."""
        pt.validate.result_frame(inp, context=self)
        return self.work(inp)


def test_a_stage_that_sorts_its_input_scores_the_right_documents() -> None:
    """Each document's score is the number in its docno, whatever the stage does to the frame it was given."""
    table = score(FIRST % 15 >> Rude(sort_in_place) % 5, TOPICS)
    scored = table.frame.dropna()
    assert len(scored) > 40
    assert scored["rude"].tolist() == [float(docno[1:]) for docno in scored["docno"]]


def test_a_stage_that_drops_rows_of_its_input_is_refused() -> None:
    """What it returned is compared with what it was given, not with what it left of that."""
    with pytest.raises(StageError, match=r"stage 'rude' did not return the documents of its input: .* removed"):
        score(FIRST % 15 >> Rude(drop_in_place) % 5, TOPICS)


@pytest.mark.parametrize("call", [run, score, profile], ids=["run", "score", "profile"])
@pytest.mark.parametrize(
    ("qids", "problem"),
    [
        (["1", None, "2"], "qid is missing in 1 of 3"),
        ([5, "5", "6"], "qid is a number, but text elsewhere, in 1 of 3"),
        (["1", "1", "2"], "qid repeats an earlier row in 1 of 3"),
        ([1.5, 2.0, 3.0], "qid is not text or a whole number in 3 of 3"),
    ],
)
def test_odd_qids_are_refused_before_queries_are_split(call: Callable[..., object], qids: list[object], problem: str) -> None:
    """A query whose qid is None was lost, and 5 taken for "5": every function looks at all topics first."""
    asked = pd.DataFrame({"qid": pd.Series(qids, dtype=object), "query": ["one", "two", "three"]})
    with pytest.raises(FrameError) as error:
        call(FIRST % 5, asked)
    assert problem in str(error.value)


def test_results_are_in_topic_order() -> None:
    """A cache that has some queries already returns those first; ``run`` gives the order of the topics, as it promises."""

    def shuffle(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([part for _, part in sorted(frame.groupby("qid"), reverse=True)])

    asked = TOPICS.iloc[[2, 0, 3, 1]]
    results = run(FIRST % 5 >> pt.apply.generic(shuffle), asked).results
    assert results["qid"].drop_duplicates().tolist() == ["q2", "q0", "q3", "q1"]


class Sleeper(pt.Transformer):
    """Takes 2 ms a document."""

    documents = "reranks"
    depends = "pointwise"

    def __init__(self) -> None:
        """Nothing asked yet."""
        self.asked = 0

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Sleep, then score by the docno."""
        pt.validate.result_frame(inp, extra_columns=["query"], context=self)
        self.asked += len(inp)
        time.sleep(0.002 * len(inp))
        return pt.model.add_ranks(inp.assign(score=inp["docno"].str[1:].astype(float)))


def caches(folder: Path, scorer: pt.Transformer) -> dict[str, pt.Transformer]:
    """Each cache of pyterrier_caching around a re-ranker."""
    dense = Hdf5ScorerCache(str(folder / "dense"), scorer)
    dense.build(corpus_iter=[{"docno": f"d{n}"} for n in range(30)])
    return {"sqlite": ScorerCache(str(folder / "sqlite"), scorer), "hdf5": dense, "its scorer": dense.cached_scorer()}


@pytest.mark.parametrize("kind", ["sqlite", "hdf5", "its scorer"])
def test_a_profile_times_the_model_behind_a_warm_cache(tmp_path: Path, kind: str) -> None:
    """All scores are cached; the model takes 2 ms a document all the same, and is asked in every timed run."""
    sleeper = Sleeper()
    pipeline = FIRST % 10 >> caches(tmp_path, sleeper)[kind] % 5
    pipeline.transform(TOPICS)
    asked = sleeper.asked
    frame = profile(pipeline, TOPICS, repeats=1, warmup=1, shares=(1.0,)).frame
    timed = frame[frame["stage"] == "sleeper"]
    assert sleeper.asked - asked >= timed["docs_in"].sum() > 0
    assert (timed["ms"] >= 2 * timed["docs_in"]).all()


def test_a_profile_times_the_retriever_behind_a_warm_cache(tmp_path: Path) -> None:
    """The retriever is asked although its cache has every query."""
    asked: list[str] = []

    class Retriever(ToyRetriever):
        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            asked.extend(inp["qid"])
            return super().transform(inp)

    pipeline = RetrieverCache(str(tmp_path / "found"), Retriever()) % 5
    pipeline.transform(TOPICS)
    before = len(asked)
    profile(pipeline, TOPICS, repeats=1, warmup=1, shares=(1.0,))
    assert len(asked) - before == len(TOPICS) + 1


def test_a_cache_without_a_model_is_not_timed(tmp_path: Path) -> None:
    """There is nothing behind it to time: the error says what to give it, and that works."""
    warm = ScorerCache(str(tmp_path / "scores"), ToyReranker())
    (FIRST % 10 >> warm).transform(TOPICS)
    bare = ScorerCache(str(tmp_path / "scores"))
    with pytest.raises(PipelineError, match=r"stage 'scorer_cache' cannot be timed: .* has no scorer") as error:
        profile(FIRST % 10 >> bare % 5, TOPICS)
    assert error.value.fix == "give the cache its scorer"
    bare.scorer = ToyReranker()
    assert len(profile(FIRST % 10 >> bare % 5, TOPICS, repeats=1).frame) > 0


def test_scores_that_another_model_cached_are_refused(tmp_path: Path) -> None:
    """The check of batch invariance asks the model, not its cache: the cached scores are not its own."""
    path = str(tmp_path / "scores")
    (FIRST % 10 >> ScorerCache(path, ToyReranker(levels=9))).transform(TOPICS)
    stale = FIRST % 10 >> ScorerCache(path, ToyReranker(levels=9, seed=7)) % 5
    with pytest.raises(
        StageError, match="if its scores come from a cache that another model may have filled: a cache at another path"
    ):
        score(stale, TOPICS)
    fresh = FIRST % 10 >> ScorerCache(str(tmp_path / "other"), ToyReranker(levels=9, seed=7)) % 5
    assert score(fresh, TOPICS).stages == ("toy", "toy_reranker")


@pytest.mark.java
def test_a_scorer_that_reads_the_whole_frame_is_given_all_queries() -> None:
    """``pt.text.scorer`` without a background index takes its statistics from the frame: chunks would change its scores."""
    words = ["lion", "tiger", "bear", "wolf", "fox"]
    texts = pt.apply.text(lambda row: " ".join(words[(int(row["docno"][1:]) * k) % 5] for k in range(1, 5)))
    asked = TOPICS.assign(query=["lion bear", "tiger", "fox wolf", "bear"])
    pipeline = FIRST % 10 >> texts >> pt.text.scorer(body_attr="text", wmodel="BM25", verbose=False) % 5
    columns = ["qid", "docno", "score"]
    plain = pipeline.transform(asked).sort_values(["qid", "rank"])[columns].reset_index(drop=True)
    ours = run(pipeline, asked, query_batch_size=1).results.sort_values(["qid", "rank"])[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, plain, check_dtype=False)
    alone = pd.concat([pipeline.transform(asked.iloc[[n]]) for n in range(4)])
    assert not np.allclose(alone.sort_values(["qid", "rank"])["score"], plain["score"])
    assert Cascade.of(pipeline)[1].depends == "listwise"
