"""The order in which vectors are tested: by hand, and by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.grid.descents import descend
from pt_cascade.analysis.grid.grids import grid


def test_the_first_stage_falls_twice_as_fast_as_the_second() -> None:
    """By hand: at s = .9⁷ = .478 of (1000, 100) that is 478 and 69; a full grid has the vector rounded up, uncut or cut last."""
    full = grid(range(1, 1001), range(1, 101), None).vectors
    order = full[descend(full, full[-1])]
    assert [479, 70, NO_CUT] in order.tolist()
    assert order[0].tolist() == [900, 95, NO_CUT]
    assert order[-1].tolist() == [1, 1, NO_CUT]
    cut = np.array([(k, j, min(j, 20)) for k in range(1, 61) for j in range(1, k + 1)], np.int32)
    assert cut[descend(cut, cut[-1])][0].tolist() == [54, 57 - 3, 20]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5, unique=True),
    st.lists(st.integers(1, 50), min_size=1, max_size=5, unique=True),
    st.data(),
)
def test_every_step_is_no_deeper_than_the_start_and_none_comes_twice(
    first: list[int], second: list[int], data: st.DataObject
) -> None:
    """From any vector of any grid; and no later vector is as deep as an earlier one in both stages."""
    pairs = [(k, j, NO_CUT) for k in sorted(first) for j in sorted(second) if j <= k] or [(1, 1, NO_CUT)]
    vectors = np.array(pairs, np.int32)
    start = vectors[data.draw(st.integers(0, len(pairs) - 1))]
    order = descend(vectors, start)
    assert len(set(order.tolist())) == len(order)
    assert (vectors[order] <= start).all()
    assert (vectors[order] < start).any(axis=1).all()
    sizes = np.log(vectors[order][:, :2]).sum(axis=1)
    assert (np.diff(sizes) <= 1e-12).all()


@pytest.mark.parametrize("vectors", [[[8]], [[3, 2], [5, 2]], [[2, NO_CUT], [4, NO_CUT], [9, NO_CUT]]])
def test_one_or_two_stages_descend_too(vectors: list[list[int]]) -> None:
    """All vectors are reached from the last, down to the first; from the first none."""
    array = np.array(vectors, np.int32)
    assert array[descend(array, array[-1])].tolist() == vectors[-2::-1]
    assert len(descend(array, array[0])) == 0
