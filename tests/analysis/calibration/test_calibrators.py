"""Each method gives the numbers of its reference, rises with the score, and refuses what tells no probability."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from pt_cascade.analysis.calibration import Beta, Isotonic, Platt, Temperature
from pt_cascade.analysis.calibration.calibrators import CALIBRATORS, Calibrator
from pt_cascade.errors import FrameError

KINDS = list(CALIBRATORS.values())
N = np.arange(60)
P = ((N * 37) % 60 + 0.5) / 60  # 60 probabilities from 1/120 to 119/120


def draw(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels that rise with them: some of both, neither all below nor all above the others."""
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 2, count)
    relevant = rng.random(count) < expit(score - 0.5)
    low, high = np.argmin(score), np.argmax(score)
    relevant[[low, high]] = True, False
    return score, relevant | (np.arange(count) == np.argsort(score)[-3])


def test_platt_is_that_of_libsvm() -> None:
    """LibSVM's A and B for three scores, as scikit-learn's test_sigmoid_calibration quotes them; each four times a quarter."""
    score, relevant = np.repeat([5.0, -4.0, 1.0], 4), np.repeat([True, False, False], 4)
    fitted = Platt.fit(score, relevant, np.full(12, 0.25))
    assert (-fitted.slope, -fitted.intercept) == pytest.approx(
        (-0.20261354391187855, 0.65236314980010512), abs=1e-5
    )  # it stops at 1e-5


@pytest.mark.parametrize(
    ("step", "power", "released", "converged"),
    [
        (17, 3.0, (3.339760, 0.662917, -0.498336), (3.3398616327, 0.6629872878, -0.4984312352)),
        (29, 0.4, (0.0, 2.589573, -0.841571), (0.0, 2.5896672964, -0.8416383975)),
    ],
)
def test_beta_is_that_of_betacal(step: int, power: float, released: tuple[float, ...], converged: tuple[float, ...]) -> None:
    """BetaCalibration("abm") of betacal 1.1.0, as released, and with its solver at tol=1e-12; in the second case a is dropped."""
    relevant = ((N * step) % 60 + 0.5) / 60 < P**power
    fitted = Beta.fit(P, relevant)
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx(converged, abs=2e-6)
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx(released, abs=2e-4)
    if step == 17:
        by_betacal = [1.2785112517834607e-07, 0.003250178687790975, 0.08675634662484963, 0.45594877352196717, 0.925612745242786]
        assert fitted.predict(np.array([0.01, 0.2, 0.5, 0.8, 0.99])) == pytest.approx(by_betacal, rel=1e-4)


def test_beta_is_the_posterior_of_two_beta_densities() -> None:
    """Kull, Silva Filho and Flach 2017: scores from Beta(4, 2) where relevant and Beta(1, 3) where not have this very map.

    a = 4 - 1, b = 3 - 2 and c = ln B(1, 3) / B(4, 2); Bayes' theorem by the densities of SciPy.
    """
    p = (np.arange(400) + 0.5) / 400
    relevant, other = stats.beta.pdf(p, 4, 2), stats.beta.pdf(p, 1, 3)
    fitted = Beta.fit(np.tile(p, 2), np.repeat([True, False], 400), np.r_[relevant, other])
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((3, 1, np.log((1 / 3) / (1 / 20))), abs=1e-6)
    assert fitted.predict(p) == pytest.approx(relevant / (relevant + other), abs=1e-9)


@pytest.mark.parametrize(("low", "high"), [(-1.5, 2.0), (0.1, 0.7), (-4.0, -0.3)])
def test_temperature_meets_the_shares_of_two_scores(low: float, high: float) -> None:
    """By hand: a line through two points fits both shares exactly, 2 of 10 and 6 of 10, on any scale."""
    score, relevant = np.repeat([low, high], 10), np.r_[np.arange(10) < 2, np.arange(10) < 6]
    assert Temperature.fit(score, relevant).predict(np.array([low, high])) == pytest.approx([0.2, 0.6], abs=1e-8)


def test_temperature_meets_the_base_rate_where_relevance_is_rare() -> None:
    """A temperature alone keeps logits around 0 at a mean probability of .5; with an intercept it is the base rate."""
    score = np.random.default_rng(0).normal(0, 1, 2000)
    relevant = np.random.default_rng(1).random(2000) < expit(score - 2)
    assert expit(score).mean() == pytest.approx(0.5, abs=0.02)
    assert Temperature.fit(score, relevant).predict(score).mean() == pytest.approx(relevant.mean(), abs=1e-9)


def test_isotonic_pools_what_falls() -> None:
    """By hand: shares 0, 1, 1/2, 1 of four scores become 0, 2/3, 2/3, 1; halfway from 1 to 2 lies 1/3; flat beyond the ends."""
    score = np.array([1, 1, 1, 1, 2, 3, 3, 4, 4, 4.0])
    fitted = Isotonic.fit(score, np.array([0, 0, 0, 0, 1, 1, 0, 1, 1, 1], bool))
    expected = [0, 0, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 1, 1]
    assert fitted.predict(np.array([-9, 1, 1.5, 2, 2.5, 3, 4, 9])) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 10**6))
def test_isotonic_is_that_of_scikit_learn(seed: int) -> None:
    """Its IsotonicRegression, at scores between and beyond the fitted ones, after a change to plain numbers."""
    score, relevant = draw(seed)
    asked = np.random.default_rng(seed).normal(0, 3, 50)
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, relevant).predict(asked)
    assert Isotonic.fit(score, relevant).predict(asked) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 10**6), st.sampled_from(["logits", "probabilities", "log-probabilities"]))
def test_a_probability_rises_with_the_score_and_stays_within_0_and_1(kind: type[Calibrator], seed: int, scale: str) -> None:
    """Also far beyond the fitted scores."""
    score, relevant = draw(seed)
    far = np.r_[np.random.default_rng(seed).normal(0, 500, 40), -1e300, 1e300, score]
    change = {"logits": lambda x: x, "probabilities": expit, "log-probabilities": lambda x: -np.logaddexp(0, -x)}[scale]
    fitted = kind.fit(change(score), relevant)
    p = fitted.predict(change(np.sort(far)))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()


@pytest.mark.parametrize("start", [-3.1, -0.17, 0.3])
def test_a_probability_never_falls_by_a_bit(start: float) -> None:
    """For 100,000 neighbouring scores; from -0.17, a sigmoid and features of beta that are made of np.logaddexp fall at 8,000."""
    x = start + np.spacing(abs(start)) * np.arange(100_000)
    assert (np.diff(x) > 0).all()
    methods = (Platt(slope=1.1, intercept=0), Temperature(temperature=0.9, intercept=0), Beta(a=0.7, b=0.4, c=-1))
    for method in methods:
        assert (np.diff(method._predict(x)) >= 0).all()


@pytest.mark.parametrize("kind", [Platt, Temperature, Isotonic])
@given(st.integers(0, 10**6), st.floats(0.01, 1000), st.floats(-1000, 1000))
def test_the_unit_of_the_scores_does_not_matter(kind: type[Calibrator], seed: int, factor: float, offset: float) -> None:
    """Probabilities of factor · score + offset are those of the scores; factor and offset leave them logits."""
    score, relevant = draw(seed)
    score[:2] = -5.0, 5.0
    moved = factor * score + offset
    if not (moved.min() < -1 and moved.max() > 0) and not moved.max() > 1:
        return
    plain = kind.fit(score, relevant)
    assert kind.fit(moved, relevant).predict(moved) == pytest.approx(plain.predict(score), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 10**6))
def test_a_weight_counts_copies(kind: type[Calibrator], seed: int) -> None:
    """Weights 0, 1, 2, 3 give what leaving out, once, twice and three times the row give; Platt's targets count them as well."""
    score, relevant = draw(seed)
    weight = np.random.default_rng(seed).integers(0, 4, len(score))
    copies = np.repeat(np.arange(len(score)), weight)
    try:
        expected = kind.fit(score[copies], relevant[copies])
    except FrameError:
        return
    assert kind.fit(score, relevant, weight.astype(float)).predict(score) == pytest.approx(expected.predict(score), abs=1e-6)


GOOD_SCORE, GOOD_LABEL = draw(0)
REFUSED = {
    "9 pairs of query and document with a judgment and a score, expected 10 or more": (GOOD_SCORE[:9], GOOD_LABEL[:9]),
    "of 60 pairs all are relevant, expected some of both": (GOOD_SCORE, np.ones(60, bool)),
    "of 60 pairs none is relevant, expected some of both": (GOOD_SCORE, np.zeros(60, bool)),
    "all scores are equal (3)": (np.full(60, 3.0), GOOD_LABEL),
    "1 of 60 scores are NaN or infinite": (np.where(N == 7, np.nan, GOOD_SCORE), GOOD_LABEL),
    "relevant pairs do not score higher than others": (N.astype(float), N < 30),
    "there are 60 scores, 59 judgments and 60 weights": (GOOD_SCORE, GOOD_LABEL[:59]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("problem", REFUSED)
def test_what_tells_no_probability_is_refused(kind: type[Calibrator], problem: str) -> None:
    """Too few pairs, one class, no difference, no number, the wrong direction."""
    score, relevant = REFUSED[problem]
    with pytest.raises(FrameError, match=re.escape(problem)):
        kind.fit(score, relevant)


def test_all_problems_are_in_one_error() -> None:
    """Two problems, two cures."""
    with pytest.raises(FrameError) as caught:
        Platt.fit(np.array([np.nan, 1.0, 1.0]), np.array([True, False, False]))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("kind", [Temperature, Beta])
def test_scores_that_separate_are_refused_with_methods_that_take_them(kind: type[Calibrator]) -> None:
    """Maximum likelihood has no finite slope there; Platt's targets and isotonic regression do, as the cure says."""
    score, relevant = np.arange(20.0), np.arange(20) >= 12
    with pytest.raises(FrameError, match=r'the best slope is infinite.*method="platt" or method="isotonic"'):
        kind.fit(score, relevant)
    assert [method.fit(score, relevant).predict(score)[-1] > 0.7 for method in (Platt, Isotonic)] == [True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_that_are_no_numbers_get_no_probability(kind: type[Calibrator]) -> None:
    """NaN and infinity are refused, and named."""
    fitted = kind.fit(GOOD_SCORE, GOOD_LABEL)
    for bad in (np.nan, np.inf):
        with pytest.raises(FrameError, match=f"1 of 2 scores are not logits, as at fitting, e.g. {bad}"):
            fitted.predict(np.array([0.0, bad]))


def test_probabilities_are_read_by_their_log_odds() -> None:
    """Temperature of probabilities is that of their logits."""
    score, relevant = draw(3)
    of_logits, of_probabilities = Temperature.fit(score, relevant), Temperature.fit(expit(score), relevant)
    assert of_probabilities.temperature == pytest.approx(of_logits.temperature, rel=1e-6)
    assert of_probabilities.predict(np.array([0.25])) == pytest.approx(of_logits.predict(logit(np.array([0.25]))), rel=1e-6)
