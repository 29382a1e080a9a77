"""Preferences added up: the papers' formulas, exact in any order."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pt_cascade.analysis.fusion.pair_aggregation import FIXED, LEAST, Aggregation, aggregate, check_aggregation
from pt_cascade.errors import PipelineError, StageError

HOWS: tuple[Aggregation, ...] = get_args(Aggregation)
# probabilities as models give them, with the ends, the middle, ties, and what no fixed point can tell from 0
CHANCES = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.25, 1e-300, 1e-13, LEAST, 1 - 1e-16, 0.1, 0.3]), st.floats(0, 1))
TABLES = st.integers(0, 8).flatmap(lambda n: hnp.arrays(np.float64, (n, n), elements=CHANCES))

# p(i, j) of three documents; the diagonal is not there
WINS = np.array([[np.nan, 0.75, 0.5], [0.5, np.nan, 0.25], [0.0, 1.0, np.nan]])
LOGS = {p: math.log(p) for p in (0.25, 0.5, 0.75, LEAST)}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("sum", [0.75 + 0.5, 0.5 + 0.25, 0.0 + 1.0]),
        ("sym-sum", [0.75 + (1 - 0.5) + 0.5 + (1 - 0.0), 0.5 + (1 - 0.75) + 0.25 + (1 - 1.0), 0.0 + (1 - 0.5) + 1.0 + (1 - 0.25)]),
        ("binary", [1, 0, 1]),
        ("sum-log", [LOGS[0.75] + LOGS[0.5], LOGS[0.5] + LOGS[0.25], LOGS[LEAST] + 0]),
        (
            "sym-sum-log",
            [
                LOGS[0.75] + LOGS[0.5] + LOGS[0.5] + 0,
                LOGS[0.5] + 2 * LOGS[0.25] + LOGS[LEAST],
                LOGS[LEAST] + LOGS[0.5] + LOGS[0.75],
            ],
        ),
        ("min", [0.5, 0.25, 0.0]),
        ("max", [0.75, 0.5, 1.0]),
    ],
)
def test_three_documents_by_hand(how: Aggregation, expected: list[float]) -> None:
    """Golden values, worked out on paper from the papers' formulas; log 0 counts as log 1e-10, and a half is no win."""
    assert aggregate(WINS, how) == pytest.approx(np.array(expected), abs=1e-11, rel=0)


@given(TABLES)
def test_scores_are_those_of_pygaggle(wins: np.ndarray) -> None:
    """Golden formulas from PyGaggle's data/convert_duot5_output_to_msmarco_run.py, pair by pair, but for logs of nothing."""
    for theirs, ours in (("sum", "sum"), ("sym_sum", "sym-sum"), ("log_sum", "sum-log"), ("sym_log_sum", "sym-sum-log")):
        scores = np.zeros(len(wins))
        for a, b in permutations(range(len(wins)), 2):
            chance = wins[a, b]
            scores[a] += math.log(max(chance, LEAST)) if "log" in theirs else chance
            if "sym" in theirs:
                scores[b] += math.log(max(1 - chance, LEAST)) if "log" in theirs else 1 - chance
        assert aggregate(wins, ours) == pytest.approx(scores, abs=1e-10, rel=0)


@given(TABLES)
def test_scores_are_those_of_plain_python(wins: np.ndarray) -> None:
    """Brute force, one document at a time: whole numbers of 2**-40, added as Python adds them; extremes as they are."""
    n = len(wins)
    terms = {"sum": lambda p, _: p, "sym-sum": lambda p, q: 1 + (p - q), "binary": lambda p, _: float(p > 0.5)}
    for how in ("sum", "sym-sum", "binary", "min", "max"):
        expected = []
        for i in range(n):
            others = [j for j in range(n) if j != i]
            if how in terms:
                expected.append(sum(round(terms[how](wins[i, j], wins[j, i]) * 2**40) for j in others) / 2**40)
            else:
                expected.append({"min": min, "max": max}[how]((wins[i, j] for j in others), default=0.0))
        assert aggregate(wins, how).tolist() == expected


@given(TABLES, st.data())
def test_the_order_of_the_documents_does_not_matter(wins: np.ndarray, data: st.DataObject) -> None:
    """Bit for bit: what a sum of floats does not give."""
    order = data.draw(st.permutations(range(len(wins))))
    for how in HOWS:
        moved = aggregate(np.asfortranarray(wins[np.ix_(order, order)]), how)
        assert moved.tolist() == aggregate(wins, how)[list(order)].tolist()


@given(TABLES)
def test_scores_stay_in_their_range(wins: np.ndarray) -> None:
    """The bounds of the table in the module: sym-sum between 0 and 2(n - 1), n(n - 1) to be shared, exactly."""
    n = len(wins)
    most = max(n - 1, 0)
    low = {"sum-log": math.log(LEAST) * most, "sym-sum-log": 2 * math.log(LEAST) * most}
    high = {"sum": most, "sym-sum": 2 * most, "binary": most, "min": 1, "max": 1}
    for how in HOWS:
        scores = aggregate(wins, how)
        assert scores.shape == (n,)
        assert (scores >= low.get(how, 0) - n * FIXED).all()
        assert (scores <= high.get(how, 0)).all()
        assert how in low or (scores >= 0).all()
    assert aggregate(wins, "sym-sum").sum() == n * most


@given(TABLES)
def test_what_is_given_is_not_changed(wins: np.ndarray) -> None:
    """Neither the table, nor by what stands on its diagonal."""
    before = wins.copy()
    scores = [aggregate(wins, how).tolist() for how in HOWS]
    assert wins.tobytes() == before.tobytes()
    np.fill_diagonal(before, np.nan)
    assert [aggregate(before, how).tolist() for how in HOWS] == scores


@pytest.mark.parametrize("how", HOWS)
def test_a_document_alone_scores_nothing(how: Aggregation) -> None:
    """One document, or none, has no comparison."""
    assert aggregate(np.array([[np.nan]]), how).tolist() == [0.0]
    assert aggregate(np.zeros((0, 0)), how).tolist() == []


def test_extremes_are_not_rounded() -> None:
    """Probabilities that fixed point could not tell apart keep their order."""
    wins = np.array([[np.nan, 1e-20, 1e-20], [1e-30, np.nan, 1e-30], [0.0, 0.0, np.nan]])
    for how in ("min", "max"):
        assert aggregate(wins, how).tolist() == [1e-20, 1e-30, 0.0]


def test_the_largest_sum_fits() -> None:
    """180,000 terms as low as any add up in 64 bits. By hand: a loser of both orders scores 2 log 1e-10 a pair."""
    lowest = aggregate(np.array([[np.nan, 0.0], [1.0, np.nan]]), "sym-sum-log")[0]
    assert lowest == pytest.approx(2 * math.log(LEAST), abs=FIXED)
    assert abs(lowest) / FIXED * 180_000 < 2**63


def refused(call: Any) -> str:
    """Give the message of the error that a call raises."""
    with pytest.raises((PipelineError, StageError)) as error:
        call()
    return str(error.value)


def test_another_name_is_refused() -> None:
    """The error lists the names that there are."""
    names = ", ".join(HOWS)
    said = f"cannot aggregate: aggregation is 'mean', expected one of {names}. Fix: aggregation=\"sym-sum\""
    assert refused(lambda: check_aggregation("mean", "duo_t5")) == f"duo_t5 {said}"


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.5, np.inf])
@pytest.mark.parametrize("how", HOWS)
def test_invalid_probabilities_are_refused(how: Aggregation, wrong: float) -> None:
    """Nothing that a whole number cannot hold becomes one."""
    wins = np.full((3, 3), 0.5)
    wins[2, 0] = wrong
    said = f"probabilities that one document beats another are out of range: 1 of 6 are not from 0 to 1, the first is {wrong}"
    assert refused(lambda: aggregate(wins, how)) == said
