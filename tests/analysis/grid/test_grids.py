"""Grids of cut-off vectors, and cut-offs themselves."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.grid.cutoffs import as_cutoffs, as_vectors, check_cutoffs
from pt_cascade.analysis.grid.grids import as_grid, default_grid, grid
from pt_cascade.errors import SweepError

CUTOFF = st.one_of(st.none(), st.integers(1, 2000))
AXIS = st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=1, max_size=4)


def size(cutoff: int | None) -> float:
    """No cut is the largest."""
    return np.inf if cutoff is None else cutoff


@given(st.lists(AXIS, min_size=1, max_size=3))
def test_a_grid_is_the_product_in_which_no_stage_passes_on_more_than_before(axes: list[list[int | None]]) -> None:
    """Oracle: itertools.product, filtered; no cut is always allowed; in order, each once."""
    wanted = {
        vector
        for vector in product(*axes)
        if all(after is None or size(after) <= min(map(size, vector[:n])) for n, after in enumerate(vector[1:], 1))
    }
    if not wanted:
        with pytest.raises(SweepError):
            grid(*axes)
        return
    made = grid(*axes)
    assert list(made) == sorted(wanted, key=lambda vector: [*map(size, vector)])
    assert len(made) == len(wanted)
    assert list(as_grid([*made][::-1] * 2, ["stage"] * len(axes))) == list(made)
    assert as_grid(made, ["stage"] * len(axes)) is made


@given(st.lists(st.tuples(CUTOFF, CUTOFF), min_size=1, max_size=5))
def test_vectors_are_read_back_as_they_were(vectors: list[tuple[int | None, int | None]]) -> None:
    """None survives, as the largest int32; what is beyond is no cut either."""
    assert [as_cutoffs(vector) for vector in as_vectors(vectors).tolist()] == vectors
    assert as_cutoffs(as_vectors([(2**40, 1)])[0]) == (None, 1)


def test_golden_sizes() -> None:
    """Golden: the 95,050 vectors of the issue, by n(n + 1)/2 up to k2 = 100 and 100 for each k1 beyond; axes as they are given."""
    assert len(default_grid((1000, 100), 20, 200)) == 100 * 101 // 2 + 900 * 100
    assert len(grid(range(1, 1001), range(1, 101), 20)) == sum(min(k1, 100) - 19 for k1 in range(20, 1001))
    assert repr(grid(np.arange(1, 9), [4, 2, 2], None)) == "Grid(12 vectors: k1 1..8 (8) × k2 2, 4 × k3 uncut)"
    assert list(grid(None, [2, 1])) == [(None, 1), (None, 2)]


@pytest.mark.parametrize("axis", [range(1, 10**9), count(1)], ids=["a long range", "no end"])
def test_a_grid_that_would_not_fit_is_refused_before_it_is_made(axis: Iterable[int]) -> None:
    """With the number of vectors; 8 GB for one axis alone would not be listed. The printed cure is a grid."""
    with pytest.raises(SweepError) as caught:
        grid(axis, range(1, 1001))
    problem = "it has up to 2,000,001,000 vectors, 2,000,001 k1 × 1,000 k2, expected at most 2,000,000"
    assert str(caught.value).startswith(f"the grid is too large: {problem}. Fix: take fewer cut-offs, e.g. grid(")
    assert len(eval(caught.value.fix.partition("e.g. ")[2], {"grid": grid})) == sum(min(k, 100) for k in range(10, 1001, 10))  # noqa: S307


def test_the_default_grid_is_dense_where_that_is_affordable_and_says_what_it_is() -> None:
    """All cut-offs up to the depths, the last stage's own cut-off kept where it cuts; else a logarithmic grid."""
    assert list(default_grid((3,), 2, 5)) == [(1, 1), (2, 2), (3, 2)]
    assert list(default_grid((2,), None, 5)) == [(1, None), (2, None)]
    assert list(default_grid((3,), None, 5, alone=True)) == [(1,), (2,), (3,)]
    coarse = default_grid((120,), None, 5, form="log")
    assert [k for k, _ in coarse] == [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 120]
    assert repr(coarse) == "Grid(12 vectors: log grid of k1 1..120, k2 uncut)"
    assert repr(default_grid((1000, 500), 10, 5)).endswith("log grid of k1 1..1000 × k2 1..500, k3 10)")
    assert repr(default_grid((1000, 100), 10, 20_000)).endswith("log grid of k1 1..1000 × k2 1..100, k3 10)")


def test_a_form_or_cut_offs_of_some_stages_are_chosen() -> None:
    """By hand: a full grid where the default is logarithmic, and the reverse; one axis given, the others as by default."""
    assert len(default_grid((120,), None, 5, form="full")) == 120
    assert [k for k, _ in default_grid((30,), None, 5, form="log")] == [1, 2, 3, 5, 7, 10, 20, 30]
    some = default_grid((30, 3), 2, 5, axes={"k1": [20, 10, 2]})
    assert list(some) == [(2, 1, 1), (2, 2, 2), *((k1, k2, min(k2, 2)) for k1 in (10, 20) for k2 in (1, 2, 3))]
    assert repr(some) == "Grid(8 vectors: all of k1 2, 10, 20 × k2 1..3, k3 2)"
    last = default_grid((5,), None, 5, axes={"k2": [None, 2], "k1": 5})
    assert (list(last), repr(last)) == ([(5, 2), (5, None)], "Grid(2 vectors: all of k1 5 × k2 2, uncut)")
    assert list(default_grid((5,), None, 5, alone=True, axes={"k1": [4]})) == [(4,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"form": "dense"},
            "this is not a grid: it is 'dense', expected one of full, log, a dict of cut-offs by k1, k2, ..., or vectors",
        ),
        ({"axes": {"k4": [1], "bm25": [1]}}, "this is not a grid: there is no axis k4, bm25; the axes are k1, k2, k3"),
        ({"axes": {"k1": []}}, "this is not a grid: axis k1 is empty"),
        (
            {"axes": {"k1": 1, "k2": [5]}},
            "this is not a grid: every vector has a stage that passes on more than the one before: 1 × 5",
        ),
        ({"form": "full"}, "the grid is too large: grid 'full' has up to 50,000,000 vectors, expected at most 2,000,000"),
    ],
)
def test_forms_that_make_no_grid_are_refused(options: dict[str, object], message: str) -> None:
    """With the exact message."""
    with pytest.raises(SweepError) as caught:
        default_grid((10_000, 5_000), None, 5, **options)
    assert str(caught.value).partition(". Fix: ")[0] == message


GRID = "Fix: grid([10, 100, 1000], [10, 100])"
RANGE = "expected a whole number, 1 or more, or None for no cut"
BAD = {
    "no axis": ((), f"this is not a grid: there is no axis. {GRID}"),
    "an empty axis": (([1], []), f"this is not a grid: axis k2 is empty. {GRID}"),
    "nothing fits": (
        ([5], None, [10, 20]),
        f"this is not a grid: every vector has a stage that passes on more than the one before: 5 × uncut × 10, 20. {GRID}",
    ),
    "no cut-offs": (
        ([0], "ab", True),
        f"this is not a grid:\n  - cut-off of stage 'k1' is 0 (int), {RANGE}\n  - cut-off of stage 'k2' is 'ab' (str), {RANGE}\n"
        f"  - cut-off of stage 'k3' is True (bool), {RANGE}\n{GRID}",
    ),
}


@pytest.mark.parametrize(("axes", "message"), BAD.values(), ids=BAD)
def test_invalid_grids_are_refused(axes: tuple[object, ...], message: str) -> None:
    """The whole message, of all axes at once."""
    with pytest.raises(SweepError) as caught:
        grid(*axes)
    assert str(caught.value) == message


def test_vectors_are_sorted_each_once_and_may_not_be_empty() -> None:
    """By hand: any order comes in, lexicographic order comes out."""
    assert list(as_grid([(2, 1), (1, None), (2, 1)], ["bm25", "t5"])) == [(1, None), (2, 1)]
    with pytest.raises(SweepError) as caught:
        as_grid([], ["bm25", "t5"])
    assert str(caught.value) == f"this is not a grid: it has no vector. {GRID}"


def test_cutoffs_are_checked_all_at_once() -> None:
    """One for each stage, numpy's integers as well; the whole messages."""
    assert check_cutoffs([np.int64(5), None], ["bm25", "t5"]) == (5, None)
    for cutoffs, message in (
        ((5,), "1 cut-off (5,) for 2 stages bm25, t5. Fix: pass one cut-off for each stage, None for no cut"),
        (7, "7 (int), expected one cut-off for each of bm25, t5. Fix: (100, 100)"),
        ("55", "'55' (str), expected one cut-off for each of bm25, t5. Fix: (100, 100)"),
    ):
        with pytest.raises(SweepError) as caught:
            check_cutoffs(cutoffs, ["bm25", "t5"])
        assert str(caught.value) == f"this is not a vector of cut-offs: {message}"
    with pytest.raises(SweepError) as caught:
        check_cutoffs((2.0, -1), ["bm25", "t5"])
    assert str(caught.value) == (
        f"this is not a vector of cut-offs:\n  - cut-off of stage 'bm25' is 2.0 (float), {RANGE}\n"
        f"  - cut-off of stage 't5' is -1 (int), {RANGE}"
    )
