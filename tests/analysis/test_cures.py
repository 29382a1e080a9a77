"""The cures that errors of the analysis print, tried as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.tables import TOPICS, chain, make_qrels

import pt_cascade as ptc
from pt_cascade.analysis.table.data import Column
from pt_cascade.errors import CascadeError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # of few queries, and cut-offs that cannot cut
PUBLIC = ("Cost", "ScoreTable", "StageCost", "choose", "fuse", "grid", "profile", "score", "sweep")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a person has at hand: cascades with and without a live last stage, tables, timings, a sweep, and runs."""
    cascade = ptc.Cascade.of(chain(ToyRetriever(docs=14), [Judge(1), Judge(2)], (6, 4, 2)))
    live = cascade.with_stage(2, depends="listwise")
    timings = ptc.profile(cascade, TOPICS, repeats=1, shares=(1.0, 0.5))
    table, qrels = ptc.score(cascade, TOPICS), make_qrels(1)
    one = table.replay((6, 4, None))
    path: Path = tmp_path_factory.mktemp("cures") / "table"
    table.save(path)
    return {
        **{name: getattr(ptc, name) for name in PUBLIC},
        "Column": Column,
        "cascade": cascade,
        "cutoffs": (6, 4, 2),
        "few": one.head(5).drop(columns="rank"),
        "live": live,
        "live_table": ptc.score(live, TOPICS),
        "means": replace(timings, mode="throughput").cost(),
        "measure": "RR",
        "measures": ["RR"],
        "one": one,
        "path": path,
        "qrels": qrels,
        "swept": ptc.sweep(table, qrels, ["RR"]),
        "table": table,
        "timings": timings,
        "topics": TOPICS,
        "two": one,
    }


# what is refused, and what works once the cure (FIX; FIRST, the first of two) is followed
CASES = {
    "one run": ("fuse(one)", "FIX"),
    "no such method": ("fuse([one], 'sum')", "FIX"),
    "a run of more queries": (
        "fuse([one], topics=topics.head(1))",
        "run, topics = one, topics.head(1)\nFIX\nfuse([run], topics=topics)",
    ),
    "a front without cost": ("swept.pareto_front('RR')", "FIX.pareto_front('RR')"),
    "a budget without cost": ("choose(swept, 'RR', budget_ms=5)", "choose(FIX, 'RR', budget_ms=1e9, percentile=None, folds=2)"),
    "a choice of a table": ("choose(table, 'RR')", "FIX"),
    "a path for a table": ("sweep(path, qrels, measures)", "FIX\nsweep(table, qrels, measures)"),
    "a cost of no kind": ("sweep(table, qrels, measures, 5)", "sweep(table, qrels, measures, FIX)"),
    "no such measure": ("sweep(table, qrels, ['nDCG@0'])", "sweep(table, qrels, FIX)"),
    "recall without cut-offs": (
        "swept.recall(2, (5,))",
        "deep = score(cascade, topics, depths=(None, None))\nsweep = sweep(deep, qrels, measures)\nFIX",
    ),
    "a tail beyond the table": (
        "sweep(table, qrels, ['nDCG@10'], tail='keep')",
        "sweep(FIRST, qrels, ['nDCG@10'], tail='keep')",
    ),
    "cut-offs beyond the table": ("table.replay((7, 5, 1))", "FIX.replay((7, 5, 1))"),
    "a live stage": ("live_table.replay(cutoffs)", "cascade, table = live, live_table\nFIX"),
    "no axis": ("grid()", "FIX"),
    "no stage": ("Cost.of()", "FIX"),
    "a stage without cost": (
        "timings.cost().select(['toy', 'duo'])",
        "Cost.of(StageCost('toy'), FIX).select(['toy', 'duo'])",
    ),
    "percentiles of means": ("cost = means\ncost.latency(cutoffs, (95,))", "cost = means\nFIRST\nSECOND"),
    "percentiles out of range": ("timings.cost().latency(cutoffs, (0,))", "timings.cost().latency(cutoffs, FIX)"),
    "unknown documents": (
        "Cost.of(StageCost(), StageCost()).latency((None, 5))",
        "Cost.of(StageCost(), StageCost()).latency((None, 5), FIRST)",
    ),
    "documents of no kind": ("Cost.of(StageCost()).latency((5,), docs=[1.5])", "Cost.of(StageCost()).latency((5,), FIX)"),
    "tokens not counted": ("timings.cost('token')", "FIRST"),
    "one depth": ("profile(cascade, topics, repeats=1, shares=(1.0,)).cost()", "FIX.cost()"),
    "pairs that a run lacks": (
        "ScoreTable.from_runs({'a': one, 'b': few})",
        "ScoreTable.from_runs({'a': one, 'b': few}, FIRST)\nScoreTable.from_runs({'a': one, 'b': few}, SECOND)",
    ),
    "a name of the table": ("Column('rank')", "Column('rank_1')"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cure_helps(case: str, known: dict[str, Any]) -> None:
    """What stood in the way is gone when the printed words are followed."""
    refused, works = CASES[case]
    with pytest.raises(CascadeError) as error:
        exec(refused, dict(known))  # noqa: S102 - our own words
    fix = error.value.fix.replace("per_pair_ms=...", "per_pair_ms=2").partition(" with queries")[0]
    assert case != "a name of the table" or fix == "give it another name, such as 'rank_1'"
    first, second = (*map(_strip, fix.replace("; ", ", or ").split(", or ")), "")[:2]
    exec(works.replace("FIX", fix).replace("FIRST", first).replace("SECOND", second), dict(known))  # noqa: S102 - the cure


def _strip(fix: str) -> str:
    """Leave out the words around one of two cures."""
    return fix.partition(" leaves")[0].partition(" ranks")[0].removeprefix("pass ")
