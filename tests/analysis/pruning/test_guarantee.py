"""Guarantees against the papers' formulas and MAPIE's, and their promise in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.pruning.guarantee import control_expectation, control_probability
from pt_cascade.errors import SweepError

LOSSES = st.integers(2, 40).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=n, max_size=n), min_size=1, max_size=5)
)


@pytest.mark.parametrize(("alpha", "queries"), [(0.02, 114), (0.05, 45), (0.1, 22)])
def test_so_many_queries_without_a_loss_are_enough_and_one_less_is_not(alpha: float, queries: int) -> None:
    """Golden: MAPIE 1.6.0, ``compute_hoeffding_bentkus_p_value([0.0], n, alpha)`` is at most 0.1 from these n, (1 - alpha)**n."""
    enough, short = (
        control_probability(np.zeros((2, queries)), alpha, 0.1),
        control_probability(np.zeros((2, queries - 1)), alpha, 0.1),
    )
    assert (enough.row, enough.needed) == (1, None)
    assert (short.row, short.needed) == (None, queries)
    assert f"{queries - 1} queries cannot show a mean loss of at most {alpha:g}; at least {queries} could" in short.explain()


@pytest.mark.parametrize(("alpha", "queries"), [(0.02, 49), (0.05, 19), (0.1, 9)])
def test_the_expectation_needs_fewer(alpha: float, queries: int) -> None:
    """Golden: theorem 1 without any loss, 1/(n + 1) <= alpha."""
    enough, short = control_expectation(np.zeros((2, queries)), alpha), control_expectation(np.zeros((2, queries - 1)), alpha)
    assert (enough.row, short.row, short.needed) == (1, None, queries)


@given(LOSSES, st.sampled_from([0.05, 0.1, 0.2, 0.3]))
def test_the_expectation_by_its_formula(rows: list[list[float]], alpha: float) -> None:
    """Golden: the definition in whole numbers: the last row before (n·mean + 1)/(n + 1) first exceeds alpha."""
    losses = np.array([[0.0] * len(rows[0]), *rows])
    worst, wanted = [0.0] * losses.shape[1], None
    for row, loss in enumerate(losses.tolist()):
        worst = [max(pair) for pair in zip(worst, loss, strict=True)]
        if 20 * (sum(worst) + 1) > round(20 * alpha) * (len(worst) + 1):
            break
        wanted = row
    found = control_expectation(losses, alpha)
    assert found.row == wanted
    if found.row is not None and found.row + 1 < len(losses) and found.needed not in (None, math.inf):
        mean = np.maximum.accumulate(losses)[found.row + 1].mean()
        assert (found.needed * mean + 1) / (found.needed + 1) <= alpha + 1e-9


@given(LOSSES, st.sampled_from([0.1, 0.3]), st.sampled_from([0.1, 0.3]))
def test_more_loss_promises_less(rows: list[list[float]], alpha: float, delta: float) -> None:
    """Property: losses that are halved allow no looser row; a larger alpha, or delta, neither."""
    losses = np.array([[0.0] * len(rows[0]), *rows])
    row = control_probability(losses, alpha, delta).row
    for easier in (
        control_probability(losses / 2, alpha, delta),
        control_probability(losses, 2 * alpha, delta),
        control_probability(losses, alpha, 2 * delta),
    ):
        assert (-1 if easier.row is None else easier.row) >= (-1 if row is None else row)


def test_the_promise_holds_where_the_truth_is_known() -> None:
    """Rows whose true means rise through alpha, 2,000 samples: a wrong row is as rare as said, within 3 standard errors."""
    rng, alpha, delta, n, trials = np.random.default_rng(0), 0.1, 0.1, 100, 2000
    chances = np.array([0.0, 0.02, 0.05, 0.08, 0.11, 0.15, 0.3])
    wrong, means = 0, []
    for _ in range(trials):
        losses = (rng.random(n) < chances[:, None]).astype(float)
        row = control_probability(losses, alpha, delta).row
        wrong += row is not None and chances[row] > alpha
        means.append(chances[control_expectation(losses, alpha).row or 0])
    assert 0 < wrong / trials <= delta + 3 * math.sqrt(delta * (1 - delta) / trials)
    assert 0.05 < np.mean(means) <= alpha


@pytest.mark.parametrize(
    ("losses", "alpha", "delta", "problem"),
    [
        (np.zeros((2, 50)), 0.0, 0.1, "alpha is 0.0, expected a number above 0 and below 1"),
        (np.zeros((2, 50)), 0.1, 1.0, "delta is 1.0, expected a number above 0 and below 1"),
        (np.full((2, 50), np.nan), 0.1, 0.1, "losses reach from nan to nan, expected from -1 to 1"),
        (np.full((2, 50), 2.0), 0.1, 0.1, "losses reach from 2 to 2, expected from -1 to 1"),
        (np.zeros((2, 1)), 0.1, 0.1, "there are losses of 1 queries, expected several"),
    ],
)
def test_what_cannot_be_tested_is_refused(losses: np.ndarray, alpha: float, delta: float, problem: str) -> None:
    """With what was found and expected."""
    with pytest.raises(SweepError, match="no guarantee can be given") as error:
        control_probability(losses, alpha, delta)
    assert problem in error.value.problems
    with pytest.raises(SweepError, match=r"losses reach from -0\.5 to -0\.5, expected from 0 to 1"):
        control_expectation(np.full((2, 50), -0.5), 0.1)


def test_a_promise_says_the_tested_chance_and_asks_for_more_queries_than_were_seen() -> None:
    """2.5 % is not rounded to 2; what 104 queries do not show is not promised for fewer."""
    assert "except in 2.5 % of samples" in control_probability(np.zeros((1, 200)), 0.05, 0.025).explain()
    rng = np.random.default_rng(0)
    for queries in (45, 62, 104):
        losses = np.vstack([np.zeros(queries), (rng.random(queries) < 0.03).astype(float)])
        needed = control_probability(losses, 0.05, 0.1).needed
        assert needed is None or needed > queries
