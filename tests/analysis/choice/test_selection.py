"""Picking a vector on some queries: against pandas, loops and known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.scored import make_scores, make_sweep

from pt_cascade.analysis.choice.candidates import Candidates, best_of, subsample
from pt_cascade.analysis.choice.intervals import bounds_above, simultaneous_bounds
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
        np.arange(len(swept.qids)) % 5,
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


@given(st.integers(0, 100), st.integers(1, 60), st.integers(1, 12), st.floats(0.01, 0.5))
def test_bounds_together_are_no_narrower_than_alone(seed: int, queries: int, candidates: int, margin: float) -> None:
    """One candidate alone gets the bound it has by itself; more of them get wider ones, on the whole."""
    rng = np.random.default_rng(seed)
    losses = rng.normal(margin / 2, 0.1, (queries, candidates)).clip(-1, 1)
    alone = bounds_above(losses[:, :1])
    assert simultaneous_bounds(losses[:, :1], 0.9) == pytest.approx(alone)
    together = simultaneous_bounds(losses, margin)
    assert together.shape == (candidates,)
    seen = np.isfinite(together)
    assert (together[seen] >= losses.mean(axis=0)[seen]).all()
    assert together[seen].sum() >= bounds_above(losses)[seen].sum() - 0.01 * seen.sum()


def test_what_clearly_loses_more_than_the_margin_does_not_widen_the_bounds_of_others() -> None:
    """A hundred bad candidates leave a good one the bound that it has alone."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(0, 0.1, (100, 1)), rng.normal(0.6, 0.1, (100, 100))
    together = simultaneous_bounds(np.hstack([good, bad]), 0.05)
    assert together[0] == pytest.approx(bounds_above(good)[0])
    assert np.isinf(together[1:]).all()


def test_bounds_together_fail_no_oftener_than_one_may() -> None:
    """By simulation: of 20 candidates that lose just the margin, one seems to lose less in 5 % of samples at most, not in half."""
    rng = np.random.default_rng(0)
    together, alone = 0, 0
    for _ in range(120):
        losses = rng.normal(0.05, 0.2, (200, 20))
        together += (simultaneous_bounds(losses, 0.05) <= 0.05).any()
        alone += (bounds_above(losses) <= 0.05).any()
    assert together <= 12
    assert alone > 24


def test_no_candidate_has_no_bound() -> None:
    """Nothing is cheaper than the best."""
    assert simultaneous_bounds(np.empty((5, 0)), 0.1).shape == (0,)


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
    """Stage 3 repeats stage 2, so one document of stage 2 is enough for RR; half as good a stage 1 cut-off is not."""
    labels = np.zeros((200, 6), int)
    labels[np.arange(200), np.arange(200) % 4] = 1
    first = np.tile(-np.arange(6.0), (200, 1))
    swept = make_sweep({"s1": first, "s2": labels * 1.0, "s3": labels * 1.0}, labels, ("RR",))
    chosen = pick(candidates_of(swept, "cheapest"), swept.means[:, 0], np.ones(200, bool)).vector
    assert swept.grid.vectors[chosen].tolist() == [4, 1, NO_CUT]


@settings(max_examples=10)
@given(st.integers(0, 30), st.sampled_from([0.1, 0.3, 0.6]))
def test_the_cheapest_is_the_first_by_cost_whose_bound_is_within_the_margin(seed: int, margin: float) -> None:
    """Brute force: joint bounds of all cheaper vectors, in order of cost."""
    scores, labels = make_scores(60, 6, 3, seed)
    swept = make_sweep(scores, labels)
    candidates, queries = candidates_of(swept, "cheapest", margin=margin), np.arange(60) % 3 > 0
    values = np.stack([swept.replayer.per_query(vector)[queries, 0] for vector in swept.grid.vectors], axis=1)
    best, costs = candidates.best(values.mean(axis=0)), candidates.costs
    cheaper = [n for n in range(len(costs)) if costs[n] < costs[best]]
    bounds = simultaneous_bounds(values[:, [best]] - values[:, cheaper], margin)
    inside = [n for n, bound in zip(cheaper, bounds, strict=True) if bound <= margin]
    expected = min(inside, key=lambda n: costs[n], default=best)
    assert pick(candidates, values.mean(axis=0), queries).vector == expected


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
        assert (k1[found.vector], found.over_budget) == (expected, over)
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
    assert candidates.sums == pytest.approx(np.stack([values[candidates.fold == one].sum(axis=0) for one in range(5)]), abs=1e-12)
    assert (candidates.representatives[1] == values[:, candidates.representatives[0]]).all()
    small = make_sweep(scores, labels, grid=swept.grid.vectors[::40].tolist())
    assert candidates_of(small, "budget").sums == pytest.approx(candidates.sums[:, ::40], abs=1e-12)


def test_what_is_affordable_is_never_thinned_away() -> None:
    """A single vector between those that a thinned grid keeps."""
    scores, labels = make_scores(10, 80, 3)
    swept = make_sweep(scores, labels)
    only = np.arange(len(swept.grid)) == 2345
    assert candidates_of(swept, "cheapest", affordable=only).representatives[0].tolist() == [2345]
