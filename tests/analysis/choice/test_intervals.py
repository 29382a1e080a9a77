"""Intervals, bounds and numbers of queries: against scipy, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pt_cascade.analysis.certificates.fixed_sequence import fewest_queries
from pt_cascade.analysis.choice import intervals as bootstrap
from pt_cascade.analysis.choice.intervals import (
    RESAMPLES,
    Estimate,
    bounds_above,
    cut_above,
    estimate,
    resample,
    settle,
)

VALUES = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=40).map(np.array)
LOSSES = st.lists(st.floats(-1, 1), min_size=1, max_size=30).map(np.array)
LEVELS = st.floats(0.55, 0.99)


def bound_above(losses: np.ndarray, worst: float = 1.0, *, level: float = 0.95, seed: int = 0) -> float:
    """The bound of one mean loss."""
    return float(bounds_above(losses.reshape(-1, 1), worst, level=level, seed=seed)[0])


def test_a_symmetric_sample_gets_students_t_of_itself_and_two_more() -> None:
    """Golden: scipy.stats.t.interval of the sample, its mean + 0.1 and its mean - 0.1, the largest deviation from the median."""
    values = np.array([0.0, 0.1, 0.2, 0.1, 0.1])
    more = [*values, 0.2, 0.0]
    expected = stats.t.interval(0.9, 6, loc=0.1, scale=stats.sem(more))
    assert (estimate(values, level=0.9).low, estimate(values, level=0.9).high) == pytest.approx(expected)


def test_a_skewed_sample_is_pushed_out_by_johnsons_correction() -> None:
    """Golden: Johnson 1978, mu3 / (6 s^2 n) + mu3 t^2 / (3 s^2 n), moments from scipy.stats.moment."""
    values = np.r_[np.zeros(30), np.linspace(0.1, 0.9, 10)]
    more = np.r_[values, values.mean() + 0.9, values.mean() - 0.9]
    t, n, s2 = stats.t.ppf(0.975, 41), 42, np.var(more, ddof=1)
    third = stats.moment(more, 3)
    found = estimate(values)
    assert found.high == pytest.approx(values.mean() + t * np.sqrt(s2 / n) + third / (6 * s2 * n) * (1 + 2 * t**2))
    assert found.low == pytest.approx(values.mean() - t * np.sqrt(s2 / n))


def test_wins_and_losses_get_one_more_each() -> None:
    """By hand, as Bonett and Price 2012: 5 won, 5 lost of 100 become 6 and 6 of 102, variance 12 / 101."""
    found = estimate(np.r_[np.ones(5), -np.ones(5), np.zeros(90)])
    assert found.high == pytest.approx(stats.t.ppf(0.975, 101) * np.sqrt(12 / 101 / 102))
    assert found.low == pytest.approx(-found.high)
    assert found.queries == 100


@given(VALUES, LEVELS)
def test_an_interval_holds_its_mean_and_grows_with_the_level(values: np.ndarray, level: float) -> None:
    """Whatever the values; the mean is NumPy's."""
    narrow, wide = estimate(values, level=level - 0.05), estimate(values, level=level)
    assert wide.low <= narrow.low <= narrow.mean + 1e-12
    assert narrow.mean - 1e-12 <= narrow.high <= wide.high
    assert narrow.mean == np.mean(values)


@given(VALUES, st.randoms(use_true_random=False))
def test_an_interval_does_not_depend_on_order_and_mirrors(values: np.ndarray, random: object) -> None:
    """The negated values give the negated interval."""
    shuffled = values.copy()
    random.shuffle(shuffled)
    one, other = estimate(values), estimate(-shuffled)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


@given(VALUES, st.floats(-5, 5), st.floats(0.5, 10))
def test_an_interval_moves_and_stretches_with_the_values(values: np.ndarray, add: float, times: float) -> None:
    """Where no end of the scale is near, and something differs."""
    if np.ptp(values) < 1e-3:
        values = np.r_[values, values[0] + 1.0]
    ends = {"least": -np.inf, "most": np.inf}
    one, other = estimate(values, **ends), estimate(values * times + add, **ends)
    assert (other.low, other.high) == pytest.approx((one.low * times + add, one.high * times + add), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.4, -1.0])
@pytest.mark.parametrize("queries", [1, 2, 50])
def test_equal_values_are_no_certainty(value: float, queries: int) -> None:
    """One query, or many that do not differ, leave a width, the more queries the less."""
    found, more = estimate(np.full(queries, value)), estimate(np.full(4 * queries, value))
    assert -1 <= found.low <= value <= found.high <= 1
    assert 0 < more.high - more.low < found.high - found.low


def test_an_interval_ends_where_values_do_unless_one_is_beyond() -> None:
    """A mean of nDCG is not above 1; a count may be."""
    assert estimate(np.array([1.0, 1.0, 0.9]), least=0.0).high == 1.0
    assert estimate(np.array([0.0, 0.0, 0.1]), least=0.0).low == 0.0
    assert estimate(np.array([0.5, 7.0, 3.0]), least=0.0).high > 7.0


def test_more_variance_widens_an_interval_as_a_sum_of_variances() -> None:
    """By hand, on a symmetric sample: the squares of both errors add up."""
    values = np.array([0.0, 0.1, 0.2, 0.1, 0.1])
    alone, wider = estimate(values, level=0.9), estimate(values, level=0.9, more=0.02**2)
    t = stats.t.ppf(0.95, 6)
    assert ((wider.high - 0.1) / t) ** 2 == pytest.approx(((alone.high - 0.1) / t) ** 2 + 0.0004)
    assert wider.low + wider.high == pytest.approx(0.2)


def test_an_estimate_is_written_with_its_sign() -> None:
    """As explain() shows it."""
    assert str(Estimate(0.01234, -0.2, 0.3, 5)) == "+0.0123 [-0.2000, +0.3000]"


@pytest.mark.parametrize(("lost", "queries"), [(0, 30), (0, 200), (1, 50), (5, 100), (20, 60)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_losses_of_all_or_nothing_get_clopper_and_pearsons_bound(lost: int, queries: int, level: float) -> None:
    """Golden: the Beta quantile of scipy, within three standard errors of a quantile of so many resamples."""
    exact = stats.beta(lost + 1, queries - lost)
    losses = np.r_[np.ones(lost), np.zeros(queries - lost)]
    error = 3 * np.sqrt(level * (1 - level) / RESAMPLES) / exact.pdf(exact.ppf(level))
    for seed in range(3):
        assert bound_above(losses, level=level, seed=seed) == pytest.approx(exact.ppf(level), abs=error)


def test_no_loss_at_all_leaves_the_rule_of_three() -> None:
    """Hanley and Lippman-Hand 1983: about 3 / n."""
    for queries in (50, 100, 500):
        assert bound_above(np.zeros(queries)) * queries == pytest.approx(3.0, rel=0.08)
        assert bound_above(np.zeros(queries), worst=0.5) == pytest.approx(bound_above(np.zeros(queries)) / 2)


@given(LOSSES, st.lists(st.floats(0, 1), min_size=30, max_size=30), st.integers(0, 5))
def test_a_bound_never_falls_where_a_loss_grows(losses: np.ndarray, more: list[float], seed: int) -> None:
    """Query by query, with one seed: what makes one test of a plateau enough."""
    larger = np.minimum(losses + np.array(more[: len(losses)]), 1.0)
    assert bound_above(losses, seed=seed) <= bound_above(larger, seed=seed) + 1e-12


@given(LOSSES, LEVELS)
def test_a_bound_lies_between_the_least_and_the_worst_and_grows_with_the_level(losses: np.ndarray, level: float) -> None:
    """And with the worst that a query can lose."""
    bound = bound_above(losses, level=level)
    assert losses.min() - 1e-12 <= bound <= 1 + 1e-12
    assert bound_above(losses, level=level - 0.05) <= bound <= bound_above(losses, 2.0, level=level)


def test_several_bounds_are_each_as_alone() -> None:
    """To rounding, however many there are."""
    losses = np.random.default_rng(0).random((40, 7))
    assert bounds_above(losses, seed=3) == pytest.approx([bound_above(column, seed=3) for column in losses.T], abs=1e-12)


def test_weights_kept_or_drawn_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many queries do not fit in memory at once."""
    losses = np.random.default_rng(0).random((50, 3))
    whole = resample(losses, seed=7)
    monkeypatch.setattr(bootstrap, "_CELLS", 4000)
    assert resample(losses, seed=7) == pytest.approx(whole, abs=1e-12)
    assert len(whole) == RESAMPLES


def test_resamples_have_the_moments_of_even_weights() -> None:
    """Golden: the mean and variance of a Dirichlet(1, ..., 1) mixture: those of the padded sample, the variance over n + 2."""
    losses = np.random.default_rng(1).random((60, 1))
    padded = np.r_[losses[:, 0], 1.0]
    found = np.concatenate([resample(losses, seed=seed)[:, 0] for seed in range(5)])
    assert found.mean() == pytest.approx(padded.mean(), abs=4 * padded.std() / np.sqrt(62 * 5 * RESAMPLES))
    assert found.var() == pytest.approx(padded.var() / 62, rel=0.06)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), LEVELS)
def test_a_cut_leaves_no_more_above_than_it_may(values: list[float], level: float) -> None:
    """Brute force: the least value of the list with level (n + 1) values at or below it; the largest, where there is none."""
    enough = [value for value in values if sum(other <= value for other in values) >= round(level * (len(values) + 1), 9)]
    assert cut_above(np.array(values)[:, None], level)[0] == min(enough, default=max(values))


def test_fewest_queries_agree_with_the_bound() -> None:
    """One more query without a loss, and the bound is within the margin; one in ten fewer, and it is not."""
    fewest = fewest_queries(0.05)
    assert np.median([bound_above(np.zeros(fewest + 2), seed=seed) for seed in range(9)]) <= 0.05
    assert np.median([bound_above(np.zeros(fewest * 9 // 10), seed=seed) for seed in range(9)]) > 0.05


@pytest.mark.parametrize("limits", [[0.0], [0.0, 0.1]])
def test_so_many_queries_do_settle_it_in_four_of_five_samples(limits: list[float]) -> None:
    """By simulation: a true mean of .04, an estimate of just that, and the number of queries that it asks for."""
    rng = np.random.default_rng(0)
    sample = rng.normal(0, 0.2, 60)
    found = estimate(sample - sample.mean() + 0.04)
    needed = settle(found, limits)
    later = [estimate(rng.normal(0.04, 0.2, needed)) for _ in range(200)]
    told = np.mean([any(not one.low <= limit <= one.high for limit in limits) for one in later])
    assert found.low < 0 < found.high
    assert 0.7 <= told <= 0.97
    assert settle(Estimate(0.01, -0.01, 0.03, 100), [0.0, 0.02]) == 400  # an interval of .02 cannot hold both
    assert settle(Estimate(0.0, -0.01, 0.01, 100), [0.0]) == 1_000_000


def test_the_same_seed_gives_the_same_bits() -> None:
    """And another one does not."""
    losses = np.random.default_rng(0).random(50)
    assert bound_above(losses, seed=4) == bound_above(losses, seed=4)
    assert bound_above(losses, seed=4) != bound_above(losses, seed=5)
