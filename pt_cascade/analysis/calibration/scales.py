"""The scale of scores: probabilities, their logarithms, cosines, or anything else; and the log-odds of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.errors import FrameError, warn

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats

Scale: TypeAlias = "Literal['probabilities', 'log-probabilities', 'cosines', 'logits']"

_RANGES: dict[Scale, tuple[float, float]] = {"probabilities": (0, 1), "log-probabilities": (-np.inf, 0), "cosines": (-1, 1)}
_SLACK = 1e-5  # a cosine of float32 may be 1.0000001
_EPS = float(np.finfo(np.float64).eps)  # betacal and scikit-learn also cut probabilities there
_ENOUGH = 10  # so many logits are hardly all in [0, 1] by chance


def detect_scale(scores: Floats) -> Scale:
    """Tell on which scale scores are, by their range alone.

    Args:
        scores: Shape (n,), at least one, finite.

    Returns:
        ``probabilities`` if all are in [0, 1]; else ``log-probabilities`` if none is above 0, as those of MonoT5; else ``cosines``
        if all are in [-1, 1]; else ``logits``, which stands for any other numbers, e.g. those of BM25.

    Raises:
        FrameError: There is no score, or one is not finite.

    Example:
        >>> detect_scale(np.array([0.1, 0.9])), detect_scale(np.array([-2.3, -0.1])), detect_scale(np.array([-2.3, 4.0]))
        ('probabilities', 'log-probabilities', 'logits')
    """
    scores = np.asarray(scores, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        found = (
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are NaN or infinite" if len(scores) else "there is none"
        )
        raise FrameError(
            "the scale of the scores cannot be told", [found], fix="scores = scores[np.isfinite(scores)]" * bool(len(scores))
        )
    low, high = scores.min(), scores.max()
    return next((scale for scale, (least, most) in _RANGES.items() if least <= low and high <= most), "logits")


def to_log_odds(scores: Floats, scale: Scale) -> Floats:
    """Give the log-odds of probabilities and of log-probabilities, cut at 2e-16 from 0 and 1; other scores as they are."""
    odds = scores
    if scale == "probabilities":
        p = np.clip(scores, _EPS, 1 - _EPS)
        odds = np.log(p) - np.log1p(-p)
    elif scale == "log-probabilities":
        log_p = np.minimum(scores, -_EPS)
        odds = log_p - np.log(-np.expm1(log_p))
    return odds


def check_scale(scores: Floats, fitted: Scale, *, strict: bool) -> None:
    """Refuse scores that are not finite, or, if ``strict``, outside the range of the scale; warn where a sigmoid came or went."""
    least, most = _RANGES.get(fitted, (-np.inf, np.inf)) if strict else (-np.inf, np.inf)
    slack = _SLACK if fitted == "cosines" else 0.0
    bad = ~np.isfinite(scores) | (scores < least - slack) | (scores > most + slack)
    if bad.any():
        problem = f"{int(bad.sum())} of {len(scores)} scores are not {fitted}, as at fitting, e.g. {float(scores[bad][0])!r}"
        raise FrameError("these scores cannot be calibrated", [problem], fix="fit the calibration again, on scores of this model")
    now = detect_scale(scores) if len(scores) >= _ENOUGH else fitted
    if now != fitted and "probabilities" in (now, fitted) and "cosines" not in (now, fitted):
        message = (
            f"{len(scores)} scores look like {now}, but the calibration was fitted on {fitted}: if the model has a "
            "sigmoid at one of the two times only, the probabilities are wrong. Fit the calibration again, on scores of this model"
        )
        warn(message)
