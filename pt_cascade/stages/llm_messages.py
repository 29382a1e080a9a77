"""What is sent to a chat server and what comes back, as JSON: composed from few parts, read from anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pt_cascade.stages.llm_answers import Listed

_LARGEST = 2**53


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
    """

    text: str
    places: tuple[Listed, ...] = ()
    refused: bool = False
    cut: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    retries: int = 0


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
        ValueError: It is no chat completion.

    Example:
        >>> body = {"choices": [{"message": {"content": "2"}, "finish_reason": "length"}], "usage": {"prompt_tokens": 9}}
        >>> answer = read_answer(json.dumps(body))
        >>> answer.text, answer.cut, answer.tokens_in, answer.tokens_out
        ('2', True, 9, None)
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON: {text}") from None
    choices = _get(body, "choices")
    if not isinstance(choices, list) or not choices or not isinstance(_get(choices[0], "message"), dict):
        raise ValueError(f"no choices: {text}")
    choice, message = choices[0], choices[0]["message"]
    reason = _get(choice, "finish_reason")
    usage = _get(body, "usage")
    return Answer(
        text=_text_of(_get(message, "content")),
        places=_places_of(_get(_get(choice, "logprobs"), "content")),
        refused=bool(_get(message, "refusal")) or reason == "content_filter",
        cut=reason == "length",
        tokens_in=_count(_get(usage, "prompt_tokens")),
        tokens_out=_count(_get(usage, "completion_tokens")),
    )


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text_of(content: object) -> str:
    """A server may send text, or parts of which some are text."""
    if isinstance(content, list):
        return "".join(part for part in (_get(one, "text") for one in content) if isinstance(part, str))
    return content if isinstance(content, str) else ""


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
    return value if isinstance(value, int) and 0 <= value < _LARGEST else None
