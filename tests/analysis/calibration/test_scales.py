"""Scales are told by their range, and a sigmoid that came or went is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from pt_cascade.analysis.calibration import Beta, Isotonic, Platt, Temperature, detect_scale
from pt_cascade.analysis.calibration.calibrators import Calibrator
from pt_cascade.analysis.calibration.scales import to_log_odds
from pt_cascade.errors import CascadeWarning, FrameError

RELEVANT = np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1], bool)
LOGITS = np.linspace(-6, 6, 12)
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))


@pytest.mark.parametrize(
    ("scores", "scale"),
    [
        ([0.0, 0.3, 1.0], "probabilities"),
        ([-3.0, -0.1, 0.0], "log-probabilities"),
        ([-0.2, 0.9], "cosines"),
        ([-3.0, 0.9], "logits"),
        ([31.5, 12.2], "logits"),
        ([0.5, 1.0000001], "logits"),
    ],
)
def test_a_scale_is_told_by_its_range(scores: list[float], scale: str) -> None:
    """The ends belong to the range."""
    assert detect_scale(np.array(scores)) == scale


@pytest.mark.parametrize(
    ("scores", "problem"), [([], "there is none"), ([1.0, np.nan, np.inf], "2 of 3 scores are NaN or infinite")]
)
def test_scores_without_a_scale_are_refused(scores: list[float], problem: str) -> None:
    """No score, or one that is no number."""
    with pytest.raises(FrameError, match=problem):
        detect_scale(np.array(scores))


def test_log_odds_of_each_scale() -> None:
    """By hand: ln(.8 / .2) = ln 4; certain scores are cut, not infinite; other scores stay."""
    assert to_log_odds(np.array([0.8]), "probabilities") == pytest.approx(np.log(4), abs=1e-12)
    assert to_log_odds(np.log(np.array([0.8])), "log-probabilities") == pytest.approx(np.log(4), abs=1e-12)
    assert np.isfinite(to_log_odds(np.array([0.0, 1.0]), "probabilities")).all()
    assert np.isfinite(to_log_odds(np.array([-800.0, 0.0]), "log-probabilities")).all()
    assert to_log_odds(np.array([31.0]), "logits").tolist() == [31.0]


@pytest.mark.parametrize("kind", [Platt, Isotonic])
@pytest.mark.parametrize(("before", "after"), [(LOGITS, PROBABILITIES), (PROBABILITIES, LOGITS)])
def test_a_sigmoid_that_came_or_went_is_noticed(kind: type[Calibrator], before: np.ndarray, after: np.ndarray) -> None:
    """As where a library changes a model's activation: the probabilities would be wrong without a word."""
    fitted = kind.fit(before, RELEVANT)
    fitted.predict(before)
    with pytest.warns(
        CascadeWarning, match=r"12 scores look like .*, but the calibration was fitted on .*the probabilities are wrong"
    ):
        fitted.predict(after)


@pytest.mark.parametrize("kind", [Temperature, Beta])
def test_logits_are_refused_where_probabilities_are_read(kind: type[Calibrator]) -> None:
    """They have no log-odds."""
    fitted = kind.fit(PROBABILITIES, RELEVANT)
    with pytest.raises(FrameError, match=r"6 of 12 scores are not probabilities, as at fitting, e\.g\. -6"):
        fitted.predict(np.where(LOGITS < 0, LOGITS, 0.5))


@pytest.mark.parametrize("kind", [Platt, Isotonic])
def test_cosines_below_0_are_no_change(kind: type[Calibrator]) -> None:
    """Cosines that were all above 0 at fitting look like probabilities, and may be below 0 later: no warning."""
    fitted = kind.fit(np.linspace(0.1, 0.8, 12), RELEVANT)
    assert fitted.predict(np.linspace(-0.3, 0.8, 12)).shape == (12,)


def test_few_scores_show_no_scale() -> None:
    """Nine logits in [0, 1] are no warning: that happens by chance."""
    assert len(Platt.fit(LOGITS, RELEVANT).predict(np.linspace(0, 1, 9))) == 9


def test_a_cosine_of_float32_may_be_a_little_above_one() -> None:
    """A calibration that was fitted on cosines takes it."""
    from pt_cascade.analysis.calibration.scales import check_scale

    check_scale(np.array([-0.5, 1.0000001]), "cosines", strict=True)
    with pytest.raises(FrameError, match=r"e\.g\. 1\.1$|e\.g\. 1\.1\."):
        check_scale(np.array([-0.5, 1.1]), "cosines", strict=True)
