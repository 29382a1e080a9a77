"""The report's numbers are those of scikit-learn and of hand computation, on queries that the calibration was not fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from pt_cascade import ScoreTable
from pt_cascade.analysis.calibration import fit_scores, report_calibration
from pt_cascade.analysis.calibration.pairs import Pairs
from pt_cascade.analysis.calibration.quality import MEASURES, add_up, bound_measures, draw_counts
from pt_cascade.errors import FrameError, PipelineError, TableError
from pt_cascade.trec import read_qrels


def draw(queries: int, documents: int = 20, seed: int = 0) -> pd.DataFrame:
    """Frame[qid, docno, score, label]: logits twice too large, whose level differs from query to query."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-0.5, 1.5, (queries, documents))
    label = rng.random(logits.shape) < expit(logits + rng.normal(0, 0.5, (queries, 1)))
    qid, docno = np.repeat(np.arange(queries), documents), np.tile(np.arange(documents), queries)
    return pd.DataFrame(
        {"qid": qid.astype(str), "docno": docno.astype(str), "score": 2 * logits.ravel(), "label": label.ravel()}
    ).astype({"label": int})


ROWS = draw(20)
TABLE = ScoreTable.from_runs({"s": ROWS[["qid", "docno", "score"]]})


def values(frame: pd.DataFrame, method: str) -> dict[str, float]:
    """The values of a method by measure."""
    rows = frame[frame["method"] == method]
    return dict(zip(rows["measure"], rows["value"], strict=True))


def test_before_calibration_it_is_that_of_scikit_learn() -> None:
    """Its Brier score, log loss and quantile bins (400 pairs in 8 bins of 50); the ECE is the mean distance of its curve."""
    report = report_calibration(TABLE, "s", ROWS, ["platt"], bins=8)
    found, p = values(report.frame, "none"), expit(ROWS["score"])
    assert found["Brier"] == pytest.approx(brier_score_loss(ROWS["label"], p), abs=1e-12)
    assert found["log loss"] == pytest.approx(log_loss(ROWS["label"], p), abs=1e-12)
    relevant, probability = calibration_curve(ROWS["label"], p, n_bins=8, strategy="quantile")
    curve = report.curve[report.curve["method"] == "none"]
    assert curve["relevant"].tolist() == pytest.approx(relevant.tolist(), abs=1e-12)
    assert curve["probability"].tolist() == pytest.approx(probability.tolist(), abs=1e-12)
    assert curve["weight"].tolist() == [50] * 8
    assert found["ECE"] == pytest.approx(np.abs(relevant - probability).mean(), abs=1e-12)
    assert found["reliability"] == pytest.approx(((relevant - probability) ** 2).mean(), abs=1e-12)


def test_the_parts_of_the_brier_score() -> None:
    """By hand: p .2 .2 .8 .8 with labels 0 1 1 1 in two bins: (.3² + .2²) / 2, (.25² + .25²) / 2, .75 · .25, together .1900."""
    pairs = Pairs(np.array(list("abab"), object), np.zeros(4), np.array([0, 1, 1, 1], bool), np.ones(4))
    sums = add_up(pairs, np.array([0.2, 0.2, 0.8, 0.8]), 2)
    found = dict(zip(MEASURES, sums.reweight(np.ones((1, 2))).measure()[0], strict=True))
    expected = {"ECE": 0.25, "Brier": 0.19, "reliability": 0.065, "resolution": 0.0625, "uncertainty": 0.1875, "within": 0.0}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["log loss"] == pytest.approx(-np.log([0.8, 0.2, 0.8, 0.8]).mean(), abs=1e-12)


def test_murphys_parts_of_a_published_table() -> None:
    """Wilks 1995, table 7.3: 12,402 forecasts of rain, by base rate 0.162 as printed; Murphy's formulas of 1973 over its lines."""
    forecast = np.r_[0.0, 0.05, np.arange(1, 11) / 10]
    rained = np.array([0.006, 0.019, 0.059, 0.15, 0.277, 0.377, 0.511, 0.587, 0.723, 0.779, 0.934, 0.933])
    share = np.array([0.4112, 0.0671, 0.1833, 0.0986, 0.0616, 0.0366, 0.0303, 0.0275, 0.0245, 0.022, 0.017, 0.0203])
    pairs = Pairs(np.full(24, "1", object), np.zeros(24), np.repeat([True, False], 12), np.r_[share * rained, share * (1 - rained)])
    found = dict(zip(MEASURES, add_up(pairs, np.tile(forecast, 2), 1000).reweight(np.ones((1, 1))).measure()[0], strict=True))
    base = (share @ rained) / share.sum()
    assert round(base, 3) == 0.162
    parts = {"reliability": (forecast - rained) ** 2, "resolution": (rained - base) ** 2}
    for name, squares in parts.items():
        assert found[name] == pytest.approx(share @ squares / share.sum(), abs=1e-12)
    assert found["uncertainty"] == pytest.approx(base * (1 - base), abs=1e-12)
    assert found["Brier"] == pytest.approx(found["reliability"] - found["resolution"] + found["uncertainty"], abs=1e-12)


def test_the_parts_sum_to_the_brier_score() -> None:
    """Reliability - resolution + uncertainty + within, also of bins that hold different probabilities."""
    for method in ("none", "isotonic"):
        one = values(report_calibration(TABLE, "s", ROWS, ["isotonic"]).frame, method)
        assert one["reliability"] - one["resolution"] + one["uncertainty"] + one["within"] == pytest.approx(one["Brier"], abs=1e-12)


@pytest.mark.parametrize("method", ["platt", "isotonic", "beta", "temperature"])
def test_no_query_is_measured_by_its_own_judgments(method: str) -> None:
    """With as many folds as queries: each query by the calibration of all others, fitted here one by one."""
    p = np.empty(len(ROWS))
    for qid in ROWS["qid"].unique():
        own = (ROWS["qid"] == qid).to_numpy()
        p[own] = fit_scores(TABLE, "s", ROWS[~own], method).predict(ROWS["score"][own])
    report = report_calibration(TABLE, "s", ROWS, [method], folds=20)
    assert values(report.frame, method)["Brier"] == pytest.approx(brier_score_loss(ROWS["label"], p), abs=1e-12)


def test_calibration_helps_scores_that_are_too_large() -> None:
    """Logits twice too large: ECE and log loss fall, with intervals of the change below 0; the report says what was done."""
    rows = draw(100)
    report = report_calibration(ScoreTable.from_runs({"s": rows}), "s", rows, ["platt", "temperature"])
    for measure in ("ECE", "Brier", "log loss"):
        changes = report.frame[(report.frame["measure"] == measure) & (report.frame["method"] != "none")]
        assert (changes["change_high"] < 0).all()
    head, *table = repr(report).splitlines()
    assert head.startswith("s: 2,000 pairs of 100 queries, a share of 0.4")
    assert "scores are logits; 5 folds by query, 10 bins of equally many pairs, 95 % intervals" in head
    assert [line.split()[0] for line in table] == ["method", "none", "platt", "temperature"]


def test_equal_probabilities_are_in_one_bin() -> None:
    """Scores of two values make two bins, whatever number is asked for."""
    rows = ROWS.assign(score=np.where(ROWS["score"] > 0, 1.0, -2.0))
    report = report_calibration(ScoreTable.from_runs({"s": rows[["qid", "docno", "score"]]}), "s", rows, ["platt"], bins=7)
    assert (report.curve["method"] == "none").sum() == 2


def test_weights_count_in_every_measure() -> None:
    """Unjudged pairs at weight 1 give what judging them 0 gives."""
    judged = ROWS[ROWS["docno"].astype(int) < 15]
    filled = ROWS.assign(label=ROWS["label"].where(ROWS["docno"].astype(int) < 15, 0))
    weighted = report_calibration(TABLE, "s", judged, ["platt"], unjudged=1.0)
    pd.testing.assert_frame_equal(weighted.frame, report_calibration(TABLE, "s", filled, ["platt"]).frame)


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """60 samples of 40 queries with probabilities that are right: ECE 0, and the Brier score of a large sample, in 90 % or more."""

    def sample(queries: int, seed: int) -> tuple[Pairs, np.ndarray]:
        rng = np.random.default_rng(seed)
        p = rng.beta(1, 2, queries * 20)
        qid = np.repeat(np.arange(queries).astype(str), 20).astype(object)
        return Pairs(qid, p, rng.random(len(p)) < p, np.ones(len(p))), p

    large = add_up(*sample(20_000, 0), 10).reweight(np.ones((1, 20_000))).measure()[0]
    held = np.zeros(len(MEASURES))
    for seed in range(1, 61):
        counts = np.vstack([np.ones(40), draw_counts(40, 400, seed)])
        measured = add_up(*sample(40, seed), 10).reweight(counts).measure()
        low, high = bound_measures(measured[0], measured[1:])
        held += (low <= large + 1e-3) & (large <= high)
    share = dict(zip(MEASURES, held / 60, strict=True))
    assert {name for name in ("ECE", "Brier", "log loss", "reliability", "resolution") if share[name] < 0.9} == set()


def test_a_published_run(dl19_folder: Path) -> None:
    """BERT's probabilities on TREC DL 2019 are far too sure; on held-out queries, calibrated ones are not, at the same ranking."""
    runs = {"vbert": dl19_folder / "runs" / "colbertprf.bm25-doct5q.vbert.res.gz"}
    report = report_calibration(ScoreTable.from_runs(runs), "vbert", read_qrels(dl19_folder / "qrels.txt"), ["beta"], rel=2)
    assert "vbert: 5,209 pairs of 43 queries" in repr(report)
    assert values(report.frame, "none")["ECE"] > 0.25
    assert values(report.frame, "beta")["ECE"] < 0.05


@pytest.mark.parametrize(
    ("error", "problem", "arguments"),
    [
        (FrameError, "folds is 21, expected 2 or more, and at most as many as the 20 judged queries", {"folds": 21}),
        (FrameError, "folds is 1, .*\n.*bins is 0, expected 2 or more", {"folds": 1, "bins": 0}),
        (PipelineError, "method is 'plat', expected one of", {"methods": ["plat"]}),
        (TableError, "'t' is not one of its stages s", {"stage": "t"}),
        (FrameError, "s, platt, fold 0: .*none is relevant", {"qrels": ROWS.assign(label=0)}),
    ],
)
def test_bad_arguments_are_refused(error: type[Exception], problem: str, arguments: dict[str, object]) -> None:
    """All problems at once; what cannot be fitted is named by stage, method and fold."""
    with pytest.raises(error, match=problem):
        report_calibration(**{"table": TABLE, "stage": "s", "qrels": ROWS, "methods": ["platt"], **arguments})
