"""Token-budget batches, shared by every stage that runs a model: rows of like length together, so that little is padding.

A batch costs what its padded rectangle holds, rows x longest row, whatever the rows themselves hold. Rows sorted by length
waste little of it. A budget of tokens, not of rows, keeps the memory of a batch the same for passages and long documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats, Ints

BATCH_TOKENS = 2048  # on two CPU cores the best of 256 ... 16384 for a MiniLM-L6, within a tenth of the best for a T5-small
_CHUNK = 1024


def check_limits(stage: str, max_length: int | None, shortest: int, batch_tokens: int, more: Sequence[str] = ()) -> None:
    """Refuse limits that no model could be run with.

    Args:
        stage: Whose they are, for the error.
        max_length: Tokens of an item that are read; None: the model's own limit.
        shortest: The fewest that leave room for a query and a document.
        batch_tokens: Padded tokens a batch may hold.
        more: What else is wrong with the stage's options.

    Raises:
        PipelineError: One is too small, or there is more.
    """
    problems = [
        *(
            [f"max_length is {max_length}, expected {shortest} or more tokens"]
            if max_length is not None and max_length < shortest
            else []
        ),
        *([f"batch_tokens is {batch_tokens}, expected 1 or more"] if batch_tokens < 1 else []),
        *more,
    ]
    if problems:
        raise PipelineError(f"{stage} cannot be made", problems)


def plan(lengths: Ints, budget: int = BATCH_TOKENS) -> list[Ints]:
    """Cut rows into batches of like length, none larger than the budget once padded.

    Args:
        lengths: Shape (n,). Tokens of each row, 0 or more.
        budget: Padded tokens a batch may hold, rows x longest row; a row longer than that is a batch of its own.

    Returns:
        The row numbers of each batch, longest rows first, equal lengths in row order; each row once.

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


def score_in_batches(lengths: Ints, budget: int, score: Callable[[Ints], Floats], *, progress: str | None = None) -> Floats:
    """Score every row, batch by batch, and give the scores back in row order.

    Args:
        lengths: Shape (n,). Tokens of each row.
        budget: Padded tokens a batch may hold.
        score: Takes the row numbers of a batch, shape (b,), and gives their scores, shape (b,).
        progress: The name on a progress bar; no bar without it.

    Returns:
        Shape (n,). One score a row.

    Example:
        >>> score_in_batches(np.array([3, 5, 2]), 6, lambda rows: rows * 10.0).tolist()
        [0.0, 10.0, 20.0]
    """
    from tqdm import tqdm  # noqa: PLC0415 - it looks for a notebook when imported

    scores = np.full(len(lengths), np.nan)
    with tqdm(total=len(lengths), desc=progress, unit="doc", disable=progress is None) as bar:
        for rows in plan(lengths, budget):
            scores[rows] = score(rows)
            bar.update(len(rows))
    return scores


def tokenize(
    tokenizer: PreTrainedTokenizerBase, first: Sequence[str], second: Sequence[str] | None = None, **options: object
) -> dict[str, list[NDArray[np.int32]]]:
    """Tokenize every row once, unpadded, and keep the ids small.

    Args:
        tokenizer: A fast tokenizer.
        first: Shape (n,). The texts, or the first of each pair.
        second: Shape (n,). The second text of each pair.
        options: What the tokenizer is told, e.g. how to truncate.

    Returns:
        What the model reads (``input_ids``, ``token_type_ids``, ...): for each name n arrays, one a row.
    """
    columns: dict[str, list[NDArray[np.int32]]] = {}
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        texts = (list(first[part]),) if second is None else (list(first[part]), list(second[part]))
        for name, rows in tokenizer(*texts, return_attention_mask=False, **options).items():
            columns.setdefault(name, []).extend(np.asarray(row, np.int32) for row in rows)
    return columns
