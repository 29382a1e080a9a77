"""Rules that read scores as they are: a threshold, or probabilities of a calibrated stage."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.pruning.rules import Rule, at_rank
from pt_cascade.errors import PipelineError
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from pt_cascade.analysis.pruning.rules import Flags
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True)
class Threshold(Rule):
    """Keeps the documents whose score is at least ``score``; a lower one loosens.

    Attributes:
        score: In the units of the scores.

    Example:
        >>> Threshold(0.5).count(np.array([0.9, 0.5, 0.4]), np.array([0, 3])).tolist()
        [2]
    """

    score: float

    word = "threshold"
    key = "score"
    fix = "Threshold(0.5, floor=5, ceiling=100)"

    def _pass(self, score: Floats, of: Ints, starts: Ints, heads: Ints) -> Flags:  # noqa: ARG002 - those of a rule
        return score >= self.score


@dataclass(frozen=True)
class Probability(Rule):
    """Keeps the documents that are relevant with a probability of at least ``p``; a lower one loosens.

    Its scores are probabilities: of a calibrated stage.

    Attributes:
        p: From 0 to 1.

    Example:
        >>> Probability(0.1, floor=2).count(np.array([0.9, 0.05, 0.01]), np.array([0, 3])).tolist()
        [2]
    """

    p: float

    word = "probability"
    key = "p"
    limits = (0.0, 1.0)
    fix = "Probability(0.05, floor=5, ceiling=100)"

    def _pass(self, score: Floats, of: Ints, starts: Ints, heads: Ints) -> Flags:  # noqa: ARG002 - those of a rule
        return _as_probabilities(score) >= self.p


@dataclass(frozen=True)
class Mass(Rule):
    """Keeps the fewest first documents below which at most a share ``epsilon`` of the expected relevant documents is left.

    Its scores are probabilities: of a calibrated stage. A smaller epsilon loosens.

    Attributes:
        epsilon: From 0 to 1, a share of the sum of the list's probabilities, down to the ceiling.

    Example:
        >>> Mass(0.1).count(np.array([0.9, 0.5, 0.1, 0.0]), np.array([0, 4])).tolist()
        [2]
    """

    epsilon: float

    word = "mass"
    key = "epsilon"
    limits = (0.0, 1.0)
    fix = "Mass(0.05, floor=5, ceiling=100)"

    def _pass(self, score: Floats, of: Ints, starts: Ints, heads: Ints) -> Flags:
        left = np.zeros(len(score))  # from each document down; list by list, so that no list changes another's rounding
        _as_probabilities(score)
        for begin, end in pairwise([*starts.tolist(), len(score)]):
            left[begin:end] = np.cumsum(score[begin:end][::-1])[::-1]
        return left > self.epsilon * at_rank(left, starts, heads, 1)[of]


def _as_probabilities(score: Floats) -> Floats:
    """Return scores, and refuse what is no probability."""
    outside = score[~((score >= 0) & (score <= 1))]
    if len(outside):
        problem = f"{count_of(len(outside), 'score')} below 0 or above 1, e.g. {outside[0]:g}"
        raise PipelineError("these scores are not probabilities", [problem], fix="Margin(0.2), or calibrate the stage first")
    return score
