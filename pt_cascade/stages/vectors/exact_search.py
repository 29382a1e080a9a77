"""The documents nearest to a query, exactly: an engine proposes more than enough, and what it proposes is scored again.

An engine's matrix product sums in an order of its own, which changes with the batch and the machine; so its products only tell
which documents *can* be among the first k. By the error bound of a sum of n products, gamma(n) = n u / (1 - n u) with u = 2^-24,
whatever its order (Higham, section 3.1), two float32 sums of one pair differ by at most 2 gamma(n) |q| |d|. Every document within
twice that of the k-th product is scored again as ``bi_encoder`` scores; all others lie below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.stages.vectors.similarity import lengths, similarities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.vectors.engines import Product
    from pt_cascade.stages.vectors.similarity import Similarity, Vectors

_MORE = 64
_UNIT = 2.0**-24
_SLACK = 16  # roundings beside the sum's own: of a length, a quotient, a product with one


@dataclass(frozen=True)
class Searcher:
    """Documents' vectors, ready to be searched.

    Attributes:
        vectors: Shape (documents, dimension), at least one document; may be mapped from disk.
        similarity: ``dot`` or ``cos``.
        product: The engine.
    """

    vectors: Vectors
    similarity: Similarity
    product: Product

    @cached_property
    def lengths(self) -> Floats:
        """The length of each document's vector, shape (documents,)."""
        return np.concatenate([lengths(self.vectors[start:end]) for start, end in self._blocks()])

    def search(self, queries: Vectors, count: int) -> list[tuple[Ints, Floats]]:
        """Find the nearest documents of each query.

        Args:
            queries: Shape (q, dimension), finite.
            count: How many documents, at least 1; all where there are fewer.

        Returns:
            For each query the rows of the documents and their similarities, best first, equal ones by row.

        References:
            Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002.

        Example:
            >>> from pt_cascade.stages.vectors.engines import NumpyProduct
            >>> searcher = Searcher(np.array([[1, 0], [0, 1], [1, 0]], np.float32), "dot", NumpyProduct())
            >>> rows, scores = searcher.search(np.array([[2, 1]], np.float32), 3)[0]
            >>> rows.tolist(), scores.tolist()
            ([0, 2, 1], [2.0, 2.0, 1.0])
        """
        count = min(count, len(self.vectors))
        possible: dict[int, Ints] = {}
        wanted, errors = count + _MORE, self._errors(queries)
        while len(possible) < len(queries) and wanted < len(self.vectors):
            waiting = [n for n in range(len(queries)) if n not in possible]
            for n, (rows, products) in zip(waiting, self._nearest(queries[waiting], wanted), strict=True):
                bar = np.partition(products, -count)[-count] - 2 * errors[n]
                if products.min() < bar:  # whatever was not proposed lies below as well
                    possible[n] = np.sort(rows[products >= bar])
            wanted *= 2
        chosen = (possible[n] if n in possible else np.arange(len(self.vectors)) for n in range(len(queries)))
        return [self._best(some, query, count) for some, query in zip(chosen, queries, strict=True)]

    def _errors(self, queries: Vectors) -> Floats:
        """Bound, for each query, how far an engine's product may be from the similarity (for ``cos``, from it times |q|)."""
        terms = (self.vectors.shape[1] + _SLACK) * _UNIT
        bound = 2 * (terms / (1 - terms) + 2 * self.product.rounding)
        longest = 1.0 if self.similarity == "cos" else float(self.lengths.max())
        errors: Floats = bound * longest * np.linalg.norm(queries.astype(np.float64), axis=1) + np.finfo(np.float32).tiny
        return errors

    def _nearest(self, queries: Vectors, wanted: int) -> list[tuple[Ints, Vectors]]:
        """Give each query the rows of the greatest products and these, block by block, in no order."""
        kept = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)
        floor = np.full(len(queries), -np.inf)
        for start, end in self._blocks():
            products, places = self.product(queries, self._block(start, end), start, wanted)
            for n, row in enumerate(products):
                above = np.flatnonzero(row > floor[n])
                if not len(above):
                    continue
                rows = np.concatenate([kept[n][0], start + (above if places is None else places[n][above])])
                values = np.concatenate([kept[n][1], row[above]])
                if len(values) > wanted:
                    greatest = np.argpartition(values, -wanted)[-wanted:]
                    rows, values = rows[greatest], values[greatest]
                if len(values) == wanted:
                    floor[n] = values.min()
                kept[n] = (rows, values)
        return kept

    def _best(self, rows: Ints, query: Vectors, count: int) -> tuple[Ints, Floats]:
        """Score rows, which ascend, as every other stage does, and give the best of them."""
        step = self._step
        parts = [self.vectors[rows[start : start + step]] for start in range(0, len(rows), step)]
        scores = np.concatenate([similarities(np.asarray(part), query, self.similarity) for part in parts])
        order = np.argsort(-scores, kind="stable")[:count]
        return rows[order], scores[order]

    def _block(self, start: int, end: int) -> Vectors:
        block: Vectors = np.asarray(self.vectors[start:end])
        if self.similarity == "dot":
            return block
        length = self.lengths[start:end, None]
        divisor: Vectors = np.where(length > 0, length, 1).astype(np.float32)
        return np.divide(block, divisor, dtype=np.float32)

    @property
    def _step(self) -> int:
        return max(1, self.product.block // int(self.vectors.shape[1]))

    def _blocks(self) -> Iterator[tuple[int, int]]:
        documents = len(self.vectors)
        yield from ((start, min(start + self._step, documents)) for start in range(0, documents, self._step))
