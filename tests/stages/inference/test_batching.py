"""Token-budget batches: every row once, none over the budget, scores back in row order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from pt_cascade.errors import CascadeWarning, StageError
from pt_cascade.stages.inference.batching import pad, plan, score_chunks, tokenize
from pt_cascade.stages.inference.options import find_budget

LENGTHS = st.lists(st.integers(0, 600), max_size=80).map(lambda lengths: np.array(lengths, np.int64))
BUDGETS = st.integers(1, 5000)
Score = Callable[[np.ndarray], np.ndarray]


class Numbered(dict[str, list[Any]]):
    """Rows of some lengths, with their numbers from ``start``; it notes that it was freed."""

    def __init__(self, lengths: np.ndarray, start: int = 0, open_rows: set[int] | None = None) -> None:
        """Make the rows."""
        self.rows = range(start, start + len(lengths))
        self.open_rows = set() if open_rows is None else open_rows
        super().__init__(input_ids=[np.zeros(length, np.int32) for length in lengths], rows=list(self.rows))

    def __del__(self) -> None:
        """Close its rows."""
        self.open_rows.difference_update(self.rows)


def by_number(score: Score) -> Callable[[dict[str, list[int]]], np.ndarray]:
    """A model that scores rows by their numbers."""
    return lambda ids: score(np.array(ids["rows"]))


def score_all(
    lengths: np.ndarray, budget: int, score: Score, chunk: int = 1000, count: Callable[[int], object] = int
) -> np.ndarray:
    """Score rows some at a time."""
    chunks = (Numbered(lengths[start : start + chunk], start) for start in range(0, len(lengths), chunk))
    return score_chunks(by_number(score), chunks, budget, "row {}".format, count)


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
    scores = score_all(lengths, budget, lambda rows: rows * 2.0 + 1)
    assert scores.tolist() == [row * 2.0 + 1 for row in range(len(lengths))]


@given(LENGTHS, BUDGETS, st.integers(1, 30))
def test_what_was_scored_is_counted(lengths: np.ndarray, budget: int, chunk: int) -> None:
    """Batch by batch, up to all rows."""
    counted: list[int] = []
    score_all(lengths, budget, lambda rows: rows * 1.0, chunk, counted.append)
    assert sum(counted) == len(lengths)
    assert counted == [
        len(rows) for start in range(0, len(lengths), chunk) for rows in plan(lengths[start : start + chunk], budget)
    ]


def test_tokens_do_not_depend_on_how_many_texts_there_are() -> None:
    """More texts than are tokenized at once give the ids that each gives alone."""

    def letters(texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}

    texts = [chr(97 + number % 26) * (number % 5) for number in range(2500)]
    ids = tokenize(letters, texts)  # type: ignore[arg-type]
    assert [row.tolist() for row in ids] == [[ord(letter) for letter in text] for text in texts]


@given(LENGTHS, BUDGETS, st.integers(1, 30))
def test_chunks_are_let_go_one_by_one(lengths: np.ndarray, budget: int, chunk: int) -> None:
    """However many rows there are, no more than a chunk of them is there at a time; each row is scored once."""
    open_rows: set[int] = set()
    asked: list[int] = []

    def read() -> Iterator[Numbered]:
        for start in range(0, len(lengths), chunk):
            assert not open_rows
            open_rows.update(range(start, min(start + chunk, len(lengths))))
            yield Numbered(lengths[start : start + chunk], start, open_rows)

    def score(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return rows * 2.0

    assert score_chunks(by_number(score), read(), budget, str, int).tolist() == [row * 2.0 for row in range(len(lengths))]
    assert sorted(asked) == list(range(len(lengths)))


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


class Card:
    """A device that holds so many padded tokens, and notes the batches it scored."""

    def __init__(self, lengths: np.ndarray, holds: int) -> None:
        """Begin empty."""
        self.lengths, self.holds = lengths, holds
        self.scored: list[list[int]] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Score rows by their number."""
        if len(rows) * self.lengths[rows].max() > self.holds:
            raise OutOfMemoryError("CUDA out of memory")
        self.scored.append(rows.tolist())
        return rows * 1.0


@given(st.lists(st.integers(1, 50), min_size=2, max_size=60), st.integers(100, 2000), st.data())
def test_a_full_memory_halves_the_budget_and_loses_no_row(found: list[int], budget: int, data: st.DataObject) -> None:
    """Whatever fits from half a batch on is enough: every row is scored, once, and one warning names the budget that fitted."""
    lengths = np.array(found)
    batch = plan(lengths, budget)[0]
    full = len(batch) * int(lengths[batch].max())
    assume(len(batch) > 1)
    card = Card(lengths, data.draw(st.integers(max(full // 2, int(lengths.max())), full - 1)))
    with pytest.warns(CascadeWarning) as caught:
        scores = score_all(lengths, budget, card)
    assert scores.tolist() == list(range(len(lengths)))
    assert sorted(row for rows in card.scored for row in rows) == list(range(len(lengths)))
    assert [str(one.message) for one in caught] == [
        f"the device's memory is full in a batch of {full} tokens: the next ones have at most batch_tokens={full // 2}"
    ]


def test_the_smaller_budget_holds_for_the_chunks_that_follow() -> None:
    """A second chunk begins with what the first one learned: nothing fails again."""
    lengths = np.full(40, 10)
    card = Card(lengths, holds=100)
    with pytest.warns(CascadeWarning, match="the next ones have at most batch_tokens=100") as caught:
        score_all(lengths, 200, card, chunk=20)
    assert len(caught) == 1
    assert [len(rows) for rows in card.scored] == [10, 10, 10, 10]


def test_a_memory_that_is_full_again_halves_the_budget_again() -> None:
    """16 rows of 10 tokens, of which 2 fit: 160, 80 and 40 tokens do not, 20 do; a warning each time, and no row is lost."""
    lengths = np.full(16, 10)
    with pytest.warns(CascadeWarning) as caught:
        scores = score_all(lengths, 160, Card(lengths, holds=20))
    assert scores.tolist() == list(range(16))
    assert [str(one.message).rpartition("batch_tokens=")[2] for one in caught] == ["80", "40", "20"]


def test_a_single_row_that_does_not_fit_is_an_error_at_once() -> None:
    """No budget helps there."""
    with pytest.raises(StageError) as error:
        score_all(np.array([500]), 100, Card(np.array([500]), holds=20))
    fix = 'a smaller max_length, or device="cpu"'
    assert str(error.value) == f"the device's memory is full: the 500 tokens of row 0 alone do not fit. Fix: {fix}"
    assert score_all(np.array([20]), 100, Card(np.array([20]), holds=20)).tolist() == [0.0]  # the first cure


def test_torchs_own_error_is_known_by_its_name() -> None:
    """torch.OutOfMemoryError, as a CUDA device raises it, is caught; any other RuntimeError goes through."""

    def fail(rows: np.ndarray) -> np.ndarray:
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return rows * 1.0

    with pytest.warns(CascadeWarning):
        assert score_all(np.array([5, 5]), 10, fail).tolist() == [0.0, 1.0]
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        score_all(np.array([5, 5]), 10, lambda _: (_ for _ in ()).throw(RuntimeError("mat1 and mat2")))


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_a_number_is_refused(lost: float) -> None:
    """A rank of NaN would be invented."""
    with pytest.raises(StageError) as error:
        score_all(np.array([1, 2, 3]), 9, lambda rows: np.where(rows == 1, lost, 0.0))
    problem = "1 of 3 scores are not finite, first of row 1: its weights are damaged"
    assert str(error.value) == f"the model gave no score: {problem}. Fix: load an undamaged copy of the model"


ROWS = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=8)


@given(ROWS, st.booleans(), st.data())
def test_padding_keeps_each_row_whole(rows: list[list[int]], left: bool, data: st.DataObject) -> None:  # noqa: FBT001 - a parameter
    """Brute force: under the mask stands the row; beside it only the filler; each name has its own."""
    ids = {"input_ids": [np.array(row) for row in rows], "token_type_ids": [np.array(row) % 2 for row in rows]}
    wanted = np.array(data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1)))
    padded = pad({name: [column[row] for row in wanted] for name, column in ids.items()}, {"input_ids": 7}, left=left)
    for place, row in enumerate(wanted):
        space = [7] * (max(len(rows[one]) for one in wanted) - len(rows[row]))
        expected = [*space, *rows[row]] if left else [*rows[row], *space]
        assert padded["input_ids"][place].tolist() == expected
        assert padded["token_type_ids"][place][padded["attention_mask"][place] == 1].tolist() == [one % 2 for one in rows[row]]
        assert (padded["token_type_ids"][place][padded["attention_mask"][place] == 0] == 0).all()
        assert padded["attention_mask"][place].tolist() == [
            int(n >= len(space)) if left else int(n < len(rows[row])) for n in range(len(expected))
        ]


def test_padding_is_that_of_the_tokenizer(t5_tokenizer: Path) -> None:
    """Golden rectangles from transformers' own pad, on both sides."""
    for side in ("left", "right"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(t5_tokenizer, padding_side=side)
        rows = tokenizer(["heat flow past a blunt body", "heat"])["input_ids"]
        golden = tokenizer.pad({"input_ids": rows}, return_tensors="np")
        padded = pad({"input_ids": [np.array(row) for row in rows]}, {"input_ids": 0}, left=side == "left")
        assert {name: ids.tolist() for name, ids in padded.items()} == {name: golden[name].tolist() for name in padded}


@pytest.mark.parametrize(
    ("asked", "device", "budget"), [(None, "cpu", 2048), (None, "cuda:1", 32768), (7, "cuda", 7), (7, "cpu", 7)]
)
def test_the_budget_is_what_is_asked_for_else_the_devices(asked: int | None, device: str, budget: int) -> None:
    """Golden: the figures that the benchmarks of both kinds of device chose."""
    assert find_budget(asked, device) == budget
