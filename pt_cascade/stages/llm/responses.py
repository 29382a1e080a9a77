"""Reads what a chat server sends: an answer with its log-probabilities and tokens, or an error and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.llm.answers import Alternatives

Kind: TypeAlias = Literal["answer", "rejected", "filtered", "rate_limited", "failed", "empty", "unreachable", "fatal"]
"""``empty``: a status 200 without an answer; ``failed``: no answer after all retries; ``fatal``: no later call can succeed."""

_LARGEST = 2**53
_CUT = frozenset({"length", "model_length", "max_tokens", "max_output_tokens"})
_REFUSED = frozenset({"content_filter", "safety", "refusal"})
_BROKEN = frozenset({"error", "abort", "insufficient_system_resource"})
_FATAL, _PASSING, _RATE_LIMITED, _SERVER_ERROR = frozenset({401, 402, 403, 404}), frozenset({408, 409}), 429, 500
_FILTERED = re.compile(r"content[ _-]?(?:filter|policy)|moderation|\bflagged\b", re.IGNORECASE)
_OPTIONAL = ("logprobs", "top_logprobs", "seed", "temperature", "max_tokens")
_UNKNOWN = re.compile(
    r"un(?:supported|expected|known|recognized)|forbidden|(?:not|n't) (?:support|permit|allow|available)", re.IGNORECASE
)
_COUNT = re.compile(r"(?<![\w.-])[0-9]{1,3}(?![\w.-]*\w)")


@dataclass(frozen=True)
class Response:
    """The answer to a prompt, or an error."""

    text: str = ""
    logprobs: tuple[Alternatives, ...] = ()
    refused: bool = False  # by the model or by a filter
    cut: bool = False  # at max_tokens
    instead: str = ""  # what came instead of a text
    tokens: Floats = field(default_factory=lambda: np.zeros(2), compare=False)  # of prompts and answers; NaN: not counted
    retries: int = 0
    error: str = ""  # why there is no answer
    kind: Kind = "answer"
    about: str = ""  # what an error says of the fields that were sent


def read_response(body: object) -> Response:
    """Read the JSON of a chat completion, of which any part may be missing."""
    choice, counts = get(body, "choices", 0), get(body, "usage")
    message, reason = get(choice, "message"), str(get(choice, "finish_reason")).casefold()
    content, refusal = get(message, "content"), get(message, "refusal")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (get(part, "text") for part in parts if get(part, "type") in (None, "text", "output_text"))
    text = "".join(text for text in texts if isinstance(text, str))
    tokens = np.array([_read_count(get(counts, "prompt_tokens")) or np.nan, _read_count(get(counts, "completion_tokens"))])
    error = get(choice, "error") or (None if text else get(body, "error"))
    if error or reason in _BROKEN or not isinstance(message, dict):
        return replace(read_error(error, None), tokens=np.nan_to_num(tokens))
    others = [name for name, value in message.items() if value and name not in ("content", "role")]
    return Response(
        text=text,
        logprobs=tuple(_read_logprobs(get(choice, "logprobs"))),
        refused=bool(refusal) or reason in _REFUSED or any(get(part, "type") == "refusal" for part in parts),
        cut=reason in _CUT,
        instead="" if text.strip() else str(refusal or " with ".join(["an empty text", *others])),
        tokens=tokens,
    )


def read_error(error: object, status: int | None) -> Response:
    """Read an error in the form of OpenAI or FastAPI, or a text; ``status`` is None for a status 200.

    The message is shown, or else the code and the type; nothing else, as a body may hold anything.
    """
    code, texts = get(error, "code"), (error, get(error, "message"), get(error, "detail"))
    message = "".join([text for text in texts if isinstance(text, str)][:1])
    named = " ".join(str(word) for word in (code, get(error, "type")) if isinstance(word, (str, int)))
    in_body = status is None
    if in_body and re.fullmatch("[45][0-9]{2}", str(code)):
        status = int(str(code))
    words = f"{status or 200}: {message or named or 'no answer and no message in the response'}"
    kind: Kind = "empty" if status is None else "rejected"
    if _FILTERED.search(f"{named} {message}"):
        return Response(kind="filtered", refused=True, instead=words)
    if "insufficient_quota" in f"{named} {message}" or status in _FATAL:
        kind = "fatal"
    elif status == _RATE_LIMITED:
        kind = "rate_limited"
    elif status is not None and (status in _PASSING or status >= _SERVER_ERROR):
        kind = "empty" if in_body else "failed"
    return Response(error=words, kind=kind, about=f"{message} {named} {get(error, 'param')}")


def find_changes(sent: Mapping[str, object], about: str) -> dict[str, object]:
    """Find the fields that a server refuses, with another value or None for no such field; empty where it names none.

    ``max_tokens`` is left out only where the server does not know it: a prompt may be too long beside it.
    """
    most = sent.get("top_logprobs")
    fewer = [int(number) for number in _COUNT.findall(about) if isinstance(most, int) and 0 < int(number) < most]
    if "logprobs" in about and fewer:
        return {"top_logprobs": max(fewer)}
    optional = _OPTIONAL if _UNKNOWN.search(about) else _OPTIONAL[:-1]
    named = {name for name in optional if name in sent and re.search(rf"(?<![\w/-]){name}(?![\w/-])", about)}
    named |= {"logprobs", "top_logprobs"} if named & {"logprobs", "top_logprobs"} else set()
    more = {"max_completion_tokens": sent["max_tokens"]} if "max_tokens" in named else {}
    return {**dict.fromkeys(sorted(named)), **more}


def get(value: object, *path: str | int) -> object:
    """Follow names and positions into JSON; None where there is nothing."""
    for step in path:
        try:
            value = value[step]  # type: ignore[index]
        except (TypeError, LookupError):
            return None
    return value


def _read_logprobs(logprobs: object) -> Iterator[Alternatives]:
    """Read the tokens at each position, each once, and only those with a finite log-probability."""
    content = get(logprobs, "content")
    for position in content if isinstance(content, list) else ():
        others = get(position, "top_logprobs")
        listed: dict[str, float] = {}
        for one in [position, *(others if isinstance(others, list) else ())]:
            token, value = get(one, "token"), get(one, "logprob")
            if isinstance(token, str) and isinstance(value, (int, float)) and abs(value) < _LARGEST:
                listed.setdefault(token, float(value))
        yield tuple(listed.items())


def _read_count(value: object) -> float:
    """Read a whole number, which a server may send as 12.0; NaN for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LARGEST and value == int(value):
        return float(value)
    return np.nan
