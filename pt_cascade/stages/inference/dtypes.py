"""How precisely a model computes: float32, or bfloat16 where the device is faster with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    import torch

Dtype: TypeAlias = Literal["fp32", "bf16"]

_SLOW = "dtype is 'bf16', slower than fp32 on a processor without AVX-512 BF16 as this one; expected 'fp32', or device='cuda'"


def check_dtype(dtype: str, device: str | None) -> list[str]:
    """Say what is wrong with a dtype, before any model is loaded.

    Args:
        dtype: ``fp32`` or ``bf16``.
        device: Where the model is to run; None: cuda where there is one, else cpu.

    Returns:
        The problem, or nothing.

    Example:
        >>> check_dtype("fp16", "cuda")
        ["dtype is 'fp16', expected one of fp32, bf16"]
        >>> check_dtype("bf16", "cuda:1")
        []
    """
    known = get_args(Dtype)
    if dtype not in known:
        return [f"dtype is {dtype!r}, expected one of {', '.join(known)}"]
    return [_SLOW] if dtype == "bf16" and _is_slow(device) else []


def _is_slow(device: str | None) -> bool:
    """Tell whether bfloat16 would run on a processor that is slower with it."""
    if device is not None and not device.startswith("cpu"):
        return False
    import torch  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.linears import is_bf16_faster  # noqa: PLC0415 - heavy

    return (device is not None or not torch.cuda.is_available()) and not is_bf16_faster()


def torch_dtype(dtype: Dtype, device: torch.device, stage: str) -> torch.dtype:
    """Return the type that a model's weights are loaded in.

    Args:
        dtype: As in ``check_dtype``.
        device: Where the model will run; not where the stage was made, if it came in a pickle.
        stage: Who asks, for the error.

    Raises:
        PipelineError: The device is slower with it.

    Example:
        >>> import torch
        >>> torch_dtype("fp32", torch.device("cpu"), "mono_t5")
        torch.float32
    """
    import torch  # noqa: PLC0415 - heavy

    if problems := check_dtype(dtype, str(device)):
        raise PipelineError(f"{stage} cannot compute on {device}", problems)
    return torch.bfloat16 if dtype == "bf16" else torch.float32


def quicken(model: torch.nn.Module, heads: set[torch.nn.Module], plain: tuple[str, ...] = ()) -> None:
    """Put faster layers in the place of a model's linear ones where there are some, and keep its last layer in float32.

    The last layer stays in float32 whatever the dtype: in bfloat16 scores near 8 would be 1/16 apart, and many of them tie.

    Args:
        model: A model in evaluation, on its device; it is changed.
        heads: The linear layers that give its scores.
        plain: How the names of layers end that are left as they are.
    """
    from torch.nn import Linear  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.linears import choose  # noqa: PLC0415 - heavy

    for name, layer in list(model.named_modules()):
        if type(layer) is Linear and not name.endswith(plain):
            model.set_submodule(name, choose(layer, last=layer in heads))
