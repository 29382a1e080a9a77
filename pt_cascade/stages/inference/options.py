"""The options of a stage that runs a model, checked before any model is loaded."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from pt_cascade.numbers import check_word, is_whole

Dtype: TypeAlias = Literal["fp32", "bf16"]

# On two CPU cores the best of 256 ... 16384 for a MiniLM-L6, within a tenth of the best for a T5-small. On an H100, within 6 % of
# the best of 4096 ... 262144 for a MiniLM-L6, a t5-base and a t5-3b, in bf16 and in fp32.
_CPU, _GPU = 2048, 32768
_SLOW = "dtype is 'bf16', slower than fp32 on this processor, which has no AVX-512 BF16; expected 'fp32', or device='cuda'"


def check_limits(max_length: int | None, shortest: int, batch_tokens: int | None) -> list[str]:
    """List the limits that are out of range."""
    problems = []
    if max_length is not None and not is_whole(max_length, shortest):
        problems.append(f"max_length is {max_length!r}, expected {shortest} or more tokens")
    if batch_tokens is not None and not is_whole(batch_tokens, 1):
        problems.append(f"batch_tokens is {batch_tokens!r}, expected 1 or more")
    return problems


def check_dtype(dtype: str, device: str | None) -> list[str]:
    """List what is wrong with a dtype on a device.

    Example:
        >>> check_dtype("fp16", "cuda"), check_dtype("bf16", "cuda:1")
        (["dtype is 'fp16', expected one of fp32, bf16"], [])
    """
    return check_word("dtype", dtype, get_args(Dtype)) or ([_SLOW] if dtype == "bf16" and _is_slow(device) else [])


def find_budget(batch_tokens: int | None, device: str) -> int:
    """Give the padded tokens that a batch may hold: the user's number, else what is fast on the device.

    Example:
        >>> find_budget(None, "cpu"), find_budget(None, "cuda:0"), find_budget(100, "cpu")
        (2048, 32768, 100)
    """
    return batch_tokens or (_CPU if device.startswith("cpu") else _GPU)


def is_bf16_faster() -> bool:
    """Tell whether bfloat16 beats float32 on this processor: on x86 only where it has instructions for it."""
    import torch  # noqa: PLC0415 - heavy

    instructions = torch.cpu.get_capabilities().get("avx512_bf16", True)  # not x86: no such key, and oneDNN decides alone
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(instructions and onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def _is_slow(device: str | None) -> bool:
    """Tell whether bfloat16 would run on a processor that is slower with it."""
    if device is not None and not device.startswith("cpu"):
        return False
    import torch  # noqa: PLC0415 - heavy

    return (device is not None or not torch.cuda.is_available()) and not is_bf16_faster()
