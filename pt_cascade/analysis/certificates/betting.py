"""A proven test of H: E L > margin, for losses in [-1, 1], which may be looked at after every query.

Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1), section 4: with Y = (1
- L)/2 and a = (1 - margin)/2, the product of 1 + bet · (Y - a) over the queries is a supermartingale under H if each bet is
fixed before its query. By Ville's inequality it ever exceeds 1/alpha with a chance of at most alpha, so 1 over its maximum is a
p-value at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats

_MOST = 0.75  # of the largest bet that cannot lose everything
_MEAN, _VARIANCE = 0.5, 0.25  # of a value in [0, 1], before any is seen


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence that some mean losses are within a margin; each new query adds to it.

    The bets are the predictable plug-in of the paper, aimed at ``planned`` queries, or at no number where that is None.

    Example:
        >>> start = Evidence.start(vectors=2, margin=0.05, alpha=0.05)
        >>> later = start.update(np.zeros((2, 60))).update(np.zeros((2, 60)))
        >>> later.queries, later.p_values.round(3).tolist()
        (120, [0.01, 0.01])
    """

    margin: float
    alpha: float  # the error rate that the bets are tuned for; the test is valid at any other too
    planned: int | None
    queries: int  # seen so far
    log_value: Floats  # (vectors,): log of the product
    highest: Floats  # (vectors,): its maximum so far, 0 or more
    total: Floats  # (vectors,): sum of the values seen
    squares: Floats  # (vectors,): sum of their squared deviations from the running means

    @classmethod
    def start(cls, vectors: int, margin: float, alpha: float, planned: int | None = None) -> Evidence:
        """Start without evidence.

        Args:
            vectors: How many mean losses are tested.
            margin: Within (-1, 1).
            alpha: Within (0, 1).
            planned: How many queries there will be, if that is known.
        """
        none = np.zeros(vectors)
        return cls(margin, alpha, planned, 0, none, none, none, none)

    def update(self, losses: Floats) -> Evidence:
        """Return the evidence after more queries.

        Args:
            losses: Shape (vectors, queries), from -1 to 1, in an order that does not depend on them.

        Returns:
            New evidence; this one stays as it was. Chunks of queries give the same as all at once.
        """
        log_value, highest, total, squares = (one.copy() for one in (self.log_value, self.highest, self.total, self.squares))
        center = (1 - self.margin) / 2
        for n, value in enumerate(((1 - losses) / 2).T, self.queries + 1):
            variance = (_VARIANCE + squares) / n
            horizon = n * np.log1p(n) if self.planned is None else self.planned
            bet = np.minimum(np.sqrt(2 * np.log(1 / self.alpha) / (variance * horizon)), _MOST / center)
            log_value += np.log1p(bet * (value - center))
            np.maximum(highest, log_value, out=highest)
            total += value
            squares += (value - (_MEAN + total) / (n + 1)) ** 2
        queries = self.queries + losses.shape[1]
        return replace(self, queries=queries, log_value=log_value, highest=highest, total=total, squares=squares)

    @property
    def p_values(self) -> Floats:
        """Shape (vectors,): valid at any time, however it was decided to look."""
        return np.exp(-self.highest)


def bet_against(losses: Floats, margin: float, alpha: float = 0.05) -> Floats:
    """Test mean losses with a proven p-value.

    Args:
        losses: Shape (vectors, queries), from -1 to 1, in an order that does not depend on them.
        margin: The loss that is allowed, within (-1, 1).
        alpha: The error rate that the test is tuned for.

    Returns:
        Shape (vectors,): p-values of H: the mean loss exceeds the margin.

    Example:
        >>> bet_against(np.zeros((1, 300)), 0.02).round(4).tolist()
        [0.0121]
    """
    return Evidence.start(len(losses), margin, alpha, planned=losses.shape[1]).update(losses).p_values
