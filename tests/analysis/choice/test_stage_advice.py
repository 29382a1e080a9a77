"""Whether a further stage pays: on tables where the answer is known."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.scored import make_sweep

from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.choice.cross_validation import draw_folds, excess_variance, wild_bootstrap
from pt_cascade.analysis.choice.intervals import Estimate, estimate
from pt_cascade.analysis.choice.stage_advice import Advice, decide, measure_held_out
from pt_cascade.analysis.choice.verdict import round_up
from pt_cascade.analysis.cost.cost import StageCost
from pt_cascade.analysis.grid.cutoffs import name_cascade


def advised(queries: int, second: float, third: float, **options: object) -> Advice:
    """Advise on a cascade of 8 documents, one relevant, its score higher by so much than noise in either stage."""
    rng = np.random.default_rng(1)
    labels = np.zeros((queries, 8), int)
    labels[np.arange(queries), rng.integers(0, 8, queries)] = 1
    noise = rng.normal(size=(2, queries, 8))
    scores = {"bm25": np.tile(-np.arange(8.0), (queries, 1)), "bi": second * labels + noise[0], "ce": third * labels + noise[1]}
    if third == second:
        scores["ce"] = scores["bi"]
    return choose(make_sweep(scores, labels, ("RR",)), "RR", method="plateau", **options).advice


def test_a_third_stage_that_knows_what_the_second_did_not_pays() -> None:
    """Each stage knows something; together they know more than either, by an interval above 0."""
    found = advised(500, 2.0, 2.2)
    assert found.verdict == "yes"
    assert found.gain.low > 0
    assert found.text == f"A third stage pays: RR changes by {found.gain} on held-out queries."
    assert found.longer.startswith("bm25 → 8 · bi → ")


def test_a_third_stage_that_repeats_the_second_does_not_pay() -> None:
    """The same scores once more cannot gain: with enough queries the whole interval is below the margin."""
    found = advised(500, 2.0, 2.0, margin=0.02)
    assert found.verdict == "no"
    assert abs(found.gain.mean) < 0.001
    assert found.text.startswith(
        f"A third stage does not pay: RR changes by {found.gain} on held-out queries, less than the margin of 0.02."
    )


def test_few_queries_cannot_tell_and_more_would() -> None:
    """No more than it takes for an interval narrower than the margin."""
    found = advised(25, 2.0, 2.2)
    width = found.gain.high - found.gain.low
    assert found.verdict == "cannot tell"
    assert 25 < found.needed <= np.ceil(25 * (width / 0.02) ** 2)
    assert found.text.startswith(
        f"25 queries do not show whether a third stage pays: RR changes by {found.gain} on held-out queries; "
        f"at most about {round_up(found.needed):,} would."
    )


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 0.5))
def test_a_verdict_says_what_the_interval_does(mean: float, down: float, up: float, margin: float) -> None:
    """No: below the margin; yes: above 0, and not below the margin; else neither, and then it is as wide as the margin or wider."""
    gain = Estimate(mean, mean - down, mean + up, 10)
    verdict = decide(gain, margin)
    assert (verdict == "no") == (gain.high < margin)
    assert (verdict == "yes") == (gain.high >= margin and gain.low > 0)
    assert verdict != "cannot tell" or gain.high - gain.low >= margin


def test_a_gain_that_is_sure_but_small_does_not_pay() -> None:
    """More than 0 is not enough: the margin is what a stage is to bring."""
    assert decide(Estimate(0.005, 0.003, 0.007, 5000), 0.02) == "no"


def test_held_out_each_fold_gets_what_the_others_chose() -> None:
    """By hand: two folds of one query each; vector a is best on the first, b on the second, so each gets the other's."""
    labels = np.array([[1, 0], [0, 1]])
    swept = make_sweep({"a": np.array([[2.0, 1.0], [2.0, 1.0]]), "b": np.array([[0.0, 1.0], [0.0, 1.0]])}, labels, ("RR",))
    vectors = swept.grid.vectors
    fold = np.array([0, 1])
    sums = swept.replayer.sums(vectors, fold)[:, :, 0]
    assert vectors[:, 0].tolist() == [1, 2]
    assert sums.tolist() == [[1.0, 0.5], [0.0, 1.0]]
    candidates = Candidates(swept.replayer, vectors, np.ones(2, bool), np.array([1.0, 2.0]), fold[None])
    assert candidates.sums.tolist() == [sums.tolist()]
    assert measure_held_out([candidates]).tolist() == [0.5, 0.0]


def test_the_gain_is_held_out_against_the_best_shorter_cascade_chosen_likewise() -> None:
    """By a loop: each fold by the best of all vectors of the whole, and of either shorter cascade, on the other folds."""
    rng = np.random.default_rng(3)
    labels = (rng.random((40, 6)) < 0.3).astype(int)
    scores = {
        "a": np.tile(-np.arange(6.0), (40, 1)),
        "b": labels + rng.normal(size=(40, 6)),
        "c": labels + rng.normal(size=(40, 6)),
    }
    swept = make_sweep(scores, labels)
    splits = draw_folds(40, 4, 0)
    parts = [swept.replayer] + [replace(swept.replayer, path=swept.table.find_path(stages)) for stages in (("a", "c"), ("a", "b"))]
    vectors = [swept.grid.vectors, *[np.array([(k, 2**31 - 1) for k in range(1, 7)], np.int32)] * 2]
    values = [np.stack([part.per_query(v)[:, 0] for v in vs], axis=1) for part, vs in zip(parts, vectors, strict=True)]
    expected = np.zeros(40)
    for fold, held in itertools.product(splits, range(4)):
        means = [one[fold != held].mean(axis=0) for one in values]
        short = max((1, 2), key=lambda n: means[n].max())
        long_value, short_value = values[0][:, means[0].argmax()], values[short][:, means[short].argmax()]
        expected[fold == held] += (long_value - short_value)[fold == held] / len(splits)
    gain = choose(swept, "nDCG@10", folds=4, level=0.9).advice.gain
    assert gain.mean == pytest.approx(expected.mean())
    common = values[0][:, [int(values[0].mean(axis=0).argmax())]]
    off = wild_bootstrap(values[0] - common, splits[0])[0] - wild_bootstrap(np.hstack(values[1:]) - common, splits[0])[0]
    alone, wider = estimate(expected, level=0.9), estimate(expected, level=0.9, more=excess_variance(off, expected))
    assert (gain.low, gain.high) == pytest.approx((wider.low, wider.high))
    assert alone.high < wider.high


def test_both_cascades_keep_to_the_budget() -> None:
    """With 20 ms: eight documents by the cheap stage, two by the dear one; each is named with what it costs."""
    labels = np.zeros((40, 8), int)
    labels[np.arange(40), np.arange(40) % 8] = 1
    scores = {"a": np.tile(-np.arange(8.0), (40, 1)), "b": labels * 1.0, "c": labels * 1.0}
    swept = make_sweep(scores, labels, ("RR",), cost=[StageCost(), StageCost(per_pair_ms=1), StageCost(per_pair_ms=6)])
    found = choose(swept, "RR", budget_ms=20, percentile=None).advice
    assert found.longer == "a → 8 · b → 1 · c (14 ms a query)"
    assert found.shorter == "a → 8 · b (8 ms a query)"
    assert found.gain.mean == 0.0


MORE = "To see whether a further stage pays, score a cascade with one more stage."


def test_two_stages_have_nothing_to_compare_with() -> None:
    """And it says what to do."""
    labels = np.eye(4, dtype=int)
    first = np.tile(-np.arange(4.0), (4, 1))
    for scores, said in (
        ({"a": first, "b": labels * 1.0}, f"The cascade has 2 stages. {MORE}"),
        ({"a": first}, f"The cascade has 1 stage. {MORE}"),
    ):
        found = choose(make_sweep(scores, labels, ("RR",)), "RR", folds=2).advice
        assert found == Advice(said)


def test_a_shorter_cascade_that_is_not_covered_is_not_compared() -> None:
    """The third stage scored only what the second passed on, not the first stage's top: only the second is left to compare with."""
    labels = np.eye(4, dtype=int)
    first, second = np.tile(-np.arange(4.0), (4, 1)), np.tile(np.arange(4.0), (4, 1))
    third = np.where(np.arange(4) >= 2, labels.astype(float), np.nan)
    swept = make_sweep({"a": first, "b": second, "c": third}, labels, ("RR",), grid=[(4, 2, None), (4, 1, None)])
    found = choose(swept, "RR", folds=2).advice
    assert found.shorter.startswith("a → ")
    assert " · b (" in found.shorter


def test_a_cascade_is_named_by_its_stages_and_cutoffs() -> None:
    """As its repr does."""
    assert name_cascade(("bm25", "t5", "llm"), (100, 5, None)) == "bm25 → 100 · t5 → 5 · llm"
