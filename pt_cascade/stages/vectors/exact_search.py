"""The documents nearest to a query, exactly: a matrix product proposes more than enough, which are scored again.

A matrix product sums in an order that changes with the batch and the machine, so it only tells which documents *can* be among the
first k. Whatever the order, the error of a sum of n products is at most gamma(n) |q| |d|, gamma(n) = n u / (1 - n u), u = 2^-24
(Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1), so that two float32 sums of one pair differ by
at most twice that. Every document within twice this difference of the k-th product is scored again as ``bi_encoder`` scores; all
others have lower scores.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import StageError
from pt_cascade.stages.inference.loading import find_device
from pt_cascade.stages.vectors.similarity import lengths, similarities

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from threadpoolctl import ThreadpoolController

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.vectors.similarity import Similarity, Vectors

_BLOCK = 1 << 22  # values, for a processor's cache
_BLOCK_GPU = 1 << 26
_MANY = 8  # queries; for fewer, a second thread gains little, and waiting for it on a busy machine takes ten times as long
_UNIT = 2.0**-24
_SLACK = 16  # roundings beside the sum's own: of a length, a quotient, a product with one
_ROUNDED = {"high": 2.0**-10, "tf32": 2.0**-10, "medium": 2.0**-8, "bf16": 2.0**-8}


@dataclass(frozen=True)
class Searcher:
    """Documents' vectors, ready to be searched.

    Attributes:
        vectors: Shape (documents, dimension), at least one document; may be mapped from disk.
        similarity: ``dot`` or ``cos``.
        device: Where the vectors are multiplied.
        block: Values of a block at most.
        stays: Whether torch multiplies on the device, where the blocks stay, for a GPU; otherwise NumPy does.
    """

    vectors: Vectors
    similarity: Similarity
    device: torch.device
    block: int = _BLOCK
    stays: bool = False
    _on_device: dict[int, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def lengths(self) -> Floats:
        """The length of each document's vector, shape (documents,)."""
        return np.concatenate([lengths(self.vectors[start:end]) for start, end in self._blocks()])

    def search(self, queries: Vectors, count: int) -> list[tuple[Ints, Floats]]:
        """Find the ``count`` nearest documents of each of q queries (q, dimension), or all where there are fewer.

        Returns for each query the rows of the documents and their similarities, best first, equal ones by row.

        Example:
            >>> vectors = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
            >>> rows, scores = open_searcher(vectors, "dot", "cpu").search(np.array([[2, 1]], np.float32), 3)[0]
            >>> rows.tolist(), scores.tolist()
            ([0, 2, 1], [2.0, 2.0, 1.0])
        """
        if not len(queries):
            return []
        count = min(count, len(self.vectors))
        slack, bar = 2 * self._errors(queries), np.full(len(queries), -np.inf)
        near = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)
        for start, end in self._blocks():
            for n, (places, products) in enumerate(self._find_near(queries, start, end, bar)):
                rows, values = np.append(near[n][0], start + places), np.append(near[n][1], products)
                if len(values) > count:
                    bar[n] = np.partition(values, -count)[-count] - slack[n]
                    rows, values = rows[values >= bar[n]], values[values >= bar[n]]
                near[n] = rows, values
        return [self._best(rows, query, count) for (rows, _), query in zip(near, queries, strict=True)]

    def _errors(self, queries: Vectors) -> Floats:
        """Bound, for each query, how far a product may be from the similarity (for ``cos``, from it times |q|)."""
        terms = (self.vectors.shape[1] + _SLACK) * _UNIT
        bound = 2 * (terms / (1 - terms) + 2 * (rounding() if self.stays else 0))
        longest = 1.0 if self.similarity == "cos" else float(self.lengths.max())
        errors: Floats = bound * longest * np.linalg.norm(queries.astype(np.float64), axis=1) + np.finfo(np.float32).tiny
        return errors

    def _find_near(self, queries: Vectors, start: int, end: int, bar: Floats) -> Iterator[tuple[Ints, Vectors]]:
        """Yield for each query the places in a block, ascending, whose products reach its bar, and these products."""
        if not self.stays:
            with _blas().limit(limits=1) if len(queries) < _MANY else nullcontext():
                products = queries @ self._block(start, end).T
            query, place = np.nonzero(products >= bar[:, None])
            values = products[query, place]
        else:
            query, place, values = (found.cpu().numpy() for found in self._find_on_device(queries, start, end, bar))
        cuts = np.searchsorted(query, np.arange(1, len(queries)))
        yield from zip(np.split(place, cuts), np.split(values, cuts), strict=True)

    def _find_on_device(self, queries: Vectors, start: int, end: int, bar: Floats) -> tuple[torch.Tensor, ...]:
        """Return the query, the place and the product of each document of a block that reaches the bar of a query."""
        import torch  # noqa: PLC0415 - heavy

        try:
            if start not in self._on_device:
                self._on_device[start] = torch.tensor(self._block(start, end), device=self.device)
            products = torch.mm(torch.tensor(queries, device=self.device), self._on_device[start].T)
            query, place = (products >= torch.tensor(bar, device=self.device)[:, None]).nonzero(as_tuple=True)
        except torch.cuda.OutOfMemoryError as error:
            self._on_device.clear()
            fix = "dense(vectors, device='cpu')"
            raise StageError(f"the vectors do not fit on {self.device}", [str(error).partition(".")[0]], fix=fix) from error
        return query, place, products[query, place]

    def _best(self, rows: Ints, query: Vectors, count: int) -> tuple[Ints, Floats]:
        """Score rows, which ascend, as every other stage does, and return the best of them."""
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
        return max(1, self.block // int(self.vectors.shape[1]))

    def _blocks(self) -> Iterator[tuple[int, int]]:
        documents = len(self.vectors)
        yield from ((start, min(start + self._step, documents)) for start in range(0, documents, self._step))


def open_searcher(vectors: Vectors, similarity: Similarity, device: str | None) -> Searcher:
    """Make vectors ready to be searched on a device; None: cuda where there is one."""
    where = find_device(device)
    stays = where.type != "cpu"
    return Searcher(vectors, similarity, where, _BLOCK_GPU if stays else _BLOCK, stays)


@cache
def _blas() -> ThreadpoolController:
    """Return what sets the threads of NumPy's products."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - it looks through the loaded libraries

    return ThreadpoolController().select(user_api="blas")


def rounding() -> float:
    """Return how much a GPU may round a value, relatively, before it multiplies: more than 0 with TensorFloat-32 or bfloat16."""
    import torch  # noqa: PLC0415 - heavy

    parts = (torch.backends, torch.backends.cuda.matmul)
    names = {torch.get_float32_matmul_precision(), *(getattr(part, "fp32_precision", "") for part in parts)}
    return max(_ROUNDED.get(name, 0.0) for name in names)
