"""``design``: what score, sweep and choose give on judged queries in random order, refusals before scoring, and its progress."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import RR
from pandas.testing import assert_frame_equal
from toys.judges import Judge, Log
from toys.rankers import topics

import pt_cascade as ptc
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from pt_cascade.analysis.grid.cutoffs import Tail

DOCS = 6


class Agreeing(Judge):
    """Orders documents as the first stage does, so that no cut-off loses anything."""

    stage_name = "agreeing"

    def judge(self, query: str, docno: str) -> float:  # noqa: ARG002 - as of every judge
        """Score d0 above d1, and so on."""
        return -float(docno[1:])


def retriever(queries: int) -> pt.Transformer:
    """A first stage that finds d0, d1, ... for each query."""
    asked = topics(queries)
    rows = asked.loc[asked.index.repeat(DOCS)].reset_index(drop=True)
    rows["docno"] = [f"d{n}" for n in range(DOCS)] * queries
    rows["score"] = [float(DOCS - n) for n in range(DOCS)] * queries
    return pt.Transformer.from_df(pt.model.add_ranks(rows))


def qrels(queries: int) -> pd.DataFrame:
    """d0 is relevant to each query."""
    return pd.DataFrame({"qid": [f"q{n}" for n in range(queries)], "docno": "d0", "label": 1})


def test_a_design_is_score_sweep_and_choose_on_its_queries() -> None:
    """The three calls by hand on the same queries give the same table and report; and losing stages are kept."""
    cascade = retriever(70) % DOCS >> Judge(levels=3) % 3
    made = ptc.design(cascade, topics(70), qrels(70), "RR", margin=0.05, seed=3, chunk=20)
    table = ptc.score(cascade, made.table.topics)
    choice = ptc.choose(ptc.sweep(table, qrels(70), ["RR"]), "RR", margin=0.05, method="certified", seed=3)
    assert_frame_equal(made.table.frame, table.frame)
    assert made.choice.explain(details=True) == choice.explain(details=True)


@pytest.mark.parametrize("tail", ["drop", "keep"])
def test_the_fusion_and_the_tail_of_a_cascade_stay(tail: Tail) -> None:
    """Where few queries certify nothing, the choice is the cascade itself, as ``pt.Experiment`` measures it live."""
    cascade = ptc.Cascade.of(retriever(12) % DOCS >> Judge(levels=3) % 3)
    cascade = cascade.fused({stage.name: 1 for stage in cascade}).options(tail=tail)
    made = ptc.design(cascade, topics(12), qrels(12), "RR@3")
    live = pt.Experiment([cascade], topics(12), qrels(12), [RR @ 3])
    assert made.choice.fusion == cascade.fusion
    assert made.choice.in_sample == pytest.approx(live["RR@3"].item())


@pytest.mark.parametrize(("queries", "decision", "cutoffs"), [(59, "ship", (1, 1)), (58, "cannot tell", (DOCS, 3))])
def test_where_nothing_is_lost_59_queries_certify_a_margin_of_a_twentieth(
    queries: int, decision: str, cutoffs: tuple[int, int]
) -> None:
    """.95 ** 59 = .0485, .95 ** 58 = .0510: the first document is the relevant one at every stage."""
    made = ptc.design(retriever(queries) % DOCS >> Agreeing() % 3, topics(queries), qrels(queries), "RR", margin=0.05)
    assert (made.choice.verdict.decision, made.choice.cutoffs) == (decision, cutoffs)


def test_only_judged_queries_are_scored_in_an_order_of_the_seed() -> None:
    """Ten of twenty are judged; another seed gives another order of the same."""
    log = Log()
    cascade = retriever(20) % DOCS >> Judge(log=log) % 3
    orders = [ptc.design(cascade, topics(20), qrels(10), "RR", seed=seed).table.topics["qid"].tolist() for seed in (0, 0, 1)]
    assert {qid for qid, _ in log.asked} == {f"q{n}" for n in range(10)} == set(orders[2])
    assert orders[0] == orders[1]
    assert orders[0] not in (orders[2], sorted(orders[0]))


def test_progress_tells_what_is_certain_at_any_time(capsys: pytest.CaptureFixture[str]) -> None:
    """At a margin of .05, 78 queries without loss are evidence of 1/20: after 43 it says so, after 83 it ships."""
    ptc.design(retriever(90) % DOCS >> Agreeing() % 3, topics(90), qrels(90), "RR", margin=0.05, chunk=40, verbose=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if " queries: " in line]
    assert lines[0] == "3 queries: nothing is certain before about 78"
    assert lines[1] == "43 queries: nothing is certain before about 78"
    assert lines[2] == "83 queries: Choice(ship: run → 1 · agreeing → 1; RR 1.0000)"
    assert lines[3].startswith("90 queries: Choice(ship")


def test_a_budget_is_of_the_timed_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of an hour allows everything, and the report says what was timed."""
    monkeypatch.setattr("pt_cascade.execution.design.profile", partial(ptc.profile, repeats=1, shares=(1.0, 0.5)))
    cascade = retriever(59) % DOCS >> Agreeing() % 3
    made = ptc.design(cascade, topics(59), qrels(59), "RR", margin=0.05, budget_ms=3.6e6)
    assert made.choice.budget.limits == {"p95_ms": 3.6e6}
    assert made.choice.times is not None
    assert made.choice.times.queries == 59


def test_all_problems_are_told_before_anything_is_scored() -> None:
    """Nothing is asked of the judge; each argument that is out of range is named."""
    log = Log()
    cascade = retriever(5) % DOCS >> Judge(log=log) % 3
    with pytest.raises(SweepError) as caught:
        ptc.design(cascade, topics(5), qrels(5), "NumRel", margin=2, alpha=0.7, budget_ms=-1, seed=-1, chunk=0)
    for told in (
        "margin is 2",
        "alpha is 0.7",
        "seed is -1",
        "budget_ms is -1",
        "NumRel is a count",
        "takes 59 or more",
        "chunk is 0",
    ):
        assert told in str(caught.value)
    with pytest.raises(SweepError, match="0 query has a judgment"):
        ptc.design(cascade, topics(5), qrels(1).assign(qid="other"), "RR")
    assert log.calls == []
