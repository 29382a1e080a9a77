"""The tightest rules of a path whose mean loss is bounded, on queries like those that were seen.

A path is fixed before the judgments are seen; its losses are of shape (rows, queries), from the loosest row to the tightest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.certificates.fixed_sequence import certify, fewest_queries
from pt_cascade.analysis.certificates.planning import plan_queries
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_number

_ROUNDING = 1e-9
if TYPE_CHECKING:
    from pt_cascade.ranking import Floats


@dataclass(frozen=True)
class Guarantee:
    """What is promised of a row of a path.

    Attributes:
        row: The tightest row that keeps the promise; None: the queries are too few for any.
        alpha: The mean loss that is allowed.
        delta: The chance that the mean loss of the row exceeds alpha; None: that is not bounded, only the mean over samples.
        queries: How many queries were seen.
        needed: How many queries, at least, the next tighter row would take, or, without a row, the loosest; infinite where its loss
            in the sample is above alpha; None: there is no tighter row.
    """

    row: int | None
    alpha: float
    delta: float | None
    queries: int
    needed: float | None

    def explain(self) -> str:
        """Say what is promised, or how many queries would allow a promise."""
        samples = f"samples of {self.queries} queries"
        if self.delta is None:
            promise = f"a loss of {self.alpha:g} or less, on average over many {samples}"
        else:
            promise = f"a mean loss of {self.alpha:g} or less, except in {100 * self.delta:g} % of {samples}"
        if self.row is None:
            return (
                f"None: {self.queries} queries cannot show a mean loss of at most {self.alpha:g}; at least {self.needed:g} could."
            )
        more = "" if self.needed in (None, math.inf) else f" About {self.needed:g} queries would allow the next row."
        return f"Row {self.row}: {promise}.{more}"


def control_expectation(losses: Floats, alpha: float) -> Guarantee:
    """Choose by conformal risk control: the expected loss of the chosen row on a new query is at most alpha.

    Angelopoulos, Bates, Fisch, Lei and Schuster (2024), "Conformal Risk Control", ICLR, theorem 1: the tightest row with (n·mean +
    1)/(n + 1) ≤ alpha. It needs losses that never fall along the path, so each is raised to the largest before it.

    Args:
        losses: Shape (rows, queries), from 0 to 1; the first row has no loss.
        alpha: Within (0, 1).

    Raises:
        SweepError: An argument is out of range.

    Example:
        >>> control_expectation(np.zeros((3, 49)), 0.02).row, control_expectation(np.zeros((3, 48)), 0.02).row
        (2, None)
    """
    _check(losses, alpha, None)
    raised = np.maximum.accumulate(losses, axis=0)
    n = losses.shape[1]
    row = int((raised.sum(axis=1) + 1 <= alpha * (n + 1) + _ROUNDING).sum()) - 1
    if row < 0:
        return Guarantee(None, alpha, None, n, math.ceil(round(1 / alpha - 1, 9)))
    mean = raised[row + 1].mean() if row + 1 < len(losses) else None
    needed = None if mean is None else math.inf if mean >= alpha else math.ceil((1 - alpha) / (alpha - mean))
    return Guarantee(row, alpha, None, n, needed)


def control_probability(losses: Floats, alpha: float, delta: float) -> Guarantee:
    """Choose by fixed-sequence Learn-then-Test: the mean loss of the chosen row exceeds alpha with a chance of at most delta.

    Row after row is tested, from the loosest, at the level delta, up to the first that fails; see ``certificates.fixed_sequence``.

    Args:
        losses: Shape (rows, queries), from -1 to 1.
        alpha: Within (0, 1).
        delta: Within (0, 1).

    Raises:
        SweepError: An argument is out of range.

    Example:
        >>> control_probability(np.zeros((3, 45)), 0.05, 0.1).row, control_probability(np.zeros((3, 44)), 0.05, 0.1).needed
        (2, 45)
    """
    _check(losses, alpha, delta)
    passed, n = certify(losses, alpha, delta), losses.shape[1]
    needed: float | None = None
    if passed < len(losses):
        loss = losses[passed]
        room = alpha - float(loss.mean())
        planned = plan_queries(room, float(loss.std(ddof=1)), delta) if room > 0 else math.inf
        needed = max(fewest_queries(alpha, delta), planned, n + 1)
    return Guarantee(passed - 1 if passed else None, alpha, delta, n, needed)


def _check(losses: Floats, alpha: float, delta: float | None) -> None:
    """Refuse what cannot be tested, all problems at once."""
    problems = [] if losses.shape[1] > 1 else [f"there are losses of {losses.shape[1]} queries, expected several"]
    for name, value in (("alpha", alpha), ("delta", delta)):
        if value is not None and not (is_number(value) and 0 < value < 1):
            problems.append(f"{name} is {value!r}, expected a number above 0 and below 1")
    low = -1 if delta is not None else 0
    if losses.size and not ((losses >= low) & (losses <= 1)).all():
        problems.append(f"losses reach from {losses.min():g} to {losses.max():g}, expected from {low} to 1")
    if problems:
        raise SweepError("no guarantee can be given", problems, fix="certify(alpha=0.05, delta=0.1)")
