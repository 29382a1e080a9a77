"""The prompts of a pairwise T5, put together from parts: each query and each document is tokenized once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.stages.inference.batching import tokenize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.inference.batching import Ids
    from pt_cascade.stages.inference.t5 import AnsweringT5

_NAMES = ("Document0:", "Document1:")


@dataclass(frozen=True)
class DuoPrompts:
    """m prompts ``Query: {query} Document0: {text} Document1: {text} Relevant:`` of pairs of n rows; ids are joined when read.

    Where a prompt is longer than the limit its documents are cut: each may have half of what the query leaves, and what one
    does not need is the other's. So both orders of a pair show the same part of each document.

    """

    heads: list[NDArray[np.int32]]  # the ids of each different query, with Query:, cut where it alone would fill the prompt
    texts: list[NDArray[np.int32]]  # those of each different document
    head_of: Ints  # shape (n,)
    text_of: Ints  # shape (n,)
    names: tuple[NDArray[np.int32], NDArray[np.int32]]  # of Document0: and Document1:
    tail: NDArray[np.int32]  # of Relevant: and the end
    limit: int
    first: Ints  # shape (m,), rows
    second: Ints  # shape (m,), rows of the same queries

    @classmethod
    def encode(cls, model: AnsweringT5, queries: Sequence[str], texts: Sequence[str], first: Ints, second: Ints) -> DuoPrompts:
        """Tokenize the queries and texts of n rows, each different one once, for the pairs of ``first`` and ``second``.

        The tokenizer puts no token across a space, as SentencePiece does not, so that parts can be joined.
        """
        head_of, heads = pd.factorize(np.asarray(queries, object))
        text_of, bodies = pd.factorize(np.asarray(texts, object))
        zero, one = tokenize(model.tokenizer, _NAMES, add_special_tokens=False)
        room = model.limit - len(zero) - len(one) - len(model.tail)

        def cut(words: list[str], most: int) -> list[NDArray[np.int32]]:
            return tokenize(model.tokenizer, words, add_special_tokens=False, truncation=True, max_length=most)

        named = cut([f"{_NAMES[0]} {text}" for text in bodies], len(zero) + room)
        bare, queried = [ids[len(zero) :] for ids in named], cut([f"Query: {query}" for query in heads], room)
        return cls(queried, bare, head_of, text_of, (zero, one), model.tail, model.limit, first, second)

    def count_full(self) -> int:
        """Count the queries that do not leave a token for each document."""
        return int((self._rooms < 2).sum())  # noqa: PLR2004 - a token each

    @cached_property
    def lengths(self) -> Ints:
        """Shape (m,). Tokens of each prompt."""
        one, two = self._share(self.first, self.second)
        return self.limit - self._rooms[self.head_of[self.first]] + one + two

    def take(self, rows: Ints) -> Ids:
        """Put some prompts together."""
        first, second = self.first[rows], self.second[rows]
        pairs = zip(self.head_of[first], self.text_of[first], self.text_of[second], *self._share(first, second), strict=True)
        (zero, one), tail = self.names, self.tail
        ids = [
            np.concatenate([self.heads[head], zero, self.texts[i][:of_i], one, self.texts[j][:of_j], tail])
            for head, i, j, of_i, of_j in pairs
        ]
        return {"input_ids": ids}

    @cached_property
    def _rooms(self) -> Ints:
        """Tokens that each query leaves for both documents together."""
        return self.limit - len(self.tail) - sum(map(len, self.names)) - np.array([len(ids) for ids in self.heads], np.int64)

    @cached_property
    def _sizes(self) -> Ints:
        return np.array([len(ids) for ids in self.texts], np.int64)

    def _share(self, first: Ints, second: Ints) -> tuple[Ints, Ints]:
        """Count the tokens of each document that are read."""
        room = self._rooms[self.head_of[first]]
        one, two = self._sizes[self.text_of[first]], self._sizes[self.text_of[second]]
        return np.minimum(one, np.maximum(room // 2, room - two)), np.minimum(two, np.maximum(room // 2, room - one))
