"""Which model, tokenizer and settings made some vectors: one hash, kept in ``encoder.json``, which decides what may search them.

``encoder.json`` also has, for messages and speed, the name or folder of the ``model`` (see ``record_model``), the ``class`` of a
``pyterrier_dr.BiEncoder``, the hash of the model's ``files``, the model's own ``limit`` of tokens a text, and ``max_length``, the
tokens a text that were read.
"""

from __future__ import annotations

import hashlib
import json
import site
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pt_cascade.cascade.fingerprints import hash_weights
from pt_cascade.files import to_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

Provenance: TypeAlias = "Mapping[str, str | int | None]"

_OF_A_CALL = frozenset({"padding", "truncation", "version"})
_OF_A_RUN = frozenset({"batch_size", "device", "model_name", "text_field", "verbose"})
_OF_A_VERSION = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"})
_PACKAGE = "package:"
_TRUNCATION = ("model_max_length", "padding_side", "truncation_side")
_SENTENCE_TRANSFORMER = ("prompts", "default_prompt_name", "max_seq_length", "truncate_dim")


def name_model(model: str | os.PathLike[str]) -> str:
    """Name a model: a folder by its absolute path, any other by its name on the hub.

    Example:
        >>> name_model("org/name"), name_model(".") == str(Path.cwd())
        ('org/name', True)
    """
    folder = to_path(model)
    return str(folder.resolve()) if str(model) and folder.is_dir() else str(model)


def record_model(name: str) -> str:
    """Write a model's name for other machines, too: of a folder in an installed package the path in ``site-packages``.

    Example:
        >>> import pyterrier as pt
        >>> folder = str(Path(pt.__file__).resolve().parent / "java")
        >>> record_model(folder), name_model(find_recorded(record_model(folder))) == folder, record_model("org/name")
        ('package:pyterrier/java', True, 'org/name')
    """
    places = [Path(place).resolve() for place in site.getsitepackages()]
    inside = [Path(name).relative_to(place) for place in places if Path(name).is_relative_to(place)]
    return f"{_PACKAGE}{inside[0].as_posix()}" if inside else name


def find_recorded(name: str) -> str:
    """Return the name or folder of a model that ``record_model`` wrote."""
    places = [Path(place, name.removeprefix(_PACKAGE)) for place in site.getsitepackages() if name.startswith(_PACKAGE)]
    return next((str(place) for place in places if place.is_dir()), name)


def hash_model(model: object, tokenizer: object = None) -> str | None:
    """Hash a loaded model: its weights (not their names, which libraries change), tokenizer and settings.

    Args:
        model: A torch module.
        tokenizer: None: the model's own, if it has one.

    Returns:
        16 hexadecimal digits; None for a model without weights.
    """
    weights = hash_weights(model)
    own = tokenizer or getattr(model, "tokenizer", None)
    return _hash(*weights, *_settings(model), *_tokenizer(own)) if weights else None


def hash_encoder(encoder: object) -> str:
    """Hash a ``pyterrier_dr.BiEncoder``: its model, class and settings.

    A sentence-transformers model without prompts makes the same vectors whichever class runs it, and has its own hash.
    """
    network = getattr(encoder, "model", encoder)
    model = hash_model(network, getattr(encoder, "tokenizer", None))
    if model and hasattr(network, "max_seq_length") and not any(getattr(network, "prompts", {}).values()):
        return model
    kind = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
    plain = {name: value for name, value in getattr(encoder, "__dict__", {}).items() if isinstance(value, (bool, int, float, str))}
    return _hash(model or repr(encoder), kind, _write({name: plain[name] for name in plain.keys() - _OF_A_RUN}))


def other_model(found: Provenance, own: Provenance) -> list[str]:
    """Describe the models of two provenances if they differ; empty for one model.

    Example:
        >>> other_model({"model": "org/a", "provenance": "12ab"}, {"model": "/moved/a", "provenance": "12ab"})
        []
    """
    if found.get("provenance") == own.get("provenance"):
        return []
    one, other = (f"{made.get('model')!r} (provenance {made.get('provenance')})" for made in (found, own))
    return [f"they were made by {one}, not by {other}"]


def differences(found: Provenance, own: Provenance) -> list[str]:
    """List the differences of two provenances: the model, or the number of tokens read from a text.

    Example:
        >>> differences({"provenance": "12ab", "max_length": 64}, {"provenance": "12ab", "max_length": 256})
        ['they were made with max_length 64, not 256']
    """
    was, is_now = found.get("max_length"), own.get("max_length")
    return other_model(found, own) or ([] if was == is_now else [f"they were made with max_length {was}, not {is_now}"])


def shortest(*limits: str | int | None) -> int | None:
    """Return the smallest limit; None where there is none."""
    return min((limit for limit in limits if isinstance(limit, int)), default=None)


def _settings(model: object) -> Iterator[str]:
    """Write what a model computes with beside its weights."""
    if callable(read := getattr(getattr(model, "config", None), "to_diff_dict", None)):
        yield _write({key: value for key, value in read().items() if key not in _OF_A_VERSION})
    if not hasattr(model, "max_seq_length"):
        return
    yield _write({name: getattr(model, name, None) for name in _SENTENCE_TRANSFORMER})
    for part in model.children() if hasattr(model, "children") else ():
        yield f"{type(part).__name__} {_write(part.get_config_dict() if hasattr(part, 'get_config_dict') else None)}"


def _tokenizer(tokenizer: object) -> Iterator[str]:
    """Write how texts become tokens, without the truncation and padding that each call sets anew."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if callable(read := getattr(backend, "to_str", None)):
        yield _write({key: value for key, value in json.loads(read()).items() if key not in _OF_A_CALL})
    elif callable(read := getattr(backend, "get_vocab", None)):
        yield _write(read())
    yield _write({name: getattr(tokenizer, name, None) for name in _TRUNCATION})


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _write(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=lambda other: type(other).__name__)
