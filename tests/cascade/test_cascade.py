"""A pipeline read as a cascade, and back."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade
from pt_cascade.analysis.grid.cutoffs import check_cutoff
from pt_cascade.cascade import Stage
from pt_cascade.cascade.known import KNOWN, look_up
from pt_cascade.cascade.stage import unique_names
from pt_cascade.errors import CascadeWarning, PipelineError

RETRIEVER, RERANKER = ToyRetriever(), ToyReranker()
TEXT = pt.apply.text(lambda row: f"text of {row['docno']}")
DOC_SCORE = pt.apply.doc_score(lambda row: float(len(row["docno"])))
RESULTS = ToyRetriever().transform(topics(3))


@st.composite
def pipelines(draw: st.DrawFn) -> pt.Transformer:
    """One to four stages, some with a cut-off, a loader between, nested in all ways."""
    pipe: pt.Transformer = ToyRetriever(docs=draw(st.integers(1, 12)), levels=draw(st.integers(1, 3)))
    for seed in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            pipe = pipe % draw(st.integers(1, 12))
        stage: pt.Transformer = ToyReranker(levels=draw(st.integers(1, 3)), seed=seed, sort=draw(st.booleans()))
        stage = TEXT >> stage if draw(st.booleans()) else stage
        pipe = pipe >> (Cascade.of(stage) if draw(st.booleans()) else stage)
    return pipe % draw(st.integers(1, 12)) if draw(st.booleans()) else pipe


@given(pipelines(), st.integers(1, 4))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_cascade_ranks_as_its_pipeline_and_back(pipeline: pt.Transformer, queries: int) -> None:
    """Cascade.of(p) and Cascade.of(p).pipeline() return the very frame that plain PyTerrier returns, heavy ties included."""
    cascade = Cascade.of(pipeline)
    asked = topics(queries)
    plain = pipeline.transform(asked)
    pd.testing.assert_frame_equal(cascade.pipeline().transform(asked), plain)
    pd.testing.assert_frame_equal(cascade.transform(asked), plain)


@given(pipelines())
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_reading_twice_changes_nothing(pipeline: pt.Transformer) -> None:
    """A cascade read from its own pipeline, or from itself, is equal to it by value, hash and repr."""
    cascade = Cascade.of(pipeline)
    for again in (Cascade.of(cascade), Cascade.of(cascade.pipeline())):
        assert again == cascade
        assert hash(again) == hash(cascade)
        assert repr(again) == repr(cascade)


READINGS = {
    "single": (RETRIEVER, "toy", ["retrieves"], ["pointwise"]),
    "cut": (RETRIEVER % 10, "toy → 10", ["retrieves"], ["pointwise"]),
    "numpy cut-off": (RETRIEVER >> pt.RankCutoff(np.int64(10)), "toy → 10", ["retrieves"], ["pointwise"]),
    "two stages": (
        RETRIEVER % 10 >> RERANKER % 5,
        "toy → 10 · toy_reranker → 5",
        ["retrieves", "reranks"],
        ["pointwise", "pointwise"],
    ),
    "loader": (RETRIEVER % 10 >> TEXT >> RERANKER, "toy → 10 · toy_reranker", ["retrieves", "reranks"], ["pointwise", "unknown"]),
    "two cut-offs": (RETRIEVER % 10 % 5, "toy → 5", ["retrieves"], ["pointwise"]),
    "a cut-off after a loader": (
        RETRIEVER % 10 >> TEXT % 5 >> RERANKER,
        "toy → 5 · toy_reranker",
        ["retrieves", "reranks"],
        ["unknown", "pointwise"],
    ),
    "adjusted": (RETRIEVER * 2 % 10 >> RERANKER, "toy → 10 · toy_reranker", ["retrieves", "reranks"], ["pointwise", "pointwise"]),
    "an adjuster behind a loader": (
        RETRIEVER % 10 >> TEXT >> (RERANKER * -1),
        "toy → 10 · toy_reranker",
        ["retrieves", "reranks"],
        ["pointwise", "unknown"],
    ),
    "sum": (
        (RETRIEVER + RETRIEVER) % 10 >> RERANKER,
        "sum → 10 · toy_reranker",
        ["retrieves", "reranks"],
        ["unknown", "pointwise"],
    ),
    "union": ((RETRIEVER | RETRIEVER) >> RERANKER % 3, "toy_reranker → 3", ["retrieves"], ["unknown"]),
    "features": (
        RETRIEVER % 9 >> (DOC_SCORE**DOC_SCORE) >> pt.apply.doc_score(lambda row: row["features"][0]),
        "toy → 9 · doc_score",
        ["retrieves", "reranks"],
        ["pointwise", "unknown"],
    ),
    "one class twice": (
        RETRIEVER >> RERANKER % 5 >> RERANKER,
        "toy · toy_reranker → 5 · toy_reranker_2",
        ["retrieves", "reranks", "reranks"],
        ["pointwise"] * 3,
    ),
    "results": (RERANKER % 5, "toy_reranker → 5", ["reranks"], ["pointwise"]),
    "results and text": (DOC_SCORE % 5, "doc_score → 5", ["reranks"], ["unknown"]),
    "a ready run": (pt.Transformer.from_df(RESULTS) % 7, "run → 7", ["retrieves"], ["pointwise"]),
    "fused": ((ToyRetriever() % 10).compile(), "toy → 10", ["retrieves"], ["pointwise"]),
    "rewritten": (pt.apply.query(lambda row: row["query"]) >> RETRIEVER % 4, "toy → 4", ["retrieves"], ["unknown"]),
    "interpolated": (
        RETRIEVER % 10 >> (pt.Transformer.identity() * 0.3 + RERANKER * 0.7) % 5,
        "toy → 10 · sum → 5",
        ["retrieves", "any"],
        ["pointwise", "unknown"],
    ),
    "reads the score": (
        RETRIEVER % 10 >> pt.apply.generic(lambda df: pt.model.add_ranks(df.drop(columns=["score", "rank"]).assign(score=1.0))) % 5,
        "toy → 10 · generic → 5",
        ["retrieves", "reranks"],
        ["pointwise", "unknown"],
    ),
    "feedback": (
        RETRIEVER % 3 >> pt.apply.generic(lambda df: df[["qid", "query"]].drop_duplicates("qid")) >> RETRIEVER % 4,
        "toy → 4",
        ["retrieves"],
        ["unknown"],
    ),
}


@pytest.mark.parametrize("case", READINGS)
def test_every_kind_of_pipeline_is_read(case: str) -> None:
    """Names, cut-offs, what happens to documents and what scores depend on come out as the table says, and it still runs."""
    pipeline, text, documents, depends = READINGS[case]
    cascade = Cascade.of(pipeline)
    assert repr(cascade) == text
    assert [stage.documents for stage in cascade] == documents
    assert [stage.depends for stage in cascade] == depends
    given_frame = RESULTS if case.startswith("results") else topics(3)
    pd.testing.assert_frame_equal(cascade.transform(given_frame), pipeline.transform(given_frame))


def test_passages_are_read_as_one_stage() -> None:
    """Sliding windows ride with the scorer, the aggregation after it too; without it, or cut, documents may change."""
    sliding = pt.text.sliding("text", prepend_attr=None, length=2, stride=1)
    scorer = pt.apply.doc_score(lambda row: float(len(row["text"])))
    cascade = Cascade.of(RETRIEVER % 10 >> TEXT >> sliding >> scorer >> pt.text.max_passage() % 5)
    assert repr(cascade) == "toy → 10 · doc_score → 5"
    assert (cascade[1].documents, len(cascade[1].transformers), cascade[1].scorer) == ("reranks", 4, 2)
    pd.testing.assert_frame_equal(cascade.transform(topics(3)), cascade.pipeline().transform(topics(3)))
    whole = RETRIEVER % 10 >> pt.apply.text(drop=True) >> sliding >> ToyReranker() >> pt.text.max_passage()
    assert Cascade.of(whole)[1].depends == "pointwise"
    for parts in (sliding >> scorer % 9 >> pt.text.max_passage(), sliding >> scorer, scorer >> pt.text.max_passage()):
        assert Cascade.of(RETRIEVER % 10 >> TEXT >> parts % 5)[1].documents == "any"


def test_a_loader_at_the_end_is_kept() -> None:
    """What follows the last cut-off without ranking runs last, and does not become a stage."""
    cascade = Cascade.of(RETRIEVER % 3 >> TEXT)
    assert (len(cascade), cascade.ending) == (1, (TEXT,))
    assert "text" in cascade.transform(topics(2))


def test_the_real_plugins_are_known() -> None:
    """Each class in the table that is installed exists under that name, so that an upstream move is noticed."""
    import importlib

    found = 0
    for name in KNOWN:
        module, _, kind = name.rpartition(".")
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name in name.split(".")[0]:
                continue  # an optional plugin
            raise
        assert isinstance(getattr(loaded, kind), type), name
        found += 1
    assert found >= 20


def test_stock_mono_t5_is_point_only_at_batch_size_one() -> None:
    """pyterrier_t5's scores move with the batch (notes, 3.2), so a larger batch is unknown."""
    from pyterrier_t5 import MonoT5ReRanker

    stock = object.__new__(MonoT5ReRanker)
    for size, depends in ((4, "unknown"), (1, "pointwise")):
        stock.batch_size = size
        assert look_up(stock).depends == depends


REFUSED = {
    "nothing scores": (
        TEXT,
        "this pipeline cannot be read as a cascade: no transformer in it creates a score. Fix: retriever % 1000 >> reranker % 20",
    ),
    "nothing to cut": (
        TEXT % 3,
        "this pipeline cannot be read as a cascade: RankCutoff(3) has no ranking to cut: no transformer before it creates a score. "
        "Fix: retriever % 1000 >> reranker % 20",
    ),
    "zero": (
        RETRIEVER % 0,
        "this pipeline cannot be read as a cascade: cut-off of stage 'toy' is 0 (int): expected a whole number, 1 or more, or None "
        "for no cut. Fix: stage % 100",
    ),
    "not a pipeline": (
        42,
        "this is not a pipeline: 42 (int), expected a PyTerrier transformer. Fix: Cascade.of(retriever % 1000 >> reranker % 20)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_pipeline_that_is_not_a_cascade_is_refused_with_the_reason(case: str) -> None:
    """The error says what was found, what was expected and what to write."""
    pipeline, message = REFUSED[case]
    with pytest.raises(PipelineError) as error:
        Cascade.of(pipeline)
    assert str(error.value) == message


CUTOFFS = {
    "zero": (0, "0 (int)"),
    "negative": (-1, "-1 (int)"),
    "float": (10.0, "10.0 (float)"),
    "numpy float": (np.float64(10), "np.float64(10.0) (float64)"),
    "bool": (True, "True (bool)"),
    "text": ("10", "'10' (str)"),
}


@pytest.mark.parametrize("case", CUTOFFS)
def test_a_bad_cutoff_is_refused(case: str) -> None:
    """A cut-off is a whole number of 1 or more, whatever its integer type; the error shows what was given."""
    cutoff, found = CUTOFFS[case]
    message = f"cut-off of stage 'bm25' is {found}: expected a whole number, 1 or more, or None for no cut. Fix: e.g. stage % 100"
    with pytest.raises(PipelineError) as error:
        check_cutoff(cutoff, "bm25")
    assert str(error.value) == message


@given(st.integers(1, 10**9), st.sampled_from([int, np.int32, np.int64, np.uint32]))
def test_any_integer_type_is_a_cutoff(k: int, kind: type) -> None:
    """Every integer type gives the same plain int."""
    assert check_cutoff(kind(k), "s") == k
    assert type(check_cutoff(kind(k), "s")) is int


@given(st.lists(st.sampled_from(["a", "b", "a_2", "c"])))
def test_names_become_unique(names: list[str]) -> None:
    """No name is repeated, a unique name does not change, and neither does the order."""
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    assert all(new.startswith(old) for new, old in zip(unique, names, strict=True))


def test_thousands_of_names_become_unique() -> None:
    """In time that grows with their number; the cube of it would be hours."""
    assert unique_names(["a"] * 9999)[-1] == "a_9999"


def test_cutoffs_are_changed_by_position_and_by_name() -> None:
    """with_cutoffs replaces the first ones in order or those named, and never the cascade it was asked of."""
    cascade = Cascade.of(RETRIEVER % 10 >> RERANKER % 5)
    assert cascade.with_cutoffs(8, 4).cutoffs == (8, 4)
    assert cascade.with_cutoffs(np.int64(8)).cutoffs == (8, 5)
    assert cascade.with_cutoffs(toy_reranker=2).cutoffs == (10, 2)
    assert cascade.with_cutoffs(None, None).cutoffs == (None, None)
    assert cascade.cutoffs == (10, 5)


def test_a_cascade_is_taken_apart() -> None:
    """prefix, without, position, iteration and indexing agree on the stages."""
    cascade = Cascade.of(RETRIEVER % 10 >> RERANKER % 5 >> ToyReranker(seed=9) % 2)
    assert [stage.name for stage in cascade] == ["toy", "toy_reranker", "toy_reranker_2"]
    assert repr(cascade.prefix(2)) == "toy → 10 · toy_reranker → 5"
    assert repr(cascade.without("toy_reranker")) == "toy → 10 · toy_reranker_2 → 2"
    assert cascade.without(1) == cascade.without("toy_reranker")
    assert cascade[-1] is cascade["toy_reranker_2"]
    assert len(cascade) == 3


WRONG_PARTS = {
    "too many": (lambda c: c.with_cutoffs(3, 2, 1), "3 cut-offs for 2 stages: toy → 10 · toy_reranker → 5"),
    "no such stage": (lambda c: c.with_cutoffs(bm25=3), "no stage 'bm25': the stages are toy, toy_reranker"),
    "a misspelt stage": (
        lambda c: c.with_cutoffs(toy_rerankr=3),
        "no stage 'toy_rerankr': the stages are toy, toy_reranker; did you mean 'toy_reranker'?",
    ),
    "no such position": (lambda c: c[2], "no stage 2: the stages are toy, toy_reranker"),
    "no prefix": (lambda c: c.prefix(0), "toy → 10 · toy_reranker → 5 has no prefix of 0 stages: expected 1 to 2"),
    "none left": (
        lambda c: c.prefix(1).without("toy"),
        "a cascade needs at least one stage. Fix: Cascade.of(retriever % 1000 >> reranker % 20)",
    ),
    "one name twice": (
        lambda c: c.with_stage("toy", name="toy_reranker"),
        "stages have the same name: toy_reranker. Fix: give each Stage its own name",
    ),
    "unknown dependence": (
        lambda c: c.with_stage("toy", depends="rows"),
        "stage 'toy' cannot be made: depends is 'rows', expected one of pointwise, pairwise, listwise, unknown",
    ),
}


@pytest.mark.parametrize("case", WRONG_PARTS)
def test_wrong_parts_are_refused(case: str) -> None:
    """Each mistake has its own exact message."""
    ask, message = WRONG_PARTS[case]
    with pytest.raises(PipelineError) as error:
        ask(Cascade.of(RETRIEVER % 10 >> RERANKER % 5))
    assert str(error.value) == message


def test_a_stage_says_all_that_is_wrong_at_once() -> None:
    """Several problems come in one error, a line each."""
    with pytest.raises(PipelineError) as error:
        Stage("x", (), depends="a", documents="b")  # type: ignore[arg-type]
    assert str(error.value) == (
        "stage 'x' cannot be made:\n  - it has no transformer\n"
        "  - depends is 'a', expected one of pointwise, pairwise, listwise, unknown\n"
        "  - documents is 'b', expected one of retrieves, reranks, any\n  - scorer is -1, but it has 0 transformers"
    )


def test_a_cutoff_that_cannot_cut_warns() -> None:
    """A cut-off larger than the one before it is a warning, not an error."""
    with pytest.warns(
        CascadeWarning, match=r"the cut-off of toy_reranker → 50 has no effect: toy → 10 passes on at most 10 documents"
    ):
        Cascade.of(RETRIEVER % 10 >> RERANKER % 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CascadeWarning)
        Cascade.of(RETRIEVER % 10 >> RERANKER % 10)


def test_the_declarations_of_a_user_are_kept() -> None:
    """with_stage tells dependence, documents and name, and a nested cascade keeps them."""
    told = Cascade.of(RETRIEVER % 10 >> DOC_SCORE).with_stage("doc_score", depends="pointwise", documents="any", name="length")
    assert (told["length"].depends, told["length"].documents) == ("pointwise", "any")
    nested = Cascade.of(told % 3)
    assert repr(nested) == "toy → 10 · length → 3"
    assert nested["length"].depends == "pointwise"


def test_a_cascade_satisfies_pyterrier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspection, schematic, operators, pickle and pt.Experiment treat a cascade as any transformer."""
    monkeypatch.setattr(pt.documentation, "url_for_class", lambda _: None)  # it would download PyTerrier's index of pages
    cascade = Cascade.of(RETRIEVER % 10 >> RERANKER % 5)
    assert pt.inspect.transformer_inputs(cascade) == [["qid", "query"]]
    assert pt.inspect.transformer_outputs(cascade, ["qid", "query"]) == ["qid", "query", "docno", "score", "rank"]
    assert pt.schematic.transformer_schematic(cascade, input_columns=["qid", "query"])["type"] == "pipeline"
    assert pickle.loads(pickle.dumps(cascade)) == cascade  # noqa: S301 - our own bytes
    assert cascade.compile() is cascade
    assert len((cascade % 3).transform(topics(1))) <= 3


def test_a_cascade_contains_its_stages_and_their_names() -> None:
    """And nothing else."""
    cascade = Cascade.of(RETRIEVER % 10 >> RERANKER)
    assert "toy" in cascade
    assert cascade["toy_reranker"] in cascade
    assert "bm25" not in cascade
    assert 0 not in cascade


def test_a_notebook_shows_the_stages_without_the_network() -> None:
    """The HTML of a cascade is a table of its stages."""
    html = Cascade.of(RETRIEVER % 10 >> RERANKER)._repr_html_()
    assert html.count("<tr") == 3
    assert all(f"<td>{cell}</td>" in html for cell in ("toy", "10", "pointwise", "retrieves", "toy_reranker", "reranks"))


def test_pt_experiment_gives_both_the_same_numbers() -> None:
    """pt.Experiment([pipeline, cascade]) agrees on every measure of every query, ties included."""
    from ir_measures import AP, R, nDCG

    pipeline = RETRIEVER % 10 >> RERANKER % 5
    qrels = pd.DataFrame([(f"q{q}", f"d{d}", d % 3) for q in range(4) for d in range(20)], columns=["qid", "docno", "label"])
    table = pt.Experiment(
        [pipeline, Cascade.of(pipeline)], topics(4), qrels, [nDCG @ 10, AP, R @ 5], perquery=True, names=["p", "c"]
    )
    values = table.pivot_table(index=["qid", "measure"], columns="name", values="value")
    assert values["p"].tolist() == pytest.approx(values["c"].tolist(), abs=1e-12)
    assert values["p"].sum() > 0
