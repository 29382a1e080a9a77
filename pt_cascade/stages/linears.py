"""Linear layers in the place of torch's own: the same product, laid out for the processor, or in whole numbers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch.nn import Linear, Module
from torch.nn.functional import linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pt_cascade.stages.precision import Precision

_ROWS = 1024  # tokens of a typical batch, for which oneDNN lays the weights out
_LEVELS = 127
_CLOSE = 1e-4


def choose(layer: Linear, precision: Precision, *, last: bool) -> Module:
    """Choose what computes a linear layer.

    Args:
        layer: The layer, on its device.
        precision: As in ``precision.check_precision``.
        last: Whether it gives the scores: then it is computed in float32.

    Returns:
        The layer that takes its place; itself where nothing is faster.
    """
    if last:
        return layer if layer.weight.dtype == torch.float32 else Float32Linear(layer)
    if layer.weight.device.type != "cpu":
        return layer
    if precision == "int8":
        return Int8Linear(layer)
    return PackedLinear(layer) if can_pack() else layer


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

    torch hands float32 products to MKL, which on a processor that is not Intel's leaves half of its vector width unused. This is
    the operator that ``torch.compile`` puts in their place when it freezes a model: 2.2 times as fast on an AMD EPYC with AVX-512.
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


class Int8Linear(Module):
    """A linear layer in whole numbers of 8 bits: weights scaled by output, inputs by row, sums exact.

    A scale for each row, where torch's own dynamic quantization has one for the batch, so that a score does not depend on
    what else is in the batch.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: Linear) -> None:
        """Round a layer's weights."""
        super().__init__()
        whole, scale = _round(layer.weight.detach().float())
        self.register_buffer("weight", whole.t().contiguous())
        self.register_buffer("scale", scale.squeeze(-1))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, given: Tensor) -> Tensor:
        """Compute it."""
        rows = given.reshape(-1, given.shape[-1])
        whole, scale = _round(rows)
        product = torch._int_mm(whole, self.weight).float().mul_(scale).mul_(self.scale)  # noqa: SLF001
        if self.bias is not None:
            product += self.bias
        return product.reshape(*given.shape[:-1], -1)


def _round(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Scale each row so that its largest number is 127, and round."""
    scale = rows.abs().amax(-1, keepdim=True).div_(_LEVELS).clamp_(min=torch.finfo(torch.float32).tiny)
    return (rows / scale).round_().to(torch.int8), scale


@cache
def can_pack() -> bool:
    """Tell whether this build of torch has oneDNN's linear layer, by computing one."""
    layer, given = Linear(8, 8), torch.ones(4, 8)
    try:
        with torch.inference_mode():
            return bool((PackedLinear(layer)(given) - layer(given)).abs().max() < _CLOSE)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
