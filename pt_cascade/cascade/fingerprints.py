"""A hash of what a stage runs, the same in every process.

It covers classes, settings, the code of functions, the content of arrays and frames, a model's name and weights, the result of a
method ``identify()``, and the checksums of a sealed index or store of vectors, wherever it is. It reads no other files, so callers
that rely on it score a sample of pairs again.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from contextlib import suppress
from enum import Enum
from functools import cached_property, partial
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt

from pt_cascade.cascade.wrappers import remove_caches
from pt_cascade.checksums import SUMS
from pt_cascade.errors import MissingError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pt_cascade.cascade.stage import Stage

_DEEP = 8
_LONG = 10_000
_WORDS = 300
_PLACES = re.compile(r""" at 0x[0-9a-fA-F]+|(?<=['"])[/~.][^'"]*/(?=[^'"/]+['"])|(?<![\w/'"])/(?:[^\s'"(),/]+/)+""")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, PurePath)
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, partial, CodeType)
_VALUES = (*_PLAIN, *_FUNCTIONS, type, Enum, np.generic, np.ndarray, pd.DataFrame, pd.Series)


def fingerprint(stage: Stage) -> str:
    """Hash what a stage runs, without its name, cut-off, declarations and caches: 16 hexadecimal digits."""
    return _digest("stage", *(_hash_value(part, 0, ()) for part in remove_caches(stage).transformers))


def describe(stage: Stage) -> str:
    """Describe what a stage runs, shortened, see ``remove_places``."""
    words = remove_places(" >> ".join(map(repr, remove_caches(stage).transformers)))
    return words if len(words) <= _WORDS else f"{words[: _WORDS - 3]}..."


def remove_places(words: str) -> str:
    """Remove memory addresses, and the folders before the last name of a path, which only this machine has, from a ``repr``."""
    return _PLACES.sub("", words)


def hash_frame(frame: pd.DataFrame) -> str:
    """Hash a frame's columns and rows in their order, without its index."""
    columns = [(str(name), _hash_column(frame.iloc[:, n])) for n, name in enumerate(frame.columns)]
    return _digest("frame", *(part for column in columns for part in column))


def hash_weights(model: object) -> list[str]:
    """Hash each weight of a torch module, without its name, which libraries change; empty for what has no weights."""
    hashes = []
    for weight in model.state_dict().values() if callable(getattr(model, "state_dict", None)) else ():  # type: ignore[attr-defined]
        with suppress(AttributeError, NotImplementedError, RuntimeError, TypeError):  # not a tensor, or without plain numbers
            values = weight.detach().flatten().float().cpu().numpy().data
            hashes.append(f"{tuple(weight.shape)} {hashlib.sha256(values).hexdigest()}")
    return hashes


def _hash_column(column: pd.Series) -> str:
    values = column.to_numpy()
    if values.dtype == object or not isinstance(column.dtype, np.dtype):
        hasher = hashlib.sha256()
        for value in values:
            text = (
                value.tobytes()
                if isinstance(value, np.ndarray)
                else f"{type(value).__name__}:{value}".encode(errors="surrogatepass")
            )
            hasher.update(len(text).to_bytes(8, "little") + text)
        return hasher.hexdigest()
    return _digest(str(values.dtype), hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest())


def _digest(*parts: str) -> str:
    """Hash a list of texts, each with its length, so that different lists differ."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")).hexdigest()[:16]


def _hash_value(value: object, depth: int, above: tuple[int, ...]) -> str:
    """Hash a value and its parts; below the depth limit, and in a loop, only the class."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if id(value) in above or depth > _DEEP:
        return _digest("again", name)

    def inner(part: object) -> str:
        return _hash_value(part, depth + 1, (*above, id(value)))

    if isinstance(value, _PLAIN):
        return _digest(name, _read_checksums(value) or repr(value))
    for kinds, parts_of in _HASHERS:
        if isinstance(value, kinds):
            return _digest(name, *parts_of(value, inner))
    return _digest(name, *_of_object(value, inner))


def _read_checksums(value: object) -> str:
    """Return the checksums of a sealed folder, such as an index, that is given by its path: it may be moved. Else nothing."""
    if isinstance(value, str | PurePath) and Path(value).is_absolute():
        with suppress(OSError, ValueError):
            return (Path(value) / SUMS).read_text(encoding="utf-8")
    return ""


def _of_array(value: np.ndarray, _: Callable[[object], str]) -> Iterator[str]:
    if isinstance(value, np.memmap):  # too large to read: its file stands for it
        yield from (str(value.filename), str(value.offset), str(value.dtype), str(value.shape))
    elif value.dtype == object:
        yield _hash_column(pd.Series(value.ravel(), dtype=object))
    else:
        yield from (str(value.dtype), str(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest())


def _of_dict(value: dict[object, object], inner: Callable[[object], str]) -> Iterator[str]:
    settings = [(key, part) for key, part in list(value.items())[:_LONG] if _is_setting(key) and _is_setting(part)]
    yield from sorted(_digest(inner(key), inner(part)) for key, part in settings)


def _of_list(value: list[object], inner: Callable[[object], str]) -> Iterator[str]:
    if all(isinstance(part, (*_VALUES, pt.Transformer)) for part in value[:_LONG]):
        yield from (inner(part) for part in value[:_LONG])


def _of_code(code: CodeType, inner: Callable[[object], str]) -> Iterator[str]:
    """Yield a function's bytecode, constants and names, without its file and lines."""
    consts = [const for const in code.co_consts if not isinstance(const, str) or "<locals>" not in const]
    yield from (code.co_code.hex(), *map(inner, consts), *code.co_names, *code.co_varnames, *code.co_freevars)


def _of_function(function: FunctionType, inner: Callable[[object], str]) -> Iterator[str]:
    """Yield code, defaults, closure, and the module's settings and functions that it uses."""
    yield from _of_code(function.__code__, inner)
    yield from (inner(function.__defaults__), inner(function.__kwdefaults__))
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty cell
            yield inner(cell.cell_contents) if _is_setting(cell.cell_contents) else type(cell.cell_contents).__qualname__
    for name in function.__code__.co_names:
        named = function.__globals__.get(name)
        if named is not None and not isinstance(named, ModuleType) and _is_setting(named):
            yield from (name, inner(named))


def _of_object(value: object, inner: Callable[[object], str]) -> Iterator[str]:
    """Yield ``identify()``, constructor arguments and public settings; a model's name and weights."""
    if isinstance(value, pt.Transformer) and callable(identify := getattr(value, "identify", None)):
        with suppress(MissingError, PipelineError):  # without a model file or identity, the attributes count
            yield repr(sorted(identify().items()))
    if isinstance(value, pt.Artifact) or hasattr(value, "indexref"):  # indexref: Terrier's retriever
        folder = Path(str(value.path if isinstance(value, pt.Artifact) else Path(value.indexref.toString()).parent)).absolute()
        yield _read_checksums(folder) or str(folder)
    model = getattr(value, "name_or_path", None)
    if isinstance(model, str):
        yield model
    if weights := hash_weights(value):
        yield from weights
        return
    attributes = _attributes(value)
    try:
        arguments = set(inspect.signature(type(value)).parameters)
    except (TypeError, ValueError):
        arguments = set()
    for name, part in sorted(attributes.items()):
        cached = isinstance(getattr(type(value), name, None), cached_property)
        is_argument = name.removeprefix("_") in arguments
        if not cached and (is_argument or (not name.startswith("_") and _is_setting(part))):
            yield from (name.removeprefix("_"), inner(part))


def _attributes(value: object) -> dict[str, object]:
    found = dict(getattr(value, "__dict__", {}))
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if isinstance(name, str)]
    return found | {name: getattr(value, name) for name in slots if not name.startswith("__") and hasattr(value, name)}


def _is_setting(value: object) -> bool:
    """Whether a value is a setting: not a file handle, lock or logger."""
    if isinstance(value, (*_VALUES, tuple, list, dict, set, frozenset, pt.Transformer)):
        return True
    module = type(value).__module__.partition(".")[0]
    return module not in {"threading", "_thread", "logging", "io", "_io", "sqlite3", "tqdm", "weakref", "random", "jnius"}


_HASHERS: tuple[tuple[type | tuple[type, ...], Callable[..., Iterator[str]]], ...] = (
    (Enum, lambda value, _: iter((value.name,))),
    (np.generic, lambda value, _: iter((repr(value),))),
    (np.ndarray, _of_array),
    (pd.DataFrame, lambda value, _: iter((hash_frame(value),))),
    (pd.Series, lambda value, _: iter((_hash_column(value),))),
    (type, lambda value, _: iter((value.__module__, value.__qualname__))),
    (dict, _of_dict),
    (list, _of_list),
    (tuple, lambda value, inner: map(inner, value)),
    ((set, frozenset), lambda value, inner: iter(sorted(map(inner, value)))),
    (FunctionType, _of_function),
    (MethodType, lambda value, inner: iter((inner(value.__func__), inner(value.__self__)))),
    (BuiltinFunctionType, lambda value, _: iter((str(value.__module__), value.__qualname__))),
    (partial, lambda value, inner: iter((inner(value.func), inner(value.args), inner(value.keywords)))),
    (CodeType, _of_code),
)
