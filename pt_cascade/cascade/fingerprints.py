"""What a stage is, as a hash: the same for the same settings in another process, another for other settings.

It sees what can be told by value: classes, settings, functions by their code, arrays and frames by content, models by name and the
beginning of each weight; of a stage that has a method ``identify()`` also what that says, as the content of the files of its model,
and of an index or vectors that were sealed their checksums. Other files it does not read; who relies on a fingerprint scores some
pairs again.
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

from pt_cascade.cascade.wrappers import live
from pt_cascade.checksums import SUMS
from pt_cascade.errors import MissingError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pt_cascade.cascade.stage import Stage

_DEEP = 8
_LONG = 10_000
_WORDS = 300
_PLAIN = (type(None), bool, int, float, complex, str, bytes, PurePath)
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, partial, CodeType)
_VALUES = (*_PLAIN, *_FUNCTIONS, type, Enum, np.generic, np.ndarray, pd.DataFrame, pd.Series)


def fingerprint(stage: Stage) -> str:
    """Hash what a stage runs; its name, cut-off and declarations do not count, nor whether its scores are kept.

    A list that holds anything but settings (text, numbers, transformers) is taken for a log and left out, and so are private
    attributes unless the constructor has an argument of that name.

    Args:
        stage: The stage.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> from pt_cascade import Stage
        >>> one, two = (Stage("s", (pt.apply.doc_score(lambda row, k=k: k),)) for k in (1.0, 2.0))
        >>> fingerprint(one) == fingerprint(one), fingerprint(one) == fingerprint(two)
        (True, False)
    """
    return _digest("stage", *(_walk(part, 0, ()) for part in live(stage).transformers))


def describe(stage: Stage) -> str:
    """Say in words what a stage runs, without the addresses of objects, and not at any length.

    Args:
        stage: The stage.

    Example:
        >>> from pt_cascade import Stage
        >>> describe(Stage("s", (pt.RankCutoff(3), pt.RankCutoff(2))))
        'RankCutoff(3) >> RankCutoff(2)'
    """
    words = re.sub(r" at 0x[0-9a-fA-F]+", "", " >> ".join(map(repr, live(stage).transformers)))
    return words if len(words) <= _WORDS else f"{words[: _WORDS - 3]}..."


def hash_frame(frame: pd.DataFrame) -> str:
    """Hash a frame's columns, rows and their order; not its index.

    Args:
        frame: Any; what is in its cells counts by its text where it cannot be hashed.

    Example:
        >>> hash_frame(pd.DataFrame({"a": [1, 2]})) == hash_frame(pd.DataFrame({"a": [2, 1]}))
        False
    """
    columns = [(str(name), _hash_column(frame.iloc[:, n])) for n, name in enumerate(frame.columns)]
    return _digest("frame", *(part for column in columns for part in column))


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
    """Hash texts so that no two lists of them meet."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")).hexdigest()[:16]


def _walk(value: object, depth: int, above: tuple[int, ...]) -> str:
    """Hash a value with all that it holds; what holds itself, or lies too deep, counts by its class."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if id(value) in above or depth > _DEEP:
        return _digest("again", name)

    def inner(part: object) -> str:
        return _walk(part, depth + 1, (*above, id(value)))

    if isinstance(value, _PLAIN):
        return _digest(name, repr(value))
    for kinds, give in _WAYS:
        if isinstance(value, kinds):
            return _digest(name, *give(value, inner))
    return _digest(name, *_of_object(value, inner))


def _of_array(value: np.ndarray, _: Callable[[object], str]) -> Iterator[str]:
    if isinstance(value, np.memmap):  # too large to read; told by its file
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
    """Tell a function's code apart by what it does, not by where it stands."""
    consts = [const for const in code.co_consts if not isinstance(const, str) or "<locals>" not in const]
    yield from (code.co_code.hex(), *map(inner, consts), *code.co_names, *code.co_varnames, *code.co_freevars)


def _of_function(function: FunctionType, inner: Callable[[object], str]) -> Iterator[str]:
    """Code, defaults, what it closes over, and the settings and functions of its module that it names."""
    yield from _of_code(function.__code__, inner)
    yield from (inner(function.__defaults__), inner(function.__kwdefaults__))
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a cell that nothing was put into yet
            yield inner(cell.cell_contents) if _is_setting(cell.cell_contents) else type(cell.cell_contents).__qualname__
    for name in function.__code__.co_names:
        named = function.__globals__.get(name)
        if named is not None and not isinstance(named, ModuleType) and _is_setting(named):
            yield from (name, inner(named))


def _of_object(value: object, inner: Callable[[object], str]) -> Iterator[str]:
    """What it says itself; attributes that its constructor set, and public ones that are settings; models by name and weights."""
    if isinstance(value, pt.Transformer) and callable(identify := getattr(value, "identify", None)):
        with suppress(MissingError, PipelineError):  # what is nowhere cannot be scored; what has no value is walked through
            yield repr(sorted(identify().items()))
    if isinstance(value, pt.Artifact) or hasattr(value, "indexref"):  # the latter is Terrier's retriever
        folder = Path(str(value.path if isinstance(value, pt.Artifact) else Path(value.indexref.toString()).parent))
        yield f"{folder} {(folder / SUMS).read_text() if (folder / SUMS).exists() else ''}"
    model = getattr(value, "name_or_path", None)
    if isinstance(model, str):
        yield model
    if callable(getattr(value, "state_dict", None)):
        yield from _of_weights(value)
        return
    attributes = _attributes(value)
    try:
        arguments = set(inspect.signature(type(value)).parameters)
    except (TypeError, ValueError):
        arguments = set()
    for name, part in sorted(attributes.items()):
        cached = isinstance(getattr(type(value), name, None), cached_property)
        told = name.removeprefix("_") in arguments
        if not cached and (told or (not name.startswith("_") and _is_setting(part))):
            yield from (name.removeprefix("_"), inner(part))


def _attributes(value: object) -> dict[str, object]:
    found = dict(getattr(value, "__dict__", {}))
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()) if isinstance(name, str)]
    return found | {name: getattr(value, name) for name in slots if not name.startswith("__") and hasattr(value, name)}


def _of_weights(model: object) -> Iterator[str]:
    """Each weight's name, shape and first values: another checkpoint differs in them."""
    for name, weight in model.state_dict().items():  # type: ignore[attr-defined] # a torch module, by its looks
        yield name
        with suppress(AttributeError, NotImplementedError, RuntimeError, TypeError):  # no weight, or one that is nowhere yet
            yield f"{tuple(weight.shape)} {weight.flatten()[:4].tolist()}"


def _is_setting(value: object) -> bool:
    """Tell what is worth hashing: values, containers and objects with settings of their own; not handles, locks or loggers."""
    if isinstance(value, (*_VALUES, tuple, list, dict, set, frozenset, pt.Transformer)):
        return True
    module = type(value).__module__.partition(".")[0]
    return module not in {"threading", "_thread", "logging", "io", "_io", "sqlite3", "tqdm", "weakref", "random", "jnius"}


_WAYS: tuple[tuple[type | tuple[type, ...], Callable[..., Iterator[str]]], ...] = (
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
