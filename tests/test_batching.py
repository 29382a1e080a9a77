"""Token-budget batches: every row once, none over the budget, scores back in row order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.stages.batching import plan, score_in_batches, tokenize

LENGTHS = st.lists(st.integers(0, 600), max_size=80).map(lambda lengths: np.array(lengths, np.int64))
BUDGETS = st.integers(1, 5000)


@given(LENGTHS, BUDGETS)
def test_every_row_is_in_exactly_one_batch(lengths: np.ndarray, budget: int) -> None:
    """No row is lost, none is scored twice."""
    rows = [row for batch in plan(lengths, budget) for row in batch.tolist()]
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_no_batch_is_larger_than_the_budget(lengths: np.ndarray, budget: int) -> None:
    """Rows x longest row stays within the budget, but for a row that alone is longer."""
    for batch in plan(lengths, budget):
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget


@given(LENGTHS, BUDGETS)
def test_each_batch_is_full(lengths: np.ndarray, budget: int) -> None:
    """Brute force: the next row would not have fitted, so no batch is smaller than need be."""
    batches = plan(lengths, budget)
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(lengths[batch].max(), 1) > budget


@given(LENGTHS, BUDGETS)
def test_rows_of_a_batch_are_neighbours_in_length(lengths: np.ndarray, budget: int) -> None:
    """Longest first over all batches, equal lengths in row order: what stable sorting gives."""
    rows = [row for batch in plan(lengths, budget) for row in batch.tolist()]
    assert rows == sorted(range(len(lengths)), key=lambda row: -lengths[row])


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([], 10, []),
        ([0, 0], 10, [[0, 1]]),
        ([3, 5, 2], 6, [[1], [0, 2]]),
        ([4, 4, 4, 4, 4], 8, [[0, 1], [2, 3], [4]]),
        ([9, 1, 1], 2, [[0], [1, 2]]),
    ],
)
def test_batches_worked_out_by_hand(lengths: list[int], budget: int, expected: list[list[int]]) -> None:
    """Golden values, worked out on paper."""
    assert [batch.tolist() for batch in plan(np.array(lengths, np.int64), budget)] == expected


@given(LENGTHS, BUDGETS)
def test_scores_come_back_in_row_order(lengths: np.ndarray, budget: int) -> None:
    """What is given back is what scoring the rows one after another would give."""
    scores = score_in_batches(lengths, budget, lambda rows: rows * 2.0 + 1)
    assert scores.tolist() == [row * 2.0 + 1 for row in range(len(lengths))]


def test_progress_is_shown_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar names the stage and counts documents; without a name nothing is printed."""
    score_in_batches(np.array([1, 2]), 1, lambda rows: rows * 1.0)
    assert capsys.readouterr() == ("", "")
    score_in_batches(np.array([1, 2]), 1, lambda rows: rows * 1.0, progress="mono_t5")
    shown = capsys.readouterr().err
    assert "mono_t5" in shown
    assert "2/2" in shown


def test_tokens_do_not_depend_on_how_many_texts_there_are() -> None:
    """More texts than are tokenized at once give the ids that each gives alone."""

    def letters(first: list[str], second: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) for letter in a + b] for a, b in zip(first, second, strict=True)]}

    texts = [chr(97 + number % 26) * (number % 5) for number in range(2500)]
    ids = tokenize(letters, texts, texts[::-1])["input_ids"]  # type: ignore[arg-type]
    assert [row.tolist() for row in ids] == [[ord(letter) for letter in a + b] for a, b in zip(texts, texts[::-1], strict=True)]
