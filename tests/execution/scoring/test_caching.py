"""Tables made with a score cache equal those made without; only what is new is asked; checks and profiles ask the stage itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.judges import Judge as ForeignJudge
from toys.judges import Log
from toys.rankers import FakeClock, ToyRetriever, topics
from toys.storing import MEMORY

from pt_cascade import Cascade
from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.errors import CascadeWarning, PipelineError, StageError
from pt_cascade.execution.profiling import profile
from pt_cascade.execution.scoring.score import score
from pt_cascade.stages.base.identity import identify
from pt_cascade.stages.cached import cached
from pt_cascade.stages.scorecache.score_cache import ScoreCache

FIRST = ToyRetriever(docs=12, levels=3)


class Judge(ForeignJudge):
    """A judge that says what it is: its class and settings."""

    def identify(self) -> dict[str, str]:
        """Tell it by value."""
        return identify(self)


@dataclass(frozen=True)
class Company(pt.Transformer):
    """A re-ranker that takes itself for pointwise, and scores by how many rows it is given."""

    log: Log = field(default_factory=Log, compare=False)
    documents = "reranks"
    depends = "pointwise"
    stage_name = "company"

    def identify(self) -> dict[str, str]:
        """Tell it by its class."""
        return identify(self)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by the number of rows."""
        pt.validate.result_frame(inp, context=self)
        if len(inp):
            self.log.note(list(zip(inp["qid"], inp["docno"], strict=True)))
        return pt.model.add_ranks(inp.assign(score=float(len(inp))))


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
@settings(max_examples=3)
@given(
    st.sampled_from(["given", "rank"]),
    st.sampled_from(["given", "rank"]),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 4)), min_size=2, max_size=3),
)
def test_a_table_is_the_same_with_cached_scores(rows: str, ties: str, depths: list[tuple[int, int]]) -> None:
    """Frame, columns with their fingerprints, words and rules, paths and depth; at other depths, and when all is kept."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        for k1, k2 in (*depths, *depths):
            pipeline = FIRST % k1 >> Judge(1, 2, rows, ties) % k2 >> Judge(2, 3, rows, ties)
            ours, plain = score(pipeline, topics(3), score_cache=folder), score(pipeline, topics(3))
            pd.testing.assert_frame_equal(ours.frame, plain.frame)
            assert (ours.columns, ours.paths, ours.depth) == (plain.columns, plain.paths, plain.depth)


@pytest.mark.usefixtures("_no_probes")
def test_another_table_asks_only_for_what_is_new(tmp_path: Path) -> None:
    """Deeper, over more topics, under another name and in another cascade: no pair is ever scored twice; less deep: none at all."""
    judge = Judge(1, log=Log())
    asked = []
    for pipeline, queries in (
        (FIRST % 3 >> judge % 2, 2),
        (FIRST % 8 >> judge % 2, 2),
        (FIRST % 8 >> Judge(2) % 5 >> judge, 4),
        (FIRST % 2 >> judge, 4),
    ):
        score(pipeline, topics(queries), score_cache=tmp_path / "kept")
        asked.append(len(judge.log.asked))
    assert len(set(judge.log.asked)) == len(judge.log.asked) == asked[-1]
    assert asked[0] < asked[1] < asked[2] == asked[3]
    assert ScoreCache(str(next((tmp_path / "kept").glob("judge-*"))), {}).count() > 0


def test_each_stage_has_a_store_of_its_own(tmp_path: Path) -> None:
    """Named after the stage and what it is, so that another setting has another; loaders and retrievers have none."""
    text = pt.apply.text(lambda row: row["docno"])
    score(FIRST % 5 >> text >> Judge(1) % 3 >> Judge(2), topics(2), score_cache=tmp_path / "kept")
    score(FIRST % 5 >> Judge(1), topics(2), score_cache=tmp_path / "kept")
    files = sorted(file.name for file in (tmp_path / "kept").iterdir())
    assert len(files) == 2
    assert all(name.startswith("judge-") and name.endswith(".sqlite") for name in files)
    score(FIRST % 5 >> cached(Judge(3), tmp_path / "own"), topics(2), score_cache=tmp_path / "kept")
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == files


@pytest.mark.usefixtures("_no_probes")
def test_a_crash_keeps_what_was_scored(tmp_path: Path) -> None:
    """What a call that crashed has scored, the next one, in other chunks and another folder, does not ask for again."""
    judge = Judge(1, log=Log(fail_at=3))
    with pytest.raises(StageError, match="out of memory"):
        score(FIRST % 8 >> judge, topics(4), query_batch_size=1, checkpoint=tmp_path / "one", score_cache=tmp_path / "kept")
    assert len(judge.log.calls) == 2
    table = score(FIRST % 8 >> judge, topics(4), query_batch_size=2, checkpoint=tmp_path / "two", score_cache=tmp_path / "kept")
    assert len(judge.log.asked) == len(set(judge.log.asked)) == table.frame["judge"].notna().sum()


def test_batch_invariance_is_checked_without_the_cache(tmp_path: Path) -> None:
    """Scores that depend on the batch are detected although they are cached, in the first table and in the second."""
    stage = Company(Log())
    for _ in range(2):
        with pytest.raises(StageError, match="stage 'company' scores the same pair differently among other rows"):
            score(FIRST % 8 >> stage, topics(3), score_cache=tmp_path / "kept")
    assert ScoreCache(str(next((tmp_path / "kept").iterdir())), {}).count() > 0


def test_tie_rules_are_probed_without_the_cache(tmp_path: Path) -> None:
    """Two tied documents, one asked for by each cascade, all kept: the stage is asked, and ranks them by its own rule."""
    tied = Judge(1, levels=1, ties="rank", rows="rank", log=Log())
    found = pd.DataFrame({"qid": "1", "query": "q", "docno": ["a", "b"], "score": [1.0, 2.0], "rank": [1, 0]})
    first, asked = pt.Transformer.from_df(found), pd.DataFrame({"qid": ["1"], "query": ["q"]})
    for _ in range(2):
        calls = len(tied.log.calls)
        table = score([first % 1 >> tied % 1 >> Judge(2), first % 2 >> tied], asked, score_cache=tmp_path / "kept")
        assert table.columns[1].rule == TieRule("rank", "rank")
        assert len(tied.log.calls) > calls


def test_a_cached_stage_and_the_stage_itself_share_a_column(tmp_path: Path) -> None:
    """One cascade keeps its scores, the other does not: they are one stage."""
    table = score([FIRST % 5 >> cached(Judge(1), tmp_path / "s"), FIRST % 3 >> Judge(1) % 2 >> Judge(2)], topics(2))
    assert table.stages == ("toy", "judge", "judge_2")


def test_a_stage_of_unknown_dependence_is_not_cached(tmp_path: Path) -> None:
    """A stage with an unknown dependence is refused, with the line that declares it; then its scores are cached."""
    length = pt.apply.doc_score(lambda row: float(len(row["docno"])))
    length.identify = lambda: {"class": "length"}
    pipeline = FIRST % 5 >> length
    with pytest.raises(
        PipelineError, match="it is unknown whether the scores of stage 'doc_score' depend on query and document"
    ) as refused:
        score(pipeline, topics(2), score_cache=tmp_path / "kept")
    assert refused.value.fix == "Cascade.of(pipeline).with_stage('doc_score', depends='pointwise'), if they do"
    told = Cascade.of(pipeline).with_stage("doc_score", depends="pointwise")
    score(told, topics(2), score_cache=tmp_path / "kept")
    assert [file.name[:10] for file in (tmp_path / "kept").iterdir()] == ["doc_score-"]


def test_a_stage_without_identity_is_run_and_not_cached(tmp_path: Path) -> None:
    """One warning names all of them, with the line that caches them; the others are cached."""
    pipeline = FIRST % 8 >> ForeignJudge(2) % 5 >> Judge(1) % 4 >> pt.apply.doc_score(lambda row: float(len(row["docno"])))
    with pytest.warns(
        CascadeWarning, match=r"these stages are not cached: 'judge', 'doc_score'\. .*cached\(stage, 'path', identity="
    ) as said:
        table = score(pipeline, topics(2), score_cache=tmp_path / "kept")
    assert sum("are not cached" in str(one.message) for one in said) == 1
    assert len(list((tmp_path / "kept").iterdir())) == 1
    pd.testing.assert_frame_equal(table.frame, score(pipeline, topics(2)).frame)


@pytest.mark.usefixtures("_no_probes")
def test_a_stage_that_its_user_cached_keeps_its_cache(tmp_path: Path) -> None:
    """Wrapped with words, it needs no warning, and another table asks only for what is new."""
    judge = ForeignJudge(1, log=Log())
    kept = cached(judge, tmp_path / "own", identity="judge v1")
    score(FIRST % 4 >> kept % 2, topics(2), score_cache=tmp_path / "kept")
    score(FIRST % 8 >> kept % 2, topics(2), score_cache=tmp_path / "kept")
    assert len(judge.log.asked) == len({*judge.log.asked}) == 2 * 8
    assert not (tmp_path / "kept").exists()


def test_a_pipeline_from_results_keeps_its_first_stage(tmp_path: Path) -> None:
    """Given documents instead of topics, the first stage re-ranks, so its scores are kept too."""
    found = FIRST.transform(topics(2))
    for _ in range(2):
        score(Judge(1) % 4 >> Judge(2), found, score_cache=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_profile_never_takes_the_time_of_a_store(tmp_path: Path) -> None:
    """All scores are cached, yet every repeat runs the stage itself; the time is that of the stage alone, and nothing is cached."""
    judge = Judge(1, log=Log())
    kept = FIRST % 8 >> cached(judge, tmp_path / "s") % 3
    Cascade.of(kept).transform(topics(2))
    count = cached(judge, tmp_path / "s").score_cache().count()
    judge.log.calls.clear()
    options = {"repeats": 2, "warmup": 1, "shares": (1.0, 0.5)}
    ours = profile(kept, topics(4), clock=FakeClock(), **options)
    asked = len(judge.log.calls)
    plain = profile(FIRST % 8 >> Judge(1) % 3, topics(4), clock=FakeClock(), **options)
    pd.testing.assert_frame_equal(ours.frame, plain.frame)
    assert asked == 2 * 2 * 4 + 2
    assert cached(judge, tmp_path / "s").score_cache().count() == count


@dataclass(frozen=True)
class Unwell(pt.Transformer):
    """A re-ranker that says of one query that it failed, and gives it scores of no meaning."""

    qid: str = ""
    documents = "reranks"
    depends = "pointwise"
    stage_name = "unwell"
    failed_column = "gave_up"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by the length of the docno."""
        pt.validate.result_frame(inp, context=self)
        score = inp["docno"].str.len().astype(float)
        return pt.model.add_ranks(inp.assign(score=score, gave_up=inp["qid"] == self.qid))


def test_scores_of_a_query_that_failed_are_in_no_table(tmp_path: Path) -> None:
    """The stage marks them; the error names the query, and batches that were finished before are kept for the next call."""
    asked, chunks = topics(3), tmp_path / "chunks"
    with pytest.raises(StageError) as error:
        score(FIRST % 5 >> Unwell("q2") % 2, asked, query_batch_size=1, checkpoint=chunks)
    assert str(error.value) == (
        "stage 'unwell' could not score every document: it failed in 5 of 5 rows "
        "(qid 'q2', docno 'd0'; qid 'q2', docno 'd1'; qid 'q2', docno 'd2'; ...). "
        "Fix: call score again when the stage works (finished batches are reused), or make it with on_error='keep'"
    )
    assert len([*chunks.glob("[0-9]*.parquet")]) == 2
    assert len(score(FIRST % 5 >> Unwell() % 2, asked).frame)
