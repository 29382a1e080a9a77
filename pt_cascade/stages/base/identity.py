"""The identity of a stage: everything that can change a score of it, by value, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, TypeAlias

from pt_cascade.checksums import refuse_changed, stamp
from pt_cascade.errors import PipelineError, naming
from pt_cascade.stages.inference.loading import find_device
from pt_cascade.stages.inference.options import find_budget
from pt_cascade.stages.inference.weights import StoredFiles, Weights, tell_files, tell_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyterrier as pt

Identity: TypeAlias = "dict[str, str]"

SPEED_FIELDS = frozenset(
    {"api_key_env", "batch_size", "batch_tokens", "concurrency", "device", "prices", "retries", "timeout", "verbose"}
)
WEIGHT_FIELDS = frozenset({"model", "tokenizer"})
_EXACT = "fp32"


def identify(stage: object) -> Identity:
    """Identify a dataclass of arguments by value: models by their weights, vectors by their content, the rest as it is.

    Left out are the ``speed_fields`` of its class (device, batch size, ...) and fields that do not compare. Below fp32 the kind of
    device and the token budget of a batch change a score, so there they count. A part's names follow a dot.

    Example:
        >>> from pt_cascade.stages.vectors.encoder import Encoder
        >>> folder = getfixture("tmp_path")
        >>> identify(Encoder(str(folder), "cpu", 64)) == identify(Encoder(str(folder), "cuda:1", 64, batch_size=8))
        True
    """
    if "_loaded_from" in vars(stage):
        check_files(stage)
    identity = {}
    with naming(_name(stage)):
        for prefix, part in _parts(stage):
            identity[f"{prefix}class"] = _class(part)
            for name, value in _settings(part):
                if isinstance(value, StoredFiles):
                    identity[prefix + name] = tell_weights(value.path) if isinstance(value, Weights) else tell_files(value)
                elif not is_dataclass(value):
                    identity[prefix + name] = _write(value, prefix + name)
            if getattr(part, "dtype", _EXACT) != _EXACT:
                device = getattr(part, "device", None)
                kind = device.partition(":")[0] if device else find_device(None).type
                budget = find_budget(getattr(part, "batch_tokens", None), kind)
                identity |= {f"{prefix}device": kind, f"{prefix}batch_tokens": str(budget)}
    return identity


def identify_any(transformer: pt.Transformer, words: str | None = None) -> Identity:
    """Identify any transformer by its own ``identify()``, else by its class; the text that the user gives counts as well.

    Example:
        >>> import pyterrier as pt
        >>> identify_any(pt.RankCutoff(3), "v1")
        {'class': 'pyterrier._ops.RankCutoff', 'identity': 'v1'}
    """
    own = transformer.identify() if can_identify(transformer) else {"class": _class(transformer)}
    if not (isinstance(own, dict) and own and all(isinstance(word, str) for pair in own.items() for word in pair)):
        problem = f"its identify() returned {own!r:.80}, expected a dict of text by name"
        fix = "def identify(self): return {'model': ..., 'version': ..., 'settings': ...}"
        raise PipelineError(f"the scores of stage {_name(transformer)!r} cannot be cached", [problem], fix=fix)
    return own if words is None else {**own, "identity": words}


def can_identify(transformer: pt.Transformer) -> bool:
    """Tell whether a transformer has a method ``identify``."""
    return callable(getattr(transformer, "identify", None))


def hash_identity(identity: Mapping[str, str]) -> str:
    """Hash an identity, in any order of its names, to 32 hexadecimal digits.

    Example:
        >>> hash_identity({"a": "1", "b": "2"}) == hash_identity({"b": "2", "a": "1"})
        True
    """
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).hexdigest()


def check_files(stage: object) -> None:
    """Note the state of a stage's local files the first time; later refuse the stage if they have changed."""
    values = (value for _, part in _parts(stage) for _, value in _settings(part))
    now = tuple(stamp(file) for value in values if isinstance(value, StoredFiles) for file in value.files())
    if vars(stage).setdefault("_loaded_from", now) != now:
        refuse_changed(_name(stage))


def _parts(stage: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Go through a stage and the dataclasses in its fields, each with the prefix of its names."""
    yield prefix, stage
    for name, value in _settings(stage):
        if is_dataclass(value) and not isinstance(value, StoredFiles):
            yield from _parts(value, f"{prefix}{name}.")


def _settings(part: object) -> Iterator[tuple[str, object]]:
    """Go through the fields that can change a score, the names of models as ``Weights``."""
    if not is_dataclass(part):
        return
    speed: frozenset[str] = getattr(part, "speed_fields", SPEED_FIELDS)
    models: frozenset[str] = getattr(part, "weight_fields", WEIGHT_FIELDS)
    for field in fields(part):
        if field.compare and field.name not in speed:
            value = getattr(part, field.name)
            yield field.name, Weights(value) if isinstance(value, str) and value and field.name in models else value


def _write(value: object, name: str) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        problem = f"its field {name!r} is {value!r:.80} ({type(value).__name__}), expected text, numbers or a dataclass of such"
        fix = f"def identify(self): return {{..., {name!r}: text that changes with its value}}"
        raise PipelineError("cannot be identified", [problem], fix=fix) from error


def _class(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _name(stage: object) -> str:
    return str(getattr(stage, "stage_name", "") or type(stage).__name__)
