"""The prompts of a pairwise T5, put together from parts: each query and each document is tokenized once, whatever it meets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.stages.inference.token_ids import tokenize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from pt_cascade.ranking import Ints

_NAMES = ("Document0:", "Document1:")


@dataclass(frozen=True)
class DuoPrompts:
    """The parts of every prompt ``Query: {query} Document0: {text} Document1: {text} Relevant:`` that some rows can make, as ids.

    Where a prompt is longer than the limit its documents are cut: each may have half of what the query leaves, and what one
    does not need is the other's. So both orders of a pair show the same part of each document.

    Attributes:
        heads: The ids of each different query, with ``Query:``; cut where it alone would fill the prompt.
        texts: The ids of each different document.
        head_of: Shape (n,). The head of each row.
        text_of: Shape (n,). The text of each row.
        names: The ids of ``Document0:`` and ``Document1:``.
        tail: The ids that every prompt ends with.
        limit: Tokens of a prompt at most.
    """

    heads: list[NDArray[np.int32]]
    texts: list[NDArray[np.int32]]
    head_of: Ints
    text_of: Ints
    names: tuple[NDArray[np.int32], NDArray[np.int32]]
    tail: NDArray[np.int32]
    limit: int

    @classmethod
    def encode(
        cls, tokenizer: PreTrainedTokenizerBase, tail: NDArray[np.int32], limit: int, queries: Sequence[str], texts: Sequence[str]
    ) -> DuoPrompts:
        """Tokenize the queries and documents of rows, each different one once.

        Args:
            tokenizer: The model's; it puts no token across a space, as SentencePiece does not, so that parts can be joined.
            tail: The ids that every prompt ends with.
            limit: Tokens of a prompt at most.
            queries: Shape (n,). The query of each row.
            texts: Shape (n,). The document of each row.

        Returns:
            The parts.
        """
        head_of, heads = pd.factorize(np.asarray(queries, object))
        text_of, bodies = pd.factorize(np.asarray(texts, object))
        first, second = tokenize(tokenizer, _NAMES, add_special_tokens=False)["input_ids"]
        room = limit - len(first) - len(second) - len(tail)

        def cut(words: list[str], most: int) -> list[NDArray[np.int32]]:
            ids = tokenize(tokenizer, words, add_special_tokens=False, truncation=True, max_length=most)
            return ids["input_ids"] if words else []

        named = cut([f"{_NAMES[0]} {text}" for text in bodies], len(first) + room)
        return cls(
            heads=cut([f"Query: {query}" for query in heads], room),
            texts=[ids[len(first) :] for ids in named],
            head_of=head_of,
            text_of=text_of,
            names=(first, second),
            tail=tail,
            limit=limit,
        )

    def count_full(self) -> int:
        """Count the queries that do not leave a token for each document."""
        return int((self._rooms < 2).sum())  # noqa: PLR2004 - a token each

    def count_tokens(self, first: Ints, second: Ints) -> Ints:
        """Count the tokens of prompts.

        Args:
            first: Shape (m,). The rows that stand first.
            second: Shape (m,). The rows that stand second, each of the same query.

        Returns:
            Shape (m,).
        """
        one, two = self._share(first, second)
        return self.limit - self._rooms[self.head_of[first]] + one + two

    def build(self, first: Ints, second: Ints) -> list[NDArray[np.int32]]:
        """Put prompts together.

        Args:
            first: Shape (m,). The rows that stand first.
            second: Shape (m,). The rows that stand second, each of the same query.

        Returns:
            Shape (m,). The ids of each prompt.
        """
        pairs = zip(self.head_of[first], self.text_of[first], self.text_of[second], *self._share(first, second), strict=True)
        (zero, one), tail = self.names, self.tail
        return [
            np.concatenate([self.heads[head], zero, self.texts[i][:of_i], one, self.texts[j][:of_j], tail])
            for head, i, j, of_i, of_j in pairs
        ]

    @cached_property
    def _rooms(self) -> Ints:
        """Tokens that each query leaves for both documents together."""
        return self.limit - len(self.tail) - sum(map(len, self.names)) - np.array([len(ids) for ids in self.heads], np.int64)

    @cached_property
    def _lengths(self) -> Ints:
        return np.array([len(ids) for ids in self.texts], np.int64)

    def _share(self, first: Ints, second: Ints) -> tuple[Ints, Ints]:
        """Tokens of each document that are read."""
        room = self._rooms[self.head_of[first]]
        one, two = self._lengths[self.text_of[first]], self._lengths[self.text_of[second]]
        return np.minimum(one, np.maximum(room // 2, room - two)), np.minimum(two, np.maximum(room // 2, room - one))
