"""How good probabilities are: expected calibration error, Brier score with its parts, log loss, and the reliability curve.

All are made of sums over the pairs of each query, so that a bootstrap over queries is a product of matrices.

The Brier score is reliability - resolution + uncertainty + within (Murphy 1973, "A new vector partition of the probability score"):
``within`` is what is left by bins that hold different probabilities (Stephenson, Coelho & Jolliffe 2008, "Two extra components in
the Brier score decomposition").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pt_cascade.analysis.calibration.pairs import Pairs
    from pt_cascade.ranking import Floats, Ints

MEASURES = ("ECE", "Brier", "log loss", "reliability", "resolution", "uncertainty", "within")
_EPS = float(np.finfo(np.float64).eps)  # where scikit-learn cuts a probability for its log loss


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the pairs of each query: shape (queries, bins), those of errors (queries,)."""

    weight: Floats
    probability: Floats
    relevant: Floats
    brier: Floats
    log_loss: Floats

    def reweight(self, counts: Floats) -> Sums:
        """Count each query so often: ``counts`` has shape (resamples, queries), and each sum then a row a resample."""
        return Sums(*(counts @ one for one in (self.weight, self.probability, self.relevant, self.brier, self.log_loss)))

    def measure(self) -> Floats:
        """Give each of ``MEASURES`` for each row: shape (rows, measures)."""
        total = self.weight.sum(axis=1, keepdims=True)
        share = self.weight / total
        p, y = (_divide(one, self.weight) for one in (self.probability, self.relevant))
        base = self.relevant.sum(axis=1, keepdims=True) / total
        ece, reliability = ((share * np.abs(p - y) ** power).sum(axis=1) for power in (1, 2))
        resolution, uncertainty = (share * (y - base) ** 2).sum(axis=1), (base * (1 - base))[:, 0]
        brier, log_loss = (one / total[:, 0] for one in (self.brier, self.log_loss))
        within = brier - (reliability - resolution + uncertainty)
        return np.stack([ece, brier, log_loss, reliability, resolution, uncertainty, within], axis=1)


def add_up(pairs: Pairs, probability: Floats, bins: int) -> Sums:
    """Sum over the pairs of each query, in bins of equal weight."""
    names, query = np.unique(pairs.qid, return_inverse=True)
    label, where = pairs.relevant.astype(np.float64), put_in_bins(probability, pairs.weight, bins)
    cut = np.clip(probability, _EPS, 1 - _EPS)
    losses = (probability - label) ** 2, -np.log(np.where(pairs.relevant, cut, 1 - cut))

    def total(values: Floats) -> Floats:
        sums = np.bincount(query * bins + where, pairs.weight * values, len(names) * bins)
        return sums.reshape(-1, bins).astype(np.float64)

    by_bin = (total(np.ones(len(label))), total(probability), total(label))
    return Sums(*by_bin, *(total(loss).sum(axis=1) for loss in losses))


def put_in_bins(probability: Floats, weight: Floats, bins: int) -> Ints:
    """Number the bins of equal weight, lowest first; equal probabilities are in one bin, so that some may be larger or empty.

    Example:
        >>> put_in_bins(np.array([0.4, 0.1, 0.1, 0.9]), np.ones(4), 2).tolist()
        [1, 0, 0, 1]
    """
    group = np.unique(probability, return_inverse=True)[1]
    weights = np.bincount(group, weight)
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    numbers: Ints = np.minimum((middle * bins).astype(np.int64), bins - 1)[group]
    return numbers


def curve(sums: Sums) -> tuple[Floats, Floats]:
    """Give the mean probability and the share of relevant pairs of each bin: shape (rows, bins); NaN for an empty bin."""
    empty = np.where(sums.weight > 0, 1.0, np.nan)
    p, y = (_divide(one, sums.weight) * empty for one in (sums.probability, sums.relevant))
    return p, y


def _divide(one: Floats, weight: Floats) -> Floats:
    return np.divide(one, weight, out=np.zeros_like(one), where=weight > 0)


def draw_counts(queries: int, resamples: int, seed: int) -> Floats:
    """Draw how often each query is in each bootstrap sample: shape (resamples, queries)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(queries, np.full(queries, 1 / queries), resamples).astype(np.float64)


def bound(found: Floats, resampled: Floats) -> tuple[Floats, Floats]:
    """Give the basic 95 % bootstrap interval: the found value minus the quantiles of the errors of the resamples."""
    low, high = np.nanquantile(resampled, [0.025, 0.975], axis=0)
    return 2 * found - high, 2 * found - low


def bound_measures(found: Floats, resampled: Floats) -> tuple[Floats, Floats]:
    """Give the interval of each of ``MEASURES``, with the found value, and not below 0 but for ``within``.

    An ECE is above 0 by chance, and more so in a resample. So its interval begins at 0 where that of ``reliability`` does, whose
    error is smooth there.
    """
    low, high = bound(found, resampled)
    smallest = np.where(np.array(MEASURES) == "within", -np.inf, 0.0)
    ece, reliability = MEASURES.index("ECE"), MEASURES.index("reliability")
    low[ece] = low[ece] if low[reliability] > 0 else 0.0
    return np.maximum(np.minimum(low, found), smallest), np.maximum(high, found)
