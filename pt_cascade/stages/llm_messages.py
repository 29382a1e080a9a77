"""What a chat server answered, read from openai's ChatCompletion: the package fills it with whatever the server sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.stages.llm_failures import get, read_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.stages.llm_answers import Listed

_LARGEST = 2**53
_SHOWN = 300
_TEXTS = (None, "text", "output_text")


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        text: The answer; empty where there is none.
        places: Its tokens with their log-probabilities and what else was likely; empty where the server does not say.
        refused: Whether the server, or the model, declared that it will not answer.
        cut: Whether the answer was cut because it was too long.
        instead: What came in the place of a text, in words.
        tokens: Tokens of prompt and answer, as the server counts; None where it does not.
        retries: How often it was asked for again.
        model: What the server calls the model that answered; empty where it does not say.
    """

    text: str
    places: tuple[Listed, ...] = ()
    refused: bool = False
    cut: bool = False
    instead: str = ""
    tokens: tuple[int | None, int | None] = (None, None)
    retries: int = 0
    model: str = ""


def read_answer(completion: object, said: str = "") -> Answer:
    """Read a chat completion; what the server left out is left out; ``said`` is the body of its response.

    Raises:
        CallError: It is none, or one that says that it failed.

    Example:
        >>> from openai.types.chat import ChatCompletion
        >>> body = {"choices": [{"message": {"content": "2"}, "finish_reason": "length"}], "usage": {"prompt_tokens": 9}}
        >>> answer = read_answer(ChatCompletion.construct(**body))
        >>> answer.text, answer.cut, answer.tokens
        ('2', True, (9, None))
    """
    choices, usage, model = (get(completion, name) for name in ("choices", "usage", "model"))
    choice = choices[0] if isinstance(choices, list) and choices else None
    message, reason = get(choice, "message"), get(choice, "finish_reason")
    content, refusal = get(message, "content"), get(message, "refusal")
    text = _text_of(content)
    error = get(choice, "error") or (None if text else get(completion, "error"))
    tokens = (_count(get(usage, "prompt_tokens")) or None, _count(get(usage, "completion_tokens")))  # no prompt has 0 tokens
    if error or reason == "error" or not (isinstance(message, dict) or hasattr(message, "content")):
        failure = read_error(error, None, f"{_kind_of(completion, choice)}: {said}")
        failure.tokens = (tokens[0] or 0, tokens[1] or 0)
        raise failure
    refused = bool(refusal) or reason == "content_filter" or _has_part(content, "refusal")
    return Answer(
        text=text,
        places=tuple(_find_places(get(choice, "logprobs"))),
        refused=refused,
        cut=reason == "length",
        instead="" if text.strip() else _say_instead(message, refusal),
        tokens=tokens,
        model=model if isinstance(model, str) else "",
    )


def _kind_of(completion: object, choice: object) -> str:
    """Say what is no answer."""
    return "not JSON" if isinstance(completion, str) else "no choices" if choice is None else "an error"


def _say_instead(message: object, refusal: object) -> str:
    if refusal:
        return f"a refusal: {refusal!r:.{_SHOWN}}"
    if get(message, "tool_calls") or get(message, "function_call"):
        return "a tool call"
    if any(get(message, name) for name in ("reasoning_content", "reasoning")):
        return "reasoning alone"
    return "an empty text"


def _text_of(content: object) -> str:
    """A server may send text, or parts of which some are text, and others thoughts, calls or refusals."""
    if isinstance(content, list):
        texts = (get(part, "text") for part in content if get(part, "type") in _TEXTS)
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _has_part(content: object, kind: str) -> bool:
    return isinstance(content, list) and any(get(part, "type") == kind for part in content)


def _find_places(logprobs: object) -> Iterator[Listed]:
    """Read what is listed token by token: OpenAI's form, or its older one of completions (vLLM, llama.cpp and others)."""
    content, tokens = get(logprobs, "content"), get(logprobs, "tokens")
    for place in content if isinstance(content, list) else ():
        others = get(place, "top_logprobs")
        pairs = [(get(one, "token"), get(one, "logprob")) for one in (place, *(others if isinstance(others, list) else ()))]
        yield _choose(pairs)
    if content is None and isinstance(tokens, list):
        values, tops = (_list_of(get(logprobs, name), len(tokens)) for name in ("token_logprobs", "top_logprobs"))
        for token, value, top in zip(tokens, values, tops, strict=True):
            yield _choose([(token, value), *(top.items() if isinstance(top, dict) else ())])


def _list_of(value: object, n: int) -> list[object]:
    return value if isinstance(value, list) and len(value) == n else [None] * n


def _choose(pairs: list[tuple[object, object]]) -> Listed:
    """Keep what is a token with a finite log-probability, each once, the chosen one first."""
    listed: dict[str, float] = {}
    for token, value in pairs:
        if isinstance(token, str) and isinstance(value, (int, float)) and abs(value) < _LARGEST:  # not for NaN, nor for infinity
            listed.setdefault(token, float(value))
    return tuple(listed.items())


def _count(value: object) -> int | None:
    """A server may send 12.0; a truth value is no count."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LARGEST or value != int(value):
        return None
    return int(value)
