"""What a sample says of a percentile: which of its ordered values bound it (binomial, whatever the distribution)."""

from __future__ import annotations

import math

ALL = 100  # per cent


def upper_rank(queries: int, percentile: float, level: float = 0.95) -> int | None:
    """Return which value of an ordered sample, from 1, bounds a percentile from above, None if even the largest does not.

    The least r with Binom(r - 1; n, p) ≥ level (Hahn and Meeker 1991, "Statistical Intervals", section 5.2).

    Args:
        queries: The size of the sample.
        percentile: Above 0, below 100.
        level: The chance that the bound holds.

    Example:
        >>> upper_rank(59, 95), upper_rank(100, 95), upper_rank(300, 95), upper_rank(58, 95)
        (59, 99, 292, None)
    """
    from scipy import stats  # noqa: PLC0415 - loads when first needed

    rank = int(stats.binom.ppf(level, queries, percentile / 100)) + 1
    return rank if rank <= queries else None


def lower_rank(queries: int, percentile: float, level: float = 0.95) -> int | None:
    """Return which value of an ordered sample, from 1, bounds a percentile from below, None if even the smallest does not.

    The mirror image of ``upper_rank``.

    Example:
        >>> lower_rank(100, 95), lower_rank(20, 5)
        (91, None)
    """
    rank = upper_rank(queries, 100 - percentile, level)
    return None if rank is None else queries + 1 - rank


def queries_to_bound(percentile: float, level: float = 0.95) -> int:
    """Return how many queries bound a percentile from above: with fewer, even the slowest does not.

    Example:
        >>> queries_to_bound(50), queries_to_bound(95), queries_to_bound(99)
        (5, 59, 299)
    """
    return round_up(math.log(1 - level) / math.log(percentile / ALL))


def queries_to_show(percentile: float) -> int:
    """Return how many queries a percentile needs at all: at least one query is to lie above it.

    Example:
        >>> queries_to_show(50), queries_to_show(95), queries_to_show(99), queries_to_show(100)
        (2, 20, 100, 1)
    """
    return 1 if percentile >= ALL else round_up(ALL / (ALL - percentile))


def round_up(number: float) -> int:
    """Return the least whole number that is not below; 99.9 % of 1000 are 999, whatever floats make of it."""
    return math.ceil(round(number, 9))
