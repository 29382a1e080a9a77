"""Token ids: made once, unpadded and small, and put into rectangles batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from pt_cascade.ranking import Ints

Ids: TypeAlias = "Mapping[str, Sequence[NDArray[np.int32]]]"
_TOKENIZED = 1024


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
    for start in range(0, len(first), _TOKENIZED):
        part = slice(start, start + _TOKENIZED)
        texts = (list(first[part]),) if second is None else (list(first[part]), list(second[part]))
        for name, rows in tokenizer(*texts, return_attention_mask=False, **options).items():
            columns.setdefault(name, []).extend(np.asarray(row, np.int32) for row in rows)
    return columns


def pad(inputs: Ids, rows: Ints, filler: Mapping[str, int], *, left: bool = False) -> dict[str, NDArray[np.int64]]:
    """Put the ids of some rows into rectangles, with the mask that says what is not padding.

    Args:
        inputs: What ``tokenize`` gave.
        rows: Shape (b,). Which rows.
        filler: What is put where a row has no token, by name; 0 for a name it lacks.
        left: Whether padding goes before a row, not after it.

    Returns:
        For each name, and for ``attention_mask``, shape (b, longest).

    Example:
        >>> ids = {"input_ids": [np.array([7, 8]), np.array([9])]}
        >>> padded = pad(ids, np.array([1, 0]), {"input_ids": 1})
        >>> padded["input_ids"].tolist(), padded["attention_mask"].tolist()
        ([[9, 1], [7, 8]], [[1, 0], [1, 1]])
    """
    lengths = np.array([len(inputs["input_ids"][row]) for row in rows])
    columns = np.arange(lengths.max())
    read = columns >= (lengths.max() - lengths)[:, None] if left else columns < lengths[:, None]
    padded = {"attention_mask": read.astype(np.int64)}
    for name, column in inputs.items():
        padded[name] = np.full(read.shape, filler.get(name, 0), np.int64)
        padded[name][read] = np.concatenate([column[row] for row in rows])
    return padded
