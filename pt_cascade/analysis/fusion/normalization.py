"""Scores of several retrievers made comparable, one result list at a time; and the worth of a document that a list lacks.

A list is one run's answer to one query, best score first. What follows holds for each of them by itself, n its length:

========= ============================================ ======================================= =======================
normalise a score becomes                              where all scores of the list are equal  a missing document there
========= ============================================ ======================================= =======================
min-max   (s - min) / (max - min), in [0, 1]           1                                       0
z-score   (s - mean) / deviation, population deviation 0                                       -1
max       s / largest magnitude, in [-1, 1]            the sign of the score: 1, 0 or -1       one less
sum       (s - min) / sum of all (s - min)             1 / n                                   0
rank      1 - rank / n, ranks from 0, in [1/n, 1]      as elsewhere: equal scores by row order 0, where n is 1
none      s                                            s                                       s, but not above 0
========= ============================================ ======================================= =======================

**The rule for lone hits, equal scores and missing scores**: a document that a list lacks is worth the lowest score of the list
(``worth_missing``). Where the scores of the list are all equal, as those of a lone hit are, the list still says which documents it
found: a document that it lacks is worth less, as the last column says. OpenSearch (``MinMaxScoreNormalizationTechnique``) and
Elasticsearch (``MinMaxScoreNormalizer``, since its single-document fix) give 1 to such scores, too; Vespa (``LinearNormalizer``)
gives 0.5; ranx gives 0, so that a lone hit counts for nothing.

No norm puts a lower score above a higher one. They are those of ranx, except where the scores of a list differ by less than 1e-9,
and for ``max`` where the score of the largest magnitude is below 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.ranking import Floats, Ints

Normalise: TypeAlias = Literal["min-max", "z-score", "max", "sum", "rank", "none"]


def normalise_lists(score: Floats, sizes: Ints, how: Normalise) -> Floats:
    """Make the scores of each list comparable with those of others."""
    return NORMALISERS[how](score, sizes)


def worth_missing(worth: Floats, sizes: Ints, how: Normalise) -> Floats:
    """Say what a document is worth that a list lacks: the least that the list gives, or less where it gives one score only."""
    lowest = worth[np.cumsum(sizes) - 1]
    less = {"sum": 1 / sizes, "none": np.maximum(lowest, 0)}.get(how, np.ones(len(sizes)))
    return np.where(worth[np.cumsum(sizes) - sizes] > lowest, lowest, lowest - less)


def _min_max(score: Floats, sizes: Ints) -> Floats:
    return _divide(score - _lowest(score, sizes), _highest(score, sizes) - _lowest(score, sizes), np.ones(len(score)))


def _z_score(score: Floats, sizes: Ints) -> Floats:
    _, exponent = np.frexp(np.maximum(_highest(score, sizes), -_lowest(score, sizes)))
    score = np.ldexp(score, -exponent)  # below 1, so that no square overflows; a power of two rounds nothing
    distance = score - _sums(score, sizes) / np.repeat(sizes, sizes)
    deviation = np.sqrt(_sums(distance**2, sizes) / np.repeat(sizes, sizes))
    return _divide(distance, np.where(_highest(score, sizes) > _lowest(score, sizes), deviation, 0))  # a mean may be rounded


def _max(score: Floats, sizes: Ints) -> Floats:
    return _divide(score, np.maximum(_highest(score, sizes), -_lowest(score, sizes)))


def _sum(score: Floats, sizes: Ints) -> Floats:
    above = score - _lowest(score, sizes)
    return _divide(above, _sums(above, sizes), 1 / np.repeat(sizes, sizes))


def _rank(score: Floats, sizes: Ints) -> Floats:
    rank = np.arange(len(score)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    worth: Floats = 1 - rank / np.repeat(sizes, sizes)
    return worth


def _none(score: Floats, _: Ints) -> Floats:
    return score


def _highest(score: Floats, sizes: Ints) -> Floats:
    return np.repeat(score[np.cumsum(sizes) - sizes], sizes)


def _lowest(score: Floats, sizes: Ints) -> Floats:
    return np.repeat(score[np.cumsum(sizes) - 1], sizes)


def _sums(score: Floats, sizes: Ints) -> Floats:
    """Give each row the sum over its list."""
    return np.repeat(np.add.reduceat(score, np.cumsum(sizes) - sizes), sizes)


def _divide(score: Floats, by: Floats, otherwise: Floats | None = None) -> Floats:
    """Divide; where the divisor is 0, give the other value, or 0."""
    return np.divide(score, by, out=np.zeros(len(score)) if otherwise is None else otherwise, where=by > 0)


NORMALISERS: dict[Normalise, Callable[[Floats, Ints], Floats]] = {
    "min-max": _min_max,
    "z-score": _z_score,
    "max": _max,
    "sum": _sum,
    "rank": _rank,
    "none": _none,
}
