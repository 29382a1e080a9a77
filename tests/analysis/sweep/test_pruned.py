"""Pruned cascades from a table, against the plain pipeline with ``prune`` in pt.Experiment; their losses and times by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.strategies import CUTOFFS, JUDGES, RETRIEVERS
from toys.tables import KERNEL, TOPICS, experiment, make_qrels, tabulate

import pt_cascade as ptc
from pt_cascade.analysis.fusion.stage_fusion import StageFusion
from pt_cascade.analysis.pruning import Gate, Margin, Mass, Probability, Rule, Threshold
from pt_cascade.analysis.sweep.pruned import sweep_rules
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.cascade import Cascade, Stage
from pt_cascade.errors import SweepError
from pt_cascade.execution.runner import run
from pt_cascade.execution.score_table import ScoreTable

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
NUMBERS = st.sampled_from([0.0, 0.3, 1.0, 1.5, 2.0])
RULES = st.one_of(
    st.builds(
        lambda kind, number, floor: kind(number, floor=floor),
        st.sampled_from([Margin, Threshold, Gate]),
        NUMBERS,
        st.integers(1, 3),
    ),
    st.builds(lambda number, to, ceiling: Margin(number, to=to, ceiling=ceiling), NUMBERS, st.integers(1, 4), st.integers(1, 9)),
)
SHARES = st.builds(lambda kind, number: kind(number), st.sampled_from([Mass, Probability]), st.sampled_from([0.0, 0.1, 0.25, 0.5]))


class Likely(Judge):
    """Scores like probabilities."""

    stage_name = "likely"

    def judge(self, query: str, docno: str) -> float:
        """Score a pair."""
        return super().judge(query, docno) / 8


LIKELY = st.builds(Likely, st.integers(1, 9), st.integers(1, 4))


def draw_rules(data: st.DataObject, judges: list[Judge], cutoffs: tuple[int | None, ...]) -> dict[str, Rule]:
    """Draw rules for some of the stages, whose floors are not above the cut-offs."""
    names = ["first", *(f"stage{n}" for n in range(2, len(judges) + 2))]
    chosen = data.draw(st.sets(st.sampled_from(names), min_size=1))
    rules = {}
    for name, part, k in zip(names, (None, *judges), cutoffs, strict=True):
        if name in chosen:
            rule = data.draw(st.one_of(RULES, SHARES) if isinstance(part, Likely) else RULES)
            most = min((one for one in (k, rule.ceiling) if one is not None), default=None)
            rules[name] = replace(rule, ceiling=most, floor=min(rule.floor, most or rule.floor))
    return rules


def cascade_of(first: ToyRetriever, judges: list[Judge], cutoffs: tuple[int | None, ...], rules: dict[str, Rule]) -> Cascade:
    """Write the cascade, its stages named as those of the table."""
    stages = [Stage("first", (first,), cutoffs[0], "pointwise", "retrieves")]
    stages += [Stage(f"stage{n}", (judge,), cutoffs[n - 1], "pointwise", "reranks") for n, judge in enumerate(judges, 2)]
    ruled = [
        replace(stage, rule=rules[stage.name], cutoff=rules[stage.name].ceiling) if stage.name in rules else stage
        for stage in stages
    ]
    return Cascade(tuple(ruled))


def assert_same(ours: pd.DataFrame, live: pd.DataFrame, columns: list[str]) -> None:
    """Compare rankings."""
    for left, right in zip(*(frame.sort_values(["qid", "rank"])[columns].to_numpy(object) for frame in (ours, live)), strict=True):
        assert tuple(left) == tuple(right)


@settings(max_examples=30, phases=[Phase.generate], deadline=None)
@given(RETRIEVERS, st.lists(st.one_of(JUDGES, LIKELY), max_size=2), st.data(), st.integers(0, 99))
def test_each_row_is_what_experiment_says(first: ToyRetriever, judges: list[Judge], data: st.DataObject, seed: int) -> None:
    """Golden: pt.Experiment on the plain pipelines with prune(rule), ties, fused or not, all measures, to 1e-12."""
    if not len(first.transform(TOPICS)):
        return
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    several = [draw_rules(data, judges, cutoffs) for _ in range(data.draw(st.integers(1, 3)))]
    table, qrels = tabulate(first, judges, TOPICS), make_qrels(seed)
    weights = data.draw(st.one_of(st.none(), st.permutations([1.0, 0.25, 0.5]))) if judges else None
    fusion = None if weights is None else StageFusion(dict(zip(table.stages, weights, strict=False)))
    got = sweep_rules(table, qrels, KERNEL, cutoffs, several, fusion=fusion)
    pipelines = [replace(cascade_of(first, judges, cutoffs, rules), fusion=fusion).pipeline() for rules in ({}, *several)]
    wanted = experiment(pipelines, TOPICS, qrels, KERNEL)
    for name in map(str, got.replayer.measures):
        np.testing.assert_allclose(got.frame[name], wanted[name], rtol=0, atol=1e-12, err_msg=name)
    qids = TOPICS["qid"].iloc[got.replayer.judged.queries]
    for row, (rules, pipeline) in enumerate(zip(({}, *several), pipelines, strict=True)):
        live = pipeline.transform(TOPICS)
        assert_same(table.replay(cutoffs, prune=rules, fusion=fusion), live, ["qid", "docno", "score", "rank"])
        assert got.kept[row, :, -1].tolist() == live.groupby("qid").size().reindex(qids, fill_value=0).tolist()


@settings(max_examples=20, phases=[Phase.generate], deadline=None)
@given(RETRIEVERS, st.lists(st.one_of(JUDGES, LIKELY), min_size=1, max_size=2), st.data())
def test_a_kept_tail_is_that_of_run(first: ToyRetriever, judges: list[Judge], data: st.DataObject) -> None:
    """Golden: run(tail="keep") on the cascade with its rules."""
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    rules = draw_rules(data, judges, cutoffs)
    live = run(cascade_of(first, judges, cutoffs, rules), TOPICS, tail="keep").results
    ours = tabulate(first, judges, TOPICS).replay(cutoffs, prune=rules, tail="keep")
    assert_same(ours, live, ["qid", "docno", "rank", "cut_by"])


SCORES = {"first": [9.0, 8.0, 5.0, 1.0, 7.0, 6.9, 6.8], "second": [0.1, 0.9, 0.5, 0.8, 0.2, 0.3, 0.7]}
TABLE = ScoreTable(
    pd.DataFrame({"qid": [*"1111222"], "docno": [*"abcdxyz"], "rank": [0, 1, 2, 3, 0, 1, 2], **SCORES}),
    pd.DataFrame({"qid": ["1", "2"], "query": ["one", "two"]}),
    (Column("first"), Column("second")),
    (Path(("first", "second"), (4, 2), (4,)),),
)
QRELS = pd.DataFrame({"qid": [*"1122"], "docno": [*"bdzx"], "label": [1, 1, 1, 0]})
PATH = [{"first": Margin(tau)} for tau in (10.0, 4.0, 1.0, 0.15)]


def test_counts_losses_and_times_by_hand() -> None:
    """Two queries of 4 and 3 documents, of which the second ranks d after b, and z first; 2 ms a document and 1 ms a query."""
    cost = [ptc.StageCost("first", fixed_ms=1), ptc.StageCost("second", per_pair_ms=2)]
    got = sweep_rules(TABLE, QRELS, ["RR"], (4, 2), PATH, cost=cost)
    assert got.kept[:, :, 0].tolist() == [[4, 3], [4, 3], [3, 3], [2, 3], [1, 2]]
    assert got.kept[:, :, 1].tolist() == [[2, 2], [2, 2], [2, 2], [2, 2], [1, 2]]
    assert got.dropped.tolist() == [[0, 0], [0, 0], [0.5, 0], [0.5, 0], [1.0, 1.0]]  # d; then b, and z
    assert got.ms.tolist() == [[9, 7], [9, 7], [7, 7], [5, 7], [3, 5]]
    assert got.frame["p95_ms"].tolist() == [9, 9, 7, 7, 5]
    assert got.frame["rules"].tolist() == ["", "first margin 10", "first margin 4", "first margin 1", "first margin 0.15"]
    assert got.loss("RR").tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [1, 1]]


def test_rules_that_differ_in_a_limit_have_two_names() -> None:
    """The floor and the ceiling are in the name, where a rule has them."""
    rules = [{"first": Margin(1)}, {"first": Margin(1, ceiling=3)}, {"first": Margin(1, floor=2, ceiling=3)}]
    named = sweep_rules(TABLE, QRELS, ["RR"], (4, 2), rules).frame["rules"].tolist()
    assert named[1:] == ["first margin 1", "first margin 1 (at most 3)", "first margin 1 (at least 2, at most 3)"]


def test_a_profile_gives_each_query_the_pace_of_each_run() -> None:
    """With equal cut-offs for all queries, the mean and the percentile are those of the plain cascade in the latency model."""
    lines = [
        {"qid": qid, "stage": stage, "docs_in": docs, "docs_out": out, "pairs": docs, "ms": ms, "share": share, "repeat": 0}
        for qid, slow in (("a", 1.0), ("b", 3.0), ("c", 2.0))
        for share, depth in ((1.0, 3), (0.5, 1))
        for stage, docs, out, ms in (("first", 0, depth, 1.0 * slow), ("second", depth, min(2, depth), 2.0 * depth * slow))
    ]
    frame = pd.DataFrame(lines).assign(shared_by=1, tokens=np.nan, docs_ranked=3)
    cost = ptc.Timings(frame, "interactive").cost()
    late = cost.latency((3, 2), (50, 100))
    times = cost.times_at(np.array([[3, 2], [3, 2]]))
    assert times.shape == (2, 3)
    assert times.mean() == pytest.approx(late.ms, abs=1e-12)
    assert sorted(times[0])[1:] == pytest.approx(list(late.joint_ms), abs=1e-12)


def test_a_looser_margin_drops_no_more_where_one_stage_is_cut() -> None:
    """Property on the toys: one pruned stage, losses that never fall along the path."""
    table = tabulate(ToyRetriever(docs=14, levels=4), [Judge(seed=3)], TOPICS)
    got = sweep_rules(table, make_qrels(4), ["RR"], (None, None), [{"first": Margin(tau)} for tau in (3.0, 2.0, 1.0, 0.0)])
    assert all((tight >= loose).all() for loose, tight in pairwise(got.dropped))
    assert got.dropped[-1].sum() > 0


def test_refusals() -> None:
    """Each with its cure."""
    with pytest.raises(
        SweepError, match=r"'secnd' has a rule; the stages that can have one are first, second; did you mean 'second'"
    ):
        sweep_rules(TABLE, QRELS, ["RR"], (4, 2), [{"secnd": Margin(1)}])
    with pytest.raises(SweepError, match="'third' has a rule"):
        TABLE.replay((4, 2), prune={"third": Margin(1)})
    with pytest.raises(
        SweepError, match="Bpref cannot be computed at cut-offs for each query, only nDCG, RR, R, P, AP, Judged and Success"
    ):
        sweep_rules(TABLE, QRELS, ["Bpref"], (4, 2), PATH)
    with pytest.raises(SweepError, match="measure 'P@5' was not computed: computed were RR"):
        sweep_rules(TABLE, QRELS, ["RR"], (4, 2), PATH).certify("P@5")
    with pytest.raises(SweepError, match="the loss of RR may fall as rules tighten"):
        sweep_rules(TABLE, QRELS, ["RR"], (4, 2), PATH).certify("RR", delta=None)
    with pytest.raises(SweepError, match="the times are unknown"):
        _ = sweep_rules(TABLE, QRELS, ["RR"], (4, 2), PATH).ms
    with pytest.raises(ptc.errors.PipelineError, match="these scores are not probabilities"):
        TABLE.replay((4, 2), prune={"first": Probability(0.5)})


@pytest.mark.parametrize(("rel", "problem"), [(0, "rel is 0"), ("a", "rel is 'a'"), (9, "no document of the table is relevant")])
def test_a_share_of_relevant_documents_needs_some(rel: int, problem: str) -> None:
    """Without one nothing could be dropped, and all would be certified."""
    frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [0.1, 0.9]})
    table = ScoreTable(
        frame, pd.DataFrame({"qid": ["1"], "query": ["q"]}), (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, 2)),)
    )
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    with pytest.raises(SweepError, match=problem):
        ptc.sweep_rules(table, qrels, ["RR"], (2, 2), [{"bm25": Margin(0.5)}], rel=rel).certify()
