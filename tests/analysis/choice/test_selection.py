"""Picking a vector on some queries: against pandas, loops and known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.scored import make_scores, make_sweep

from pt_cascade.analysis.certificates.betting import bet_against
from pt_cascade.analysis.certificates.dirichlet import weigh_at_random
from pt_cascade.analysis.choice.candidates import Candidates, best_of, subsample
from pt_cascade.analysis.choice.selection import pick
from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.sweep.result import Sweep

ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 5)), min_size=1, max_size=30)


def candidates_of(swept: Sweep, method: str, *, margin: float = 0.1, affordable: np.ndarray | None = None) -> Candidates:
    """Candidates of a sweep of one measure; a vector costs the sum of its cut-offs but the last."""
    vectors = swept.grid.vectors
    every = np.ones(len(vectors), bool) if affordable is None else affordable
    return Candidates(
        swept.replayer,
        vectors,
        every,
        vectors[:, :-1].sum(axis=1).astype(float),
        np.arange(len(swept.qids))[None] % 5,
        len(vectors) - 1,
        method,
        margin,
    )


@given(ROWS)
def test_the_best_is_that_of_pandas_among_what_is_affordable(rows: list[tuple[int, bool, int]]) -> None:
    """Golden: idxmax over the affordable rows, sorted by cost first, in their order."""
    frame = pd.DataFrame(rows, columns=["gain", "affordable", "cost"])
    if not frame["affordable"].any():
        frame["affordable"] = True
    expected = frame[frame["affordable"]].sort_values("cost", kind="stable")["gain"].idxmax()
    assert best_of(frame["gain"].to_numpy() / 3, frame["affordable"].to_numpy(), frame["cost"].to_numpy(float)) == expected


def test_rounding_does_not_make_a_dearer_vector_better() -> None:
    """Sums in another order differ in the last bits."""
    assert best_of(np.array([0.1 + 0.2, 0.3]), np.array([True, True]), np.array([2.0, 1.0])) == 1


@given(st.integers(1, 400), st.integers(1, 20))
def test_a_thinned_grid_has_a_near_neighbour_of_every_vector(first: int, second: int) -> None:
    """Within a tenth, rounded up, in each cut-off; the deepest vector itself is kept."""
    vectors = grid(range(1, first + 1), range(1, second + 1)).vectors
    kept = vectors[subsample(vectors)]
    assert kept[-1].tolist() == vectors[-1].tolist()
    for column in range(2):
        values = np.unique(kept[:, column])
        above = values[np.searchsorted(values, np.unique(vectors[:, column]))]
        assert (above <= 1.1 * np.unique(vectors[:, column]) + 1).all()


def test_the_cheapest_is_found_where_a_stage_adds_nothing() -> None:
    """Stage 3 repeats stage 2, so four documents of stage 1 are enough for RR; half as many are not."""
    labels = np.zeros((200, 6), int)
    labels[np.arange(200), np.arange(200) % 4] = 1
    first = np.tile(-np.arange(6.0), (200, 1))
    swept = make_sweep({"s1": first, "s2": labels * 1.0, "s3": labels * 1.0}, labels, ("RR",))
    found = pick(candidates_of(swept, "certified"), swept.means[:, 0], np.ones(200, bool))
    assert swept.grid.vectors[found.vector, 0] == 4
    assert not found.searched


@settings(max_examples=10)
@given(st.integers(0, 30), st.sampled_from([0.1, 0.3, 0.6]), st.sampled_from(["dirichlet", "betting"]))
def test_the_certified_one_is_the_cheapest_before_the_first_failure(seed: int, margin: float, test: str) -> None:
    """Brute force: one vector after the other on the way down, on two thirds of the queries."""
    scores, labels = make_scores(60, 6, 3, seed)
    swept = make_sweep(scores, labels)
    candidates, queries = replace(candidates_of(swept, "certified", margin=margin), test=test), np.arange(60) % 3 > 0
    last = swept.replayer.per_query(swept.grid.vectors[-1])[queries, 0]
    allowed = [len(swept.grid) - 1]
    for at in candidates.sequence:
        losses = (last - swept.replayer.per_query(swept.grid.vectors[at])[queries, 0])[None]
        p_value = weigh_at_random(losses, margin) if test == "dirichlet" else bet_against(losses, margin)
        if p_value[0] > 0.05:
            break
        allowed.append(int(at))
    found = pick(candidates, swept.means[:, 0], queries)
    assert found.vector == min(allowed, key=lambda n: candidates.costs[n])
    assert found.certified == len(allowed) - 1


def test_a_plateau_beyond_the_budget_gives_the_best_no_deeper() -> None:
    """Else the best of its cut-offs; where nothing affordable is no deeper, the best that is affordable."""
    labels = np.zeros((200, 6), int)
    labels[:, 2] = 1
    first = np.tile(-np.arange(6.0), (200, 1))
    swept = make_sweep({"s1": first, "s2": labels * 1.0}, labels, ("RR",))
    k1, everyone = swept.grid.vectors[:, 0], np.ones(200, bool)
    cases = ((k1 <= 6, 3, False), (k1 <= 2, 1, True), ((k1 <= 2) | (k1 == 5), 1, True), (k1 >= 5, 5, True))
    for affordable, expected, over in cases:
        found = pick(candidates_of(swept, "plateau", affordable=affordable), swept.means[:, 0], everyone)
        assert (k1[found.vector], found.searched) == (expected, over)
        assert [one.k for one in found.plateaus] == [3]


def test_the_deepest_vector_has_the_largest_product_of_cutoffs() -> None:
    """Not the last of the grid, where that is shallow; no cut counts as the longest list."""
    scores, labels = make_scores(20, 50, 3)
    for vectors, expected in (
        ([(50, 1, 1), (20, 20, 20)], (20, 20, 20)),
        ([(10, 10, None), (50, 5, 5)], (10, 10, None)),
        ([(50, 2, 10), (50, 10, 2)], (50, 10, 2)),
    ):
        candidates = candidates_of(make_sweep(scores, labels, grid=vectors), "budget")
        assert tuple(None if k == NO_CUT else k for k in candidates.vectors[candidates.deepest].tolist()) == expected


def test_a_large_grid_gives_the_same_sums_as_a_small_one() -> None:
    """Beyond 2,000 vectors the folds are summed by the kernel, and only some vectors are measured query by query."""
    scores, labels = make_scores(30, 80, 3)
    swept = make_sweep(scores, labels)
    candidates = candidates_of(swept, "budget")
    values = candidates.values(np.arange(len(swept.grid)))
    assert len(swept.grid) > 2000 > len(candidates.representatives[0])
    expected = np.stack([values[candidates.folds[0] == one].sum(axis=0) for one in range(5)])
    assert candidates.sums[0] == pytest.approx(expected, abs=1e-12)
    assert (candidates.representatives[1] == values[:, candidates.representatives[0]]).all()
    small = make_sweep(scores, labels, grid=swept.grid.vectors[::40].tolist())
    assert candidates_of(small, "budget").sums == pytest.approx(candidates.sums[:, :, ::40], abs=1e-12)


def test_what_is_affordable_is_never_thinned_away() -> None:
    """A single vector between those that a thinned grid keeps."""
    scores, labels = make_scores(10, 80, 3)
    swept = make_sweep(scores, labels)
    only = np.arange(len(swept.grid)) == 2345
    assert candidates_of(swept, "budget", affordable=only).representatives[0].tolist() == [2345]
