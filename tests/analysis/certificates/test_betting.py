"""The betting test: by exact enumeration, the paper's formula in plain Python, and in chunks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.certificates.betting import Evidence, bet_against


def by_the_paper(losses: list[float], margin: float, alpha: float, planned: int | None) -> float:
    """Waudby-Smith and Ramdas 2024, equations 24 and 26, one query at a time; the p-value."""
    log_value = best = 0.0
    seen: list[float] = []
    spread = 0.25
    for n, loss in enumerate(losses, 1):
        value, center = (1 - loss) / 2, (1 - margin) / 2
        variance = spread / n
        scale = planned if planned is not None else n * math.log(1 + n)
        bet = min(math.sqrt(2 * math.log(1 / alpha) / (variance * scale)), 0.75 / center)
        log_value += math.log(1 + bet * (value - center))
        best = max(best, log_value)
        seen.append(value)
        spread += (value - (0.5 + sum(seen)) / (n + 1)) ** 2
    return math.exp(-best)


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=40),
    st.floats(0.01, 0.3),
    st.sampled_from([0.01, 0.05, 0.2]),
    st.sampled_from(["told", "not"]),
)
def test_p_values_are_those_of_the_papers_formula(losses: list[float], margin: float, alpha: float, told: str) -> None:
    """Golden: a plain loop; and chunks of queries give the same as all at once."""
    planned = len(losses) if told == "told" else None
    expected = by_the_paper(losses, margin, alpha, planned)
    start, values = Evidence.start(1, margin, alpha, planned), np.array([losses])
    assert start.update(values).p_values[0] == pytest.approx(expected, rel=1e-9)
    half = len(losses) // 2
    later = start.update(values[:, :half]).update(values[:, half:])
    assert later.p_values[0] == pytest.approx(expected, rel=1e-9)
    assert (start.queries, later.queries) == (0, len(losses))


@pytest.mark.parametrize("planned", [8, None])
@pytest.mark.parametrize("values", [(-1.0, 1.0), (0.0, 0.3), (0.05, 1.0)])
def test_the_bets_are_fair_where_the_mean_loss_is_the_margin(values: tuple[float, float], planned: int | None) -> None:
    """Exact: over all 2⁸ sequences of two values whose mean is the margin, the expected product is 1, and P(p ≤ u) ≤ u."""
    margin = 0.1
    share = (margin - values[0]) / (values[1] - values[0])
    which = np.array(list(itertools.product([0, 1], repeat=8)))
    chance = share ** which.sum(axis=1) * (1 - share) ** (8 - which.sum(axis=1))
    found = Evidence.start(len(which), margin, 0.05, planned).update(np.array(values)[which])
    assert chance @ np.exp(found.log_value) == pytest.approx(1.0)
    for level in (0.05, 0.2, 0.5):
        assert chance @ (found.p_values <= level) <= level + 1e-12


@given(st.lists(st.floats(-1, 0.9), min_size=1, max_size=40), st.floats(0.01, 0.3))
def test_looking_again_never_takes_evidence_back(losses: list[float], margin: float) -> None:
    """The p-value falls or stays, query by query."""
    evidence = Evidence.start(1, margin, 0.05)
    for loss in losses:
        later = evidence.update(np.array([[loss]]))
        assert later.p_values[0] <= evidence.p_values[0] <= 1
        evidence = later


def test_more_loss_is_less_evidence_and_no_loss_is_certain_in_time() -> None:
    """By construction: 400 queries without loss, with 1 % and with 5 % of total losses."""
    losses = np.zeros((3, 400))
    losses[1, ::100], losses[2, ::20] = 1, 1
    none, some, many = bet_against(losses, 0.05)
    assert none < some < 0.05 < many
