"""The reasoning that a model writes before its answer, by the marks of the known formats."""

from __future__ import annotations

import re

_NAME = r"(?:think(?:ing)?|reason(?:ing)?|scratch_?pad|reflect(?:ion)?|analysis|rationale|cot|(?:\w+_)?(?:thoughts?|monologue))"
_OPEN = re.compile(
    rf"<\|?\s?(?:[a-z]+:|start_|begin_of_)?{_NAME}\b[^<>|]{{0,40}}\|?>|\[THINK\]|\u25c1think\u25b7|<unused94>"
    r"|<\|?channel\|?>\s*(?:analysis|commentary|thought)\b|Here is my thought process:"
    r"|\A\s*(?-i:(?:assistant\s*)?(?:analysis|commentary)(?!\s{0,3}[:.,;-]))",
    re.IGNORECASE,
)
"""Marks that begin it; without its marks, gpt-oss's reasoning begins with the name of its channel, in small letters."""
_CLOSE = re.compile(
    rf"<\|?\s?(?:/|end_|end_of_)\s?(?:[a-z]+:)?{_NAME}\s?\|?>|\[/THINK\]|\u25c1/think\u25b7|<unused95>|<channel\|>"
    r"|(?:<\|channel\|>|assistant)\s*final(?:\s*<\|message\|>)?|assistant\s*<\|channel\|>\s*final(?:\s*<\|message\|>)?"
    r"|\[BEGIN FINAL RESPONSE\]|Here is my response:",
    re.IGNORECASE,
)
_WRAPPING = re.compile(
    r"</?(?:answer|response|output|final|s)>|<\|(?:START|END)_(?:RESPONSE|TEXT)\|>|<\|(?:begin|end)_of_(?:solution|box)\|>"
    r"|<\|(?:message|end|return|im_end|eot_id|endoftext)\|>|<end_of_turn>|\[END FINAL RESPONSE\]|```(?:json)?"
)
"""Marks around an answer that are no part of it."""


def strip_reasoning(text: str) -> str | None:
    """Give the answer that follows the reasoning; None where the reasoning does not end.

    Example:
        >>> strip_reasoning("[THINK]1?[/THINK]3"), strip_reasoning("analysisWe gradeassistantfinal2"), strip_reasoning("<think>3")
        ('3', '2', None)
    """
    ends = [mark.end() for mark in _CLOSE.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    return None if _OPEN.search(rest) else _WRAPPING.sub("", rest)
