"""How precisely a model computes: float32, or less precise and faster, where the device can do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    import torch

Precision: TypeAlias = Literal["fp32", "bf16", "fp16", "int8"]

_ONLY = {"fp16": "cuda", "int8": "cpu"}


def check_precision(precision: str, device: str | None) -> list[str]:
    """Say what is wrong with a precision, before any model is loaded.

    Args:
        precision: One of ``fp32``, ``bf16``, ``fp16`` (a GPU's) and ``int8`` (a CPU's).
        device: Where the model is to run; None: not known yet.

    Returns:
        The problem, or nothing.

    Example:
        >>> check_precision("int8", "cuda:1")
        ['precision int8 runs on cpu only, found device cuda:1']
        >>> check_precision("bf16", "cuda:1")
        []
    """
    known = get_args(Precision)
    if precision not in known:
        return [f"precision is {precision!r}, expected one of {', '.join(known)}"]
    only = _ONLY.get(precision)
    if only and device is not None and device.partition(":")[0] != only:
        return [f"precision {precision} runs on {only} only, found device {device}"]
    return []


def find_dtype(precision: Precision, device: torch.device, stage: str) -> torch.dtype:
    """Return the type that a model's weights are loaded in.

    Args:
        precision: As in ``check_precision``.
        device: Where the model will run.
        stage: Who asks, for the error.

    Returns:
        float32 for ``int8`` too: its whole numbers are made of them.

    Raises:
        PipelineError: The device cannot compute so.

    Example:
        >>> import torch
        >>> find_dtype("bf16", torch.device("cpu"), "mono_t5")
        torch.bfloat16
    """
    import torch  # noqa: PLC0415 - heavy

    if problems := check_precision(precision, str(device)):
        fix = f'device="{_ONLY[precision]}", or precision="bf16"' if precision in _ONLY else 'precision="fp32"'
        raise PipelineError(f"{stage} cannot compute so", problems, fix=fix)
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def quicken(model: torch.nn.Module, precision: Precision, heads: set[torch.nn.Module], plain: tuple[str, ...] = ()) -> None:
    """Put faster layers in the place of a model's linear ones, and keep its last layer in float32.

    On a CPU the weights are laid out once for oneDNN, or made whole numbers. The last layer stays in float32 in any precision:
    in bfloat16 scores near 8 would be 1/16 apart, and many of them tie.

    Args:
        model: A model in evaluation, on its device; it is changed.
        precision: As in ``check_precision``.
        heads: The linear layers that give its scores.
        plain: How the names of layers end that are left as they are.
    """
    from torch.nn import Linear  # noqa: PLC0415 - heavy

    from pt_cascade.stages.linears import choose  # noqa: PLC0415 - heavy

    for name, layer in list(model.named_modules()):
        if type(layer) is Linear and not name.endswith(plain):
            model.set_submodule(name, choose(layer, precision, last=layer in heads))
