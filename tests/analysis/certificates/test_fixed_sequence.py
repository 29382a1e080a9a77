"""Fixed-sequence testing: by brute force, and its error rate by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pt_cascade.analysis.certificates.fixed_sequence import TESTS, certify, count_certified, fewest_queries


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0.01, 0.5))
def test_all_before_the_first_failure_count(p_values: list[float], alpha: float) -> None:
    """Brute force: the longest prefix that is rejected."""
    expected = max(n for n in range(len(p_values) + 1) if all(p <= alpha for p in p_values[:n]))
    assert count_certified(p_values, alpha) == expected


@pytest.mark.parametrize(("test", "few", "more"), [("dirichlet", 149, 59), ("betting", 204, 80), ("anytime", 198, 78)])
def test_so_many_queries_without_a_loss_are_needed(test: str, few: int, more: int) -> None:
    """Golden for Dirichlet: the binomial test, (1 - margin)ⁿ ≤ .05; one query fewer certifies nothing."""
    assert fewest_queries(0.02, test=test) == few
    assert fewest_queries(0.05, test=test) == more
    assert certify(np.zeros((3, few)), 0.02, test=test) == 3
    assert certify(np.zeros((3, few - 1)), 0.02, test=test) == 0
    assert stats.binom.pmf(0, 149, 0.02) <= 0.05 < stats.binom.pmf(0, 148, 0.02)


@pytest.mark.parametrize("test", TESTS)
def test_a_loss_beyond_the_margin_is_certified_no_oftener_than_allowed(test: str) -> None:
    """400 samples of 100 queries whose mean loss is the margin, .1: 10 % of errors are allowed, and 4 standard errors more."""
    rng = np.random.default_rng(0)
    shape = (400, 100)
    kinds = {
        "all or nothing": 1.0 * (rng.random(shape) < 0.1),
        "steps": rng.binomial(4, 0.1, shape) / 4,
        "rare": np.where(rng.random(shape) < 0.95, 0.0526, 1.0),
        "normal": rng.normal(0.1, 0.2, shape).clip(-1, 1),
    }
    for kind, losses in kinds.items():
        wrong = np.mean([certify(row[None], 0.1, 0.1, test) for row in losses])
        assert wrong <= 0.16, kind


def test_only_the_anytime_test_may_be_looked_at_again_and_again() -> None:
    """A test for a fixed number of queries that is read after every 40 of 300 errs too often, as repeated tests of significance do.

    100 samples whose mean loss is the margin, .1: 10 % of errors are allowed, and 2.5 standard errors more.
    """
    looks = range(40, 301, 40)
    losses = 1.0 * (np.random.default_rng(0).random((100, 300)) < 0.1)
    wrong = {
        test: np.mean([any(certify(row[None, :n], 0.1, 0.1, test) for n in looks) for row in losses])
        for test in ("anytime", "dirichlet")
    }
    assert wrong["anytime"] <= 0.175
    assert wrong["dirichlet"] > 0.175


@pytest.mark.parametrize("test", TESTS)
def test_what_follows_a_failure_is_not_certified(test: str) -> None:
    """A bad vector in the middle: the good ones after it do not count."""
    losses = np.zeros((4, 300))
    losses[2] = 0.5
    assert certify(losses, 0.05, test=test) == 2
