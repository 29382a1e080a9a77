"""Reads a YAML file into a pydantic model; every problem has the file's name and a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pt_cascade.errors import ExperimentError, did_you_mean, few
from pt_cascade.files import read_file, to_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pt_cascade.files import PathLike

Place = tuple[str | int, ...]  # keys and positions from the top of a file
_MOST, _DEEPEST, _LARGEST = 20, 20, 100_000  # problems shown; levels; values, where aliases repeat them
_FALSE = ("assertion_error", "value_error")  # what our own checks raise
_WANTED = {
    "too_short": "one or more",
    "dict_type": "keys with values",
    "tuple_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
}


class Strict(BaseModel):
    """A mapping of a YAML file; other keys and types are problems."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def find_problems(self) -> Iterator[tuple[Place, str]]:
        """Yield what does not fit together, each with its place."""
        yield from ()


Model = TypeVar("Model", bound=Strict)


class Document:
    """A parsed file: its values, and the line of each."""

    def __init__(self, path: PathLike) -> None:
        """Parse a file."""
        self.path: Path = to_path(path, "read")
        self.tree: Any = None  # of ruamel.yaml, which has no types for it
        text = read_file(path)
        try:
            self.tree = YAML(typ="rt", pure=True).load(text.decode())
            self.values = _plain(self.tree, count())
        except UnicodeDecodeError:
            raise self.refuse([((), "it is not UTF-8")]) from None
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            said = f"{error.context} {error.problem}" if str(error.problem).startswith("but ") else error.problem
            raise ExperimentError(self._what, [f"{self.path.name}:{line}: {said}"]) from None
        except (YAMLError, ValueError, RecursionError) as error:
            raise self.refuse([((), str(error).partition("\n")[0])]) from None
        if not isinstance(self.values, dict):
            raise self.refuse([((), "it holds no keys with values")])

    @property
    def _what(self) -> str:
        return f"{self.path} is not valid"

    def line(self, place: Place) -> int:
        """Return the line, from 1, of the deepest part of a place that the file has."""
        node, line = self.tree, 1
        for part in place:
            try:
                line = (node.lc.key(part) if isinstance(part, str) else node.lc.item(part))[0] + 1
                node = node[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return line

    def _trim(self, place: Place) -> Place:
        """Leave out positions in lists that stand for one value."""
        node: object = self.values
        kept: list[str | int] = []
        for part in place:
            if isinstance(node, dict):
                kept, node = ([*kept, part], node.get(part)) if isinstance(part, str) else (kept, node)
            elif isinstance(node, list) and isinstance(part, int):
                kept, node = [*kept, part], node[part]
        return tuple(kept)

    def refuse(self, problems: Sequence[tuple[Place, str]]) -> ExperimentError:
        """Return the error of all problems, in the order of the file."""
        lines = sorted((self.line(place), text) for place, text in problems)
        return ExperimentError(self._what, few([f"{self.path.name}:{line}: {text}" for line, text in lines], _MOST))

    def read(self, model: type[Model]) -> Model:
        """Return the values as a model."""
        try:
            made = model.model_validate(self.values, context=self.values)
        except ValidationError as error:
            found = error.errors()
            inner = {one["loc"][:n] for one in found for n in range(len(one["loc"]))}  # of which a list is called too short
            told = [one for one in found if not (one["type"] == "too_short" and one["loc"] in inner)]
            raise self.refuse([_describe(self._trim(one["loc"]), dict(one), model) for one in told]) from None
        if problems := [*made.find_problems()]:
            raise self.refuse(problems)
        return made


def _plain(node: object, seen: Iterator[int], depth: int = 0) -> object:
    """Return built-in values of what was parsed; refuse tags, which could stand for any object."""
    if next(seen) >= _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} values")
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    if getattr(getattr(node, "tag", None), "value", None):
        raise ValueError(f"it has the tag {node.tag.value}, expected plain values")  # type: ignore[attr-defined]
    if isinstance(node, Mapping):
        return {str(key): _plain(value, seen, depth + 1) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value, seen, depth + 1) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    if node is None:
        return None
    raise ValueError(f"{node} is a {type(node).__name__}, expected text (in quotes) or a number")


def _describe(place: Place, error: Mapping[str, object], model: type[Strict]) -> tuple[Place, str]:
    """Say what is wrong at a place."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if error["type"] == "extra_forbidden":
        known = _find_keys(model, place[:-1])
        return place, f"unknown key {where!r}{did_you_mean(place[-1], known)}" + f" (keys are {', '.join(known)})"
    if error["type"] == "missing":
        return place, f"{where} is missing"
    said = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in _FALSE:
        return place, f"{where}: {said}" if where else said
    wanted = _WANTED.get(str(error["type"]), said.removeprefix("Input should be "))
    near = did_you_mean(error["input"], re.findall("'(.*?)'", wanted)) if error["type"] == "literal_error" else ""
    return place, f"{where} is {error['input']!r:.60}, expected {wanted}{near}"


def _find_keys(model: type[Strict], place: Place) -> list[str]:
    """Return the keys of the model that stands at a place."""
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = next(iter(_find_models(model.model_fields[part].annotation)), model)
    return list(model.model_fields)


def _find_models(annotation: object) -> list[type[Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return [annotation]
    return [found for part in get_args(annotation) for found in _find_models(part)]
