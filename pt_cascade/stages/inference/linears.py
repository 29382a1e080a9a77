"""Linear layers in the place of torch's own: scores in float32, and products in the layout that is fastest on this processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import Linear, Module
from torch.nn.functional import linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_ROWS = 1024  # tokens of a typical batch, for which oneDNN lays the weights out


def choose(layer: Linear, *, last: bool) -> Module:
    """Choose what computes a linear layer; the last one, which gives the scores, computes in float32."""
    if last:
        return layer if layer.weight.dtype == torch.float32 else Float32Linear(layer)
    return PackedLinear(layer) if layer.weight.device.type == "cpu" and is_packing_faster() else layer


class Float32Linear(Module):
    """A linear layer, or some of its outputs, computed in float32 whatever it is given."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Linear | Float32Linear, outputs: Sequence[int] | slice = slice(None)) -> None:
        """Take a layer's weights."""
        super().__init__()
        self.register_buffer("weight", layer.weight.detach()[outputs].float())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach()[outputs].float())

    def forward(self, given: Tensor) -> Tensor:
        """Compute it."""
        return linear(given.float(), self.weight, self.bias)


class PackedLinear(Module):
    """A linear layer whose weights are laid out once for oneDNN.

    torch hands float32 products to MKL, which on an AMD processor leaves half of the width of AVX-512 unused. This is the operator
    that ``torch.compile`` puts in their place when it freezes a model.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Linear) -> None:
        """Lay a layer's weights out."""
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS))  # noqa: SLF001
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, given: Tensor) -> Tensor:
        """Compute it."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(given, self.weight, self.bias, "none", [], "")  # noqa: SLF001
        return product


def is_packing_faster() -> bool:
    """Tell whether packed layers beat torch's own here: on AMD with AVX-512 they do, with AVX2 only on some."""
    amd = str(torch.cpu.get_capabilities().get("cpu_name", "")).startswith("AMD")
    return amd and torch.backends.cpu.get_cpu_capability() == "AVX512" and _has_onednn()


def is_bf16_faster() -> bool:
    """Tell whether bfloat16 beats float32 on this processor: on x86 only where it has instructions for it."""
    instructions = torch.cpu.get_capabilities().get("avx512_bf16", True)  # no such key: not x86, where oneDNN's word is all we have
    return bool(instructions and _has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
