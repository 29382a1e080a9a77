"""The reasoning that a model writes before its answer, by the marks of the known formats."""

from __future__ import annotations

import re

_TAG = r"(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?)"
_OPEN = re.compile(
    rf"<{_TAG}>|\[THINK\]|<\|START_THINKING\|>|<\|begin_of_thought\|>|◁think▷|<\|?channel\|?>\s*(?:analysis|commentary|thought)\b"
    r"|\A\s*(?:analysis|commentary)(?=[^\sa-z:.,;-]|\s+[A-Z]|\s*\Z)|Here is my thought process:"
)
_CLOSE = re.compile(
    rf"</{_TAG}>|\[/THINK\]|<\|END_THINKING\|>|<\|end_of_thought\|>|◁/think▷|<channel\|>"
    r"|(?:<\|channel\|>|assistant)\s*final(?:\s*<\|message\|>)?|assistant\s*<\|channel\|>\s*final(?:\s*<\|message\|>)?"
    r"|\[BEGIN FINAL RESPONSE\]|Here is my response:"
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
