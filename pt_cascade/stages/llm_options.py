"""Which options no server could be asked with: types and ranges, looked at when a judge is made, all at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pt_cascade.stages.llm_keys import find_name_faults, find_request_faults, find_url_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OURS = frozenset({"messages", "model", "n", "stream"})
_COUNTS = (("max_words", 1), ("max_tokens", 1), ("concurrency", 1), ("retries", 0))
_TEXTS = (("model", 1, "its name on the server"), ("instruction", 0, "a text, perhaps empty"), ("text_field", 1, "a column's name"))


def find_option_faults(options: Mapping[str, object]) -> Iterator[str]:
    """Say what is wrong with the options that all ways of judging share.

    Args:
        options: The fields of a judge, by name.

    Yields:
        A sentence a fault: what was found, and what was expected.
    """
    for name, least in _COUNTS:
        value = options[name]
        if type(value) is not int or value < least:
            yield f"{name} is {value!r}, expected a whole number, {least} or more"
    if not _is_number(options["timeout"]) or options["timeout"] == 0:
        yield f"timeout is {options['timeout']!r}, expected seconds, more than 0"
    if options["seed"] is not None and type(options["seed"]) is not int:
        yield f"seed is {options['seed']!r}, expected a whole number, or None"
    for name, least, wanted in _TEXTS:
        text = options[name]
        if not isinstance(text, str) or len(text) < least:
            yield f"{name} is {repr(text) if text or text is None else 'empty'}, expected {wanted}"
    yield from find_url_faults(options["base_url"])
    yield from find_name_faults(options["api_key_env"])
    prices = options["prices"]
    if prices is not None and not (isinstance(prices, tuple) and len(prices) == 2 and all(map(_is_number, prices))):  # noqa: PLR2004
        yield f"prices is {prices!r}, expected US dollars a million tokens of prompts and of answers, e.g. (0.15, 0.6)"
    yield from find_request_faults(options["request"], _OURS)


def _is_number(value: object) -> bool:
    """Tell whether it is a number, 0 or more, and finite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
