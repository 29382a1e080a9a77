"""The dollars that a judge counts are a cost: of the profiled cascade what it spent, and a budget of choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from toys.llm_servers import Call, Reply, ScriptedServer, chat, scripted
from toys.rankers import ToyRetriever, topics

from pt_cascade import Cascade, choose, profile, run, score, sweep
from pt_cascade.analysis.cost.timings import Mode, Timings
from pt_cascade.errors import SweepError
from pt_cascade.stages.llm_judge import llm_judge

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted() as server:
        yield server


def answer(call: Call) -> Reply:
    """Order a list as it is, or give grade 2; a token a character of the prompt."""
    documents = call.prompt.count("\n[")
    order = " > ".join(f"[{n}]" for n in range(1, documents + 1))
    return chat(order if documents else "2", usage=(len(call.prompt), 3))


def judged(server: ScriptedServer, prices: tuple[float, float] | None = (1.0, 10.0), how: str = "graded") -> Cascade:
    """Five documents a query, four for the second one, and a judge."""
    found = ToyRetriever(docs=6) >> pt.apply.generic(lambda frame: frame[(frame["qid"] != "q1") | (frame["rank"] < 4)])
    judge = llm_judge("toy", how=how, base_url=server.url, api_key_env=None, prices=prices)
    return Cascade.of(found % 5 >> pt.apply.text(lambda row: f"{row['docno']} " * 9) >> judge % 2)


@pytest.mark.parametrize("how", ["graded", "listwise"])
@pytest.mark.parametrize("mode", ["interactive", "throughput"])
def test_a_query_costs_what_the_judge_counted(server: ScriptedServer, tmp_path: Path, how: str, mode: Mode) -> None:
    """At the profiled cut-offs the dollars of the trace of ``run``, also from a file; with fewer documents, fewer dollars."""
    server.do(answer)
    cascade = judged(server, how=how)
    spent = run(cascade, topics(3)).trace["llm_usd"].sum() / 3
    timings = profile(cascade, topics(3), mode, repeats=2, shares=(1.0, 0.4))
    assert timings.frame.groupby("stage", sort=False)["usd"].agg(lambda usd: usd.isna().all()).tolist() == [True, False]
    timings.save(tmp_path / "t")
    vectors = np.array([[5, 2], [2, 2]])
    for cost in (timings.cost(), Timings.load(tmp_path / "t").cost(), timings.cost().select(timings.stages)):
        whole, less = cost.frame(vectors, percentiles=())["usd"]
        assert whole == pytest.approx(spent, rel=1e-9)
        assert 0.2 * spent < less < 0.9 * spent


@pytest.mark.parametrize(("prices", "usage"), [(None, (1000, 3)), ((1.0, 10.0), None)])
def test_dollars_that_are_unknown_are_no_cost(
    server: ScriptedServer, prices: tuple[float, float] | None, usage: tuple[int, int] | None
) -> None:
    """Without prices, or where the server does not count tokens."""
    server.do(lambda _: chat("2", usage=usage))
    timings = profile(judged(server, prices), topics(2), repeats=1)
    assert "usd" not in timings.frame
    assert "usd" not in timings.cost().frame(np.array([[5, 2]]), percentiles=())


def test_a_budget_in_dollars_is_kept(server: ScriptedServer) -> None:
    """Half of the dollars buy a shallower cut-off; without prices a budget in dollars is refused."""
    server.do(answer)
    asked = topics(6)
    labels = pd.DataFrame({"qid": asked["qid"], "docno": "d0", "label": 1})
    table = score(judged(server), asked)
    for prices in ((1.0, 10.0), None):
        cost = profile(judged(server, prices), asked.head(2), repeats=1).cost()
        swept = sweep(table, labels, ["RR"], cost=cost)
        if prices is None:
            with pytest.raises(SweepError, match="budget_usd is given, but no stage has a price"):
                choose(swept, "RR", budget_usd=1.0)
        else:
            most = swept.frame["usd"].max()
            assert 0 < choose(swept, "RR", budget_usd=most / 2).cost["usd"] <= most / 2
