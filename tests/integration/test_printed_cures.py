"""Every cure in the source of the package: its Python compiles and names arguments that exist, its shell lines parse."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pt_cascade
from pt_cascade import cli, errors, frames, stages, trec

FOLDER = Path(pt_cascade.__path__[0])
PROGRAMS = ("hf", "pip", "mkdir", "rm", "chmod", "export", "gunzip", "python", "echo")
WORD = "x"  # stands for what a message fills in


def texts(node: ast.expr | None) -> Iterator[str]:
    """Give the texts that an expression may be, with a word for each part that is filled in; none of a name or a call."""
    match node:
        case ast.Constant(value=str(text)) if text:
            yield text.replace("{!r}", repr(WORD))
        case ast.JoinedStr(values=parts):
            filled = [part.value if isinstance(part, ast.Constant) else fill(part) for part in parts]
            yield "".join(map(str, filled))
        case ast.IfExp(body=body, orelse=orelse):
            yield from texts(body)
            yield from texts(orelse)
        case ast.BoolOp(values=values):
            for value in values:
                yield from texts(value)


def fill(part: ast.expr) -> str:
    """Fill one part of an f-string: a quoted word where its ``repr`` is shown."""
    return repr(WORD) if isinstance(part, ast.FormattedValue) and part.conversion == ord("r") else WORD


def cures() -> Iterator[tuple[str, str]]:
    """Give each cure of the package, and where it is: an argument ``fix``, or a constant or variable of that name."""
    for file in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found: list[ast.expr | None] = []
            if isinstance(node, ast.Call):
                found = [keyword.value for keyword in node.keywords if keyword.arg == "fix"]
            elif isinstance(node, ast.Assign) and re.fullmatch(r"_?(\w+_)?fix(es)?", ast.unparse(node.targets[0]), re.IGNORECASE):
                found = [node.value]
            for text in (text for value in found for text in texts(value)):
                yield f"{file.relative_to(FOLDER)}:{getattr(node, 'lineno', 0)}", text


CURES = list(cures())


def fragments(text: str) -> Iterator[str]:
    """Give the calls in a text: a name that a bracket follows, up to the bracket that closes it."""
    end = 0
    for start in re.finditer(r"[A-Za-z_][\w.]*\(", text):
        if start.start() < end:
            continue
        depth, quote = 0, ""
        for end, letter in enumerate(text[start.end() - 1 :], start.end()):  # noqa: B007 - where it ends
            quote = (letter if letter in "\"'" else "") if not quote else "" if letter == quote else quote
            depth += (letter in "([{") - (letter in ")]}") if not quote else 0
            if depth == 0:
                break
        yield text[start.start() : end]


def is_python(text: str) -> bool:
    """Tell whether a text compiles as Python."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def public() -> dict[str, list[Any]]:
    """Give the functions, classes and methods that are public, by name."""
    modules = [pt_cascade, stages, trec]
    named = [(name, getattr(module, name)) for module in modules for name in module.__all__]
    named += [(name, value) for module in (frames, errors) for name, value in vars(module).items()]
    methods = [(name, value) for _, kind in named if isinstance(kind, type) for name, value in inspect.getmembers(kind)]
    given: dict[str, list[Any]] = {}
    for name, value in (*named, *methods):
        if callable(value) and not name.startswith("_"):
            given.setdefault(name, []).append(value)
    return given


PUBLIC = public()


def takes(function: Any, keyword: str) -> bool:
    """Tell whether a function has an argument of this name."""
    arguments = inspect.signature(function).parameters.values()
    return any(one.name == keyword or one.kind is one.VAR_KEYWORD for one in arguments)


def unknown_arguments(text: str) -> list[str]:
    """Name the arguments in the calls of a text that no public function of that name takes."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    named = [(call, ast.unparse(call.func).rpartition(".")[2]) for call in calls if not ast.unparse(call.func).startswith("pt.")]
    return [
        f"{name}({keyword.arg}=...)"
        for call, name in named
        for keyword in call.keywords
        if keyword.arg and name in PUBLIC and not any(takes(function, keyword.arg) for function in PUBLIC[name])
    ]


def test_there_are_cures_to_check() -> None:
    """As many as there are at least, so that the search cannot fail unseen."""
    assert len(CURES) > 150


@pytest.mark.parametrize(("place", "cure"), CURES, ids=[f"{place} {n}" for n, (place, _) in enumerate(CURES)])
def test_a_cure_is_python_a_shell_line_or_a_sentence_with_python_that_works(place: str, cure: str) -> None:
    """Python and the calls within a sentence compile and name arguments that exist; a shell line is one of known programs."""
    assert cure == cure.strip(), place
    first = cure.split(maxsplit=1)[0]
    if first == "pt-cascade":
        for line in cure.split(", or "):
            cli.parse_arguments(shlex.split(line)[1:])
    elif first in PROGRAMS:
        assert shlex.split(cure)
    elif is_python(cure):
        assert unknown_arguments(cure) == []
    else:
        for fragment in fragments(cure):
            assert is_python(fragment), f"{place}: {fragment}"
            assert unknown_arguments(fragment) == [], place
