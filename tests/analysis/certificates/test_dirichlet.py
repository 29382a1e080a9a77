"""The Dirichlet test: the binomial test, closed forms, and weights drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pt_cascade.analysis.certificates.dirichlet import weigh_at_random


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.01, 0.6))
def test_losses_of_all_or_nothing_give_the_binomial_test(lost: int, kept: int, margin: float) -> None:
    """Golden: SciPy's one-sided binomial test, that is Clopper and Pearson's."""
    queries = lost + kept
    expected = stats.binomtest(lost, queries, margin, alternative="less").pvalue if queries else 1.0
    losses = np.repeat([1.0, 0.0], [lost, kept])[None]
    assert weigh_at_random(losses, margin)[0] == pytest.approx(expected, abs=2e-6)


@settings(max_examples=30)
@given(st.integers(1, 20_000), st.floats(0, 1.2), st.floats(0.005, 0.3))
def test_many_queries_lose_no_digit(queries: int, share: float, margin: float) -> None:
    """Golden: the binomial distribution of SciPy, to a relative error; also far in its tail."""
    lost = min(round(share * margin * queries), queries)
    losses = np.repeat([1.0, 0.0], [lost, queries - lost])[None]
    expected = stats.binom.cdf(lost, queries, margin)
    assert weigh_at_random(losses, margin)[0] == pytest.approx(expected, rel=1e-3, abs=1e-12)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0.005, 0.3))
def test_more_queries_without_a_loss_never_lose_a_certificate(one: int, more: int, margin: float) -> None:
    """(1 - margin)^n falls."""
    few, many = (weigh_at_random(np.zeros((1, n)), margin)[0] for n in (one, one + more))
    assert many <= few * (1 + 1e-9)


@given(st.floats(-1, 0.09))
def test_one_query_by_hand(loss: float) -> None:
    """Uniform W: P(W · loss + (1 - W) > m) = P(W < (1 - m)/(1 - loss))."""
    assert weigh_at_random(np.array([[loss]]), 0.1)[0] == pytest.approx(0.9 / (1 - loss), abs=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(2, 200), st.floats(0.02, 0.2))
def test_other_losses_give_the_share_of_random_weights(seed: int, queries: int, margin: float) -> None:
    """Golden: NumPy's Dirichlet weights, 4,000 of them, to four standard errors."""
    rng = np.random.default_rng(seed)
    losses = np.where(rng.random(queries) < 0.5, 0.0, rng.normal(margin / 2, 0.2, queries).clip(-1, 1))
    weights = rng.dirichlet(np.ones(queries + 1), 4000)
    expected = (weights @ np.r_[losses, 1.0] > margin).mean()
    assert weigh_at_random(losses[None], margin)[0] == pytest.approx(expected, abs=0.032)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50), st.integers(0, 49), st.floats(0, 1))
def test_a_larger_loss_never_gives_a_smaller_p_value(losses: list[float], at: int, more: float) -> None:
    """Nor does the order matter."""
    low = np.array(losses)
    high = low.copy()
    high[at % len(low)] = min(high[at % len(low)] + more, 1.0)
    one, other, turned = weigh_at_random(np.stack([low, high, low[::-1]]), 0.1)
    assert other >= one - 2e-6
    assert turned == pytest.approx(one, abs=1e-9)
