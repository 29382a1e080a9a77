"""A calibrated stage ranks as the stage does, everywhere, and adds probabilities that a fitted calibration gives."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import RR, nDCG
from scipy.special import expit
from toys.rankers import ToyReranker, ToyRetriever, topics

import pt_cascade as ptc
from pt_cascade import Cascade, calibrate
from pt_cascade.analysis.calibration import Isotonic, Platt, fit_scores
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.errors import FrameError, PipelineError
from pt_cascade.stages.base.identity import identify
from pt_cascade.stages.cached import cached

FIRST = ToyRetriever(docs=30, levels=40)
TOPICS = topics(12)
SCORER = ToyReranker(levels=200)


def judge(seed: int = 5) -> pd.DataFrame:
    """Judge what is found: the likelier relevant the higher ``SCORER`` scores it."""
    found = SCORER.transform(FIRST.transform(TOPICS))
    chance = expit((found["score"] - 100) / 20)
    label = np.random.default_rng(seed).random(len(found)) < chance
    return found[["qid", "docno"]].assign(label=label.astype(int))


QRELS = judge()


@dataclass(frozen=True)
class Known(ToyReranker):
    """Says what it is."""

    def identify(self) -> dict[str, str]:
        """Tell it by value."""
        return identify(self)


@dataclass(frozen=True)
class Failing(Known):
    """Marks documents of one digit as failed."""

    failed_column = "toy_failed"
    accounts = ("toy_calls",)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Mark them."""
        out = super().transform(inp)
        return out.assign(toy_failed=out["docno"].str.len() == 2, toy_calls=1)


@dataclass(frozen=True)
class Steep(pt.Transformer):
    """Scores so far apart that their sigmoids are equal in float32, highest for the docno that trec_eval puts last."""

    documents = "reranks"
    depends = "pointwise"
    stage_name = "steep"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by the docno's number, backwards."""
        return pt.model.add_ranks(inp.assign(score=100.0 - inp["docno"].str[1:].astype(float)))


def fitted(stage: pt.Transformer = SCORER, method: str = "platt") -> pt.Transformer:
    """A stage, fitted."""
    made = calibrate(stage, method)
    made.fit(FIRST.transform(TOPICS), QRELS)
    return made


@pytest.mark.parametrize("method", ["platt", "isotonic", "temperature", "beta"])
def test_the_results_are_those_of_the_stage_with_a_probability(method: str) -> None:
    """Every other column stays, in order; the probability is the one that the table's scores give."""
    found = FIRST.transform(TOPICS)
    before = found.copy()
    plain, results = SCORER.transform(found), fitted(method=method).transform(found)
    pd.testing.assert_frame_equal(results.drop(columns="probability"), plain)
    pd.testing.assert_frame_equal(found, before)
    table = ptc.score(Cascade.of(FIRST % 30 >> SCORER), TOPICS)
    expected = fit_scores(table, "toy_reranker", QRELS, method).predict(results["score"].to_numpy())
    assert results["probability"].tolist() == expected.tolist()


def test_pt_experiment_ranks_as_before_where_float32_would_tie() -> None:
    """As scores, probabilities would tie in float32, and trec_eval goes by docno: measures move. Beside the score they do not."""
    qrels = FIRST.transform(TOPICS)[["qid", "docno"]].assign(label=lambda rows: (rows["docno"].str[1:].astype(int) < 8).astype(int))
    plain = FIRST >> Steep()
    platt, steps = (
        calibrate(Steep(), Platt(slope=1.0, intercept=0.0)),
        calibrate(Steep(), Isotonic(scores=(0, 200), probabilities=(0.2, 0.2))),
    )
    replaced = pt.apply.generic(lambda rows: pt.model.add_ranks(rows.assign(score=rows["probability"])))
    systems = [plain, FIRST >> platt, FIRST >> steps, FIRST >> platt >> replaced, FIRST >> steps >> replaced]
    runs = [system.transform(TOPICS) for system in systems]
    measured = pt.Experiment(runs, TOPICS, qrels, [nDCG @ 10, RR], names=[*"abcde"]).set_index("name")
    assert measured.loc["b"].equals(measured.loc["a"])
    assert measured.loc["c"].equals(measured.loc["a"])
    assert measured.loc["d", "nDCG@10"] < measured.loc["a", "nDCG@10"] - 0.1
    assert measured.loc["e", "nDCG@10"] < measured.loc["a", "nDCG@10"] - 0.1


def test_a_cascade_reads_it_as_the_stage() -> None:
    """The same stages, table, fingerprint, replay and measures; a run has the probability."""
    plain, made = Cascade.of(FIRST % 20 >> SCORER % 5), Cascade.of(FIRST % 20 >> fitted() % 5)
    assert repr(made) == repr(plain) == "toy → 20 · toy_reranker → 5"
    assert [fingerprint(stage) for stage in made.stages] == [fingerprint(stage) for stage in plain.stages]
    table, expected = ptc.score(made, TOPICS), ptc.score(plain, TOPICS)
    pd.testing.assert_frame_equal(table.frame, expected.frame)
    columns = ["qid", "docno", "score", "rank"]
    live = ptc.run(made, TOPICS).results
    pd.testing.assert_frame_equal(live[columns], table.replay((20, 5))[columns])
    assert live["probability"].between(0, 1).all()
    pd.testing.assert_frame_equal(made.finish(table)[columns], live[columns])


def test_a_retriever_is_calibrated_as_well() -> None:
    """Fitted from topics; its rank cut-off stays behind it, also in a compiled pipeline."""
    made = calibrate(FIRST)
    found = FIRST.transform(TOPICS)
    made.fit(TOPICS, found[["qid", "docno"]].assign(label=(found["score"] + found["rank"] % 3 * 12 > 28).astype(int)))
    assert Cascade.of(made % 5 >> SCORER).stages[0].documents == "retrieves"
    for pipeline in (made % 5, (made % 5).compile()):
        assert "probability" in pipeline.transform(TOPICS)
        assert (pipeline.transform(TOPICS)["rank"] < 5).all()


def test_compile_does_not_drop_the_probability() -> None:
    """PISA's retriever takes a cut-off into itself: a calibrated one must not, or the pipeline loses its column."""

    @dataclass(frozen=True)
    class Fusing(ToyRetriever):
        def fuse_rank_cutoff(self, k: int) -> pt.Transformer:
            return self if k else None

    made = calibrate(Fusing(docs=30, levels=40), Platt(slope=0.1, intercept=0.0))
    assert "probability" in (made % 3).compile().transform(TOPICS)


def test_a_pipeline_fits_it() -> None:
    """PyTerrier's ``pipeline.fit`` runs what is before it."""
    made = calibrate(SCORER)
    (FIRST >> made).fit(TOPICS, QRELS)
    assert made == fitted()
    assert hash(made) == hash(calibrate(SCORER))
    assert made != calibrate(SCORER)


def test_failed_rows_have_no_probability() -> None:
    """They are left out of the fit, and NaN in the results; what the stage declares stays declared."""
    made = calibrate(Failing(levels=200))
    found = FIRST.transform(TOPICS)
    made.fit(found, QRELS)
    results = made.transform(found)
    assert (results["probability"].isna() == results["toy_failed"]).all()
    assert results["toy_failed"].any()
    good = results[~results["toy_failed"]]
    label = good.merge(QRELS, on=["qid", "docno"])["label"]
    assert made.calibrator == Platt.fit(good["score"].to_numpy(), label.to_numpy(bool))
    assert (made.failed_column, made.accounts, made.identify()) == ("toy_failed", ("toy_calls",), Failing(levels=200).identify())
    assert not hasattr(calibrate(SCORER), "identify")


def test_cached_scores_are_calibrated(tmp_path: Path) -> None:
    """A cache in a calibrated stage: the same results, from the second call on read; and ``score`` with a cache: the same table."""
    kept, found = fitted(cached(SCORER, tmp_path / "scores", identity="toy")), FIRST.transform(TOPICS)
    for _ in range(2):
        pd.testing.assert_frame_equal(kept.transform(found), fitted().transform(found))
    known = Known(levels=200)
    plain = ptc.score(Cascade.of(FIRST % 20 >> known % 5), TOPICS)
    for _ in range(2):
        table = ptc.score(Cascade.of(FIRST % 20 >> fitted(known) % 5), TOPICS, score_cache=tmp_path / "caches")
        pd.testing.assert_frame_equal(table.frame, plain.frame)


def test_it_is_not_fitted_yet() -> None:
    """The cure of the message gives probabilities."""
    made = calibrate(SCORER)
    with pytest.raises(PipelineError, match=r"'toy_reranker' gives no probabilities: .*Fix: calibrated\.fit\(topics, qrels\)"):
        made.transform(FIRST.transform(TOPICS))
    with pytest.raises(PipelineError, match="gives no probabilities"):
        made.save("here")
    made.fit(FIRST.transform(TOPICS), QRELS)
    assert len(made.transform(FIRST.transform(TOPICS)))


def test_no_rows_give_no_rows() -> None:
    """With the column, and PyTerrier's inspection knows it."""
    found = FIRST.transform(TOPICS)
    made = fitted()
    assert list(made.transform(found.iloc[:0])) == list(made.transform(found))
    assert pt.inspect.transformer_outputs(made, list(found)) == list(made.transform(found))


@pytest.mark.parametrize(
    ("stage", "method", "problem"),
    [
        ("bm25", "platt", r"'bm25' \(str\) is not a PyTerrier transformer"),
        (SCORER, "isotone", "method is 'isotone', expected one of .*; did you mean 'isotonic'"),
        (SCORER, 3, "method is 3, expected one of platt, isotonic, beta, temperature"),
    ],
)
def test_bad_arguments_are_refused(stage: object, method: object, problem: str) -> None:
    """When it is made."""
    with pytest.raises(PipelineError, match=problem):
        calibrate(stage, method)


def test_a_bad_rule_is_refused() -> None:
    """Both problems at once, when it is made."""
    with pytest.raises(FrameError, match=r"rel is 0, expected a whole number(.|\n)*unjudged is -1, expected a weight from 0 to 1"):
        calibrate(SCORER, rel=0, unjudged=-1)


def test_bad_judgments_are_refused_with_the_stage() -> None:
    """And leave the calibration that was there."""
    made = fitted()
    before = made.calibrator
    with pytest.raises(FrameError, match=r"toy_reranker: the scores cannot be calibrated: of \d+ pairs none is relevant"):
        made.fit(FIRST.transform(TOPICS), QRELS.assign(label=0))
    assert made.calibrator is before


def test_a_threshold_keeps_its_meaning_on_other_queries() -> None:
    """Of the documents of other queries with a probability of .7 or more, about the mean probability is relevant."""
    made = calibrate(SCORER)
    made.fit(FIRST.transform(TOPICS.head(6)), QRELS)
    results = made.transform(FIRST.transform(TOPICS.tail(6))).merge(QRELS, on=["qid", "docno"])
    sure = results[results["probability"] >= 0.7]
    assert len(sure) > 20
    assert sure["label"].mean() == pytest.approx(sure["probability"].mean(), abs=0.12)


def test_nothing_warns() -> None:
    """A fit and a transform are silent."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=".*inplace.*")
        fitted(method="beta").transform(FIRST.transform(TOPICS))
    assert [str(one.message) for one in caught] == []
