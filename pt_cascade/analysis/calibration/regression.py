"""Logistic regression without a penalty, and what it needs of scores and judgments."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import FrameError
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats

FEWEST = 10  # judged pairs
_WHAT = "the scores cannot be calibrated"
_TOLERANCE = 1e-10
_STEPS = 1000


def check_pairs(score: Floats, relevant: NDArray[np.bool_], weight: Floats) -> None:
    """Refuse scores and judgments that tell no probability, all problems at once."""
    if not len(score) == len(relevant) == len(weight):
        raise FrameError(_WHAT, [f"there are {len(score)} scores, {len(relevant)} judgments and {len(weight)} weights"])
    problems, judged = {}, int((weight > 0).sum())
    if lost := int((~np.isfinite(score)).sum()):
        problems[f"{lost} of {len(score)} scores are NaN or infinite"] = "leave out the pairs without a score"
    if judged < FEWEST:
        problems[f"{count_of(judged, 'pair')} of query and document with a judgment and a score, expected {FEWEST} or more"] = (
            "judge more documents"
        )
    elif relevant[weight > 0].all() or not relevant[weight > 0].any():
        many = "all are" if relevant.any() else "none is"
        problems[f"of {judged} pairs {many} relevant, expected some of both"] = (
            "set rel=, the lowest label that is relevant, or unjudged=, the weight of an unjudged pair"
        )
    if not lost and len(score) and (score == score[0]).all():
        problems[f"all scores are equal ({score[0]:.6g})"] = "calibrate a stage that scores documents differently"
    if problems:
        raise FrameError(_WHAT, problems, fix="; ".join(problems.values()))


def check_overlap(score: Floats, relevant: NDArray[np.bool_]) -> None:
    """Refuse scores that separate relevant pairs from the others: no finite slope fits them best."""
    if score[relevant].min() >= score[~relevant].max():
        problem = "every relevant pair scores at least as high as every other, so the best slope is infinite"
        raise FrameError(_WHAT, [problem], fix='method="platt" or method="isotonic", or judge more documents')


def check_slope(slope: float) -> None:
    """Refuse a calibration that would not rise with the score."""
    if not slope > 0:
        problem = (
            f"relevant pairs do not score higher than others (slope {slope:.3g}), so that probabilities would fall as scores rise"
        )
        raise FrameError(_WHAT, [problem], fix="give higher scores to better documents, e.g. the negative of a distance")


def fit_logistic(features: Floats, target: Floats, weight: Floats) -> tuple[Floats, float]:
    """Fit ln(p / (1 - p)) = features · coefficients + intercept by maximum likelihood.

    Args:
        features: Shape (n, m).
        target: Shape (n,), in [0, 1]: a share between 0 and 1 counts as that much of a relevant pair.
        weight: Shape (n,), 0 or more.

    Returns:
        The coefficients, shape (m,), and the intercept.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - loads when first needed

    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    scaled = (features - mean) / deviation  # so that the fit does not depend on the unit of the scores
    rows, labels = np.vstack([scaled, scaled]), np.repeat([1, 0], len(scaled))
    weights = np.r_[weight * target, weight * (1 - target)]
    counts = weights > 0
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=_TOLERANCE, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where features are nearly collinear it goes on with another solver
        model.fit(rows[counts], labels[counts], sample_weight=weights[counts])
    coefficients: Floats = model.coef_[0] / deviation
    return coefficients, float(model.intercept_[0] - coefficients @ mean)
