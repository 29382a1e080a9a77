"""Plateaus of recall: against a loop over all cut-offs, and in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.choice.intervals import bounds_above
from pt_cascade.analysis.choice.plateaus import find_plateau, find_plateaus
from pt_cascade.analysis.grid.cutoffs import NO_CUT


def curves(queries: int, depth: int, seed: int, relevant: int = 3) -> np.ndarray:
    """Recall of queries whose relevant documents stand anywhere, more at the top: shape (queries, depth)."""
    rng = np.random.default_rng(seed)
    place = (depth * rng.random((queries, relevant)) ** 3).astype(int)
    return (place[:, :, None] <= np.arange(depth)).mean(axis=1)


@given(st.integers(0, 1000), st.integers(5, 120), st.integers(1, 150), st.sampled_from([0.02, 0.05, 0.2, 0.5]))
def test_a_plateau_is_the_first_cutoff_of_a_loop_over_all(seed: int, queries: int, depth: int, margin: float) -> None:
    """Brute force with the same resamples: every cut-off is tested, from the first on."""
    recall = curves(queries, depth, seed)
    rng = np.random.default_rng(seed)
    axis = np.sort(rng.choice(np.arange(1, depth + 1), rng.integers(1, depth + 1), replace=False))
    most = recall[:, axis[-1] - 1]
    bounds = [bounds_above((most - recall[:, k - 1])[:, None], seed=seed)[0] for k in axis[:-1]]
    expected = next((n for n, bound in enumerate(bounds) if bound <= margin), len(axis) - 1)
    at, plateau = find_plateau(recall, axis, margin, seed=seed)
    assert at == expected
    assert (plateau.k, plateau.deepest, plateau.tried, plateau.queries) == (axis[at], axis[-1], len(axis), queries)
    assert plateau.recall == pytest.approx(recall[:, axis[at] - 1].mean())
    assert plateau.most == pytest.approx(most.mean())
    assert plateau.bound == (pytest.approx(bounds[at]) if at < len(axis) - 1 else np.inf)


@settings(max_examples=15)
@given(st.integers(0, 50), st.sampled_from([(0.05, 0.1), (0.1, 0.3)]))
def test_a_larger_margin_never_asks_for_a_deeper_cutoff(seed: int, margins: tuple[float, float]) -> None:
    """Nor does a lower level."""
    recall, axis = curves(80, 60, seed), np.arange(1, 61)
    assert find_plateau(recall, axis, margins[1])[0] <= find_plateau(recall, axis, margins[0])[0]
    assert find_plateau(recall, axis, margins[0], level=0.8)[0] <= find_plateau(recall, axis, margins[0])[0]


def test_recall_that_stops_rising_has_its_plateau_there() -> None:
    """By hand: 200 queries find one half at the first document and all at the fourth; no loss is left after that."""
    recall = np.tile([0.5, 0.5, 0.5, 1.0, 1.0, 1.0], (200, 1))
    at, plateau = find_plateau(recall, np.arange(1, 7), 0.02, stage="bm25")
    assert (at, plateau.k, plateau.recall, plateau.needed) == (3, 4, 1.0, 149)
    assert str(plateau) == (
        f"bm25: recall 1.000 at 4, 1.000 at 6; the loss is at most {plateau.bound:.3f} (one-sided), within the margin of 0.02"
    )


def test_each_plateau_is_found_at_the_cutoffs_before_it() -> None:
    """Stage 2 rises to its fifth document where stage 1 passes on its plateau, and no other cut-off of stage 1 is tried."""
    asked = []

    def recall(stage: int, given: tuple[int, ...]) -> np.ndarray:
        asked.append((stage, given))
        rise = {0: 3, 1: 5}[stage]
        return np.tile((np.arange(10) >= rise - 1).astype(float), (200, 1))

    vectors = np.array([(k1, k2, 10) for k1 in range(1, 11) for k2 in range(1, 11)])
    found = find_plateaus(recall, ("a", "b", "c"), vectors, 0.05)
    assert asked == [(0, ()), (1, (3,))]
    assert [(one.stage, one.k) for one in found] == [("a", 3), ("b", 5)]


def test_a_cascade_of_one_stage_has_its_own_plateau() -> None:
    """There is nothing after it to cut for, but its list."""
    found = find_plateaus(lambda *_: np.tile([0.0, 1.0, 1.0], (100, 1)), ("a",), np.array([[1], [2], [3]]), 0.05)
    assert [(one.stage, one.k) for one in found] == [("a", 2)]


def test_no_cut_is_as_deep_as_the_longest_list() -> None:
    """And as any cut-off beyond it."""
    recall = np.tile([0.0, 0.5, 1.0], (100, 1))
    for axis in ([1, 2, NO_CUT], [1, 2, 50], [1, 2, 50, NO_CUT]):
        at, plateau = find_plateau(recall, np.array(axis), 0.05)
        assert (at, plateau.k, plateau.deepest) == (2, 3, 3)


SAID = {
    "one": (100, [3], "s: only cut-off 3 was tried (recall 1.000)"),
    "few": (
        20,
        [1, 3],
        "s: 20 queries cannot show that a cut-off below 3 loses 0.05 or less: use at least 59 queries, or a larger margin",
    ),
    "rising": (
        100,
        [1, 2, 3],
        "s: no plateau up to 3: recall 1.000 still rises there, or there are too few queries; "
        "a smaller cut-off may lose more than 0.05",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_stage_without_plateau_reports_why(case: str) -> None:
    """Each with what to do."""
    queries, axis, said = SAID[case]
    recall = np.tile([0.2, 0.6, 1.0], (queries, 1))
    assert str(find_plateau(recall, np.array(axis), 0.05, stage="s")[1]) == said
