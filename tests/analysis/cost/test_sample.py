"""Times of a stage: as measured at the deepest depth, never falling, with each depth's distribution elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.cost.sample import StageTimes, sample_from_counts
from pt_cascade.analysis.cost.stage_cost import StageCost
from pt_cascade.errors import SweepError


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Documents and milliseconds of a few rows, in any order, with equal depths."""
    depths, rows = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    size = {"min_size": depths * rows, "max_size": depths * rows}
    documents = np.array(draw(st.lists(st.integers(0, 20), **size)), float).reshape(rows, depths)
    ms = np.array(draw(st.lists(st.floats(0, 100), **size)), float).reshape(rows, depths)
    return documents, ms


PRICES = st.just(0.0) | st.floats(1e-9, 5)  # ms


@given(tables(), PRICES, PRICES, st.booleans())
def test_times_never_fall(table: tuple[np.ndarray, np.ndarray], fixed: float, slope: float, compares: bool) -> None:  # noqa: FBT001
    """At 0, 1, 2, ... 40 documents, for any fit and any measurements, to the last bit."""
    documents, ms = table
    stage = StageCost("t5", fixed_ms=fixed, per_pair_ms=slope, compares=compares)
    asked = np.repeat(np.arange(41.0)[:, None], len(documents), axis=1)
    times = StageTimes.measured(stage, documents, ms).at(asked, stage)
    assert (np.diff(times, axis=0) >= 0).all()
    assert (times >= 0).all()


def test_each_depth_keeps_its_distribution() -> None:
    """By hand: at 5 documents 6 and 5 ms were measured; the row that is slower at 10 documents gets the 6."""
    stage = StageCost(per_pair_ms=1)
    times = StageTimes.measured(stage, np.array([[5.0, 10.0], [5.0, 10.0]]), np.array([[6.0, 11.0], [5.0, 12.0]]))
    at = times.at(np.array([[5.0, 5.0], [7.5, 7.5], [10.0, 10.0], [20.0, 20.0]]), stage)
    assert at == pytest.approx(np.array([[5.0, 6.0], [8.0, 9.0], [11.0, 12.0], [22.0, 24.0]]))


def test_a_retriever_takes_what_it_took_at_the_largest_share() -> None:
    """It gets no documents at any share: the last column counts."""
    stage = StageCost(fixed_ms=2)
    times = StageTimes.measured(stage, np.zeros((2, 3)), np.array([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]))
    assert times.at(np.zeros((1, 2)), stage).tolist() == [[3.0, 4.0]]


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
