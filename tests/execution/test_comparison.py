"""A cascade against its own prefixes: the numbers of ir_measures and scipy, the costs of the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ir_measures
import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import ERR, RR, P, R, nDCG
from scipy.stats import ttest_rel
from toys.fragile import Fragile
from toys.judges import Judge, Log
from toys.rankers import Broken, ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, compare, profile, run, score, sweep
from pt_cascade.errors import CascadeError, CascadeWarning, SweepError
from pt_cascade.execution import comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.execution.runner import Run

QRELS = pd.DataFrame([(f"q{q}", f"d{d}", (d + q) % 3) for q in range(9) for d in range(20)], columns=["qid", "docno", "label"])
FIRST, SECOND, THIRD = ToyRetriever(docs=20), ToyReranker(seed=1, levels=9), ToyReranker(seed=3, levels=9)
PIPELINE = FIRST % 15 >> SECOND % 10 >> THIRD % 5
NAMES = ["toy → 15", "toy → 15 · toy_reranker", "toy → 15 · toy_reranker → 10 · toy_reranker_2 → 5"]
PREFIXES = [FIRST % 15, FIRST % 15 >> SECOND, PIPELINE]
# RR(rel=2) holds brackets, and the order is neither the alphabet's nor ir_measures' own
MEASURES = [R @ 10, nDCG @ 10, P(rel=2) @ 5, RR]


def per_query(pipeline: pt.Transformer, asked: pd.DataFrame, measure: ir_measures.Measure) -> list[float]:
    """Evaluate a plain pipeline with ir_measures alone: a value a query, 0 where nothing was found."""
    found = pipeline.transform(asked).rename(columns={"qid": "query_id", "docno": "doc_id"})
    known = QRELS[QRELS["qid"].isin(asked["qid"])].set_axis(["query_id", "doc_id", "relevance"], axis=1)
    values = {value.query_id: value.value for value in ir_measures.iter_calc([measure], known, found)}
    return [values[qid] for qid in asked["qid"]]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm (1979), by the definition: the k-th smallest of m is multiplied by m - k + 1, never below the one before, at most 1."""
    corrected, before = [0.0] * len(p_values), 0.0
    for k, n in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        before = corrected[n] = max(before, min(1.0, p_values[n] * (len(p_values) - k)))
    return corrected


def test_effectiveness_and_p_values_are_those_of_ir_measures_and_scipy() -> None:
    """Golden: means by ir_measures on each prefix's own results, p by scipy.stats.ttest_rel, Holm's correction by hand."""
    asked = topics(9)
    table = compare(PIPELINE, asked, QRELS, MEASURES).effectiveness
    assert table["name"].tolist() == NAMES
    for measure in MEASURES:
        values = [per_query(pipeline, asked, measure) for pipeline in PREFIXES]
        p_values = [ttest_rel(values[n], values[0]).pvalue for n in (1, 2)]
        assert np.isfinite(p_values).all()
        assert table[str(measure)].tolist() == pytest.approx([np.mean(one) for one in values], abs=1e-12)
        assert table[f"{measure} p-value"].tolist() == pytest.approx([np.nan, *p_values], abs=1e-12, nan_ok=True)
        assert table[f"{measure} p-value corrected"].tolist() == pytest.approx([np.nan, *holm(p_values)], abs=1e-12, nan_ok=True)
    assert table["nDCG@10"].nunique() == 3


def test_measures_come_first_in_the_order_they_were_given() -> None:
    """Whatever order pt.Experiment chose; a measure that was given twice stands once."""
    table = compare(PIPELINE, topics(3), QRELS, [*MEASURES, RR]).effectiveness
    assert list(table)[:5] == ["name", "R@10", "nDCG@10", "P(rel=2)@5", "RR"]
    assert all(column.endswith((" +", " -", " reject", " p-value", " corrected")) for column in list(table)[5:])
    assert table.columns.is_unique


def test_a_single_stage_is_compared_with_nothing() -> None:
    """One row, no p-values, and the cost of the stage is the cascade's."""
    asked = topics(4)
    compared = compare(FIRST % 15, asked, QRELS, [nDCG @ 10])
    assert list(compared.effectiveness) == ["name", "nDCG@10"]
    assert compared.effectiveness["nDCG@10"].tolist() == pytest.approx([np.mean(per_query(FIRST % 15, asked, nDCG @ 10))])
    assert compared.cost["stage"].tolist() == ["toy", "cascade"]
    stage, whole = compared.cost.drop(columns="stage").to_dict("records")
    assert stage == pytest.approx(whole)  # one sums up what the other averages
    assert compared.queries == 4


@pytest.mark.parametrize("known", [1, 3])
def test_one_judged_query_is_not_tested(known: int) -> None:
    """A t-test needs two queries that count: with one there is no p-value, and no warning of scipy's (which would fail here)."""
    judged = QRELS[QRELS["qid"] == "q0"]
    compared = compare(PIPELINE, topics(known), judged, [nDCG @ 10])
    assert list(compared.effectiveness) == ["name", "nDCG@10"]
    expected = [per_query(pipe, topics(1), nDCG @ 10)[0] for pipe in PREFIXES]
    assert compared.effectiveness["nDCG@10"].tolist() == pytest.approx(expected, abs=1e-12)
    assert compared.queries == known


def test_costs_of_timings_are_those_of_the_sweep() -> None:
    """One estimate: what the comparison shows of the cascade is what a sweep with the same timings shows of its cut-offs."""
    asked = pd.DataFrame({"qid": ["b", "c"], "query": ["query 1", "query 2"]})
    qrels = QRELS.replace({"q1": "b", "q2": "c"})
    many = pd.DataFrame({"qid": [f"q{n}" for n in range(20)], "query": ["query 1", "query 2"] * 10})
    timings = profile(PIPELINE, many, repeats=2, shares=(1.0, 0.5))
    whole = compare(PIPELINE, asked, qrels, [nDCG @ 10], timings=timings).cost.iloc[-1]
    cascade = Cascade.of(PIPELINE)
    row = sweep(score(cascade, asked), qrels, [nDCG @ 10], timings.cost(), grid=[cascade.cutoffs]).frame.iloc[0]
    assert whole[["ms", "p95_ms", "pairs"]].tolist() == pytest.approx(row[["ms", "p95_ms", "pairs"]].tolist(), rel=1e-12)


def test_models_are_loaded_before_a_cascade_with_a_table_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table runs no model, so a stage has scored three queries, one at a time as in a profile, when the first timed one comes."""
    judge = Judge(log=Log())
    cascade = ToyRetriever(docs=6) % 4 >> judge % 2
    table = score(cascade, topics(3))
    judge.log.calls.clear()
    before: list[int] = []

    def spy(*args: object, **options: object) -> Run:
        before.extend(len({qid for qid, _ in call}) for call in judge.log.calls)
        return run(*args, **options)

    monkeypatch.setattr(comparison, "run", spy)
    compare(cascade, topics(3), QRELS, [nDCG @ 10], table=table)
    assert before == [1, 1, 1]
    assert len(judge.log.calls) == 3 + 3


def test_costs_are_those_of_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: each stage's row averaged by hand from the trace; three queries have no 95th percentile."""
    runs: list[Run] = []

    def spy(*args: object, **options: object) -> Run:
        runs.append(run(*args, **options))
        return runs[-1]

    monkeypatch.setattr(comparison, "run", spy)
    asked = pd.DataFrame({"qid": ["a", "b", "c"], "query": ["nothing", "query 1", "query 2"]})
    cost = compare(PIPELINE, asked, QRELS.replace({"q1": "b", "q2": "c"}), [nDCG @ 10]).cost
    (done,) = runs
    rows = done.trace.to_dict("records")
    assert {row["shared_by"] for row in rows} == {1}
    for line in cost.iloc[:3].to_dict("records"):
        own = [row for row in rows if row["stage"] == line["stage"]]
        assert len(own) == 3
        for column in ("docs_in", "docs_out", "pairs", "ms"):
            assert line[column] == pytest.approx(sum(row[column] for row in own) / 3)
    assert "p95_ms" not in cost
    whole = cost.iloc[3]
    assert whole["stage"] == "cascade"
    assert whole["ms"] * 3 == pytest.approx(done.trace["ms"].sum())
    assert whole["pairs"] * 3 == pytest.approx(done.trace["pairs"].sum())
    assert (whole["docs_in"], whole["docs_out"] * 3) == pytest.approx((0, len(done.results)))


@st.composite
def cascades(draw: st.DrawFn) -> Cascade:
    """One to three stages with cut-offs and heavy ties."""
    pipe = ToyRetriever(docs=draw(st.integers(10, 20)), levels=draw(st.integers(1, 4))) % draw(st.integers(1, 15))
    for seed in range(draw(st.integers(0, 2))):
        pipe = pipe >> ToyReranker(levels=draw(st.integers(1, 4)), seed=seed, sort=draw(st.booleans())) % draw(st.integers(1, 15))
    return Cascade.of(pipe)


@settings(max_examples=12)
@given(cascades(), st.integers(1, 5))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # scipy's word for differences that are all the same
def test_costs_add_up_and_prefixes_are_plain_pipelines(cascade: Cascade, queries: int) -> None:
    """For any cascade: the stages' mean times and pairs sum up to its own, documents are handed on, prefixes evaluate as alone."""
    asked = topics(queries)
    compared = compare(cascade, asked, QRELS, [nDCG @ 10])
    stages, whole = compared.cost.iloc[:-1], compared.cost.iloc[-1]
    assert stages["stage"].tolist() == [stage.name for stage in cascade]
    assert whole["ms"] == pytest.approx(stages["ms"].sum())
    assert whole["pairs"] == pytest.approx(stages["pairs"].sum())
    assert whole["docs_out"] == pytest.approx(stages["docs_out"].iloc[-1])
    assert stages["docs_in"].tolist() == pytest.approx([0, *stages["docs_out"].iloc[:-1]])
    assert stages["pairs"].tolist() == pytest.approx(stages["docs_in"].tolist())
    for n, value in enumerate(compared.effectiveness["nDCG@10"], start=1):
        prefix = cascade.prefix(n)
        if 1 < n < len(cascade):
            prefix = prefix.with_cutoffs(**{prefix[-1].name: None})
        assert value == pytest.approx(np.mean(per_query(prefix.pipeline(), asked, nDCG @ 10)), abs=1e-12)


def test_frames_are_taken_as_run_takes_them_and_left_alone() -> None:
    """Whole numbers do as qids, a cascade does as a pipeline, and neither topics nor qrels change."""
    asked, known = topics(3).assign(qid=[0, 1, 2]), QRELS.assign(qid=QRELS["qid"].str[1:].astype(int))
    kept = asked.copy(deep=True), known.copy(deep=True)
    numbered = compare(Cascade.of(PIPELINE), asked, known, [nDCG @ 10])
    named = compare(PIPELINE, topics(3), QRELS, [nDCG @ 10])
    pd.testing.assert_frame_equal(numbered.effectiveness, named.effectiveness)
    pd.testing.assert_frame_equal(asked, kept[0])
    pd.testing.assert_frame_equal(known, kept[1])


def test_a_progress_bar_counts_queries(capsys: pytest.CaptureFixture[str]) -> None:
    """With verbose the executor's bar is shown; without it nothing is printed."""
    compare(PIPELINE, topics(3), QRELS, [nDCG @ 10], verbose=True)
    assert "3/3" in capsys.readouterr().err
    compare(PIPELINE, topics(3), QRELS, [nDCG @ 10])
    assert capsys.readouterr() == ("", "")


def test_a_query_whose_labels_are_all_below_0_counts_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches pt.Experiment as judged and not relevant: trec_eval counts grades from 0, and may hang where all are below.

    By hand: half of the value of a query, where the other counts 0.
    """
    experiment, labels = pt.Experiment, []

    def watched(*arguments: object, **options: object) -> pd.DataFrame:
        labels.append(arguments[2].groupby("qid")["label"].max().to_dict())
        return experiment(*arguments, **options)

    monkeypatch.setattr(pt, "Experiment", watched)
    qrels = QRELS[QRELS["qid"].isin(["q0", "q1"])]
    below = qrels.assign(label=qrels["label"].where(qrels["qid"] == "q0", -1))
    expected = [per_query(pipe, topics(1), nDCG @ 10)[0] / 2 for pipe in PREFIXES]
    compared = compare(PIPELINE, topics(2), below, [nDCG @ 10])
    assert compared.effectiveness["nDCG@10"].tolist() == pytest.approx(expected, abs=1e-12)
    assert labels == [{"q0": 2, "q1": 0}]
    assert below["label"].min() == -1


def test_qrels_without_a_relevant_document_are_reported() -> None:
    """Only the queries that are topics count: q2 has relevant documents, but is not a topic."""
    with pytest.warns(CascadeWarning, match="no document is relevant: the labels are 0 to 0, so RR is 0 for every ranking"):
        compare(PIPELINE, topics(2), QRELS.assign(label=QRELS["label"].where(QRELS["qid"] == "q2", 0)), [RR])


def test_docnos_with_blanks_are_reported_where_gdeval_computes() -> None:
    """Also those that are not judged: what the pipeline finds is known when it has run."""
    found = pd.DataFrame({"qid": ["1"], "query": "q", "docno": "a b", "score": 1.0, "rank": 0})
    asked, qrels = found[["qid", "query"]], pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    pipeline = pt.Transformer.from_df(found)
    with pytest.raises(SweepError, match=r"1 row with white space in the docno for gdeval, which computes ERR@10, e\.g\. 'a b"):
        compare(pipeline, asked, qrels, [ERR @ 10])
    assert compare(pipeline, asked, qrels, [RR]).effectiveness["RR"].tolist() == [0]


def _fails(_: pd.DataFrame) -> pd.DataFrame:
    raise ZeroDivisionError("by nought")


BAD = {
    "labels": (
        (PIPELINE, topics(2), QRELS.assign(label=QRELS["label"] * 3), [ERR @ 10]),
        "the qrels are not usable for these measures:\n  - label 6 is out of range, expected -1,000,000"
        " to 4 for gdeval, which computes ERR@10\n"
        "  - a qid is not a whole number for gdeval, which computes ERR@10, e.g. 'q0'\n"
        "Fix: sweep(score(cascade, topics), qrels, measures)",
    ),
    "topics": (
        (PIPELINE, topics(2).drop(columns="query"), QRELS, [RR]),
        "topics are not usable: missing or repeated columns: query, expected qid, query, found qid. "
        'Fix: topics = topics.rename(columns={"...": "query"})',
    ),
    "qrels": (
        (PIPELINE, topics(2), QRELS.drop(columns="label"), [RR]),
        "qrels are not usable: missing or repeated columns: label, expected qid, docno, label, found qid, docno. "
        'Fix: qrels = qrels.rename(columns={"...": "label"})',
    ),
    "strangers": (
        (PIPELINE, topics(2).assign(qid=["a", "b"]), QRELS, [RR]),
        "the comparison has no judged topic: no topic has a judgment: "
        "topics have 2 qids such as 'a', qrels have 9 qids such as 'q0'",
    ),
    "no measure": (
        (PIPELINE, topics(2), QRELS, []),
        "the systems cannot be evaluated: AssertionError: No measures were found in []",
    ),
    "nothing found": (
        (PIPELINE, topics(2).assign(query="nothing"), QRELS, [RR]),
        "the systems cannot be evaluated: ValueError: 2 topics, but no results received from system 0",
    ),
    "a stage": (
        (FIRST % 2 >> Broken(_fails), topics(2), QRELS, [RR]),
        f"stage 'broken' failed on 4 rows: {Broken(_fails)!r} raised ZeroDivisionError: by nought; "
        "the first row is qid 'q0', docno 'd1'",
    ),
    "no pipeline": (
        ("bm25", topics(2), QRELS, [RR]),
        "this is not a pipeline: 'bm25' (str), expected a PyTerrier transformer. "
        "Fix: Cascade.of(retriever % 1000 >> reranker % 20)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_comparisons_are_reported(case: str) -> None:
    """Each with its exact message: frames before anything runs, and a stage by its name, though pt.Experiment ran it unguarded."""
    arguments, message = BAD[case]
    with pytest.raises(CascadeError) as error:
        compare(*arguments)
    assert str(error.value) == message


def test_the_options_of_a_cascade_hold_for_all_systems() -> None:
    """A kept tail: R@100 is that of all that was retrieved; a stage that always fails leaves the ranking of the first."""
    first = ToyRetriever(docs=20, levels=10**6)  # no equal scores, which trec_eval orders by docno
    cascade = Cascade.of(first % 20 >> Fragile(fails=frozenset({"q0", "q1"})) % 5).options(tail="keep", on_error="keep")
    with pytest.warns(CascadeWarning, match=r"stage 'fragile' failed on [12] quer"):
        compared = compare(cascade, topics(2), QRELS, [R @ 100, nDCG @ 5]).effectiveness
    golden = [np.mean(per_query(first % 20, topics(2), measure)) for measure in (R @ 100, nDCG @ 5)]
    for row in compared[["R@100", "nDCG@5"]].to_numpy():
        assert row == pytest.approx(golden, abs=1e-12)
