"""``prune`` as a PyTerrier transformer: in pipelines, in inspection, read by Cascade.of, and capped by a column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import parse_measure
from toys.judges import Judge
from toys.rankers import ToyRetriever, topics

import pt_cascade as ptc
from pt_cascade.analysis.pruning import Gate, Margin, Threshold
from pt_cascade.cascade import Cascade
from pt_cascade.errors import FrameError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable

FOUND = pd.DataFrame(
    {"qid": [*"2111"], "query": [*"baaa"], "docno": [*"xbac"], "score": [7.0, 1.9, 2.0, 1.0], "rank": [0, 1, 0, 2]},
    index=[9, 4, 6, 5],
)
RUN = pt.Transformer.from_df(FOUND)
SCORE = pt.apply.doc_score(lambda row: float(ord(row["docno"])))
FIRST, SECOND = ToyRetriever(docs=20, levels=9), Judge(seed=5, levels=7)


def test_it_keeps_the_first_documents_of_each_query_in_row_order() -> None:
    """Like a cut-off: rows in their order, a new index, the input unchanged; by hand."""
    before = FOUND.copy()
    kept = ptc.prune(Margin(0.15)).transform(FOUND)
    assert kept["docno"].tolist() == [*"xba"]
    assert kept.index.tolist() == [0, 1, 2]
    pd.testing.assert_frame_equal(FOUND, before)
    pd.testing.assert_frame_equal(ptc.prune(Threshold(0.0, ceiling=2)).transform(FOUND), pt.RankCutoff(2).transform(FOUND))
    assert ptc.prune(Margin(1.0)).transform(FOUND.iloc[:0]).empty


def test_float32_scores_are_compared_as_float64() -> None:
    """0.3 in float32 is above 0.3: the margin of 0.3 keeps what float64 says, as a score table does."""
    found = FOUND.assign(score=np.array([7.0, 0.7, 1.0, 0.1], np.float32))
    margin = float(np.float32(1.0)) - float(np.float32(0.7))
    assert ptc.prune(Margin(margin)).transform(found)["docno"].tolist() == [*"xba"]
    assert ptc.prune(Margin(np.nextafter(margin, 0))).transform(found)["docno"].tolist() == [*"xa"]


@pytest.mark.parametrize(
    ("pipeline", "shown", "cutoffs"),
    [
        (FIRST % 9 >> SECOND >> ptc.prune(Margin(0.2, floor=2, ceiling=6)), "toy → 9 · judge → 6 (margin 0.2)", (9, 6)),
        (FIRST >> ptc.prune(Threshold(3)) >> SECOND % 4, "toy → (threshold 3) · judge → 4", (None, 4)),
        (FIRST % 9 >> ptc.prune(Margin(1, to=3)) >> SECOND, "toy → 9 (margin 1 to rank 3) · judge", (9, None)),
        (FIRST % 9 >> ptc.prune(Gate(1, ceiling=20)) >> SECOND, "toy → 9 (gate 1) · judge", (9, None)),
    ],
)
def test_a_cascade_reads_it_as_a_cut_off(pipeline: pt.Transformer, shown: str, cutoffs: tuple[int | None, ...]) -> None:
    """The ceiling is the cut-off; the cascade, its pipeline, and what is read of that rank as the pipeline does."""
    cascade = Cascade.of(pipeline)
    assert repr(cascade) == shown
    assert cascade.cutoffs == cutoffs
    for other in (cascade, cascade.pipeline(), Cascade.of(cascade.pipeline()), ptc.Runner(cascade)):
        pd.testing.assert_frame_equal(other.transform(topics(4)), pipeline.transform(topics(4)))
    assert Cascade.of(cascade.pipeline()).stages == cascade.stages
    assert shown.split(" → ")[1].split(" · ", maxsplit=1)[0] == cascade.describe()["cutoff"][0]


def test_it_works_in_an_experiment_and_in_inspection() -> None:
    """Golden: the same run cut by hand."""
    pipeline = RUN >> ptc.prune(Margin(0.15)) >> SCORE
    qrels, asked = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]}), pd.DataFrame({"qid": ["1"], "query": ["a"]})
    found = pt.Experiment([pipeline, RUN % 2 >> SCORE], asked, qrels, [parse_measure("RR")], plan="tree")
    assert found["RR"].tolist() == [1.0, 1.0]
    assert pt.inspect.transformer_outputs(ptc.prune(Margin(1.0)), [*FOUND.columns]) == [*FOUND.columns]
    assert pt.inspect.transformer_inputs(ptc.prune(Margin(1.0)))[0] == ["qid", "docno", "score", "rank"]


def test_a_table_of_the_cascade_has_all_that_the_ceilings_pass_on() -> None:
    """``score`` scores without rules, at the ceilings; ``finish`` replays the rules; other cut-offs are other ceilings."""
    cascade = Cascade.of(FIRST % 9 >> ptc.prune(Margin(2, floor=2)) >> SECOND >> ptc.prune(Margin(1, ceiling=5)))
    asked = topics(5)
    table = ptc.score(cascade, asked)
    assert table.covers((9, 5))
    for other in (cascade, cascade.with_cutoffs(4, 3)):
        live = other.transform(asked)
        for ours in (other.finish(table), cascade.finish(table, other.cutoffs)):
            assert (
                ours[["qid", "docno", "score", "rank"]].to_numpy(object).tolist()
                == live[["qid", "docno", "score", "rank"]].to_numpy(object).tolist()
            )
    with pytest.raises(PipelineError, match="toy: this margin rule cannot prune: floor is 2, expected at most the ceiling, 1"):
        cascade.with_cutoffs(1)


def test_a_rule_of_the_last_stage_cuts_the_fused_ranking() -> None:
    """Live, as a pipeline, read again and replayed, the rule reads the fused scores, which are shares from 0 to 1."""
    rules = (ptc.prune(Margin(2, floor=2, ceiling=9)), ptc.prune(Margin(0.25, ceiling=5)))
    cascade = Cascade.of(FIRST >> rules[0] >> SECOND >> rules[1]).fused({"toy": 1, "judge": 1})
    assert repr(cascade) == "toy → 9 (margin 2) · judge · fused(toy=0.5, judge=0.5) → 5 (margin 0.25)"
    live, table = cascade.transform(topics(5)), ptc.score(cascade, topics(5))
    best = live.groupby("qid")["score"].transform("max")
    assert ((best - live["score"]) <= 0.25).all()
    assert len(live) < len(Cascade.of(FIRST >> rules[0] >> SECOND % 5).fused({"toy": 1, "judge": 1}).transform(topics(5)))
    keys = ["qid", "docno", "score", "rank"]
    again = Cascade.of(cascade.pipeline())
    assert repr(again) == repr(cascade)
    for other in (cascade.pipeline().transform(topics(5)), again.transform(topics(5)), cascade.finish(table)):
        pd.testing.assert_frame_equal(other[keys].reset_index(drop=True), live[keys].reset_index(drop=True), check_dtype=False)


def test_a_comparison_ranks_each_prefix_without_its_last_rule() -> None:
    """Golden: pt.Experiment on the first two stages without the second rule."""
    cascade = Cascade.of(FIRST % 9 >> SECOND >> ptc.prune(Margin(0, ceiling=5)) >> Judge(seed=8) % 1)
    asked, measure = topics(6), parse_measure("nDCG@9")
    qrels = (FIRST % 9).transform(asked)[["qid", "docno", "rank"]].rename(columns={"rank": "label"})
    shown = ptc.compare(cascade, asked, qrels, [measure], timed=1).effectiveness
    golden = pt.Experiment([FIRST % 9 >> SECOND], asked, qrels, [measure])
    assert shown["nDCG@9"].iloc[1] == pytest.approx(golden["nDCG@9"].item(), abs=1e-12)
    assert shown["name"].tolist() == ["toy → 9", "toy → 9 · judge", "toy → 9 · judge → 5 (margin 0) · judge_2 → 1"]


def test_a_profile_times_the_ceilings() -> None:
    """All documents up to the ceilings are timed, also at the shares below the floor."""
    cascade = Cascade.of(FIRST >> ptc.prune(Margin(0, floor=8, ceiling=9)) >> SECOND % 2)
    frame = ptc.profile(cascade, topics(3), warmup=1, repeats=1).frame
    given = frame[(frame["stage"] == "judge") & (frame["share"] == 1)]["docs_in"]
    assert given.tolist() == [min(9, len(FIRST.transform(topics(3).iloc[[n]]))) for n in range(3)]


@pytest.mark.parametrize(("caps", "wanted"), [([1, 9], "xa"), ([np.nan, 1], "xba"), (["2", None], "xba")])
def test_a_column_caps_one_query(caps: list[object], wanted: str) -> None:
    """The topics' column reaches ``prune`` through a retriever; it counts more than the floor; by hand, queries 1 and 2."""
    asked = pd.DataFrame({"qid": ["1", "2"], "query": [*"ab"], "max_docs": caps})
    pipeline = RUN >> ptc.prune(Margin(0.15, floor=2))
    assert sorted(pipeline.transform(asked)["docno"]) == sorted(wanted)
    assert sorted(Cascade.of(pipeline).transform(asked)["docno"]) == sorted(wanted)


@pytest.mark.parametrize("cap", [0, 1.5, "many", -1])
def test_a_cap_that_is_no_number_of_documents_is_refused(cap: object) -> None:
    """The error names the query."""
    with pytest.raises(FrameError, match=f"qid '1' has {cap!r}, expected a whole number, 1 or more, or NaN"):
        ptc.prune(Margin(1.0)).transform(FOUND.assign(max_docs=pd.Series([cap] * 4, index=FOUND.index, dtype=object))[1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ptc.prune(0.2),
            r"this cannot prune: 0.2 \(float\) is not a rule. Fix: prune\(Margin\(0.2, floor=5, ceiling=100\)\)",
        ),
        (
            lambda: Cascade.of(RUN >> ptc.prune(Margin(1)) % 5),
            r"RankCutoff\(5\) follows prune\(Margin.* of stage 'run', expected one cut-off: its",
        ),
        (lambda: Cascade.of(RUN >> ptc.prune(Margin(1)) >> ptc.prune(Margin(2))), r"prune\(Margin.* follows prune\(Margin"),
        (lambda: Cascade.of(ptc.prune(Margin(1)) >> SCORE), "has no ranking to cut"),
    ],
)
def test_what_is_no_cut_off_is_refused(make: Callable[[], object], message: str) -> None:
    """Each with what was found and expected."""
    with pytest.raises(PipelineError, match=message):
        make()


def test_the_cure_of_two_cut_offs_ranks() -> None:
    """The rule with the ceiling, instead of the rule and a cut-off."""
    with pytest.raises(PipelineError) as error:
        Cascade.of(RUN >> ptc.prune(Margin(1)) % 100)
    rule = eval(error.value.fix, {"prune": ptc.prune, "Margin": Margin})  # noqa: S307 - our own line
    assert repr(Cascade.of(RUN >> rule)) == "run → 100 (margin 0.2)"


def test_ranks_with_gaps_are_counted_by_their_order() -> None:
    """A filter before it leaves ranks 0, 5, 9: two scores pass, and a floor of three keeps three."""
    left = pd.DataFrame({"qid": "1", "query": "q", "docno": [*"abc"], "score": [2.0, 1.0, 0.1], "rank": [0, 5, 9]})
    assert ptc.prune(Threshold(0.2)).transform(left)["docno"].tolist() == ["a", "b"]
    assert len(ptc.prune(Threshold(0.2, floor=3)).transform(left)) == 3


def test_a_cap_without_end_and_a_missing_score() -> None:
    """Infinity caps nothing; a row without a score is named."""
    run = pd.DataFrame({"qid": "1", "query": "q", "docno": [*"ab"], "score": [2.0, 1.0], "rank": [0, 1]})
    for cap in (np.inf, 1e30):
        assert len(ptc.prune(Threshold(0.2)).transform(run.assign(max_docs=cap))) == 2
    with pytest.raises(FrameError, match=r"qid '1', docno 'b' has no score.*give every row a finite score"):
        ptc.prune(Threshold(0.2)).transform(run.assign(score=[2.0, np.nan]))
