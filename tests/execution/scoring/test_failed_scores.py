"""A stage that could not score some documents, in a table: never a score, and replayed as the live cascade ranks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from toys.judges import Judge, Log
from toys.llm_servers import Call, Reply, ScriptedServer, chat, failure, scripted
from toys.rankers import ToyRetriever, topics, toss

import pt_cascade as ptc
from pt_cascade import Cascade, run
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.errors import CascadeWarning, StageError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score
from pt_cascade.ranking import score_below
from pt_cascade.stages.llm.stage import LlmJudge
from pt_cascade.stages.llm_judge import llm_judge

FIRST = ToyRetriever(docs=8, levels=3)
COLUMNS = ["qid", "docno", "score", "rank"]
QUIET = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server with prescribed answers."""
    with scripted() as server:
        yield server


@dataclass(frozen=True)
class Failing(Judge):
    """A judge that cannot score one in ``odds`` pairs, nor any of ``query``, and says so."""

    odds: int = 3
    query: str = ""
    on_error: str = "keep"
    log: Log = field(default_factory=Log, compare=False)
    failed_column = "gave_up"

    def fails(self, query: str, docno: str) -> bool:
        """Tell whether it cannot score a pair."""
        return query == self.query or toss("fails", self.seed, query, docno, sides=self.odds) == 0

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score the rows, and put those that it cannot score below the rest, in the order of their ranks."""
        inp = inp.reset_index(drop=True)
        judged = Judge(self.seed, self.levels, "given", self.ties).transform(inp)
        failed = np.array([self.fails(row.query, row.docno) for row in inp.itertuples()], bool)
        if len(inp):
            query = pd.factorize(inp["qid"])[0]
            score = score_below(query, np.where(failed, np.nan, judged["score"]), inp["rank"].to_numpy())
            judged = judged.assign(score=score)
            ordered = judged.sort_values(["qid", "rank"])  # the rule of ties, as it was found
            judged = pt.model.add_ranks(ordered).loc[inp.index]
        ordered = judged.assign(gave_up=failed)
        return ordered.sort_values(["qid", "rank"]).reset_index(drop=True) if self.rows == "rank" else ordered


FAILING = st.builds(
    Failing,
    seed=st.integers(1, 5),
    levels=st.integers(1, 4),
    rows=st.sampled_from(["given", "rank"]),
    ties=st.sampled_from(["given", "rank", "docno"]),
    odds=st.integers(1, 4),
)


@QUIET
@settings(max_examples=8, deadline=None)
@given(
    st.lists(FAILING, min_size=2, max_size=2, unique=True), st.integers(1, 5), st.integers(1, 4), st.sampled_from(["drop", "keep"])
)
def test_replay_is_the_live_cascade_also_where_it_failed(judges: list[Failing], second: int, third: int, tail: Any) -> None:
    """Golden: the cascade itself at the ends of the cut-offs within the depths; rows, ranks and scores bit by bit."""
    cascade = Cascade.of(FIRST % 8 >> judges[0] % second >> judges[1] % third)
    table = score(cascade, topics(3), query_batch_size=2)
    for cutoffs in product((1, 3, 8), {1, second}, {1, third}):
        order = ["qid", "rank"] if tail == "keep" else "qid"  # rows of a tail stand elsewhere
        live = run(cascade.with_cutoffs(*cutoffs), topics(3), tail=tail).results.sort_values(order, kind="stable")
        ours = table.replay(cutoffs, tail=tail).sort_values(order, kind="stable")
        assert ours[COLUMNS].to_numpy().tolist() == live[COLUMNS].to_numpy().tolist()


@QUIET
@settings(max_examples=10, deadline=None)
@given(FAILING, st.integers(1, 5), st.integers(0, 9))
def test_what_failed_is_evaluated_as_it_ranks(judge: Failing, k: int, seed: int) -> None:
    """Golden: ir_measures over the live run, which breaks ties by docno, while what failed has no ties."""
    cascade = Cascade.of(FIRST % 8 >> judge % k)
    rows = [(q.qid, f"d{d}", toss(seed, q.qid, d, sides=3)) for q in topics(3).itertuples() for d in range(8)]
    qrels = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    got = sweep(score(cascade, topics(3)), qrels, ["nDCG@5", "AP", "RR@10"], grid=[(4, k), (8, k)])
    for n, first in enumerate((4, 8)):
        live = cascade.with_cutoffs(first, k).pipeline().transform(topics(3))
        named = live.rename(columns={"qid": "query_id", "docno": "doc_id"})
        judged = qrels.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
        measures = [ir_measures.nDCG @ 5, ir_measures.AP, ir_measures.RR @ 10]
        want = ir_measures.calc_aggregate(measures, judged, named)
        assert got.frame.loc[n, ["nDCG@5", "AP", "RR@10"]].tolist() == pytest.approx([want[m] for m in measures], abs=1e-9)


WEIGHTS = st.tuples(*[st.sampled_from([0, 1, 3])] * 3).filter(any)


@QUIET
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(
    st.lists(FAILING, min_size=2, max_size=2, unique=True),
    st.lists(WEIGHTS, min_size=2, max_size=2, unique=True),
    st.sampled_from([{"method": "rrf"}, {"normalise": "z-score"}, {"normalise": "sum"}]),
    st.sampled_from(["drop", "keep"]),
)
def test_a_replayed_fusion_is_the_live_one_where_stages_failed(judges: Any, weights: Any, rule: Any, tail: Any) -> None:
    """Golden: the live fused cascade; rows, ranks and scores bit by bit, and its measures by ir_measures."""
    cascade = Cascade.of(FIRST % 8 >> judges[0] % 5 >> judges[1] % 4)
    table, names = score(cascade, topics(3)), [stage.name for stage in cascade]
    rows = [(q.qid, f"d{d}", toss(judges[0].seed, q.qid, d, sides=3)) for q in topics(3).itertuples() for d in range(8)]
    qrels = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    fusions = [ptc.StageFusion(dict(zip(names, one, strict=True)), **rule) for one in weights]
    got = sweep(table, qrels, ["nDCG@5", "AP", "RR@10"], grid=[(4, 3, 2), (8, 5, 4)], tail=tail, fusion=fusions)
    for n, (cutoffs, fusion) in enumerate(product(got.grid, got.fusions)):
        fused = cascade.with_cutoffs(*cutoffs).fused(fusion).options(tail=tail)
        live = fused.transform(topics(3)).sort_values(["qid", "rank"])
        for ours in (table.replay(cutoffs, tail=tail, fusion=fusion), fused.finish(table)):
            assert ours.sort_values(["qid", "rank"])[COLUMNS].to_numpy().tolist() == live[COLUMNS].to_numpy().tolist()
        want = pt.Experiment([live], topics(3), qrels, [ir_measures.nDCG @ 5, ir_measures.AP, ir_measures.RR @ 10])
        want = want.loc[0, list(got.measures)].tolist()
        assert got.frame.loc[n, list(got.measures)].tolist() == pytest.approx(want, abs=1e-9)
        per_query = got.per_query(cutoffs, fusion)[list(got.measures)].mean().tolist()
        assert per_query == pytest.approx(got.frame.iloc[n][list(got.measures)].tolist(), abs=1e-12)
        if tail == "drop":
            assert got.loss(cutoffs, fusion=fusion, depth=5)["ndcg"].iloc[-1] == pytest.approx(want[0], abs=1e-9)


def test_a_query_that_can_never_be_scored_does_not_bar_the_table(tmp_path: Path) -> None:
    """It is listed, warned of, no score, kept on the disk as such, and keeps the order of the stage before."""
    judge = Failing(odds=10**9, query="query 0")
    said = r"stage 'judge' failed in 4 of 12 rows \(qid 'q0', docno 'd\d'; .*\): they rank below the others"
    with pytest.warns(CascadeWarning, match=said):
        table = score(FIRST % 4 >> judge % 3, topics(3))
    mine = table.frame["qid"] == "q0"
    assert np.isneginf(table.frame.loc[mine, "judge"]).all()
    assert np.isfinite(table.frame.loc[~mine, "judge"]).all()
    table.save(tmp_path / "table")
    for each in (table, ScoreTable.load(tmp_path / "table")):
        assert each.failed["stage"].tolist() == ["judge"] * 4
        assert each.failed["docno"].tolist() == table.frame.loc[mine, "docno"].tolist()
        assert f"judge {(~mine).sum()}" in repr(each)
        kept = each.replay((4, 3))
        first = FIRST.transform(topics(1)).sort_values("rank")["docno"].tolist()
        assert kept[kept["qid"] == "q0"].sort_values("rank")["docno"].tolist() == first[:3]
        assert kept[kept["qid"] == "q0"].sort_values("rank")["score"].tolist() == [-1.0, -2.0, -3.0]


@QUIET
def test_a_table_goes_on_after_a_crash_where_documents_failed(tmp_path: Path) -> None:
    """Failed pairs are not in the sample that is scored again; the table is that of a run without a crash."""
    judge, folder = Failing(odds=2, log=Log()), tmp_path / "chunks"
    cascade = FIRST % 6 >> judge % 3 >> Judge(9, log=(crash := Log(fail_at=9))) % 2
    with pytest.raises(StageError, match="out of memory"):
        score(cascade, topics(6), query_batch_size=1, checkpoint=folder)
    assert [*folder.glob("[0-9]*.parquet")]
    crash.fail_at(0)
    table = score(cascade, topics(6), query_batch_size=1, checkpoint=folder)
    pd.testing.assert_frame_equal(table.frame, score(cascade, topics(6), checkpoint=tmp_path / "other").frame)


def test_failures_of_a_stage_that_does_not_keep_them_are_refused() -> None:
    """Without ``on_error="keep"`` it may not go on."""
    with pytest.raises(StageError, match="could not score every document"):
        score(FIRST % 4 >> Failing(on_error="raise") % 2, topics(3))


def test_a_first_stage_may_not_fail() -> None:
    """Results to re-rank by a first stage that failed on some: all cut-offs would stand on it."""
    found = FIRST.transform(topics(3))
    with pytest.raises(StageError, match=r"could not score every document: it failed in \d+ of \d+ rows? .*finished batches"):
        score(Failing() % 3 >> Judge() % 2, found)


# the judge itself


def judge(server: ScriptedServer, **options: object) -> LlmJudge:
    """A stage that asks the server once."""
    return llm_judge("toy", **{"base_url": server.url, "api_key_env": None, "retries": 0, **options})


def grade(call: Call) -> Reply:
    """Grade by a hash; one query has no answer at all, one document one that cannot be read, one is refused as too long."""
    if "query 1" in call.prompt:
        return failure(400, "context length exceeded")
    text = call.prompt.split("Document: ")[1].split("\n")[0]
    if text.endswith("d3"):
        return chat("<think>Is it 2?", finish="length")
    return failure(500) if text.endswith("d6") else chat(str(toss(text, sides=4)))


def _cascade(stage: LlmJudge) -> Cascade:
    return Cascade.of(FIRST % 8 >> pt.apply.text(lambda row: f"{row['query']} {row['docno']}") >> stage % 8)


def test_an_unreadable_answer_gives_no_score(server: ScriptedServer) -> None:
    """By default the table is refused at the first; at f3e162d it had a score of 0.0."""
    server.do(grade)
    with pytest.raises(StageError, match="llm_judge has no judgment of qid 'q"):
        score(_cascade(judge(server)), topics(3))


@QUIET
@pytest.mark.parametrize("kept", [False, True])
def test_a_table_of_a_judge_replays_as_the_judge_ranks(server: ScriptedServer, tmp_path: Path, *, kept: bool) -> None:
    """With ``keep``: what failed is listed, whole queries too, and every replay is the live cascade, also with kept scores."""
    server.do(grade)
    cascade = _cascade(judge(server, on_error="keep"))
    table = score(cascade, topics(4), score_cache=tmp_path / "store" if kept else None)
    lost = table.failed
    assert set(lost.loc[lost["qid"] != "q1", "docno"]) == {"d3", "d6"}
    assert (lost["qid"] == "q1").sum() == (table.frame["qid"] == "q1").sum()
    good = table.frame["llm_judge"][~table.frame["docno"].isin(["d3", "d6"]) & (table.frame["qid"] != "q1")]
    assert good.isin([0.0, 1.0, 2.0, 3.0]).all()
    for cutoffs in ((8, 8), (5, 3), (2, 1)):
        live = run(cascade.with_cutoffs(*cutoffs), topics(4)).results.sort_values("qid", kind="stable")
        assert table.replay(cutoffs)[COLUMNS].to_numpy().tolist() == live[COLUMNS].to_numpy().tolist()
