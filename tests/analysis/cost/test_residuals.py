"""Residuals: exact where a profile measured, between two depths of one of them or blended, outside as at the nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.cost.residuals import Residuals, Sample, sample_from_counts
from pt_cascade.errors import SweepError

DEPTHS = st.lists(st.integers(0, 40), min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Documents and factors of a few rows, in any order, with equal depths."""
    depths, rows = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    size = {"min_size": depths * rows, "max_size": depths * rows}
    documents = np.array(draw(st.lists(st.integers(0, 20), **size)), float).reshape(rows, depths)
    factors = np.array(draw(st.lists(st.floats(0.1, 10), **size)), float).reshape(rows, depths)
    return documents, factors


@given(tables(), DEPTHS)
def test_a_blend_is_linear_between_the_depths(table: tuple[np.ndarray, np.ndarray], asked: list[int]) -> None:
    """Golden: numpy.interp, row by row, over the averages at each different depth; flat outside."""
    documents, factors = table
    wanted = np.broadcast_to(np.array(asked, float)[:, None], (len(asked), len(documents)))
    blended = Residuals.of(documents, factors).interpolate(wanted)
    for row, (own, measured) in enumerate(zip(documents, factors, strict=True)):
        different = np.unique(own)
        averages = [measured[own == depth].mean() for depth in different]
        assert blended[:, row] == pytest.approx(np.interp(asked, different, averages))


@given(tables(), DEPTHS)
def test_a_draw_is_a_measured_factor_of_a_neighbouring_depth(table: tuple[np.ndarray, np.ndarray], asked: list[int]) -> None:
    """At a profiled depth one of that depth's; between two one of either; the same again when asked again."""
    documents, factors = table
    residuals = Residuals.of(documents, factors)
    wanted = np.broadcast_to(np.array(asked, float)[:, None], (len(asked), len(documents)))
    drawn = residuals.sample(wanted)
    assert (drawn == residuals.sample(wanted)).all()
    for (n, row), factor in np.ndenumerate(drawn):
        own = documents[row]
        below, above = own[own <= asked[n]], own[own >= asked[n]]
        near = {below.max() if below.size else own.min(), above.min() if above.size else own.max()}
        assert factor in factors[row][np.isin(own, list(near))]


def test_draws_take_the_nearer_depth_more_often_and_keep_the_spread() -> None:
    """At three quarters of the way three quarters of 1000 rows take the deeper factor; a blend is neither of the two."""
    documents, factors = np.tile([0.0, 100.0], (1000, 1)), np.tile([1.0, 3.0], (1000, 1))
    residuals = Residuals.of(documents, factors)
    drawn = residuals.sample(np.full((1, 1000), 75.0))
    assert set(drawn.ravel()) == {1.0, 3.0}
    assert (drawn == 3.0).mean() == pytest.approx(0.75, abs=0.01)
    assert residuals.interpolate(np.full((1, 1000), 75.0)) == pytest.approx(2.5)


def test_equal_depths_are_all_drawn_from() -> None:
    """A retriever is measured at depth 0 each time: its rows take one of the measurements each, none of them only, no average."""
    residuals = Residuals.of(np.zeros((300, 3)), np.tile([1.0, 2.0, 6.0], (300, 1)))
    drawn = residuals.sample(np.zeros((1, 300)))
    assert [(drawn == factor).sum() for factor in (1.0, 2.0, 6.0)] == [100, 100, 100]
    assert residuals.interpolate(np.zeros((1, 300))) == pytest.approx(3.0)


def test_a_sample_without_residuals_takes_fitted_times() -> None:
    """A cost given by hand has no residuals: its times are the fitted ones."""
    fitted = np.array([[1.0, 2.0]])
    assert Sample(np.array([5, 6]), 2).times(0, fitted, fitted, means=True) is fitted


def test_docs_are_counted() -> None:
    """Whole numbers of any kind, 0 among them; without any, one query with unlimited results and no percentiles."""
    sample = sample_from_counts(np.array([3, 0], np.uint16))
    assert (sample.retrieved.tolist(), sample.queries, sample.percentiles) == ([3, 0], 2, True)
    unbounded = sample_from_counts(None)
    assert (unbounded.retrieved.tolist(), unbounded.percentiles) == ([2**31 - 1], False)


@pytest.mark.parametrize(
    ("docs", "found"),
    [([], "[]"), ([[1]], "[[1]]"), ([1.5], "[1.5]"), ([3, -1], "[3, -1]"), (["3"], "['3']"), (7, "7"), ([True], "[True]")],
)
def test_docs_that_cannot_be_read_are_refused(docs: object, found: str) -> None:
    """With the exact message."""
    with pytest.raises(SweepError) as error:
        sample_from_counts(docs)
    assert str(error.value) == (
        f"docs is not a number of documents for each query: found {found}, expected a whole number, 0 or more, "
        f"for each query. Fix: docs=table.retrieved"
    )
