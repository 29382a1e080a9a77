"""The prompts of a pairwise T5, joined from parts: each query and each document is tokenized once."""

from __future__ import annotations

from dataclasses import dataclass
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
    """The parts of the prompts ``Query: {query} Document0: {text} Document1: {text} Relevant:`` of n rows.

    Where a prompt is longer than the limit its documents are cut: each may have half of what the query leaves, and what one
    does not need is the other's. So both orders of a pair show the same part of each document.
    """

    heads: list[NDArray[np.int32]]  # the query of each row, with Query:, cut where it alone would fill the prompt
    texts: list[NDArray[np.int32]]
    rooms: Ints  # shape (n,), the tokens that the query leaves for both documents
    names: list[NDArray[np.int32]]  # Document0: and Document1:
    tail: NDArray[np.int32]  # Relevant: and the end token

    @classmethod
    def encode(cls, model: AnsweringT5, queries: Sequence[str], texts: Sequence[str]) -> DuoPrompts:
        """Tokenize the queries and texts of n rows, each different one once.

        The tokenizer puts no token across a space, as SentencePiece does not, so that parts can be joined.
        """
        names = tokenize(model.tokenizer, _NAMES, add_special_tokens=False)
        room, named = model.limit - sum(map(len, names)) - len(model.tail), len(names[0])

        def cut(items: list[str], most: int) -> list[NDArray[np.int32]]:
            code, different = pd.factorize(np.asarray(items, object))
            ids = tokenize(model.tokenizer, list(different), add_special_tokens=False, truncation=True, max_length=most)
            return [ids[n] for n in code]

        bare = [ids[named:] for ids in cut([f"{_NAMES[0]} {text}" for text in texts], named + room)]
        heads = cut([f"Query: {query}" for query in queries], room)
        return cls(heads, bare, room - np.array([len(ids) for ids in heads], np.int64), names, model.tail)

    def join(self, first: Ints, second: Ints) -> Ids:
        """Join the prompts of m pairs of rows with the same query."""
        room, sizes = self.rooms[first], np.array([len(ids) for ids in self.texts], np.int64)
        one, two = (np.minimum(sizes[a], np.maximum(room // 2, room - sizes[b])) for a, b in ((first, second), (second, first)))
        zero_name, one_name = self.names
        pairs = zip(first, second, one, two, strict=True)
        return {
            "input_ids": [
                np.concatenate([self.heads[i], zero_name, self.texts[i][:m], one_name, self.texts[j][:n], self.tail])
                for i, j, m, n in pairs
            ]
        }
