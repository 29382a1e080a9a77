"""Vectors tested one after the other, in an order set before the data: each at the full error rate, up to the first failure.

Angelopoulos, Bates, Candès, Jordan and Lei (2021), "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk Control",
arXiv 2110.01052, section 3: among all that precede the first failure, none has a mean loss above the margin, with a chance of at
least 1 - alpha. So one of them may be chosen by anything, such as its cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from pt_cascade.analysis.certificates.betting import Evidence, bet_against
from pt_cascade.analysis.certificates.dirichlet import weigh_at_random

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_cascade.ranking import Floats

Test: TypeAlias = Literal["dirichlet", "betting", "anytime"]
TESTS = get_args(Test)


def count_certified(p_values: Iterable[float], alpha: float) -> int:
    """Count the vectors before the first one whose p-value exceeds alpha; later p-values are not read.

    Example:
        >>> count_certified([0.001, 0.04, 0.2, 0.01], alpha=0.05)
        2
    """
    count = 0
    for p_value in p_values:
        if p_value > alpha:
            break
        count += 1
    return count


def certify(losses: Floats, margin: float, alpha: float = 0.05, test: Test = "dirichlet") -> int:
    """Count the first vectors of a sequence whose mean losses are all within the margin, with a chance of at least 1 - alpha.

    Args:
        losses: Shape (vectors, queries), from -1 to 1, vectors in an order set before the data.
        margin: The loss that is allowed, within (0, 1).
        alpha: The chance of an error, within (0, 1).
        test: ``dirichlet``: exact for losses of 0 and 1, otherwise conjectured; ``betting``: proven, and somewhat weaker;
            ``anytime``: likewise, even if it is looked at after any query.

    Example:
        >>> certify(np.zeros((3, 149)), 0.02), certify(np.zeros((3, 148)), 0.02)
        (3, 0)
    """
    if test != "dirichlet":
        return count_certified(_bet(losses, margin, alpha, test), alpha)
    return count_certified((float(weigh_at_random(row[None], margin)[0]) for row in losses), alpha)


def fewest_queries(margin: float, alpha: float = 0.05, test: Test = "dirichlet") -> int:
    """Return how few queries can certify a margin: so many queries without any loss do.

    Example:
        >>> fewest_queries(0.02), fewest_queries(0.05), fewest_queries(0.05, test="betting"), fewest_queries(0.05, test="anytime")
        (149, 59, 80, 78)
    """
    n = int(np.ceil(round(np.log(alpha) / np.log1p(-margin), 9)))
    while test != "dirichlet" and _bet(np.zeros((1, n)), margin, alpha, test)[0] > alpha:
        n += 1
    return n


def _bet(losses: Floats, margin: float, alpha: float, test: Test) -> Floats:
    """Return p-values by bets that are aimed at these queries, or at no number of them."""
    if test == "betting":
        return bet_against(losses, margin, alpha)
    return Evidence.start(len(losses), margin, alpha).update(losses).p_values
