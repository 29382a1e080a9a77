"""What made some vectors, told so that vectors of another maker are refused: what ``encoder.json`` keeps.

``model`` is its name, or where its folder lies; ``max_length`` the tokens of a text that were asked for, and ``limit`` the model's
own; ``class``, for a bi-encoder of pyterrier_dr, who ran it. Three things say whether two are the same, the first that both know:

- ``weights``: a hash of the loaded model: its weights, and what else it computes with (tokenizer, configuration, pooling, prompts,
  limit);
- ``probe``, for a bi-encoder of pyterrier_dr: the vector of one sentence in short, the same up to 2 %, also where its
  weights are known;
- the name, which changes when a folder moves, and does not when a model is trained on.

``files`` tells a model's files (see ``weights``): where it is the same, nothing need be loaded to know.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray

Maker: TypeAlias = "Mapping[str, str | int | None]"

PROBE = "The quick brown fox jumps over the lazy dog."
_SUMS = 16
_NEAR = 0.02
_WHOLE, _PART = "model-", "network-"
_OF_A_CALL = frozenset({"padding", "truncation", "version"})
_OF_A_VERSION = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"})


@runtime_checkable
class Weighted(Protocol):
    """Whatever has weights as a torch module has."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Give them by name."""


def name_model(model: str | os.PathLike[str]) -> str:
    """Name a model: its folder by where it lies, whatever the working directory; else as it is called on the hub.

    Example:
        >>> name_model("org/name"), name_model(".") == str(Path.cwd())
        ('org/name', True)
    """
    folder = Path(model).expanduser()
    return str(folder.resolve()) if str(model) and folder.is_dir() else str(model)


def weigh(model: object, tokenizer: object = None) -> str | None:
    """Hash what a loaded model computes with: its weights (by whatever names, libraries rename them), tokenizer, settings.

    Args:
        model: A torch module.
        tokenizer: What cuts its texts into tokens; None: its own, if it has one.

    Returns:
        ``model-`` or ``network-`` and 16 hexadecimal digits; None for what has no weights. ``model-`` is a sentence-transformers
        model without prompts, which makes the same vectors whoever runs it.

    Example:
        >>> weigh("no model") is None
        True
    """
    if not isinstance(model, Weighted):
        return None
    parts = []
    for weight in model.state_dict().values():
        with suppress(AttributeError, NotImplementedError, RuntimeError, TypeError):  # what is no tensor, or has no plain numbers
            parts.append(f"{tuple(weight.shape)} {_hash_values(weight)}")
    if not parts:
        return None
    whole = hasattr(model, "max_seq_length") and not any(getattr(model, "prompts", {}).values())
    told = "\n".join([*parts, *_settings(model), *_tell_tokenizer(tokenizer or getattr(model, "tokenizer", None))])
    return f"{_WHOLE if whole else _PART}{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def sketch(vector: NDArray[np.float32]) -> str:
    """Tell a vector in short: its size, and sixteen sums over its values.

    Args:
        vector: Shape (dimension,).

    Example:
        >>> sketch(np.array([0.5, 2], np.float32))
        '2 0.5 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0'
    """
    return " ".join([str(len(vector)), *(f"{vector[n::_SUMS].sum(dtype=np.float64):.4g}" for n in range(_SUMS))])


def know_weights(maker: Maker) -> str | None:
    """Give the hash of a maker's weights; None where it is unknown, or of an older kind."""
    found = str(maker.get("weights") or "")
    return found if found.startswith((_WHOLE, _PART)) else None


def differences(found: Maker, own: Maker, *, by_name: bool = False) -> list[str]:
    """Say why vectors of one maker cannot be compared with another's.

    Args:
        found: What made the documents' vectors; empty where nobody knows.
        own: What would encode the queries, or go on with the documents.
        by_name: Where nothing else is known, names must be the same too; for a bi-encoder of pyterrier_dr they always must.

    Returns:
        Each difference, in words; none where the two are the same as far as they are known.

    Example:
        >>> differences({"model": "a", "weights": "model-12ab"}, {"model": "b", "weights": "model-34cd"})
        ["they were made by 'a' (weights model-12ab), not by 'b' (weights model-34cd)"]
        >>> differences({"model": "org/a", "weights": "model-12ab"}, {"model": "/moved/a", "weights": "model-12ab"})
        []
    """
    weights, own_weights = know_weights(found), know_weights(own)
    same_class, same, more = found.get("class") == own.get("class"), True, ""
    probed = same_class and found.get("probe") and own.get("probe")
    if weights and own_weights:
        same = weights == own_weights and (same_class or weights.startswith(_WHOLE))
    elif found and not probed:
        named = by_name or found.get("class")
        same = same_class and (not named or _name(found) == _name(own))
    if same and probed and not _are_near(str(found["probe"]), str(own["probe"])):
        same, more = False, f": {PROBE!r} gets another vector"
    return [] if same else [f"they were made by {_say(found)}, not by {_say(own)}{more}"]


def other_limits(found: Maker, own: Maker) -> list[str]:
    """Say where two makers read texts to other lengths; the model's own limit is the same whether it was asked for or not.

    Example:
        >>> other_limits({"max_length": None, "limit": 256}, {"max_length": 256})
        []
        >>> other_limits({"max_length": 64, "limit": 256}, {"max_length": None})
        ['they were made with max_length 64, not None']
    """
    was, is_now = found.get("max_length"), own.get("max_length")
    limits = found.get("limit"), own.get("limit")
    same = was == is_now or _reads(was, *limits) == _reads(is_now, *limits)
    return [] if same else [f"they were made with max_length {was}, not {is_now}"]


def _reads(*limits: str | int | None) -> int | None:
    return min((limit for limit in limits if isinstance(limit, int)), default=None)


def _are_near(one: str, other: str) -> bool:
    (size, *sums), (other_size, *other_sums) = one.split(), other.split()
    first, second = np.array(sums, float), np.array(other_sums, float)
    return size == other_size and bool(np.abs(first - second).max() <= _NEAR * np.abs(first).max())


def _hash_values(weight: torch.Tensor) -> str:
    return hashlib.sha256(weight.detach().flatten().float().cpu().numpy().data).hexdigest()


def _tell_tokenizer(tokenizer: object) -> Iterator[str]:
    """Tell how texts become tokens; how many are cut off or filled in is told anew by each call, and left out."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if callable(tell := getattr(backend, "to_str", None)):
        yield _write({key: value for key, value in json.loads(tell()).items() if key not in _OF_A_CALL})
    elif callable(tell := getattr(backend, "get_vocab", None)):
        yield _write(tell())
    yield _write({name: getattr(tokenizer, name, None) for name in ("model_max_length", "padding_side", "truncation_side")})


def _settings(model: object) -> Iterator[str]:
    """Tell what a model computes with beside its weights, as far as it says so itself."""
    if callable(tell := getattr(getattr(model, "config", None), "to_diff_dict", None)):
        yield _write({key: value for key, value in tell().items() if key not in _OF_A_VERSION})
    if not hasattr(model, "max_seq_length"):
        return
    names = ("prompts", "default_prompt_name", "max_seq_length", "truncate_dim")
    yield _write({name: getattr(model, name, None) for name in names})
    for part in model.children() if hasattr(model, "children") else ():
        yield f"{type(part).__name__} {_write(part.get_config_dict() if hasattr(part, 'get_config_dict') else None)}"


def _write(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=lambda other: type(other).__name__)


def _name(maker: Maker) -> str:
    return str(maker.get("model")) if maker.get("class") else name_model(str(maker.get("model")))


def _say(maker: Maker) -> str:
    told = ", ".join(f"{key} {maker[key]}" for key in ("class", "weights") if maker.get(key))
    return f"{maker.get('model')!r}" + (f" ({told})" if told else "")
