"""The engines of dense retrieval: who multiplies queries with a block of documents. They propose; exact scores come afterwards."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from pt_cascade.errors import PipelineError, StageError, require
from pt_cascade.stages.inference.loading import find_device

if TYPE_CHECKING:
    import torch

    from pt_cascade.ranking import Ints
    from pt_cascade.stages.vectors.similarity import Vectors

Engine: TypeAlias = Literal["torch", "numpy", "faiss"]

_BLOCK = 1 << 22
_BLOCK_GPU = 1 << 26
_ROUNDED = {"high": 2.0**-10, "tf32": 2.0**-10, "medium": 2.0**-8, "bf16": 2.0**-8}


class Product(Protocol):
    """What an engine does.

    Attributes:
        block: Values of a block at most.
        rounding: How much a value is rounded, relatively, before it is multiplied; 0 where float32 is kept.
    """

    @property
    def block(self) -> int:
        """See above."""

    @property
    def rounding(self) -> float:
        """See above."""

    def __call__(self, queries: Vectors, block: Vectors, start: int, count: int) -> tuple[Vectors, Ints | None]:
        """Multiply.

        Args:
            queries: Shape (q, dimension).
            block: Shape (n, dimension), a block of the documents' vectors.
            start: Where the block begins among all documents.
            count: How many documents a query asks for.

        Returns:
            Products and the places in the block that they belong to, both of shape (q, m): the ``count`` greatest of each query or
            more; None: all, in order.
        """


@dataclass(frozen=True)
class NumpyProduct:
    """numpy's own matrix product."""

    block: int = _BLOCK
    rounding: float = 0.0

    def __call__(self, queries: Vectors, block: Vectors, start: int, count: int) -> tuple[Vectors, Ints | None]:
        """Multiply; see ``Product``."""
        del start, count
        return queries @ block.T, None


@dataclass(frozen=True)
class FaissProduct:
    """FAISS's search without an index, the one inside IndexFlatIP; it takes no copy of the vectors."""

    block: int = _BLOCK
    rounding: float = 0.0

    def __call__(self, queries: Vectors, block: Vectors, start: int, count: int) -> tuple[Vectors, Ints | None]:
        """Multiply; see ``Product``."""
        import faiss  # noqa: PLC0415 - an extra

        del start
        products, places = faiss.knn(queries, block, min(count, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        return products, places


@dataclass(frozen=True)
class TorchProduct:
    """torch's matrix product.

    Attributes:
        device: Where to multiply.
        block: As above; a GPU likes large blocks, a processor's cache small ones.
        stays: Whether a block stays on the device after it was first needed, and the device chooses the greatest itself; for a GPU.
        kept: The blocks that stay, by where they begin.
    """

    device: torch.device
    block: int = _BLOCK
    stays: bool = False
    kept: dict[int, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def rounding(self) -> float:
        """What torch is allowed to round to: whoever set TensorFloat-32 or bfloat16 for matrix products set it for these too."""
        import torch  # noqa: PLC0415 - heavy

        parts = (torch.backends, torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None))
        told = {torch.get_float32_matmul_precision(), *(getattr(part, "fp32_precision", "") for part in parts)}
        return max(_ROUNDED.get(name, 0.0) for name in told)

    def __call__(self, queries: Vectors, block: Vectors, start: int, count: int) -> tuple[Vectors, Ints | None]:
        """Multiply; see ``Product``.

        Raises:
            StageError: The vectors do not fit on the device.
        """
        import torch  # noqa: PLC0415 - heavy

        if not self.stays:
            return torch.mm(torch.from_numpy(queries), _tensor(block).T).numpy(), None
        try:
            if start not in self.kept:
                self.kept[start] = _tensor(block).to(self.device)
            products = torch.mm(torch.from_numpy(queries).to(self.device), self.kept[start].T)
            greatest = products.topk(min(count, len(block)))
        except torch.cuda.OutOfMemoryError as error:
            self.kept.clear()
            fix = "dense(vectors, engine='faiss'), or device='cpu'"
            raise StageError(f"the vectors do not fit on {self.device}", [str(error).partition(".")[0]], fix=fix) from error
        return greatest.values.cpu().numpy(), greatest.indices.cpu().numpy()


def check_engine(engine: str) -> None:
    """Refuse an engine that is not known, or not installed.

    Raises:
        PipelineError: It is none of ``torch``, ``numpy`` and ``faiss``.
        MissingError: It is not installed.
    """
    if engine not in get_args(Engine):
        raise PipelineError(f"engine is {engine!r}", [f"expected one of {', '.join(get_args(Engine))}"])
    require(engine, install="faiss-cpu" if engine == "faiss" else engine, why=f"dense(engine={engine!r})")


def start_engine(engine: Engine, device: str | None) -> Product:
    """Make an engine ready.

    Args:
        engine: Its name.
        device: Where torch multiplies; None: cuda where there is one.

    Returns:
        What multiplies.

    Raises:
        MissingError: torch cannot use the device.

    Example:
        >>> import numpy as np
        >>> one = np.eye(2, dtype=np.float32)
        >>> start_engine("torch", "cpu")(one, one, 0, 1)[0].tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if engine == "torch":
        where = find_device(device)
        return TorchProduct(where) if where.type == "cpu" else TorchProduct(where, _BLOCK_GPU, stays=True)
    return FaissProduct() if engine == "faiss" else NumpyProduct()


def _tensor(block: Vectors) -> torch.Tensor:
    """Give torch the memory itself; it warns that it could not write there, which nobody wants to."""
    import torch  # noqa: PLC0415 - heavy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(block)
