"""Scores of several retrievers made comparable, list by list; and the score of a document that a list lacks.

A list is the results of one run for one query, best score first; n is its length:

========= ============================================ ======================================= =======================
normalise a score becomes                              where all scores of the list are equal  a missing document there
========= ============================================ ======================================= =======================
min-max   (s - min) / (max - min), in [0, 1]           1                                       0
z-score   (s - mean) / deviation, population deviation 0                                       -1
max       s / largest magnitude, in [-1, 1]            the sign of the score: 1, 0 or -1       one less
sum       (s - min) / sum of all (s - min)             1 / n                                   0
rank      1 - rank / n, ranks from 0, in [1/n, 1]      the same, by row order                  0, where n is 1
none      s                                            s                                       s, but not above 0
========= ============================================ ======================================= =======================

A document that a list lacks gets the lowest score of the list (``score_missing``). Where all scores of the list are equal, as in a
list of one document, it gets less, see the last column, since the list still shows which documents were found. OpenSearch
(``MinMaxScoreNormalizationTechnique``) and Elasticsearch (``MinMaxScoreNormalizer``, since its single-document fix) also give 1 to
such scores; Vespa (``LinearNormalizer``) gives 0.5; ranx gives 0, so that a single hit counts for nothing.

No norm puts a lower score above a higher one. They equal those of ranx, except where the scores of a list differ by less than 1e-9,
and for ``max`` where the score of the largest magnitude is below 0. Min-max, sum and z-score (ZMUV) are those of Montague & Aslam,
"Relevance Score Normalization for Metasearch", CIKM 2001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.ranking import Floats, Ints

Normalise: TypeAlias = Literal["min-max", "z-score", "max", "sum", "rank", "none"]


def normalise_lists(score: Floats, sizes: Ints, how: Normalise) -> Floats:
    """Normalise scores, shape (n,): lists one after the other, each by descending score, with sizes of shape (lists,)."""
    return NORMALISERS[how](score, sizes)


def score_missing(worth: Floats, sizes: Ints, how: Normalise) -> Floats:
    """Give the score of a document that a list lacks, shape (lists,), from what ``normalise_lists`` returned."""
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
