"""A cache is replaced by the stage itself, wherever it is in a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from pyterrier_alpha.fusion import RRFusion
from pyterrier_caching import Lazy, RetrieverCache, ScorerCache
from toys.judges import Judge, Log
from toys.rankers import Counting, FakeClock, ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, score
from pt_cascade.cascade import Stage
from pt_cascade.cascade.fingerprints import describe, fingerprint
from pt_cascade.cascade.wrappers import remove_caches
from pt_cascade.errors import PipelineError
from pt_cascade.execution.profiling import profile
from pt_cascade.stages.cached import cached
from pt_cascade.stages.hybrid import hybrid

FIRST = ToyRetriever(docs=8)


class Closed(pt.Transformer):
    """Holds a stage under a name that its constructor does not have."""

    documents = "reranks"

    def __init__(self, stage: pt.Transformer) -> None:
        """Take it."""
        self.mine = stage

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Let it rank."""
        return self.mine.transform(inp)


HOLDERS: dict[str, Callable[[pt.Transformer], pt.Transformer]] = {
    "itself": lambda stage: stage,
    "a factor": lambda stage: 2 * stage,
    "features": lambda stage: stage**stage,
    "another name": Closed,
    "a sum": lambda stage: (FIRST % 6 >> stage) + FIRST % 6,
    "a hybrid": lambda stage: hybrid(FIRST, FIRST % 6 >> stage),
    "a cascade in a hybrid": lambda stage: hybrid(FIRST, Cascade.of(FIRST % 6 >> stage % 3)),
    "a hybrid in a hybrid": lambda stage: hybrid(FIRST, hybrid(FIRST >> 2 * stage)),
    "rank fusion of a plugin": lambda stage: RRFusion(FIRST, FIRST >> stage),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_cache_is_replaced_by_its_stage_wherever_it_is(tmp_path: Path, holder: str) -> None:
    """Oracle: the bare stage in the same place: the same words and fingerprint, and it is asked although all is cached."""
    judge, make = Judge(log=Log()), HOLDERS[holder]
    kept, bare = (Stage("s", (make(stage),)) for stage in (cached(judge, tmp_path / "s", identity="judge"), judge))
    assert (fingerprint(kept), describe(kept)) == (fingerprint(bare), describe(bare))
    assert remove_caches(bare) is bare
    asked = FIRST.transform(topics(2)) if holder in ("itself", "a factor", "features", "another name") else topics(2)
    expected = kept.transformers[0].transform(asked)
    calls = len(judge.log.calls)
    kept.transformers[0].transform(asked)
    assert len(judge.log.calls) == calls
    columns = ["qid", "docno", "score"] if "score" in expected else ["qid", "docno"]
    pd.testing.assert_frame_equal(remove_caches(kept).transformers[0].transform(asked)[columns], expected[columns])
    assert len(judge.log.calls) > calls


def test_a_profile_times_what_a_hybrid_holds(tmp_path: Path) -> None:
    """All is cached, yet the judge within is asked as often as the bare one, and nothing is written."""
    counts, frames = [], []
    for keep in (False, True):
        judge = Judge(log=Log())
        stage = cached(judge, tmp_path / "s", identity="judge") if keep else judge
        pipeline = hybrid(FIRST, FIRST % 6 >> stage) % 3
        if keep:
            pipeline.transform(topics(3))
        calls = len(judge.log.calls)
        frames.append(profile(pipeline, topics(3), repeats=2, warmup=1, shares=(1.0,), clock=FakeClock()).frame)
        counts.append(len(judge.log.calls) - calls)
    assert counts[0] == counts[1] > 0
    pd.testing.assert_frame_equal(*frames)


class Counted(pt.Transformer):
    """A retriever that counts the queries that it was asked."""

    depends, documents = "pointwise", "any"

    def __init__(self) -> None:
        """Begin with none."""
        self.asked: list[str] = []

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve."""
        self.asked += inp["qid"].tolist()
        return FIRST.transform(inp)


@pytest.mark.parametrize("warmup", [0, 1])
def test_a_profile_looks_past_caches_that_are_yet_to_be_loaded(tmp_path: Path, warmup: int) -> None:
    """At the first stage and behind it, in the place of a cache or around one: each run calls the models despite the cache."""
    finds, scores = Counted(), Counting()
    found, scored = str(tmp_path / "found"), str(tmp_path / "scored")
    for first, second in (
        (Lazy(lambda: RetrieverCache(found, finds)), Lazy(lambda: ScorerCache(scored, scores))),
        (RetrieverCache(found, Lazy(lambda: finds)), ScorerCache(scored, Lazy(lambda: 2 * scores >> pt.RankCutoff(9)))),
        (Lazy(lambda: RetrieverCache(found, finds) % 6), Lazy(lambda: ScorerCache(scored, scores)) + ToyReranker()),
    ):
        (RetrieverCache(found, finds) % 6 >> ScorerCache(scored, scores)).transform(topics(3))
        finds.asked.clear()
        scores.asked.clear()
        profile(first % 6 >> second % 3, topics(3), repeats=2, warmup=warmup, shares=(1.0,))
        assert sorted(finds.asked) == sorted(["q0", "q1", "q2"] * 2 + ["q0"] * warmup)
        assert len(scores.asked) == 6 * (6 + warmup)


def test_a_lazy_cache_is_scored(tmp_path: Path) -> None:
    """The stage scores pairs again in another batch without its cache. Golden: the scores of the bare stage."""
    scores = Counting()
    table = score(FIRST % 6 >> Lazy(lambda: ScorerCache(str(tmp_path / "s"), scores)) % 3, topics(3))
    assert table.frame.iloc[:, -1].tolist() == table.frame["docno"].str.len().tolist()
    assert len(scores.asked) > len(table.frame)


class Hidden(pt.Transformer):
    """Holds a stage in a dict."""

    def __init__(self, stage: pt.Transformer) -> None:
        """Take it."""
        self.by_name = {"mine": stage}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Let it rank."""
        return self.by_name["mine"].transform(inp)


def test_caches_that_do_not_hold_their_stage_are_not_timed(tmp_path: Path) -> None:
    """A cache without a model within another transformer; the stage of a cache in a dict is called although all is cached."""
    scores = Counting()
    hidden = FIRST % 6 >> Hidden(ScorerCache(str(tmp_path / "s"), scores)) % 3
    hidden.transform(topics(2))
    scores.asked.clear()
    profile(hidden, topics(2), repeats=1, warmup=0, shares=(1.0,))
    assert len(scores.asked) == 12
    with pytest.raises(PipelineError, match="has no scorer, so a profile would time its look-ups"):
        profile(FIRST % 6 >> 2 * ScorerCache(str(tmp_path / "t")) % 3, topics(2))
    assert profile(FIRST % 6 >> Hidden(Counting()) % 3, topics(2), repeats=1, warmup=0).queries == 2


def test_a_stage_that_holds_a_cache_is_the_same_as_itself(tmp_path: Path) -> None:
    """A sum of a cache compares by identity: it is one first stage, and one column of two cascades."""
    first = RetrieverCache(str(tmp_path / "found"), FIRST) + FIRST
    adds = ScorerCache(str(tmp_path / "scored"), ToyReranker()) + ToyReranker(seed=2)
    pipeline = first % 6 >> adds % 3
    table = score([pipeline, Cascade.of(pipeline).prefix(1), Cascade.of(pipeline).with_cutoffs(4)], topics(3))
    assert table.stages == ("sum", "sum_2")
    again = score([first % 6 >> adds % 3 >> ToyReranker(seed=3), pipeline], topics(3))
    assert again.stages == ("sum", "sum_2", "toy_reranker")
