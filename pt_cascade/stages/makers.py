"""What made some vectors, told so that vectors of another maker are refused: what ``encoder.json`` keeps.

``model`` is its name, ``max_length`` the tokens of a text that it read, ``weights`` a hash of what it learnt, and ``class``, for a
bi-encoder of pyterrier_dr, who ran it. Names change when a folder moves, weights when a model is trained on: where both sides know
their weights, these decide.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

Maker: TypeAlias = "Mapping[str, str | int | None]"


@runtime_checkable
class Weighted(Protocol):
    """Whatever has weights as a torch module has."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Give them by name."""


def weigh(model: object) -> str | None:
    """Hash a model's weights: the shape and the first values of each, whatever it is called, as libraries rename them.

    Args:
        model: A torch module.

    Returns:
        16 hexadecimal digits; None for what has no weights.

    Example:
        >>> weigh("no model") is None
        True
    """
    if not isinstance(model, Weighted):
        return None
    parts = set()
    for weight in model.state_dict().values():
        with suppress(AttributeError, NotImplementedError, RuntimeError, TypeError):  # what is no tensor, or has no plain numbers
            parts.add(f"{tuple(weight.shape)} {weight.flatten()[:4].tolist()}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16] if parts else None


def differences(found: Maker, own: Maker) -> list[str]:
    """Say why vectors of one maker cannot be compared with another's.

    Args:
        found: What made the documents' vectors; empty where nobody knows.
        own: What would encode the queries.

    Returns:
        Each difference, in words; none where the two are the same as far as they are known.

    Example:
        >>> differences({"model": "a", "weights": "12ab"}, {"model": "b", "weights": "34cd"})
        ["they were made by 'a' (weights 12ab), not by 'b' (weights 34cd)"]
        >>> differences({"model": "org/a", "weights": "12ab"}, {"model": "/moved/a", "weights": "12ab"})
        []
    """
    weighed = found.get("weights") and own.get("weights")
    by_name = found.get("class") and not weighed and found.get("model") != own.get("model")
    other = found.get("class") != own.get("class") or by_name or (weighed and found["weights"] != own["weights"])
    return [f"they were made by {_say(found)}, not by {_say(own)}"] if found and other else []


def _say(maker: Maker) -> str:
    told = ", ".join(f"{key} {maker[key]}" for key in ("class", "weights") if maker.get(key))
    return f"{maker.get('model')!r}" + (f" ({told})" if told else "")
