"""Bounds on percentiles: published ranks, SciPy's quantile test, and brute force over the binomial distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pt_cascade.analysis.certificates.order_statistics import lower_rank, queries_to_bound, queries_to_show, upper_rank
from pt_cascade.analysis.certificates.planning import plan_queries


def test_ranks_and_sizes_are_the_published_ones() -> None:
    """Wilks 1941: the largest of 59 bounds the 95th percentile with 95 %, of 299 the 99th; Hahn and Meeker's ranks for more."""
    assert [upper_rank(n, 95) for n in (58, 59, 100, 300)] == [None, 59, 99, 292]
    assert [queries_to_bound(p) for p in (90, 95, 99)] == [29, 59, 299]
    assert [queries_to_show(p) for p in (50, 90, 95, 99, 99.9, 100)] == [2, 10, 20, 100, 1000, 1]


@given(st.integers(1, 400), st.floats(1, 99), st.sampled_from([0.8, 0.95, 0.975, 0.99]))
def test_the_least_rank_that_holds_is_taken(n: int, percentile: float, level: float) -> None:
    """Brute force: the first rank that lies above the percentile with this chance, and the last that lies below it."""
    holds = [r for r in range(1, n + 1) if stats.binom.cdf(r - 1, n, percentile / 100) >= level]
    assert upper_rank(n, percentile, level) == (holds[0] if holds else None)
    below = [r for r in range(1, n + 1) if stats.binom.sf(r - 1, n, percentile / 100) >= level]
    assert lower_rank(n, percentile, level) == (below[-1] if below else None)


@given(st.integers(20, 300), st.sampled_from([10, 50, 90, 95]))
def test_the_two_sided_interval_is_that_of_scipy(n: int, percentile: float) -> None:
    """Golden: scipy.stats.quantile_test, whose ends are NaN where the sample has none."""
    found = stats.quantile_test(np.arange(1.0, n + 1), p=percentile / 100).confidence_interval(0.95)
    ours = [np.nan if r is None else r for r in (lower_rank(n, percentile, 0.975), upper_rank(n, percentile, 0.975))]
    assert ours == pytest.approx([found.low, found.high], nan_ok=True)


def test_sample_sizes_are_those_worked_out_by_hand() -> None:
    """(2.4865 · sd / distance)², as a table of the normal distribution gives it: 1.6449 + .8416."""
    for deviation, distance, expected in ((0.15, 0.02, 348), (0.15, 0.05, 56), (0.24, 0.02, 891), (0.24, 0.05, 143)):
        assert plan_queries(distance, deviation) == expected == np.ceil((2.48647 * deviation / distance) ** 2)


@given(st.floats(0.001, 0.5), st.floats(0.001, 1), st.floats(1.01, 5))
def test_less_distance_and_more_spread_take_more_queries(distance: float, deviation: float, factor: float) -> None:
    """Whatever they are; at the limit itself no number is enough."""
    found = plan_queries(distance, deviation)
    assert plan_queries(distance / factor, deviation) >= found
    assert plan_queries(distance, deviation * factor) >= found
    assert plan_queries(0.0, deviation) == np.inf
