"""What a stage is, for the scores that are kept of it: everything that can change a score, told by value, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias, runtime_checkable

from pt_cascade.checksums import refuse_changed, stamp
from pt_cascade.errors import PipelineError
from pt_cascade.stages.inference.batching import find_budget
from pt_cascade.stages.inference.loading import find_device
from pt_cascade.stages.inference.weights import hash_files, list_files, tell_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyterrier as pt


Identity: TypeAlias = "dict[str, str]"

SPEED_FIELDS = frozenset(
    {"api_key_env", "batch_size", "batch_tokens", "concurrency", "device", "prices", "retries", "timeout", "verbose"}
)
_PRECISE = "fp32"
WEIGHT_FIELDS = frozenset({"model", "tokenizer"})


@runtime_checkable
class StoredFiles(Protocol):
    """A part of a stage that is told by the content of its files, such as stored vectors."""

    path: str

    def files(self) -> list[Path]:
        """List them."""


def identify(stage: object) -> Identity:
    """Tell a dataclass of arguments by value: its class, models by their weights, vectors by their content, the rest as it is.

    Fields of the class's ``speed_fields`` (device, batch size, ...) are left out: they change when a score comes, not what it is.
    So are fields that do not compare. Below fp32 the device and the budget of a batch do show in a score, so there they count: the
    device by its kind (``cpu``, ``cuda``), the one that would be taken where none is named.

    Args:
        stage: A re-ranking stage, or a part of one.

    Returns:
        Words by name, e.g. ``{"class": ..., "model": "files 3fa0...", "max_length": "512"}``; a part's names follow a dot.

    Raises:
        PipelineError: A field is neither plain nor a dataclass, so that it has no value to tell it by.
        MissingError: The revision of a model is unknown.
        StageError: It has loaded files that were written to since, so that nobody knows which scores these are.

    Example:
        >>> from pt_cascade.stages.vectors.encoder import Encoder
        >>> folder = getfixture("tmp_path")
        >>> identify(Encoder(str(folder), "cpu", 64)) == identify(Encoder(str(folder), "cuda:1", 64, batch_size=8))
        True
    """
    if "_loaded_from" in vars(stage):
        check_files(stage)
    return dict(_tell(stage, _name(stage)))


def identify_any(transformer: pt.Transformer, words: str | None = None) -> Identity:
    """Tell any transformer: by its own ``identify()``, or by what its user says of it; what it is, is never guessed.

    Args:
        transformer: Any PyTerrier transformer.
        words: What tells it from any other of its class, as of a stage that does not say so itself; more, of one that does.

    Returns:
        Words by name.

    Raises:
        PipelineError: Neither it nor its user says what it is, or not in words.
        CascadeError: As for ``identify``.

    Example:
        >>> import pyterrier as pt
        >>> identify_any(pt.RankCutoff(3), "v1")
        {'class': 'pyterrier._ops.RankCutoff', 'identity': 'v1'}
    """
    if words is not None and not (isinstance(words, str) and words.strip()):
        _refuse(transformer, f"identity is {words!r}, expected words")
    told = {"class": _class(transformer)}
    if can_identify(transformer):
        own = transformer.identify()
        if not (isinstance(own, dict) and own and all(isinstance(word, str) for pair in own.items() for word in pair)):
            _refuse(transformer, f"its identify() gave {own!r:.80}, expected words by name")
        told = dict(own)
    elif words is None:
        _refuse(transformer, "it has no method identify(), so nobody knows of which model, version and settings they are")
    return told if words is None else {**told, "identity": words}


def can_identify(transformer: pt.Transformer) -> bool:
    """Tell whether a transformer says itself what it is.

    Args:
        transformer: Any PyTerrier transformer.
    """
    return callable(getattr(transformer, "identify", None))


def _refuse(transformer: pt.Transformer, problem: str) -> NoReturn:
    fix = "cached(stage, path, identity='its model, version and settings, in words that no other scorer has')"
    raise PipelineError(f"the scores of stage {_name(transformer)!r} cannot be kept", [problem], fix=fix)


def hash_identity(identity: Mapping[str, str]) -> str:
    """Hash an identity.

    Args:
        identity: Words by name, in any order.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> hash_identity({"a": "1", "b": "2"}) == hash_identity({"b": "2", "a": "1"})
        True
    """
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).hexdigest()


def check_files(stage: object) -> None:
    """Note the local files that a stage is told by, before it loads them; refuse it from when they were written to.

    Args:
        stage: A stage; nothing is noted of names on the hub. The files are not read.

    Raises:
        StageError: They are not as they were when this was first called.
    """
    if vars(stage).setdefault("_loaded_from", now := tuple(stamp(file) for file in _list_files(stage))) != now:
        refuse_changed(_name(stage))


def _tell(part: object, owner: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    yield f"{prefix}class", _class(part)
    for name, value in _settings(part):
        if isinstance(value, StoredFiles):
            yield f"{prefix}{name}", f"files {hash_files(value.files(), Path(value.path))}"
        elif is_dataclass(value):
            yield from _tell(value, owner, f"{prefix}{name}.")
        elif isinstance(value, str) and value and name in _weight_fields(part):
            yield f"{prefix}{name}", tell_weights(value, owner)
        else:
            yield f"{prefix}{name}", _write(value, owner, prefix + name)
    if getattr(part, "dtype", _PRECISE) != _PRECISE:
        kind = _find_kind(getattr(part, "device", None), owner)
        yield f"{prefix}device", kind
        yield f"{prefix}batch_tokens", str(find_budget(getattr(part, "batch_tokens", None), kind))


def _find_kind(device: str | None, owner: str) -> str:
    return device.partition(":")[0] if device else find_device(None, owner).type


def _list_files(part: object) -> Iterator[Path]:
    for name, value in _settings(part):
        if isinstance(value, StoredFiles):
            yield from value.files()
        elif is_dataclass(value):
            yield from _list_files(value)
        elif isinstance(value, str) and value and name in _weight_fields(part):
            folder = Path(value).expanduser()
            yield from list_files(folder) if folder.is_dir() else ()


def _settings(part: object) -> Iterator[tuple[str, object]]:
    """Go through the fields that can change a score."""
    if is_dataclass(part):
        speed: frozenset[str] = getattr(part, "speed_fields", SPEED_FIELDS)
        counted = (field.name for field in fields(part) if field.compare and field.name not in speed)
        yield from ((name, getattr(part, name)) for name in counted)


def _weight_fields(part: object) -> frozenset[str]:
    named: frozenset[str] = getattr(part, "weight_fields", WEIGHT_FIELDS)
    return named


def _write(value: object, owner: str, name: str) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        problem = f"its field {name!r} is {value!r:.80} ({type(value).__name__}), expected text, numbers or a dataclass of such"
        fix = f"def identify(self): return {{..., {name!r}: what tells it by value}}"
        raise PipelineError(f"stage {owner!r} cannot be told by value", [problem], fix=fix) from error


def _class(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _name(stage: object) -> str:
    return str(getattr(stage, "stage_name", "") or type(stage).__name__)
