"""The threads of small products: on a busy machine each barrier between torch's threads waits until all of them are scheduled."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch.nn import Module

_SMALL = 50_000_000  # parameters: MiniLM has 23 to 33 million, BERT base 110; experiments/benchmarks/busy.py


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the processor."""
    import torch  # noqa: PLC0415 - heavy

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def short_text_threads(network: Module) -> AbstractContextManager[None]:
    """Compute on one thread where the model is so small that one short text gains nothing from more."""
    return one_thread() if sum(weight.numel() for weight in network.parameters()) < _SMALL else nullcontext()
