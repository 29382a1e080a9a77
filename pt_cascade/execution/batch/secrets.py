"""Removes keys and passwords from what is noted about a run."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME = r"(?:key|token|secret|passw(?:or)?d|credentials?|authorization)"
_VARIABLE = re.compile(_NAME, re.IGNORECASE)
_SHORT = 6  # characters; a shorter value of a variable is no key, and may be a part of any word
_OPTION = re.compile(rf"(?i)((?:\b|[-_]){_NAME}['\"]?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s'\",)]+)")
_BEFORE = re.compile(rf"(?i)-{{1,2}}([\w-]*[-_])?{_NAME}")  # the next word is a secret
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_FORM = re.compile(r"\b(?:sk|hf|ghp|gho|glpat|xox[abp])[-_][A-Za-z0-9_-]{8,}")


def hide_secrets(value: object, environment: Mapping[str, str] = os.environ) -> object:
    """Return texts, also in lists and dicts, without the values of variables such as OPENAI_API_KEY, named keys, and passwords.

    Example:
        >>> hide_secrets(["OpenAI(api_key='abc')", "https://me:pw@host/x", "s3cr3t"], {"MY_KEY": "s3cr3t"})
        ['OpenAI(api_key=[hidden])', 'https://host/x', '$MY_KEY']
    """
    if isinstance(value, dict):
        return {name: hide_secrets(part, environment) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets(part, environment) for part in value]
    return _hide(value, environment) if isinstance(value, str) else value


def hide_words(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the words of a command without keys, also without those that follow an option such as ``--api-key``.

    Example:
        >>> hide_words(["run", "--api-key", "abc123"], {})
        ['run', '--api-key', '[hidden]']
    """
    named = [False, *(bool(_BEFORE.fullmatch(word)) for word in words)]
    return ["[hidden]" if hidden else _hide(word, environment) for word, hidden in zip(words, named, strict=False)]


def hide_values(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text without the values of variables such as OPENAI_API_KEY, passwords in addresses, and what looks like a key.

    Example:
        >>> hide_values("401 for s3cr3t, no key: text", {"MY_KEY": "s3cr3t"})
        '401 for $MY_KEY, no key: text'
    """
    for name, secret in environment.items():
        if _VARIABLE.search(name) and len(secret) >= _SHORT:
            text = text.replace(secret, f"${name}")
    return _FORM.sub("[hidden]", _USER.sub("", text))


def _hide(text: str, environment: Mapping[str, str]) -> str:
    """Hide also what a name of a key stands before."""
    text = hide_values(text, environment)
    return _OPTION.sub(lambda found: found[0] if found[2].startswith("$") else f"{found[1]}[hidden]", text)
