"""Number types of a model's weights, and the linear layers that are fastest on this processor; importing it loads torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import Linear, Module
from torch.nn.functional import linear

from pt_cascade.errors import PipelineError
from pt_cascade.stages.inference.options import check_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from pt_cascade.stages.inference.options import Dtype

_ROWS = 1024  # tokens of a typical batch; oneDNN chooses the layout of the weights for it


def torch_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Return the type to load weights in; a stage that came in a pickle may be on a device that is slower with it.

    Example:
        >>> torch_dtype("fp32", torch.device("cpu"))
        torch.float32
    """
    if problems := check_dtype(dtype, str(device)):
        raise PipelineError(f"cannot compute on {device}", problems)
    return torch.bfloat16 if dtype == "bf16" else torch.float32


def replace_layers(model: Module, heads: set[Module], unchanged: tuple[str, ...] = ()) -> None:
    """Replace the linear layers of a model by faster ones, but its ``heads``, which give the scores, by ones in float32.

    In bfloat16 scores near 8 would be 1/16 apart, and many would tie. Layers whose names end in ``unchanged`` stay.
    """
    for name, layer in list(model.named_modules()):
        if type(layer) is Linear and not name.endswith(unchanged):
            model.set_submodule(name, choose(layer, head=layer in heads))


def choose(layer: Linear, *, head: bool) -> Module:
    """Choose the layer that computes a linear layer."""
    if head:
        return layer if layer.weight.dtype == torch.float32 else Float32Linear(layer)
    return PackedLinear(layer) if layer.weight.device.type == "cpu" and is_packing_faster() else layer


class Float32Linear(Module):
    """A linear layer, or some of its outputs, computed in float32 for any input."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Linear | Float32Linear, outputs: Sequence[int] | slice = slice(None)) -> None:
        """Copy a layer's weights."""
        super().__init__()
        self.register_buffer("weight", layer.weight.detach()[outputs].float())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach()[outputs].float())

    def forward(self, given: Tensor) -> Tensor:
        """Compute the layer."""
        return linear(given.float(), self.weight, self.bias)


class PackedLinear(Module):
    """A linear layer with its weights in oneDNN's layout, as ``torch.compile`` makes it of a frozen model.

    torch computes float32 products with MKL, which uses half of the width of AVX-512 on an AMD processor.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Linear) -> None:
        """Copy a layer's weights."""
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS))  # noqa: SLF001
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, given: Tensor) -> Tensor:
        """Compute the layer."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(given, self.weight, self.bias, "none", [], "")  # noqa: SLF001
        return product


def is_packing_faster() -> bool:
    """Tell whether packed layers beat torch's own here: on AMD with AVX-512 they do, with AVX2 only on some."""
    amd = str(torch.cpu.get_capabilities().get("cpu_name", "")).startswith("AMD")
    avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return amd and avx512 and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
