"""What is sent to a chat server and what comes back, as JSON: composed from few parts, read from anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pt_cascade.stages.llm_answers import Listed

_LARGEST = 2**53
_STATUSES = range(400, 600)
_TEXTS = (None, "text", "output_text")


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        text: The answer; empty where there is none.
        places: Its tokens with their log-probabilities and what else was likely; empty where the server does not say.
        refused: Whether the server, or the model, declared that it will not answer.
        cut: Whether the answer was cut because it was too long.
        tokens_in: Tokens of the prompt, as the server counts; None where it does not.
        tokens_out: Tokens of the answer, likewise.
        retries: How often it was asked for again.
        model: What the server calls the model that answered; empty where it does not say.
    """

    text: str
    places: tuple[Listed, ...] = ()
    refused: bool = False
    cut: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    retries: int = 0
    model: str = ""


@dataclass(frozen=True)
class Failure:
    """What a server says instead of an answer.

    Attributes:
        message: Its words; where it has none of its own, the whole body.
        code: The HTTP status that it names in the body; None: none.
        kinds: What it calls the error, e.g. ``insufficient_quota``.
        tokens_in: Tokens of the prompt that it charges all the same, as it counts; None where it does not.
        tokens_out: Tokens of an answer, likewise.
    """

    message: str
    code: int | None = None
    kinds: frozenset[str] = frozenset()
    tokens_in: int | None = None
    tokens_out: int | None = None


class NoAnswerError(ValueError):
    """A response that holds no answer.

    Args:
        failure: What it says instead.
    """

    def __init__(self, failure: Failure) -> None:
        """Keep it."""
        super().__init__(failure.message)
        self.failure = failure


def choose_fields(fields: Mapping[str, object], refused: Collection[str]) -> dict[str, object]:
    """Choose what is sent beside the prompt: without the fields that the server is known to refuse.

    Args:
        fields: By name; one that is None is left out.
        refused: Names among ``fields``; ``max_tokens`` goes by ``max_completion_tokens`` then.

    Example:
        >>> choose_fields({"max_tokens": 4, "seed": 0, "temperature": None}, {"max_tokens"})
        {'seed': 0, 'max_completion_tokens': 4}
    """
    renamed = {"max_completion_tokens": fields.get("max_tokens")} if "max_tokens" in refused else {}
    gone = {*refused, *(["top_logprobs"] if "logprobs" in refused else [])}
    return {name: value for name, value in {**fields, **renamed}.items() if value is not None and name not in gone}


def read_answer(text: str) -> Answer:
    """Read a chat completion.

    Args:
        text: The body of the response.

    Returns:
        The answer; what the server left out is left out.

    Raises:
        NoAnswerError: It is no chat completion, or one that says that it failed; a ValueError.

    Example:
        >>> body = {"choices": [{"message": {"content": "2"}, "finish_reason": "length"}], "usage": {"prompt_tokens": 9}}
        >>> answer = read_answer(json.dumps(body))
        >>> answer.text, answer.cut, answer.tokens_in, answer.tokens_out
        ('2', True, 9, None)
    """
    body = _load(text)
    choice = _first_choice(body)
    message = _get(choice, "message")
    if not isinstance(message, dict):
        raise NoAnswerError(read_failure(text, "not JSON" if body is None else "no choices"))
    said, reason = _text_of(_get(message, "content")), _get(choice, "finish_reason")
    if reason == "error" or _get(choice, "error") or (_get(body, "error") and not said):
        raise NoAnswerError(read_failure(text, "an error"))
    usage, model = _get(body, "usage"), _get(body, "model")
    return Answer(
        text=said,
        places=_places_of(_get(_get(choice, "logprobs"), "content")),
        refused=bool(_get(message, "refusal")) or reason == "content_filter" or _is_refusal(_get(message, "content")),
        cut=reason == "length",
        tokens_in=_count(_get(usage, "prompt_tokens")),
        tokens_out=_count(_get(usage, "completion_tokens")),
        model=model if isinstance(model, str) else "",
    )


def read_failure(text: str, kind: str = "") -> Failure:
    """Read what a server says of an error, in OpenAI's form, another JSON, or any text.

    Args:
        text: The body of the response.
        kind: What to call it where the server has no words for it.

    Example:
        >>> read_failure('{"error": {"message": "wrong key", "code": 401}}')
        Failure(message='wrong key', code=401, kinds=frozenset(), tokens_in=None, tokens_out=None)
    """
    body = _load(text)
    error = _get(body, "error") or _get(_first_choice(body), "error") or body
    words = error if isinstance(error, str) else _get(error, "message")
    code, usage = _get(error, "code"), _get(body, "usage")
    status = int(code) if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == len("401") else _count(code)
    return Failure(
        message=words if isinstance(words, str) and words else f"{kind}: {text}" if kind else text,
        code=status if status in _STATUSES else None,
        kinds=frozenset(name for name in (code, _get(error, "type")) if isinstance(name, str)),
        tokens_in=_count(_get(usage, "prompt_tokens")),
        tokens_out=_count(_get(usage, "completion_tokens")),
    )


def _load(text: str) -> object:
    """Read JSON; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _first_choice(body: object) -> object:
    choices = _get(body, "choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text_of(content: object) -> str:
    """A server may send text, or parts of which some are text, and others thoughts, calls or refusals."""
    if isinstance(content, list):
        texts = (_get(part, "text") for part in content if _get(part, "type") in _TEXTS)
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _is_refusal(content: object) -> bool:
    return isinstance(content, list) and any(_get(part, "type") == "refusal" for part in content)


def _places_of(content: object) -> tuple[Listed, ...]:
    places = []
    for place in content if isinstance(content, list) else ():
        others = _get(place, "top_logprobs")
        chosen = _pair(place)
        listed = [_pair(other) for other in (others if isinstance(others, list) else ())]
        rest = [pair for pair in listed if pair is not None and (chosen is None or pair[0] != chosen[0])]
        places.append((*([] if chosen is None else [chosen]), *rest))
    return tuple(places)


def _pair(place: object) -> tuple[str, float] | None:
    token, value = _get(place, "token"), _get(place, "logprob")
    if isinstance(token, str) and isinstance(value, (int, float)) and abs(value) < _LARGEST:  # not for NaN, nor for infinity
        return token, float(value)
    return None


def _count(value: object) -> int | None:
    """A server may send 12.0; a truth value is no count."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LARGEST or value != int(value):
        return None
    return int(value)
