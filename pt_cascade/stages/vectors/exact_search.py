"""The documents nearest to a query, exactly: a matrix product proposes more than enough, and the proposed are scored again.

A matrix product sums in an order that changes with the batch and the machine, so it only tells which documents *can* be among the
first k. Whatever the order, the error of a sum of n products is at most gamma(n) |q| |d|, gamma(n) = n u / (1 - n u), u = 2^-24
(Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1), so that two float32 sums of one pair differ by
at most twice that. Every document within twice this difference of the k-th product is scored again as ``bi_encoder`` scores; all
others have lower scores.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import StageError
from pt_cascade.stages.inference.loading import find_device
from pt_cascade.stages.vectors.similarity import lengths, similarities

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.vectors.similarity import Similarity, Vectors

_BLOCK = 1 << 22  # values, for a processor's cache
_BLOCK_GPU = 1 << 26
_MORE = 64
_UNIT = 2.0**-24
_SLACK = 16  # roundings beside the sum's own: of a length, a quotient, a product with one
_ROUNDED = {"high": 2.0**-10, "tf32": 2.0**-10, "medium": 2.0**-8, "bf16": 2.0**-8}


@dataclass(frozen=True)
class Searcher:
    """Documents' vectors, ready to be searched.

    Attributes:
        vectors: Shape (documents, dimension), at least one document; may be mapped from disk.
        similarity: ``dot`` or ``cos``.
        device: Where blocks of vectors are multiplied with the queries.
        block: Values of a block at most.
        stays: Whether blocks stay on the device, which also finds the greatest products; for a GPU.
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
        count = min(count, len(self.vectors))
        possible: dict[int, Ints] = {}
        wanted, errors = count + _MORE, self._errors(queries)
        while len(possible) < len(queries) and wanted < len(self.vectors):
            waiting = [n for n in range(len(queries)) if n not in possible]
            for n, (rows, products) in zip(waiting, self._nearest(queries[waiting], wanted), strict=True):
                bar = np.partition(products, -count)[-count] - 2 * errors[n]
                if products.min() < bar:  # so are all that were not proposed
                    possible[n] = np.sort(rows[products >= bar])
            wanted *= 2
        chosen = (possible[n] if n in possible else np.arange(len(self.vectors)) for n in range(len(queries)))
        return [self._best(some, query, count) for some, query in zip(chosen, queries, strict=True)]

    def _errors(self, queries: Vectors) -> Floats:
        """Bound, for each query, how far a product may be from the similarity (for ``cos``, from it times |q|)."""
        terms = (self.vectors.shape[1] + _SLACK) * _UNIT
        bound = 2 * (terms / (1 - terms) + 2 * rounding())
        longest = 1.0 if self.similarity == "cos" else float(self.lengths.max())
        errors: Floats = bound * longest * np.linalg.norm(queries.astype(np.float64), axis=1) + np.finfo(np.float32).tiny
        return errors

    def _nearest(self, queries: Vectors, wanted: int) -> list[tuple[Ints, Vectors]]:
        """Return for each query the rows of the greatest products and these, in no order."""
        kept = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(queries)
        floor = np.full(len(queries), -np.inf)
        for start, end in self._blocks():
            products, places = self._multiply(queries, start, end, wanted)
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

    def _multiply(self, queries: Vectors, start: int, end: int, wanted: int) -> tuple[Vectors, Ints | None]:
        """Return products and their places in the block, shape (q, m): the ``wanted`` greatest or more; places None: all."""
        import torch  # noqa: PLC0415 - heavy

        if not self.stays:
            return torch.mm(torch.from_numpy(queries), _tensor(self._block(start, end)).T).numpy(), None
        try:
            if start not in self._on_device:
                self._on_device[start] = _tensor(self._block(start, end)).to(self.device)
            products = torch.mm(torch.from_numpy(queries).to(self.device), self._on_device[start].T)
            greatest = products.topk(min(wanted, end - start))
        except torch.cuda.OutOfMemoryError as error:
            self._on_device.clear()
            fix = "dense(vectors, device='cpu')"
            raise StageError(f"the vectors do not fit on {self.device}", [str(error).partition(".")[0]], fix=fix) from error
        return greatest.values.cpu().numpy(), greatest.indices.cpu().numpy()

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
    return (
        Searcher(vectors, similarity, where)
        if where.type == "cpu"
        else Searcher(vectors, similarity, where, _BLOCK_GPU, stays=True)
    )


def rounding() -> float:
    """Return how much torch may round a value, relatively, before it multiplies: more than 0 with TensorFloat-32 or bfloat16."""
    import torch  # noqa: PLC0415 - heavy

    parts = (torch.backends, torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None))
    names = {torch.get_float32_matmul_precision(), *(getattr(part, "fp32_precision", "") for part in parts)}
    return max(_ROUNDED.get(name, 0.0) for name in names)


def _tensor(block: Vectors) -> torch.Tensor:
    """Share memory with torch, which warns that a mapped file cannot be written to."""
    import torch  # noqa: PLC0415 - heavy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(block)
