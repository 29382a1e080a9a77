"""Four ways from a score to the probability that the document is relevant; each is a few numbers, and rises with the score.

=========== =================================================== ============================================================
method      probability                                         source
=========== =================================================== ============================================================
platt       1 / (1 + exp(-(slope · score + intercept))), with    Platt 1999, "Probabilistic outputs for support vector
            his targets between 0 and 1                          machines", section 2.2
temperature the same, of the log-odds of the score              Guo et al. 2017, "On calibration of modern neural networks",
                                                                 with an intercept for the base rate
beta        log-odds a · ln p - b · ln(1 - p) + c, a and b ≥ 0   Kull, Silva Filho & Flach 2017, "Beta calibration"
isotonic    the rising steps that fit best, lines between them   Zadrozny & Elkan 2002, "Transforming classifier scores into
                                                                 accurate multiclass probability estimates"
=========== =================================================== ============================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self, TypeAlias

import numpy as np

from pt_cascade.analysis.calibration.regression import check_overlap, check_pairs, check_slope, fit_logistic
from pt_cascade.analysis.calibration.scales import Scale, check_scale, detect_scale, to_log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

_FAR = 690.0  # log-odds, of which a float64 still holds the probability
Method: TypeAlias = Literal["platt", "isotonic", "beta", "temperature"]


@dataclass(frozen=True, kw_only=True)
class Calibrator(ABC):
    """A fitted calibration: ``predict`` turns scores into probabilities and never puts a lower score above a higher one.

    Attributes:
        scale: Of the scores that it was fitted on, see ``detect_scale``.
    """

    method: ClassVar[Method]
    takes_log_odds: ClassVar[bool] = False
    scale: Scale = "logits"

    @classmethod
    def fit(cls, score: Floats, relevant: NDArray[np.bool_], weight: Floats | None = None, *, scale: Scale | None = None) -> Self:
        """Fit judged pairs.

        Args:
            score: Shape (n,), of any queries.
            relevant: Shape (n,).
            weight: Shape (n,), 0 or more; None: 1 each.
            scale: Of the stage's scores; None: what ``detect_scale`` tells of these.

        Raises:
            FrameError: There are fewer than 10 pairs, all or none are relevant, scores are all equal, not finite, or not higher
                for relevant pairs; or, for ``temperature`` and ``beta``, they separate relevant pairs from the others.

        Example:
            >>> score, relevant = np.arange(10.0), np.array([0, 0, 1, 0, 0, 1, 0, 1, 1, 1])
            >>> Platt.fit(score, relevant).predict(np.array([0.0, 9.0])).round(2).tolist()
            [0.18, 0.82]
        """
        score, relevant = np.asarray(score, np.float64), np.asarray(relevant, bool)
        weight = np.ones(len(score)) if weight is None else np.asarray(weight, np.float64)
        check_pairs(score, relevant, weight)
        counts = weight > 0
        return cls._fit(score[counts], relevant[counts], weight[counts], scale or detect_scale(score))

    @classmethod
    @abstractmethod
    def _fit(cls, score: Floats, relevant: NDArray[np.bool_], weight: Floats, scale: Scale) -> Self:
        """Fit checked pairs of a weight above 0."""

    def predict(self, score: Floats) -> Floats:
        """Give the probability of each score, shape (n,), in [0, 1]; it depends on that score alone.

        Raises:
            FrameError: A score is not finite; or, for ``temperature`` and ``beta``, outside the range of the scale, e.g. above 1.
        """
        score = np.asarray(score, np.float64)
        check_scale(score, self.scale, strict=self.takes_log_odds)
        return self._predict(score)

    @abstractmethod
    def _predict(self, score: Floats) -> Floats:
        """Give the probability of each score."""


@dataclass(frozen=True, kw_only=True)
class Platt(Calibrator):
    """A sigmoid of the score, for logits and other unbounded scores; robust with few judgments."""

    method = "platt"
    slope: float
    intercept: float

    @classmethod
    def _fit(cls, score: Floats, relevant: NDArray[np.bool_], weight: Floats, scale: Scale) -> Self:
        ones, others = weight[relevant].sum(), weight[~relevant].sum()
        target = np.where(relevant, (ones + 1) / (ones + 2), 1 / (others + 2))  # Platt's prior, p. 5
        slope, intercept = fit_logistic(score[:, None], target, weight)
        check_slope(slope[0])
        return cls(scale=scale, slope=float(slope[0]), intercept=intercept)

    def _predict(self, score: Floats) -> Floats:
        return sigmoid(self.slope * score + self.intercept)


@dataclass(frozen=True, kw_only=True)
class Temperature(Calibrator):
    """A sigmoid of the log-odds over a temperature, plus an intercept; for logits, probabilities and log-probabilities."""

    method = "temperature"
    takes_log_odds = True
    temperature: float
    intercept: float

    @classmethod
    def _fit(cls, score: Floats, relevant: NDArray[np.bool_], weight: Floats, scale: Scale) -> Self:
        slope, intercept = fit_logistic(to_log_odds(score, scale)[:, None], relevant.astype(np.float64), weight)
        check_slope(slope[0])
        check_overlap(score, relevant)
        return cls(scale=scale, temperature=float(1 / slope[0]), intercept=intercept)

    def _predict(self, score: Floats) -> Floats:
        return sigmoid(to_log_odds(score, self.scale) / self.temperature + self.intercept)


@dataclass(frozen=True, kw_only=True)
class Beta(Calibrator):
    """Logistic regression on (ln p, -ln(1 - p)) of probabilities; a negative coefficient becomes 0, as in the package betacal."""

    method = "beta"
    takes_log_odds = True
    a: float
    b: float
    c: float

    @classmethod
    def _fit(cls, score: Floats, relevant: NDArray[np.bool_], weight: Floats, scale: Scale) -> Self:
        features, target = _beta_features(to_log_odds(score, scale)), relevant.astype(np.float64)
        both, c = fit_logistic(features, target, weight)
        if (both < 0).any():
            kept = int(both[0] < 0)  # betacal drops the first if it is negative, else the second
            alone, c = fit_logistic(features[:, [kept]], target, weight)
            both = np.where(np.arange(2) == kept, alone[0], 0.0)
        check_slope(float(both.sum()))
        check_overlap(score, relevant)
        return cls(scale=scale, a=float(both[0]), b=float(both[1]), c=c)

    def _predict(self, score: Floats) -> Floats:
        rising, falling = _beta_features(to_log_odds(score, self.scale)).T
        return sigmoid(self.a * rising + self.b * falling + self.c)


@dataclass(frozen=True, kw_only=True)
class Isotonic(Calibrator):
    """Isotonic regression: any rising curve, by steps; for about 1,000 judged pairs or more.

    Attributes:
        scores: Rising; between two of them the probability is on a line, beyond them it is constant.
        probabilities: One a score, rising or equal.
    """

    method = "isotonic"
    scores: tuple[float, ...] = field(repr=False)
    probabilities: tuple[float, ...] = field(repr=False)

    def __post_init__(self) -> None:
        """Make tuples of lists, which JSON gives."""
        object.__setattr__(self, "scores", tuple(self.scores))
        object.__setattr__(self, "probabilities", tuple(self.probabilities))

    @classmethod
    def _fit(cls, score: Floats, relevant: NDArray[np.bool_], weight: Floats, scale: Scale) -> Self:
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - loads when first needed

        model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, relevant.astype(np.float64), weight)
        check_slope(float(model.y_thresholds_[-1] - model.y_thresholds_[0]))
        knots = (tuple(map(float, knot)) for knot in (model.X_thresholds_, model.y_thresholds_))
        return cls(scale=scale, **dict(zip(("scores", "probabilities"), knots, strict=True)))

    def _predict(self, score: Floats) -> Floats:
        p: Floats = np.interp(score, self.scores, self.probabilities)
        return p


CALIBRATORS: dict[Method, type[Calibrator]] = {kind.method: kind for kind in (Platt, Isotonic, Beta, Temperature)}


def sigmoid(log_odds: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), which never falls as x rises; made of ``np.exp`` it would, by its last bit."""
    from scipy import special  # noqa: PLC0415 - loads when first needed

    p: Floats = special.expit(log_odds)
    return p


def _beta_features(log_odds: Floats) -> Floats:
    """Return ln p and -ln(1 - p), which never fall as the log-odds rise, as ``np.logaddexp`` does; the same beyond +-690."""
    near = np.clip(log_odds, -_FAR, _FAR)
    return np.stack([np.log(sigmoid(near)), -np.log(sigmoid(-near))], axis=1)
