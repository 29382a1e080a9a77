"""What a chat server answered, read from openai's ChatCompletion: the package fills it with whatever the server sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.stages.llm.failures import get, read_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.stages.llm.answers import Listed

_LARGEST = 2**53
_SHOWN = 300
_TEXTS = (None, "text", "output_text")
_CUT = frozenset({"length", "model_length", "max_tokens", "max_output_tokens"})
_REFUSED = frozenset({"content_filter", "safety", "refusal"})
_BROKEN = frozenset({"error", "abort", "insufficient_system_resource"})


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    text: str
    places: tuple[Listed, ...] = ()  # its tokens, and what else was likely, where the server says so
    refused: bool = False  # by the model, or by a filter
    cut: bool = False  # at max_tokens
    instead: str = ""  # what came in the place of a text, in words
    tokens: tuple[int | None, int | None] = (None, None)  # of prompt and answer, as the server counts
    retries: int = 0
    model: str = ""  # what the server calls it


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
    message, reason = get(choice, "message"), str(get(choice, "finish_reason")).casefold()
    content, refusal = get(message, "content"), get(message, "refusal")
    text = _text_of(content)
    error = get(choice, "error") or (None if text else get(completion, "error"))
    tokens = (_count(get(usage, "prompt_tokens")) or None, _count(get(usage, "completion_tokens")))  # no prompt has 0 tokens
    if error or reason in _BROKEN or not (isinstance(message, dict) or hasattr(message, "content")):
        failure = read_error(error, None, f"{_kind_of(completion, choice)}: {said}")
        failure.tokens = (tokens[0] or 0, tokens[1] or 0)
        raise failure
    refused = bool(refusal) or reason in _REFUSED or _has_part(content, "refusal")
    return Answer(
        text=text,
        places=tuple(_find_places(get(choice, "logprobs"))),
        refused=refused,
        cut=reason in _CUT,
        instead="" if text.strip() else _say_instead(message, refusal),
        tokens=tokens,
        model=model if isinstance(model, str) else "",
    )


def _kind_of(completion: object, choice: object) -> str:
    """Say what is no answer."""
    if completion is None or isinstance(completion, str):
        return "not JSON, or broken off"
    return "no choices" if choice is None else "an error"


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
