"""Rows of token ids, scored in batches of like length under a token budget, so that little is padding.

A batch costs its padded rectangle, rows x longest row. A budget of tokens, not of rows, keeps the memory of a batch the same for
passages and long documents; and as rows are tokenized some thousands at a time, a million of them need no more memory than those.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pt_cascade.errors import QueryError, StageError, warn
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats, Ints

Ids: TypeAlias = "Mapping[str, Sequence[NDArray[np.int32]]]"  # what a model reads, by name: one array of any length a row
Forward: TypeAlias = "Callable[[Ids], Floats]"  # scores b rows: shape (b,)
NameRow: TypeAlias = "Callable[[int], str]"  # the query and the document of a row, for an error
Rows: TypeAlias = "Sequence[tuple[str, str, str]]"  # prompt, query and text of each

CHUNK = 4096
TOKENIZED = 1024  # texts that a tokenizer is given at once
_FULL = "the device's memory is full"


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], **options: object) -> list[NDArray[np.int32]]:
    """Tokenize texts without padding; ``options`` are the tokenizer's, e.g. how to truncate."""
    rows: list[NDArray[np.int32]] = []
    for start in range(0, len(texts), TOKENIZED):
        part = list(texts[start : start + TOKENIZED])
        rows.extend(np.asarray(ids, np.int32) for ids in tokenizer(part, return_attention_mask=False, **options)["input_ids"])
    return rows


def pad(ids: Ids, filler: Mapping[str, int], *, left: bool = False) -> dict[str, NDArray[np.int64]]:
    """Pad rows to one length, for each name and for ``attention_mask``: shape (b, longest).

    ``filler`` is the padding by name, 0 for a name it lacks; it stands after a row, or before it where ``left``.

    Example:
        >>> padded = pad({"input_ids": [np.array([9]), np.array([7, 8])]}, {"input_ids": 1})
        >>> padded["input_ids"].tolist(), padded["attention_mask"].tolist()
        ([[9, 1], [7, 8]], [[1, 0], [1, 1]])
    """
    lengths = np.array([len(row) for row in ids["input_ids"]])
    columns = np.arange(lengths.max())
    read = columns >= (lengths.max() - lengths)[:, None] if left else columns < lengths[:, None]
    padded = {"attention_mask": read.astype(np.int64)}
    for name, rows in ids.items():
        padded[name] = np.full(read.shape, filler.get(name, 0), np.int64)
        padded[name][read] = np.concatenate(rows)
    return padded


def plan(lengths: Ints, budget: int) -> list[Ints]:
    """Cut rows into batches: the row numbers of each, longest rows first, equal lengths in row order.

    No batch is larger than ``budget`` once padded, but a row that alone is longer.

    Example:
        >>> [rows.tolist() for rows in plan(np.array([3, 5, 2]), budget=6)]
        [[1], [0, 2]]
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        batches.append(order[start : start + max(budget // longest, 1)])
        start += len(batches[-1])
    return batches


def score_chunks(forward: Forward, chunks: Iterable[Ids], budget: int, name_row: NameRow, count: Callable[[int], object]) -> Floats:
    """Score rows in batches, of which ``count`` is told the sizes; each chunk is freed before the next is made.

    Where a batch does not fit into the device's memory, the next ones have at most half its tokens, with a warning. A single row
    that does not fit is a StageError, and so is a score that is not finite.
    """
    batches = _Batches(forward, budget, name_row, count)
    scores = np.concatenate([np.zeros(0), *map(batches.score, chunks)])
    if (lost := ~np.isfinite(scores)).any():
        found = f"{int(lost.sum())} of {count_of(len(scores), 'score')} are not finite, first of {name_row(int(lost.argmax()))}"
        raise StageError(
            "the model gave no score", [f"{found}: its weights are damaged"], fix="load an undamaged copy of the model"
        )
    return scores


class _Batches:
    """Runs a model over batches of a token budget, which is smaller after a batch that did not fit into memory."""

    def __init__(self, forward: Forward, budget: int, name_row: NameRow, count: Callable[[int], object]) -> None:
        self.forward, self.budget, self.name_row, self.count = forward, budget, name_row, count
        self.done = 0  # rows of the chunks before

    def score(self, chunk: Ids) -> Floats:
        """Score the rows of a chunk."""
        lengths = np.array([len(row) for row in chunk["input_ids"]], np.int64)
        scores, left = np.full(len(lengths), np.nan), deque(plan(lengths, self.budget))
        while left:
            rows = left[0]
            try:
                scores[rows] = self.forward({name: [column[row] for row in rows] for name, column in chunk.items()})
            except RuntimeError as error:
                if type(error).__name__ != "OutOfMemoryError":  # torch's own; this file needs no torch
                    raise
                self._halve(rows, int(lengths[rows].max()))
                rest = np.concatenate([*left])
                left = deque(rest[batch] for batch in plan(lengths[rest], self.budget))
            except StageError as error:
                error.what += f", first {self.name_row(self.done + int(rows[0]))}"
                raise
            else:
                self.count(len(left.popleft()))
        self.done += len(lengths)
        return scores

    def _halve(self, rows: Ints, longest: int) -> None:
        """Allow half of the batch that did not fit; refuse to do so for a single row."""
        if len(rows) == 1:
            problem = f"the {longest} tokens of {self.name_row(self.done + int(rows[0]))} alone do not fit"
            raise QueryError(_FULL, [problem], fix='a smaller max_length, or device="cpu"')
        self.budget = len(rows) * longest // 2
        message = f"{_FULL} in a batch of {len(rows) * longest} tokens: the next ones have at most batch_tokens={self.budget}"
        warn(message)
