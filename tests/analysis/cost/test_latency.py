"""Percentiles of a sum: observed times, kept together query by query, between what is known without the sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pt_cascade.analysis.cost.latency import check_percentiles, rank_percentile, summarise, take_percentiles
from pt_cascade.errors import SweepError

TIMES = st.integers(1, 4).flatmap(
    lambda stages: st.integers(1, 60).flatmap(
        lambda rows: st.lists(st.lists(st.integers(0, 50), min_size=rows, max_size=rows), min_size=stages, max_size=stages)
    )
)
LEVELS = st.lists(st.one_of(st.integers(1, 100), st.floats(0.1, 100)), min_size=1, max_size=4)


def composed(times: np.ndarray, percentiles: list[float]) -> object:
    """Compose whole numbers as milliseconds, so that sums are exact."""
    return summarise(times, (None,) * len(times), percentiles, times.shape[1])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=120), st.lists(st.integers(1, 100), min_size=1, max_size=5))
def test_percentiles_are_those_of_numpy(values: list[float], percentiles: list[int]) -> None:
    """Golden: numpy.percentile with method inverted_cdf, for whole percents."""
    expected = [np.percentile(values, level, method="inverted_cdf") for level in percentiles]
    assert take_percentiles(np.array(values), percentiles).tolist() == expected


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=120), LEVELS)
def test_a_percentile_is_the_least_time_that_so_many_queries_do_not_exceed(values: list[float], percentiles: list[float]) -> None:
    """By the definition: at least p % of the values do not exceed it, and with the next smaller value that would not be so."""
    for level, taken in zip(percentiles, take_percentiles(np.array(values), percentiles), strict=True):
        needed = level / 100 * len(values) - 1e-6
        assert sum(value <= taken for value in values) >= needed
        assert sum(value < taken for value in values) < needed or taken == min(values)


def test_percentiles_of_a_table_are_those_of_its_rows() -> None:
    """Along the last axis, whatever stands before it."""
    values = np.random.default_rng(0).random((3, 2, 40))
    taken = take_percentiles(values, (50, 99))
    assert taken.shape == (3, 2, 2)
    assert taken[2, 1].tolist() == take_percentiles(values[2, 1], (50, 99)).tolist()


@given(TIMES, LEVELS)
def test_no_joint_percentile_exceeds_its_bound(rows: list[list[int]], percentiles: list[float]) -> None:
    """The union bound, on any times."""
    late = composed(np.array(rows, float), percentiles)
    assert all(joint <= bound for joint, bound in zip(late.joint_ms, late.bound_ms, strict=True))


@given(TIMES, LEVELS)
def test_joint_percentiles_are_those_of_the_sums(rows: list[list[int]], percentiles: list[float]) -> None:
    """Brute force in plain Python: add up each query's times, sort, count."""
    sums = sorted(sum(times) for times in zip(*rows, strict=True))
    places = [max(math.ceil(round(level * len(sums) / 100, 9)), 1) - 1 for level in percentiles]
    late = composed(np.array(rows, float), percentiles)
    assert late.joint_ms == tuple(sums[place] for place in places)
    assert late.ms == pytest.approx(sum(sums) / len(sums))
    assert sum(late.stage_ms) == pytest.approx(late.ms)


def test_percentiles_of_a_sum_are_not_sums_of_percentiles() -> None:
    """By hand: 1 query of 100 is late in the one stage, another in the other: 2 % are late, though each stage's p99 is 1 ms."""
    times = np.ones((2, 100))
    times[0, 7] = times[1, 8] = 100.0
    late = composed(times, [98, 99])
    assert late.joint_ms == (2.0, 101.0)
    assert late.bound_ms == (2.0, 200.0)


def test_queries_that_are_slow_in_every_stage_stay_together() -> None:
    """By hand: the same 10 % are slow in both stages; with independent stages p95 would be 11 ms."""
    slow = np.where(np.arange(100) < 10, 10.0, 1.0)
    assert composed(np.stack([slow, slow]), [95, 99.5]).joint_ms == (20.0, 20.0)


def test_the_frame_shows_all_of_it() -> None:
    """One row a percentile, every number beside it; without percentiles no row and the same columns."""
    late = composed(np.array([[1.0, 2.0, 3.0, 4.0], [8.0, 6.0, 4.0, 2.0]]), [50, 75])
    frame = late.frame
    assert list(frame) == ["percentile", "joint_ms", "low_ms", "high_ms", "bound_ms"]
    assert frame["percentile"].tolist() == [50, 75]
    assert frame["joint_ms"].tolist() == [7.0, 8.0]
    assert frame["bound_ms"].tolist() == [9.0, 12.0]
    none = summarise(np.ones((2, 1)), (10, 5), (), 0)
    assert (list(none.frame), len(none.frame), none.ms) == (list(frame), 0, 2.0)


@pytest.mark.parametrize(
    ("percentiles", "found"),
    [((0,), "0"), ((101,), "101"), ((50, math.nan, "p95"), "nan, 'p95'"), ((True,), "True"), ((-5, 100), "-5")],
)
def test_invalid_percentiles_are_refused(percentiles: tuple[float, ...], found: str) -> None:
    """All of them at once, with the exact message."""
    with pytest.raises(SweepError) as error:
        check_percentiles(percentiles, 1000)
    lines = [f"found {one}, expected a number from 1 to 100" for one in found.split(", ")]
    head = "there are no such percentiles:"
    told = f"{head} {lines[0]}." if len(lines) == 1 else head + "".join(f"\n  - {line}" for line in lines) + "\n"
    assert str(error.value).replace("\nFix", " Fix") == f"{told} Fix: percentiles=None".replace("\n Fix", " Fix")


@pytest.mark.parametrize(
    ("queries", "given"), [(1, ()), (2, (50,)), (19, (50,)), (20, (50, 95)), (99, (50, 95)), (100, (50, 95, 99))]
)
def test_percentiles_that_so_few_queries_cannot_give_are_left_out(queries: int, given: tuple[int, ...]) -> None:
    """By hand: at least one query is to lie above it, n (1 - p) ≥ 1; and one that is asked for is refused."""
    assert check_percentiles(None, queries) == given
    for level in {50, 95, 99} - {*given}:
        with pytest.raises(
            SweepError, match=f"^there are no such percentiles: p{level} takes {100 // (100 - level)} queries or more"
        ):
            check_percentiles((level,), queries)


def test_an_interval_is_that_of_order_statistics() -> None:
    """Golden: scipy.stats.quantile_test on the sums; without an upper end where there is none; repeats of a query count once."""
    times = np.random.default_rng(0).exponential(10, (2, 200))
    late = composed(times, [50, 95])
    for n, level in enumerate((0.5, 0.95)):
        found = stats.quantile_test(times.sum(axis=0), p=level).confidence_interval(0.9)
        assert (late.low_ms[n], late.high_ms[n]) == pytest.approx((found.low, found.high))
    few = summarise(times[:, :40], (None, None), [95], 40)
    assert (few.low_ms[0] > 0, few.high_ms[0]) == (True, math.inf)
    again = summarise(np.repeat(times, 3, axis=1), (None, None), [50, 95], 200)
    assert (again.low_ms, again.high_ms, again.joint_ms) == (late.low_ms, late.high_ms, late.joint_ms)
    assert take_percentiles(times[0], [rank_percentile(199, 200)])[0] == np.sort(times[0])[198]
