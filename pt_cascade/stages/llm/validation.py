"""Which options no server could be asked with: types and ranges, looked at when a judge is made, all at once."""

from __future__ import annotations

import json
import math
import os
import re
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_OURS = frozenset({"messages", "model", "n", "stream"})
ON_ERROR = ("raise", "keep")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_URL = re.compile(rf"https?://{_HOST}(?:/[\x21-\x22\x24-\x3e\x40-\x7e]*)?", re.IGNORECASE | re.ASCII)
_PORTS = range(1, 1 << 16)
_SECRET = re.compile(
    r"\"(?:api[-_]?key|[\w-]*authori[sz]ation|secret|password|credentials?|access[-_]?token|bearer)\": (?!null)"
    r"|(?:\bsk-|gsk_|hf_|xai-|AIza|Bearer\s)\S{8}",
    re.IGNORECASE,
)


def find_option_faults(options: Mapping[str, object]) -> Iterator[str]:
    """Say what is wrong with the options that all ways of judging share; nothing that may be a key is repeated."""
    for name, (is_good, form) in _FORMS.items():
        if not is_good(options[name]):
            yield f"{name} is {options[name]!r}, expected {form}"
    url, variable = options["base_url"], options["api_key_env"]
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or (found[1] and int(found[1]) not in _PORTS):
        yield "base_url is not like http://localhost:8000/v1, without password, query or fragment (not shown: it may hold a key)"
    if not isinstance(variable, str) or (variable and not _VARIABLE.fullmatch(variable) and variable not in os.environ):
        yield "api_key_env is not the name of an environment variable (it is not shown: it may be a key)"
    yield from _find_request_faults(options["request"])


def _find_request_faults(request: object) -> Iterator[str]:
    """Say what is wrong with further fields to be sent; ``null`` stands for what JSON cannot say."""
    fields = json.loads(request) if isinstance(request, str) else None
    if not isinstance(fields, dict):
        yield "request cannot be sent as JSON, expected a dict of plain values by name, none of them NaN or infinite"
        return
    if set_here := sorted(_OURS & set(fields)):
        yield f"request has {', '.join(set_here)}, which are set here"
    if _SECRET.search(str(request)):
        yield "request seems to hold a key (it is not shown), expected api_key_env"


def _is_number(value: object) -> bool:
    """Tell whether it is a number, 0 or more, and finite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


_FORMS: dict[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(("max_words", "max_tokens", "concurrency"), (partial(_is_whole, least=1), "a whole number, 1 or more")),
    "retries": (partial(_is_whole, least=0), "a whole number, 0 or more"),
    "timeout": (lambda value: _is_number(value) and value != 0, "seconds, more than 0"),
    "seed": (lambda value: value is None or type(value) is int, "a whole number, or None"),
    "on_error": (lambda value: value in ON_ERROR, f"one of {', '.join(ON_ERROR)}"),
    "prices": (
        lambda value: value is None or (isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))),  # noqa: PLR2004
        "US dollars a million tokens of prompts and of answers, e.g. (0.15, 0.6)",
    ),
    "model": (lambda value: isinstance(value, str) and value != "", "its name on the server"),
    "instruction": (lambda value: isinstance(value, str), "a text, perhaps empty"),
    "text_field": (lambda value: isinstance(value, str) and value != "", "a column's name"),
}
