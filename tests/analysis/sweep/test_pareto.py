"""The Pareto front: against every pair of vectors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.scored import make_scores, make_sweep

from pt_cascade.analysis.cost.cost import StageCost
from pt_cascade.analysis.sweep.front import find_front
from pt_cascade.errors import SweepError

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40)


def front_of(points: list[tuple[float, float]]) -> list[int]:
    """The positions of the front of (cost, gain) points."""
    frame = pd.DataFrame({"k1": range(len(points)), "RR": [gain for _, gain in points], "ms": [cost for cost, _ in points]})
    return find_front(frame, "RR", "ms")["k1"].tolist()


@given(POINTS)
def test_the_front_is_what_no_other_point_beats(points: list[tuple[int, int]]) -> None:
    """Brute force over all pairs: beaten is who costs no less and gains no more than another, and is not the first of equals."""

    def beaten(n: int) -> bool:
        cost, gain = points[n]
        return any(
            (other[0] <= cost and other[1] >= gain) and (other != (cost, gain) or m < n) for m, other in enumerate(points) if m != n
        )

    expected = sorted((n for n in range(len(points)) if not beaten(n)), key=lambda n: points[n])
    assert front_of(points) == expected


@given(POINTS)
def test_the_front_rises_and_survives_any_stretching(points: list[tuple[int, int]]) -> None:
    """Costs and gains both rise strictly; a rising function of either changes nothing."""
    front = front_of(points)
    costs, gains = np.array(points)[front].T
    assert (np.diff(costs) > 0).all()
    assert (np.diff(gains) > 0).all()
    assert front_of([(cost**3 + 1, np.exp(gain)) for cost, gain in points]) == front


def test_the_front_of_a_sweep_by_each_cost() -> None:
    """Rows of the frame, by time, percentile, pairs and money."""
    scores, labels = make_scores(30, 8, 3)
    cost = [StageCost("s1"), StageCost("s2", per_pair_ms=1), StageCost("s3", per_pair_ms=9, usd_per_search=0.01)]
    swept = make_sweep(scores, labels, ("nDCG@10", "RR"), cost=cost)
    front = swept.pareto_front("nDCG@10")
    assert "p99_ms" not in front
    whole = swept.frame.merge(front, how="right")
    assert whole[list(front)].equals(front)
    assert front["nDCG@10"].iloc[-1] == swept.frame["nDCG@10"].max()
    assert front["ms"].iloc[0] == swept.frame["ms"].min()
    for column in ("p95_ms", "pairs", "usd"):
        assert swept.pareto_front("RR", column)["RR"].iloc[-1] == swept.frame["RR"].max()


def test_what_is_not_swept_has_no_front() -> None:
    """All at once, with what there is."""
    scores, labels = make_scores(20, 5, 2)
    free = make_sweep(scores, labels, ("RR",))
    with pytest.raises(SweepError) as caught:
        free.pareto_front("P@5")
    assert str(caught.value) == (
        "cannot compute the Pareto front:\n  - the sweep has no measure P@5; it has RR\n  - the sweep has no cost\n"
        "Fix: sweep(table, qrels, [measure], cost=timings.cost())"
    )
    with pytest.raises(SweepError) as caught:
        make_sweep(scores, labels, ("RR",), cost=[StageCost(), StageCost(per_pair_ms=1)]).pareto_front("RR", "usd")
    assert str(caught.value) == (
        "cannot compute the Pareto front: the sweep has no cost 'usd'; it has ms, p50_ms, p95_ms, pairs. "
        "Fix: sweep(table, qrels, [measure], cost=timings.cost())"
    )
