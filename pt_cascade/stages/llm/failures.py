"""What became of a call that gave no answer, and what a server that refuses a field is asked for instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal["prompt", "filtered", "limited", "silent", "empty", "fatal"]
"""It refuses a prompt, or its content; takes no more calls now; gives no answer; gives a response without one; answers nobody."""

_FATAL = frozenset({401, 402, 403, 404})
_SILENT = frozenset({408, 409})
_TOO_MANY, _SERVER_ERROR = 429, 500
_REDIRECTS, _STATUSES = range(300, 400), range(400, 600)
_FILTERED = re.compile(r"content[ _-]?(?:filter|policy)|moderation|\bflagged\b", re.IGNORECASE)
_ABOUT_LENGTH = re.compile(r"too (?:long|large|many)|context|length|exceed", re.IGNORECASE)
_SPARE = ("logprobs", "top_logprobs", "seed", "temperature", "stream_options", "max_tokens")
_UNKNOWN = re.compile(
    r"un(?:supported|expected|known|recognized)|forbidden|(?:not|n't) (?:support|permit|allow|available)", re.IGNORECASE
)
_STREAM = re.compile(
    r"\b(?:only|must|requires?|enable)\b[^.]{0,40}\bstream|\bstream\w*\b[^.]{0,40}\b(?:only|must|required)"
    r"|\bnon-?\s?stream|\bstream\W{1,4}false",
    re.IGNORECASE,
)
_COUNT = re.compile(r"(?<![\w.-])[0-9]{1,3}(?![\w.-]*\w)")


class CallError(Exception):
    """A call without an answer; ``words`` are what the server, or the network, said."""

    def __init__(
        self,
        words: str,
        kind: Kind = "silent",
        *,
        pause: float = 0.0,
        retries: int = 0,
        tokens: tuple[int | None, int | None] = (0, 0),
        said: str = "",
    ) -> None:
        """Keep the parts: seconds to wait, how often it was made again, what it charged, what the server said of its fields."""
        super().__init__(words)
        self.words, self.kind, self.pause, self.retries, self.tokens = words, kind, pause, retries, tokens
        self.said = said


def read_error(error: object, status: int | None, otherwise: str) -> CallError:
    """Read what a server says instead of an answer, in OpenAI's form or any; ``otherwise`` where it has no words of its own."""
    message, code = (error, None) if isinstance(error, str) else (get(error, "message"), get(error, "code"))
    words = message if isinstance(message, str) and message else otherwise
    said = f"{code} {get(error, 'type')} {message}"
    inside = status is None
    if inside and str(code).isascii() and str(code).isdigit() and int(str(code)) in _STATUSES:
        status = int(str(code))
    kind: Kind = "empty" if status is None else "prompt"
    if _FILTERED.search(said) and status not in _REDIRECTS:
        kind = "filtered"
    elif "insufficient_quota" in said or status in _FATAL or status in _REDIRECTS:
        kind = "fatal"
    elif status == _TOO_MANY:
        kind = "limited"
    elif status is not None and (status in _SILENT or status >= _SERVER_ERROR):
        kind = "empty" if inside else "silent"
    about = f"{words if words is message or not inside else ''} {code if isinstance(code, str) else ''} {get(error, 'param')}"
    return CallError(f"the answer is none: {words}" if status is None else f"{status}: {words}", kind, said=about)


def is_about_length(words: str) -> bool:
    """Tell whether a server refuses a prompt for its length."""
    return _ABOUT_LENGTH.search(words) is not None


def find_changes(sent: Mapping[str, object], said: str) -> dict[str, object]:
    """Find what a server that refused a call wants otherwise: a value a field, None to leave it out; empty: nothing.

    A field is left out whose name it says, ``max_tokens`` only where it does not know it: a prompt may be too long beside it.

    Example:
        >>> find_changes({"max_tokens": 4}, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        {'max_tokens': None, 'max_completion_tokens': 4}
        >>> find_changes({"top_logprobs": 20}, "Invalid value for 'top_logprobs': expected 0 to 5, got 20")
        {'top_logprobs': 5}
    """
    if "stream" not in sent and _STREAM.search(said):
        return {"stream": True, "stream_options": {"include_usage": True}}
    most = sent.get("top_logprobs")
    fewer = [int(number) for number in _COUNT.findall(said) if isinstance(most, int) and 0 < int(number) < most]
    if "logprobs" in said and fewer:
        return {"top_logprobs": max(fewer)}
    spare = _SPARE if _UNKNOWN.search(said) else _SPARE[:-1]
    named = [name for name in spare if name in sent and re.search(rf"(?<![\w/-]){name}(?![\w/-])", said)]
    changes: dict[str, object] = dict.fromkeys(named)
    if {"logprobs", "top_logprobs"} & set(named):
        changes |= {"logprobs": None, "top_logprobs": None}
    if "max_tokens" in named:
        changes["max_completion_tokens"] = sent["max_tokens"]
    return changes


def get(value: object, name: str) -> object:
    """Get a field of an object or a dict; None where there is none."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)
