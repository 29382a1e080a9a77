"""Which pairs of a table are fitted: judged ones of judged queries that the stage has scored, and how labels and weights count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from pt_cascade import ScoreTable, fuse
from pt_cascade.analysis.calibration import Isotonic, Platt, fit_scores
from pt_cascade.analysis.calibration.pairs import judged_pairs, scored_rows
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.errors import CascadeWarning, FrameError, PipelineError, TableError

ROWS = pd.DataFrame([(f"q{q}", f"d{n}", 9.0 - n - q) for q in range(3) for n in range(8)], columns=["qid", "docno", "score"])
QRELS = ROWS[ROWS["qid"] != "q2"][["qid", "docno"]].assign(label=[3, 2, 0, 1, 2, 0, 0, 0, 2, 3, 1, 0, 1, 0, 0, 0])
TABLE = ScoreTable.from_runs({"bm25": ROWS})


def test_a_label_counts_by_the_rule() -> None:
    """By hand: 5 labels of 2 or more, 8 of 1 or more, among 16 pairs of the two judged queries."""
    for rel, count in ((1, 8), (2, 5)):
        pairs = judged_pairs(ROWS, QRELS, rel)
        assert (len(pairs.relevant), int(pairs.relevant.sum())) == (16, count)
        assert sorted(set(pairs.qid)) == ["q0", "q1"]


def test_an_unjudged_pair_is_left_out_or_weighted() -> None:
    """Of a judged query only: q0 and q1 have 4 judged pairs each, and 4 unjudged ones that count a quarter, as not relevant."""
    half = QRELS[QRELS["docno"].isin(["d0", "d1", "d2", "d3"])]
    assert len(judged_pairs(ROWS, half).score) == 8
    pairs = judged_pairs(ROWS, half, unjudged=0.25)
    assert pairs.weight.tolist() == [1, 1, 1, 1, 0.25, 0.25, 0.25, 0.25] * 2
    assert not pairs.relevant[pairs.weight < 1].any()


def test_a_weight_below_1_lowers_the_probability_less() -> None:
    """The weighted mean of isotonic probabilities is the weighted share of relevant pairs: of 4, 12 are judged and 18 are not."""
    rows = pd.DataFrame({"qid": "q", "docno": [f"d{n:02}" for n in range(30)], "score": np.arange(30.0)})
    qrels = pd.DataFrame({"qid": "q", "docno": [f"d{n:02}" for n in range(18, 30)], "label": [0, 0, 1] * 4})
    table = ScoreTable.from_runs({"s": rows})
    for unjudged, share in ((0.0, 4 / 12), (1.0, 4 / 30), (1 / 3, 4 / 18)):
        fitted = fit_scores(table, "s", qrels, "isotonic", unjudged=unjudged)
        pairs = judged_pairs(rows, qrels, unjudged=unjudged)
        assert np.average(fitted.predict(pairs.score), weights=pairs.weight) == pytest.approx(share, abs=1e-12)


def test_pairs_without_a_score_are_left_out() -> None:
    """NaN was not scored, -inf failed."""
    frame = ROWS.assign(rank=np.tile(np.arange(8), 3), bm25=ROWS["score"], t5=ROWS["score"] - 5).drop(columns="score")
    frame.loc[0, "t5"], frame.loc[1, "t5"] = np.nan, -np.inf
    topics = pd.DataFrame({"qid": ["q0", "q1", "q2"], "query": "-"})
    table = ScoreTable(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (8, None), (8,)),))
    assert len(scored_rows(table, "t5")) == 22
    expected = judged_pairs(ROWS.assign(score=ROWS["score"] - 5).iloc[2:], QRELS)
    assert fit_scores(table, "t5", QRELS) == Platt.fit(expected.score, expected.relevant)


def test_only_the_judged_queries_count() -> None:
    """Judgments of the training queries give what a table of the training queries gives."""
    alone = ScoreTable.from_runs({"bm25": ROWS[ROWS["qid"] != "q2"]})
    for method, kind in (("platt", Platt), ("isotonic", Isotonic)):
        fitted = fit_scores(TABLE, "bm25", QRELS, method)
        assert type(fitted) is kind
        assert fitted == fit_scores(alone, "bm25", QRELS, method)


def test_probabilities_are_fused() -> None:
    """By hand: a weighted fusion without a norm adds the probabilities of two runs, whose scores are on different scales."""
    other = ROWS.assign(score=-100 * ROWS["score"] ** 2)
    runs = [ROWS, other]
    fitted = [Platt(slope=1.0, intercept=-5.0), Platt(slope=0.001, intercept=2.0)]
    calibrated = [run.assign(score=one.predict(run["score"])) for run, one in zip(runs, fitted, strict=True)]
    fused = fuse(calibrated, method="weighted", normalise="none").merge(ROWS, on=["qid", "docno"], suffixes=("", "_first"))
    expected = expit(fused["score_first"] - 5) + expit(2 - fused["score_first"] ** 2 / 10)
    assert fused["score"].tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_the_scale_is_that_of_all_scores() -> None:
    """Judged scores in [0, 1] are no probabilities where an unjudged document scores -2: no warning."""
    rows = ROWS.assign(score=np.where(ROWS["qid"] == "q2", -2.0 - ROWS["score"], ROWS["score"] / 10))
    table = ScoreTable.from_runs({"s": rows})
    assert fit_scores(table, "s", QRELS).scale == "logits"


def test_platt_warns_of_a_second_sigmoid() -> None:
    """Probabilities are a sigmoid's already; the cure's methods take them without a warning."""
    table = ScoreTable.from_runs({"t5": ROWS.assign(score=1 / (1 + np.exp(5 - ROWS["score"])))})
    with pytest.warns(CascadeWarning, match=r"all scores of stage 't5' are in \[0, 1\].*second sigmoid.*method=\"temperature\""):
        fit_scores(table, "t5", QRELS)
    assert fit_scores(table, "t5", QRELS, "temperature").scale == "probabilities"
    assert fit_scores(table, "t5", QRELS, "beta").scale == "probabilities"


@pytest.mark.parametrize(
    ("error", "problem", "arguments"),
    [
        (PipelineError, "method is 'plat', expected one of platt, .*; did you mean 'platt'", {"method": "plat"}),
        (TableError, "'bm52' is not one of its stages bm25; did you mean 'bm25'", {"stage": "bm52"}),
        (FrameError, "rel is 0, expected a whole number, 1 or more", {"rel": 0}),
        (FrameError, r"unjudged is 1\.5, expected a weight from 0 to 1", {"unjudged": 1.5}),
        (
            FrameError,
            r"0 pairs of query and document with a judgment and a score",
            {"qrels": QRELS.assign(docno="elsewhere" + QRELS["docno"])},
        ),
        (FrameError, "of 16 pairs none is relevant, expected some of both.*rel=", {"rel": 4}),
    ],
)
def test_bad_arguments_are_refused(error: type[Exception], problem: str, arguments: dict[str, object]) -> None:
    """With what was expected."""
    with pytest.raises(error, match=problem):
        fit_scores(**{"table": TABLE, "stage": "bm25", "qrels": QRELS, **arguments})
