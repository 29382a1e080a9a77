"""Token-budget batches, shared by every stage that runs a model: rows of like length together, so that little is padding.

A batch costs what its padded rectangle holds, rows x longest row, whatever the rows themselves hold. Rows sorted by length
waste little of it. A budget of tokens, not of rows, keeps the memory of a batch the same for passages and long documents; and as
rows are read some thousands at a time, a million of them need no more memory than those.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import CascadeWarning, PipelineError, StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pt_cascade.ranking import Floats, Ints

# On two CPU cores the best of 256 ... 16384 for a MiniLM-L6, within a tenth of the best for a T5-small. On an H100, within 6 % of
# the best of 4096 ... 262144 for a MiniLM-L6, a t5-base and a t5-3b, in bf16 and in fp32.
_CPU, _GPU = 2048, 32768
CHUNK = 4096
_FULL = "the device's memory is full"


def check_limits(stage: str, max_length: int | None, shortest: int, batch_tokens: int | None, more: Sequence[str] = ()) -> None:
    """Refuse limits that no model could be run with.

    Args:
        stage: Whose they are, for the error.
        max_length: Tokens of an item that are read; None: the model's own limit.
        shortest: The fewest that leave room for a query and a document.
        batch_tokens: Padded tokens a batch may hold; None: see ``find_budget``.
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
        *([f"batch_tokens is {batch_tokens}, expected 1 or more"] if batch_tokens is not None and batch_tokens < 1 else []),
        *more,
    ]
    if problems:
        raise PipelineError(f"{stage} cannot be made", problems)


def find_budget(batch_tokens: int | None, device: str) -> int:
    """Give the padded tokens that a batch may hold: what is asked for, else what is fast there.

    Args:
        batch_tokens: What is asked for, or None.
        device: Where, e.g. ``cpu`` or ``cuda:0``.

    Example:
        >>> find_budget(None, "cpu"), find_budget(None, "cuda:0"), find_budget(100, "cpu")
        (2048, 32768, 100)
    """
    return batch_tokens or (_CPU if device.startswith("cpu") else _GPU)


def plan(lengths: Ints, budget: int = _CPU) -> list[Ints]:
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

    Raises:
        StageError: As ``score_in_chunks``.

    Example:
        >>> score_in_batches(np.array([3, 5, 2]), 6, lambda rows: rows * 10.0).tolist()
        [0.0, 10.0, 20.0]
    """
    return score_in_chunks(len(lengths), budget, lambda _: (lengths, score), progress=progress, chunk=max(len(lengths), 1))


def score_in_chunks(
    count: int,
    budget: int,
    read: Callable[[slice], tuple[Ints, Callable[[Ints], Floats]]],
    *,
    progress: str | None = None,
    chunk: int = CHUNK,
) -> Floats:
    """Read some thousand rows at a time, and score those batch by batch, so that memory does not grow with the rows.

    Where a device's memory is full, its budget is halved for what remains, once, with a warning.

    Args:
        count: How many rows there are.
        budget: Padded tokens a batch may hold.
        read: Takes the rows of a chunk, and gives the length of each and what scores them: a function as in
            ``score_in_batches``, its row numbers counted from the start of the chunk. Neither is kept beyond the chunk.
        progress: The name on a progress bar; no bar without it.
        chunk: How many rows are read at a time, 1 or more.

    Returns:
        Shape (count,). One score a row, finite.

    Raises:
        StageError: The device's memory is full again at half the budget, or a score is not finite.

    Example:
        >>> score_in_chunks(3, 6, lambda rows: (np.ones(3)[rows], lambda local: local + rows.start), chunk=2).tolist()
        [0.0, 1.0, 2.0]
    """
    from tqdm import tqdm  # noqa: PLC0415 - it looks for a notebook when imported

    scores, allowed = np.full(count, np.nan), _Budget(budget)
    with tqdm(total=count, desc=progress, unit="doc", disable=progress is None) as bar:
        for start in range(0, count, chunk):
            rows = slice(start, min(start + chunk, count))
            for batch, found in _score_chunk(*read(rows), allowed):
                scores[start + batch] = found
                bar.update(len(batch))
    return _finite(scores)


def _score_chunk(lengths: Ints, score: Callable[[Ints], Floats], allowed: _Budget) -> Iterator[tuple[Ints, Floats]]:
    """Score the rows of a chunk; what is left where memory is full is cut into smaller batches."""
    left = deque(plan(lengths, allowed.tokens))
    while left:
        if (found := _try(score, left[0])) is not None:
            yield left.popleft(), found
            continue
        allowed.halve(len(left[0]), int(lengths[left[0]].max()))
        rest = np.concatenate([*left])
        left = deque(rest[batch] for batch in plan(lengths[rest], allowed.tokens))


class _Budget:
    """Padded tokens a batch may hold: what was asked for, or less."""

    def __init__(self, asked: int) -> None:
        self.asked = self.tokens = asked

    def halve(self, rows: int, longest: int) -> None:
        """Allow half of a batch that was too large, and say so; the second time, or for a single row, that is no help."""
        if rows == 1:
            fix = 'a smaller max_length, or device="cpu"'
            raise StageError(_FULL, [f"a single row of {longest} tokens does not fit"], fix=fix)
        full = min(self.tokens, rows * longest)
        if self.tokens < self.asked:
            raise StageError(_FULL, [f"at batch_tokens={self.asked}, and again at {full}"], fix=f"batch_tokens={full // 2}")
        self.tokens = max(full // 2, 1)
        _free()
        said = f"{_FULL} at batch_tokens={self.asked}, in a batch of {full} tokens: the rest is scored at {self.tokens}"
        warnings.warn(said, CascadeWarning, stacklevel=2)


def _try(score: Callable[[Ints], Floats], rows: Ints) -> Floats | None:
    """Score a batch; None where the device's memory is full. The error, and what its traceback holds there, is let go."""
    try:
        return score(rows)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's own; this file needs no torch
            raise
    return None


def _free() -> None:
    import torch  # noqa: PLC0415 - heavy

    torch.cuda.empty_cache()


def _finite(scores: Floats) -> Floats:
    if (lost := int((~np.isfinite(scores)).sum())) == 0:
        return scores
    problem = f"{lost} of {len(scores)} score(s) are not finite: the model's weights are damaged"
    raise StageError("a model gave no score", [problem], fix="load the model from an undamaged copy")
