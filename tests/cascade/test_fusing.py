"""A cascade that ends in a fusion of its stages: equal to ``fuse`` and ranx on the stages' runs, as a cascade and as a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, nDCG
from toys.judges import Judge
from toys.rankers import Broken, FakeClock, ToyReranker, ToyRetriever, topics

import pt_cascade as ptc
from pt_cascade import Cascade, run
from pt_cascade.analysis.fusion.normalization import Normalise
from pt_cascade.cascade import walk
from pt_cascade.cascade.fusing import FuseStages, KeepScores
from pt_cascade.errors import CascadeError, PipelineError, StageError, TableError
from pt_cascade.execution.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("toy", "toy_reranker", "toy_reranker_2")
ASKED = topics(3)
TEXT = pt.apply.text(lambda row: f"text of {row['docno']}")
THREE = Cascade.of(ToyRetriever(docs=12) % 9 >> ToyReranker(levels=5) % 6 >> TEXT >> ToyReranker(levels=4, seed=2) % 4)
WEIGHTS = {"toy": 0.4, "toy_reranker": 0.2, "toy_reranker_2": 0.4}


@st.composite
def cascades(draw: st.DrawFn) -> Cascade:
    """Two or three stages with many ties, some that sort their rows, with and without cut-offs."""
    pipe: pt.Transformer = ToyRetriever(docs=draw(st.integers(1, 12)), levels=draw(st.integers(1, 6)))
    for seed in range(draw(st.integers(1, 2))):
        pipe = pipe % draw(st.integers(1, 12)) if draw(st.booleans()) else pipe
        stage: pt.Transformer = ToyReranker(levels=draw(st.integers(1, 6)), seed=seed, sort=draw(st.booleans()))
        pipe = pipe >> TEXT >> stage if draw(st.booleans()) else pipe >> stage
    return Cascade.of(pipe % draw(st.integers(1, 12)) if draw(st.booleans()) else pipe)


@st.composite
def fused_cascades(draw: st.DrawFn) -> Cascade:
    """The same with any weights, not all 0, and any options."""
    cascade = draw(cascades())
    weights = draw(st.lists(st.integers(0, 5), min_size=len(cascade), max_size=len(cascade)).filter(any))
    named = {stage.name: weight for stage, weight in zip(cascade, weights, strict=True)}
    if draw(st.booleans()):
        return cascade.fused(named, method="rrf", k=draw(st.sampled_from([0, 10, 60])))
    return cascade.fused(named, normalise=draw(st.sampled_from(get_args(Normalise))))


def list_runs(cascade: Cascade, asked: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give the ranking of each stage among the documents that the last one scores, each query by rank."""
    steps = list(walk(cascade, asked))
    pairs = steps[-1].ranked[["qid", "docno"]]
    return {
        step.stage.name: step.ranked.drop(columns=["query", "text"], errors="ignore").merge(pairs).sort_values(["qid", "rank"])
        for step in steps
    }


def rows(results: pd.DataFrame) -> list[tuple[str, str, float, int]]:
    """Read a frame as its rows."""
    return list(results[["qid", "docno", "score", "rank"]].itertuples(index=False, name=None))


@settings(max_examples=25)
@given(fused_cascades(), st.integers(1, 3))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_it_ranks_as_fuse_does_with_the_runs_of_its_stages(cascade: Cascade, queries: int) -> None:
    """To the last bit, ties included; golden: ``fuse``, the runs from the last stage to the first, and then the cut-off."""
    asked = topics(queries)
    runs, fusion = list_runs(cascade, asked), cascade.fusion
    assert fusion is not None
    weights = [dict(fusion.weights).get(name, 0.0) for name in reversed(runs)]
    options = {"k": fusion.k} if fusion.method == "rrf" else {"normalise": fusion.normalise}
    wanted = ptc.fuse([*runs.values()][::-1], fusion.method, weights=weights, topics=asked, **options)
    last = cascade.cutoffs[-1]
    found = cascade.transform(asked)
    assert rows(found) == rows(wanted if last is None else wanted[wanted["rank"] < last])
    assert (found["score"].dtype, found["rank"].dtype) == (np.float64, np.int64)


@settings(max_examples=25)
@given(fused_cascades(), st.integers(1, 3))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_its_pipeline_ranks_alike_and_is_read_back(cascade: Cascade, queries: int) -> None:
    """The same frame from the cascade, its plain pipeline, and ``run``; reading the pipeline gives an equal cascade."""
    asked = topics(queries)
    plain = cascade.pipeline().transform(asked)
    pd.testing.assert_frame_equal(cascade.transform(asked), plain)
    assert rows(run(cascade, asked).results) == rows(plain)
    for again in (Cascade.of(cascade.pipeline()), Cascade.of(cascade)):
        assert (again, hash(again), repr(again)) == (cascade, hash(cascade), repr(cascade))


@settings(max_examples=25)
@given(fused_cascades(), st.randoms(use_true_random=False), st.sampled_from([0.25, 2, 1024]))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_neither_the_order_nor_the_scale_of_weights_matters(cascade: Cascade, random: object, scale: float) -> None:
    """Powers of two scale without rounding; the given weights and topics stay as they were."""
    fusion = cascade.fusion
    assert fusion is not None
    named = dict(fusion.weights)
    shuffled = {name: named[name] * scale for name in random.sample(sorted(named), len(named))}  # type: ignore[attr-defined]
    before, asked = dict(shuffled), topics(2)
    other = cascade.fused(shuffled, method=fusion.method, normalise=fusion.normalise, k=fusion.k)
    assert other == cascade
    assert rows(other.transform(asked)) == rows(cascade.transform(asked))
    assert shuffled == before
    pd.testing.assert_frame_equal(asked, topics(2))


@settings(max_examples=25)
@given(cascades(), st.data())
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_all_weight_on_one_stage_gives_its_ranking(cascade: Cascade, data: st.DataObject) -> None:
    """Of the documents that the last stage scores, by that stage's scores; golden: the stage's run itself."""
    name = data.draw(st.sampled_from([stage.name for stage in cascade]))
    runs = list_runs(cascade, ASKED)
    one, last = (runs[key].set_index(["qid", "docno"]) for key in (name, cascade[-1].name))
    wanted = last.assign(score=one["score"]).sort_values(["qid", "score", "rank"], ascending=[True, False, True]).reset_index()
    found = cascade.fused({name: 1}, normalise="none").with_cutoffs(**{cascade[-1].name: None}).transform(ASKED)
    assert rows(found.drop(columns="rank").assign(rank=0)) == rows(wanted.assign(rank=0))


# --- goldens


SCORED = (  # of one query by three stages
    {"a": 12.5, "b": 11.0, "c": 9.25, "d": 4.0},
    {"c": -0.5, "b": -1.0, "a": -2.25, "d": -3.5},
    {"d": 0.875, "b": 0.5, "a": 0.25, "c": 0.125},
)
RANX = {  # ranx 0.3.21: fuse([Run({"1": one}) for one in SCORED], norm=how, method="wsum", params={"weights": (0.4, 0.2, 0.4)})
    "min-max": {"b": 0.696078431372549, "a": 0.55, "c": 0.4470588235294118, "d": 0.4},
    "z-score": {"b": 0.4528412594319944, "a": 0.07597831411396522, "c": -0.20317559501301163, "d": -0.325643978532948},  # zmuv
    "sum": {"b": 0.32901383311021865, "a": 0.24089245872378404, "d": 0.24, "c": 0.19009370816599733},
    "rank": {"b": 0.7500000000000001, "a": 0.7, "d": 0.55, "c": 0.5},
    "none": {"a": 4.6499999999999995, "b": 4.4, "c": 3.65, "d": 1.25},
    # fuse(the same, method="rrf", params={"k": 60}), of weight 1 each, where ours add up to 1
    "rrf": {
        "b": 0.04838709677419355 / 3,
        "a": 0.04813947436898257 / 3,
        "c": 0.047891458495966696 / 3,
        "d": 0.047643442622950824 / 3,
    },
}


@pytest.mark.parametrize("how", RANX)
def test_scores_are_those_of_ranx(how: str) -> None:
    """Golden: ranx on the scores of three stages for one query."""
    first = pd.DataFrame({"qid": "1", "query": "q", "docno": [*SCORED[0]], "score": SCORED[0].values(), "rank": range(4)})
    second, third = (pt.apply.doc_score(lambda row, scores=scores: scores[row["docno"]]) for scores in SCORED[1:])
    cascade = Cascade.of(pt.Transformer.from_df(first) >> pt.RankCutoff(4) >> second % 4 >> third)
    weights = {stage.name: 1 if how == "rrf" else weight for stage, weight in zip(cascade, (4, 2, 4), strict=True)}
    options = {"method": "rrf"} if how == "rrf" else {"normalise": how}
    found = cascade.fused(weights, **options).transform(QUERY)  # type: ignore[arg-type]
    assert found["docno"].tolist() == [*RANX[how]]
    assert found["score"].tolist() == pytest.approx([*RANX[how].values()], abs=1e-12)


QUERY = pd.DataFrame({"qid": ["1"], "query": ["q"]})
RUN = pd.DataFrame({"qid": "1", "query": "q", "docno": list("abcde"), "score": [10.0, 8.0, 6.0, 4.0, 2.0], "rank": range(5)})
SCORES = {"a": 0.0, "b": 1.0, "c": 5.0, "d": 4.0, "e": 9.0}
HAND = Cascade.of(pt.Transformer.from_df(RUN) % 4 >> pt.apply.doc_score(lambda row: SCORES[row["docno"]]) % 3)


def test_scores_are_those_by_hand() -> None:
    """The best four: min-max of the run 1, 2/3, 1/3, 0, of the other stage 0, 0.2, 1, 0.8; e was cut, and is in no list."""
    found = HAND.fused({"run": 1, "doc_score": 3}).transform(QUERY)
    assert found["docno"].tolist() == ["c", "d", "b"]
    assert found["score"].tolist() == pytest.approx([(1 / 3 + 3) / 4, 2.4 / 4, (2 / 3 + 0.6) / 4], abs=1e-15)
    by_ranks = HAND.fused({"run": 1, "doc_score": 1}, method="rrf", k=0).transform(QUERY)  # c: 1/3 + 1, a: 1 + 1/4, d: 1/4 + 1/2
    assert by_ranks["docno"].tolist() == ["c", "a", "b"]
    assert by_ranks["score"].tolist() == [(1 / 3 + 1) / 2, (1 + 1 / 4) / 2, (1 / 2 + 1 / 3) / 2]


def test_a_kept_tail_follows_below() -> None:
    """What the last cut-off removed is first, in the fused order, then what the first removed; golden: by hand, see above."""
    found = run(HAND.fused({"run": 1, "doc_score": 3}), QUERY, tail="keep").results
    assert found["docno"].tolist() == ["c", "d", "b", "a", "e"]
    assert found["cut_by"].tolist() == ["", "", "", "doc_score", "run"]


# --- all that runs a cascade


def test_an_experiment_measures_cascade_pipeline_and_runner_alike() -> None:
    """Equal numbers, which are not those of the cascade without the fusion."""
    cascade = THREE.fused(WEIGHTS)
    found = THREE.transform(ASKED)
    qrels = found.groupby("qid").nth(2)[["qid", "docno"]].assign(label=1)
    systems = [cascade, cascade.pipeline(), Runner(cascade), THREE]
    table = pt.Experiment(systems, ASKED, qrels, [nDCG @ 10, RR], names=list("cprt"))
    assert table.iloc[0, 1:].tolist() == table.iloc[1, 1:].tolist() == table.iloc[2, 1:].tolist()
    assert table["RR"].iloc[0] != table["RR"].iloc[3]
    compared = ptc.compare(cascade, ASKED, qrels, [nDCG @ 10, RR]).effectiveness
    assert compared["RR"].iloc[-1] == pytest.approx(table["RR"].iloc[0])
    assert compared["name"].iloc[-1].endswith("toy_reranker_2 · fused(toy=0.4, toy_reranker=0.2, toy_reranker_2=0.4) → 4")


def test_the_trace_counts_the_fusion_in_the_last_stage() -> None:
    """The same stages and counts as without it; the last step has the fused ranking before and after the cut-off."""
    cascade = THREE.fused(WEIGHTS)
    plain, fused = (run(one, ASKED, clock=FakeClock()).trace for one in (THREE, cascade))
    pd.testing.assert_frame_equal(fused, plain)
    steps = list(walk(cascade, ASKED, fusion=cascade.fusion))
    assert [step.fusion for step in steps] == [None, None, cascade.fusion]
    assert rows(steps[-1].kept) == rows(cascade.transform(ASKED))
    assert rows(steps[-1].ranked) == rows(cascade.with_cutoffs(toy_reranker_2=None).transform(ASKED))


def test_a_profile_runs_the_fusion(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every share of the cut-offs; one fusion a run, counted where it happens."""
    from pt_cascade.cascade import steps

    fused: list[int] = []

    def count(*arguments: object) -> pd.DataFrame:
        fused.append(1)
        return fuse_last(*arguments)

    fuse_last = steps.fuse_last
    monkeypatch.setattr(steps, "fuse_last", count)
    ptc.profile(THREE.fused(WEIGHTS), ASKED, repeats=2, warmup=0, shares=(1.0, 0.5))
    assert len(fused) == 2 * 2 * len(ASKED)


def test_queries_without_documents_stay_empty() -> None:
    """One query that finds nothing, among others and alone."""
    cascade = THREE.fused(WEIGHTS)
    nothing = pd.DataFrame({"qid": ["x"], "query": ["nothing"]})
    assert rows(cascade.transform(pd.concat([nothing, ASKED]))) == rows(cascade.transform(ASKED))
    for system in (cascade, cascade.pipeline()):
        assert list(system.transform(nothing).columns) == list(system.transform(ASKED).columns)
        assert system.transform(nothing).empty


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTerrier's report
def test_it_can_be_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of a fused cascade and its pipeline are those that they return; PyTerrier's own test of transformers passes."""
    monkeypatch.setattr(pt.documentation, "url_for_class", lambda _: None)  # needs a network
    cascade = THREE.fused(WEIGHTS)
    drawn = cascade.schematic(input_columns=["qid", "query"])["transformers"]
    assert [part["label"] for part in drawn if part["label"] in ("KeepScores", "FuseStages")] == ["KeepScores"] * 2 + ["FuseStages"]  # type: ignore[attr-defined]
    for system in (cascade, cascade.pipeline()):
        assert [list(columns) for columns in pt.inspect.transformer_inputs(system)] == [["qid", "query"]]
        assert pt.inspect.transformer_outputs(system, ["qid", "query"]) == list(system.transform(ASKED).columns)
    for part in (KeepScores("toy"), FuseStages(FUSED.fusion, NAMES)):  # type: ignore[arg-type] # it has one
        case = pt.testing.transformer_test_class(lambda part=part: part)
        case.setUpClass()
        for name in ("test_inspect_io", "test_schematic"):
            case(name).debug()
        case.tearDownClass()


# --- changed copies and how it is shown


def test_changed_copies_keep_the_fusion_or_drop_it() -> None:
    """Cut-offs and names keep it; a stage that is left out takes its weight along; a prefix has none."""
    cascade = THREE.fused(WEIGHTS)
    assert cascade.with_cutoffs(5, 4, 3).fusion == cascade.fusion
    renamed = cascade.with_stage("toy_reranker", name="bi")
    assert renamed.fusion == ptc.Cascade(renamed.stages, fusion=renamed.fusion).fusion
    assert dict(renamed.fusion.weights) == {"toy": 0.4, "bi": 0.2, "toy_reranker_2": 0.4}  # type: ignore[union-attr]
    assert dict(cascade.without("toy").fusion.weights) == pytest.approx({"toy_reranker": 1 / 3, "toy_reranker_2": 2 / 3})  # type: ignore[union-attr]
    assert THREE.fused({"toy": 1}).without("toy").fusion is None
    assert cascade.without("toy").without("toy_reranker").fusion is None
    assert cascade.prefix(2) == THREE.prefix(2)
    assert cascade.fused(None) == THREE
    assert cascade != THREE


def test_it_is_shown_before_the_last_cut_off() -> None:
    """In the line, in the table and in a notebook."""
    cascade = THREE.fused({"toy_reranker_2": 4, "toy": 2, "toy_reranker": 2}, method="rrf")
    shown = "fused(toy=0.25, toy_reranker=0.25, toy_reranker_2=0.5, method='rrf')"
    assert repr(cascade) == f"toy → 9 · toy_reranker → 6 · toy_reranker_2 · {shown} → 4"
    table = cascade.describe()
    assert table["stage"].tolist() == [*NAMES, "fused"]
    assert table["cutoff"].tolist() == ["9", "6", "", "4"]
    assert table["transformers"].iloc[-1] == shown
    assert cascade.tabulate().frame["stage"].iloc[-1] == shown


# --- what is refused


REFUSED: dict[str, tuple[Mapping[str, float], dict[str, object], str]] = {
    "all 0": ({"toy": 0, "toy_reranker": 0}, {}, "no weight is above 0"),
    "none": ({}, {}, "no weight is above 0"),
    "negative": ({"toy": -0.5, "toy_reranker": 1}, {}, r"the weight of 'toy' is -0\.5, expected 0 or more"),
    "NaN": ({"toy": float("nan")}, {}, "the weight of 'toy' is nan, expected 0 or more"),
    "unknown": ({"toy_rerankr": 1}, {}, r"no stage 'toy_rerankr': the stages are toy, .* did you mean 'toy_reranker'\?"),
    "method": ({"toy": 1}, {"method": "sum"}, "method is 'sum', expected one of rrf, weighted"),
    "normalise": ({"toy": 1}, {"normalise": "minmax"}, "normalise is 'minmax', expected one of min-max"),
    "k": ({"toy": 1}, {"method": "rrf", "k": -1}, "k is -1, expected a finite number, 0 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weights_and_options_that_make_no_fusion_are_refused(case: str) -> None:
    """Golden messages; the cure is a call that works."""
    weights, options, message = REFUSED[case]
    with pytest.raises(CascadeError, match=message):
        THREE.fused(weights, **options)  # type: ignore[arg-type]


def test_one_stage_is_not_fused() -> None:
    """It has nothing to be fused with."""
    with pytest.raises(PipelineError, match="there is one, 'toy', expected two or more"):
        THREE.prefix(1).fused({"toy": 1})


def test_a_cascade_is_not_made_with_something_else_as_its_fusion() -> None:
    """The weights alone are not one; the message shows how they become one."""
    with pytest.raises(PipelineError, match=r"fusion is \{'toy': 1\} \(dict\), expected a StageFusion or None"):
        Cascade(THREE.stages, fusion={"toy": 1})  # type: ignore[arg-type]


def test_a_document_without_a_score_of_a_stage_is_refused() -> None:
    """A last stage that adds a document that an earlier one did not rank; both cures of the message work."""
    added = Broken(lambda df: pt.model.add_ranks(pd.concat([df, df.head(1).assign(docno="new")])))
    added = Cascade.of(THREE.prefix(2).pipeline() >> added).with_stage(2, documents="any")
    fused = added.fused({"toy": 1, "toy_reranker": 1, "broken": 1})
    with pytest.raises(StageError, match=r"stage 'toy' gave no score in 1 of \d+ rows \(qid 'q0', docno 'new'\)") as error:
        fused.transform(ASKED)
    assert len(error.value.problems) == 2
    assert "cascade.fused({'broken': 1})" in error.value.fix
    assert "new" in added.fused({"broken": 1}).transform(ASKED)["docno"].tolist()
    assert "new" in fused.fused(None).transform(ASKED)["docno"].tolist()


def test_dropped_columns_are_refused_in_a_pipeline_but_not_in_a_cascade() -> None:
    """A stage that returns only what it knows loses the scores before it; the cure of the message works."""
    bare = Broken(lambda df: df[["qid", "query", "docno", "score", "rank"]])
    cascade = Cascade.of(ToyRetriever() % 5 >> bare % 3).fused({"toy": 1, "broken": 1})
    pipeline = cascade.pipeline()
    with pytest.raises(StageError, match="the scores of stage 'toy' are lost") as error:
        pipeline.transform(ASKED)
    assert error.value.fix.endswith("Cascade.of(pipeline).transform(topics)")
    assert rows(Cascade.of(pipeline).transform(ASKED)) == rows(cascade.transform(ASKED))


FUSED = THREE.fused(WEIGHTS)
MISPLACED = {
    "a stage after it": (FUSED.pipeline() >> ToyReranker(seed=7), "it is followed by ToyReranker"),
    "a cascade in the middle": (FUSED >> ToyReranker(seed=7) % 2, "it is followed by ToyReranker"),
    "an adjuster after it": (FUSED.with_cutoffs(toy_reranker_2=None) >> 2 * pt.Transformer.identity(), "it is followed by"),
    "a cascade at the end": (ToyReranker(seed=7) % 5 >> FUSED, "the stages are"),
    "the cut-off before it": (
        pt.Compose(*(part for part in FUSED.pipeline() if part != FUSED.pipeline()[-2]), FUSED.pipeline()[-2]),
        "the cut-off % 4 of stage 'toy_reranker_2' is before the fusion",
    ),
    "kept scores alone": (pt.Compose(*FUSED.pipeline()[:-2]), r"KeepScores\(stage='toy_reranker'\) keeps scores for a fusion"),
    "kept scores in another place": (
        pt.Compose(*FUSED.pipeline()[:2], *FUSED.pipeline()[3:5], FUSED.pipeline()[2], *FUSED.pipeline()[5:]),
        "is not after the last stage of its cascade",
    ),
}


@pytest.mark.parametrize("case", MISPLACED)
def test_a_fusion_in_another_place_is_refused(case: str) -> None:
    """By name, with a cure: a cascade without the fusion, fused as a whole."""
    pipeline, message = MISPLACED[case]
    with pytest.raises(PipelineError, match=message) as error:
        Cascade.of(pipeline)
    assert "Cascade.of(bm25 % 1000 >> bi_encoder % 20).fused(" in error.value.fix


def test_a_smaller_cut_off_after_a_fused_cascade_holds() -> None:
    """``%`` after a cascade or its pipeline cuts the fused ranking, and a loader may follow."""
    wanted = FUSED.with_cutoffs(toy_reranker_2=2)
    for pipeline in (FUSED % 2, FUSED.pipeline() % 2, FUSED % 2 >> TEXT):
        read = Cascade.of(pipeline)
        assert (read.stages, read.fusion) == (wanted.stages, wanted.fusion)
        assert rows(read.transform(ASKED)) == rows(pipeline.transform(ASKED)) == rows(wanted.transform(ASKED))


# --- score tables


@settings(max_examples=10)
@given(fused_cascades(), st.integers(1, 12))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_finished_from_a_table_it_ranks_as_live(cascade: Cascade, last: int) -> None:
    """From the table of the cascade without the fusion, at its own cut-offs and at another last one; names may differ."""
    table = ptc.score(cascade.fused(None).with_stage(0, name="first"), ASKED)
    other = cascade.with_cutoffs(**{cascade[-1].name: last})
    for one, cutoffs in ((cascade, None), (other, other.cutoffs)):
        assert rows(cascade.finish(table, cutoffs)) == rows(one.transform(ASKED))


def test_a_table_holds_scores_and_no_fusion() -> None:
    """The tables of a cascade with and without a fusion are equal."""
    plain, fused = (ptc.score(one, ASKED) for one in (THREE, FUSED))
    pd.testing.assert_frame_equal(plain.frame, fused.frame)
    assert plain.paths == fused.paths


def test_a_live_last_stage_is_not_fused_from_a_table() -> None:
    """Its scores are not there; the cure of the message works."""
    listwise = Cascade.of(ToyRetriever() % 5 >> Judge() % 3).with_stage("judge", depends="listwise")
    table = ptc.score(listwise, ASKED)
    cascade = listwise.fused({"toy": 1, "judge": 1})
    with pytest.raises(TableError, match="the scores of the last stage, 'judge', are not in the table") as error:
        cascade.finish(table)
    assert error.value.fix == "run(cascade, topics)"
    assert rows(run(cascade, ASKED).results) == rows(cascade.transform(ASKED))
