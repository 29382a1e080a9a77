"""Measures as numbers for the kernel, and judgments as labels of a table's rows."""

from __future__ import annotations

from math import log2

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, ERR, RBP, RR, Judged, P, R, Success, nDCG

from pt_cascade.analysis.replay.kernel_measures import UNJUDGED
from pt_cascade.analysis.replay.measures import adds_up, compute_norms, encode, in_kernel, match_labels, parse_measures
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.errors import CascadeWarning, SweepError
from pt_cascade.execution.score_table import ScoreTable

NONE = 2**31 - 1


def listed(labels: list[int | None]) -> tuple[ScoreTable, pd.DataFrame]:
    """A ranking of one query by its labels, None for unjudged, and the qrels."""
    docnos = [f"d{n}" for n in range(len(labels))]
    frame = pd.DataFrame({"qid": "1", "docno": docnos, "rank": range(len(labels)), "first": -np.arange(len(labels), dtype=float)})
    table = ScoreTable(frame, pd.DataFrame({"qid": ["1"], "query": ["q"]}), (Column("first"),), (Path(("first",), (None,)),))
    judged = [(docno, label) for docno, label in zip(docnos, labels, strict=True) if label is not None]
    return table, pd.DataFrame([("1", *pair) for pair in judged], columns=["qid", "docno", "label"])


def test_golden_ndcg() -> None:
    """Golden: grades 3, 2, 3, 0, 1, 2 have DCG 6.861, ideal 7.141, or 8.740 with 3 and 2 unseen (Wikipedia's example)."""
    table, qrels = listed([3, 2, 3, 0, 1, 2])
    assert sweep(table, qrels, ["nDCG"]).frame["nDCG"].iloc[-1] == pytest.approx(6.861 / 7.141, abs=1e-4)
    unseen = pd.DataFrame({"qid": "1", "docno": ["x", "y"], "label": [3, 2]})
    both = sweep(table, pd.concat([qrels, unseen]), ["nDCG@6"])
    assert both.frame["nDCG@6"].iloc[-1] == pytest.approx(6.861 / 8.740, abs=1e-4)


def test_golden_measures_by_hand() -> None:
    """Golden, by hand: five relevant documents, at ranks 1, 3, 6, 9 and 10, one of grade 2, one document unjudged."""
    table, qrels = listed([1, 0, 1, None, 0, 2, 0, 0, 1, 1])
    values = sweep(table, qrels, ["AP", "P@5", "R@5", "RR", "RR(rel=2)", "Success@2", "Judged@5", "R(rel=2)@5", "AP@5"]).frame.iloc[
        -1
    ]
    assert values["AP"] == pytest.approx((1 + 2 / 3 + 3 / 6 + 4 / 9 + 5 / 10) / 5)
    assert values[["P@5", "R@5", "RR", "RR(rel=2)", "Success@2", "Judged@5", "R(rel=2)@5"]].tolist() == pytest.approx(
        [2 / 5, 2 / 5, 1, 1 / 6, 1, 4 / 5, 0]
    )
    assert values["AP@5"] == pytest.approx((1 + 2 / 3) / 5)


LABELS = st.lists(st.sampled_from([None, -1, 0, 1, 2, 3]), min_size=1, max_size=12)


@pytest.mark.filterwarnings("ignore:no document is relevant:pt_cascade.errors.CascadeWarning")
@given(LABELS.filter(lambda labels: {*labels} - {None, -1}))  # pytrec_eval never returns where all labels are below 0
def test_they_are_what_ir_measures_computes(labels: list[int | None]) -> None:
    """Golden: ir_measures on the same ranking, at every cut-off; without labels below 0, on which pytrec_eval may hang."""
    table, qrels = listed(labels)
    measures = [nDCG, nDCG @ 3, RR, RR @ 2, R @ 4, P @ 4, AP, AP(rel=2) @ 5, Judged @ 3, Success @ 2]
    got = sweep(table, qrels, measures).frame
    named = qrels.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})
    for k in range(1, len(labels) + 1):
        run = {"1": {f"d{n}": -float(n) for n in range(k)}}
        wanted = ir_measures.calc_aggregate(measures, named, run)
        assert [got[str(measure)].iloc[k - 1] for measure in measures] == pytest.approx(
            [wanted[measure] for measure in measures], abs=1e-12
        )


def test_what_the_kernel_computes_and_what_it_leaves() -> None:
    """Parameters that change the definition go to ir_measures."""
    inside = [nDCG @ 10, nDCG, RR, RR(rel=2) @ 3, R @ 5, P(rel=3) @ 5, AP, AP(rel=2) @ 7, Judged, Judged @ 5, Success @ 1]
    outside = [
        nDCG(judged_only=True) @ 10,
        nDCG(gains={1: 3}) @ 5,
        nDCG(dcg="exp-log2"),
        RBP,
        ERR @ 20,
        P(judged_only=True) @ 5,
        R(rel=0) @ 5,
    ]
    assert all(map(in_kernel, inside))
    assert not any(map(in_kernel, outside))
    assert encode([nDCG, RR @ 10, RR, P(rel=2) @ 5, Judged]).tolist() == [
        [0, NONE, 1, 0],
        [1, 10, 1, 1],
        [1, NONE, 1, 0],
        [3, 5, 2, 0],
        [5, NONE, 1, 1],
    ]
    assert [adds_up(measure) for measure in (ir_measures.NumRet, ir_measures.NumQ, ir_measures.NumRel, AP)] == [
        True,
        True,
        True,
        False,
    ]


def test_measures_are_read_in_any_form_once_each() -> None:
    """Names, objects, one alone; the first of equals stays."""
    assert parse_measures("nDCG@10") == (nDCG @ 10,)
    assert parse_measures(RR) == (RR,)
    assert parse_measures(["MRR@10", RR @ 10, "P@5", nDCG @ 10]) == (RR @ 10, P @ 5, nDCG @ 10)
    with pytest.raises(SweepError) as caught:
        parse_measures([None])
    assert str(caught.value) == 'cannot compute the measures: None (NoneType) is not a measure. Fix: ["nDCG@10", "R@100"]'


def test_labels_and_norms_by_hand() -> None:
    """Golden, by hand: labels follow rows; what was not retrieved counts for recall and the ideal; what was not asked does not."""
    table, _ = listed([0] * 4)
    qrels = pd.DataFrame(
        {"qid": ["1"] * 4 + ["2"], "docno": ["d3", "d0", "x", "d1", "d1"], "label": [2, -1, 3, 0, 1]}, index=[9, 9, 1, 2, 3]
    )
    judged = match_labels(table, qrels)
    assert judged.labels.tolist() == [-1, 0, UNJUDGED, 2]
    assert judged.queries.tolist() == [0]
    assert [labels.tolist() for labels in judged.relevant] == [[3, 2, 0, -1]]
    norms = compute_norms(encode([nDCG, nDCG @ 1, R @ 5, AP(rel=3), P @ 7, RR]), judged, 1)
    assert norms[:, 0].tolist() == pytest.approx([3 + 2 / log2(3), 3, 2, 1, 7, 1])


NAMED = pd.DataFrame({"qid": ["trec-7", "7"], "docno": ["d0", "d1"], "label": [4, 4]})


def two_queries() -> ScoreTable:
    """Two queries whose qids gdeval would take for one, each with the ranking d0, d1, d2."""
    qids = NAMED["qid"].tolist()
    frame = pd.DataFrame({"qid": np.repeat(qids, 3), "docno": ["d0", "d1", "d2"] * 2, "rank": [0, 1, 2] * 2})
    topics = pd.DataFrame({"qid": qids, "query": "q"})
    return ScoreTable(frame.assign(first=-frame["rank"] * 1.0), topics, (Column("first"),), (Path(("first",), (None,)),))


def test_err_may_have_qids_of_any_form_and_negative_labels() -> None:
    """Golden, by hand: ERR (Chapelle et al. 2009) of one document of grade 4 at rank 1 is 15/16, at rank 2 half of that.

    gdeval reads the number at the end of a qid, so that it takes trec-7 and 7 for one query, and fails for a qid such as q1.
    """
    below = pd.DataFrame({"qid": ["trec-7", "trec-7", "7"], "docno": ["d1", "d2", "d0"], "label": [-1, -2, -1]})
    table, qrels = two_queries(), pd.concat([NAMED, below])
    assert sweep(table, qrels, [ERR @ 3]).per_query([3])["ERR@3"].tolist() == pytest.approx([15 / 16, 15 / 32], abs=1e-5)
    assert sweep(table, qrels, [ERR @ 3]).frame["ERR@3"].tolist() == pytest.approx([15 / 32, 45 / 64, 45 / 64], abs=1e-5)


@pytest.mark.parametrize("measure", [ERR @ 10, nDCG(dcg="exp-log2") @ 10], ids=str)
def test_labels_beyond_a_measures_own_limit_are_refused(measure: ir_measures.Measure) -> None:
    """The script gdeval ends where a grade is above 4; the cure that is named works."""
    table, qrels = listed([5, 0])
    with pytest.raises(SweepError) as caught:
        sweep(table, qrels, [measure])
    assert str(caught.value) == (
        f"the qrels are not usable for these measures: label 5 is out of range, expected -1,000,000 to 4 for "
        f"gdeval, which computes {measure}. "
        'Fix: qrels["label"] = qrels["label"].clip(-4, 4)'
    )
    exec(caught.value.fix, {"qrels": qrels})  # noqa: S102 - the cure, as it is printed
    assert sweep(table, qrels, [measure]).frame[str(measure)].iloc[-1] > 0.9


@pytest.mark.parametrize(
    ("found", "judged", "rows"),
    [(["d0", "d\t1"], ["d0", "d2"], 1), (["d0", "d1"], ["d0", "d 2"], 1), (["d 0", "d1"], ["d 0", "d2"], 2)],
)
def test_docnos_with_blanks_are_refused_where_gdeval_computes(found: list[str], judged: list[str], rows: int) -> None:
    """The script gdeval splits a line at white space. Golden, by hand: ERR of a document of grade 4 at rank 1 is 15/16."""
    run = pd.DataFrame({"qid": "1", "docno": found, "score": [2.0, 1.0]})
    qrels = pd.DataFrame({"qid": "1", "docno": judged, "label": [4, 0]})
    told = rf"{rows} rows? with white space in the docno for gdeval, which computes ERR@10, e\.g\. 'd"
    with pytest.raises(SweepError, match=told) as error:
        sweep(ScoreTable.from_runs({"a": run, "b": run}), qrels, ["ERR@10"])
    assert sweep(ScoreTable.from_runs({"a": run, "b": run}), qrels, ["nDCG@10"]).frame["nDCG@10"].iloc[-1] == 1
    exec(error.value.fix, {"runs": [run], "qrels": qrels})  # noqa: S102 - the cure, as it is printed
    table = ScoreTable.from_runs({"a": run, "b": run})
    assert sweep(table, qrels, ["ERR@10"]).frame["ERR@10"].iloc[-1] == pytest.approx(15 / 16, abs=1e-5)


def test_huge_labels_are_refused_before_trec_eval_counts_up_to_them() -> None:
    """trec_eval keeps a counter for each grade: for 2**31 - 2 it would need 16 GB for each query."""
    table, qrels = listed([2**31 - 2, 0])
    with pytest.raises(
        SweepError, match=r"label 2147483646 is out of range, expected -1,000,000 to 1,000,000. Fix: .*clip\(-1000000, 1000000\)"
    ):
        sweep(table, qrels, ["P(judged_only=True)@5"])
    assert sweep(*listed([1_000_000, 0]), ["P(judged_only=True)@5"]).frame.iloc[-1, -1] == 1 / 5


def test_what_a_package_of_ir_measures_raises_is_reported_by_measure_and_vector() -> None:
    """Accuracy divides by the number of pairs of a relevant and another document, and there is none at cut-off 1."""
    with pytest.raises(SweepError, match=r"^cannot compute the measures: Accuracy at \(1,\): ir_measures raised ZeroDivisionError"):
        sweep(*listed([1, 0]), ["Accuracy"])


@pytest.mark.parametrize(
    ("labels", "idle"), [([0, 0], "nDCG@10, R(rel=2)@5"), ([1, 0], "R(rel=2)@5"), ([-1, 0], "nDCG@10, R(rel=2)@5")]
)
def test_qrels_without_a_relevant_document_are_reported(labels: list[int | None], idle: str) -> None:
    """The measures that are 0 for every ranking are named; the share of judged documents is none of them."""
    table, qrels = listed(labels)
    told = f"no document is relevant: the labels are {min(labels)} to {max(labels)}, so {idle} is 0 for every ranking"
    with pytest.warns(CascadeWarning) as warned:
        values = sweep(table, qrels, ["nDCG@10", "R(rel=2)@5", "Judged@2"]).frame.iloc[-1]
    assert [str(one.message) for one in warned] == [told]
    assert values["R(rel=2)@5"] == 0
    assert values["Judged@2"] == 1
