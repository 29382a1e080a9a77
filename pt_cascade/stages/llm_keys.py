"""The key of a server: read from the environment, sent to that server alone, and shown to nobody, even where it is misplaced."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
_PLAIN_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SENDABLE = re.compile(r"[\x21-\x7e]*")
_HOST = r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_URL = re.compile(rf"https?://{_HOST}(?:/[\x21-\x22\x24-\x3e\x40-\x7e]*)?", re.IGNORECASE | re.ASCII)
_PORTS = range(1, 1 << 16)
_KEY_FIELD = re.compile(r"api[-_]?key|authori[sz]ation|secret|passw|credential|access[-_]?token|bearer", re.IGNORECASE)
_KEY_VALUE = re.compile(r"(?:sk-|gsk_|hf_|xai-|AIza|Bearer\s)\S{8,}", re.IGNORECASE)
_UNSHOWN = "(it is not shown: it may be a key)"


@dataclass(frozen=True, repr=False)
class Key:
    """A key, for as long as one frame takes.

    Attributes:
        value: What is sent; empty where there is none.
        spellings: All ways in which a server, or a library, may repeat it, longest first.
    """

    value: str = ""
    spellings: tuple[str, ...] = ()

    def hide(self, text: str) -> str:
        """Take the key out of a text.

        Args:
            text: Any.

        Example:
            >>> Key("sk-1", ("sk-1",)).hide("bad key sk-1")
            'bad key [key]'
        """
        return re.sub("|".join(map(re.escape, self.spellings)), "[key]", text) if self.spellings else text


def read_key(name: str, base_url: str) -> Key:
    """Read a key from the environment, white space around it left out.

    Args:
        name: The variable; empty: no key.
        base_url: The server. OpenAI's wants a key; another one needs none, unless a variable other than OpenAI's was named.

    Returns:
        The key.

    Raises:
        MissingError: There is none though there should be, or it has characters that cannot be sent.
    """
    raw = os.environ.get(name, "") if name else ""
    value = raw.strip()
    shown = name if _PLAIN_NAME.fullmatch(name) else f"the variable that api_key_env names {_UNSHOWN}"
    if not _SENDABLE.fullmatch(value):
        problem = f"{shown} holds white space or characters beyond ASCII, expected a key alone (its value is not shown)"
        raise MissingError(
            "llm_judge has no key that can be sent", [problem], fix="export it again, copied from the provider's page"
        )
    if not value and base_url == OPENAI_URL:
        shown = shown if name else OPENAI_KEY
        fix = f"export {shown if _PLAIN_NAME.fullmatch(shown) else '...'}=..., or llm_judge(..., base_url=...) for another server"
        raise MissingError("llm_judge has no key", [f"the environment has no {shown}, and {OPENAI_URL} wants one"], fix=fix)
    if not value and name not in ("", OPENAI_KEY):
        fix = "export the variable, or api_key_env=None for a server that needs no key"
        raise MissingError("llm_judge has no key", [f"the environment has no {shown}"], fix=fix)
    spellings = {raw, value, json.dumps(value)[1:-1], repr(value)[1:-1]} if value else set()
    return Key(value, tuple(sorted(spellings, key=len, reverse=True)))


def find_name_faults(name: object) -> Iterator[str]:
    """Say whether a text cannot be the name of the variable that holds the key: it may be the key itself.

    Args:
        name: What was given; empty for none.

    Yields:
        A sentence, without the text.

    Example:
        >>> list(find_name_faults("sk-secret"))
        ['api_key_env is not the name of an environment variable (it is not shown: it may be a key)']
        >>> list(find_name_faults("TOGETHER_API_KEY"))
        []
    """
    if not isinstance(name, str) or (name and not _NAME.fullmatch(name)):
        yield f"api_key_env is not the name of an environment variable {_UNSHOWN}"
    elif name and not _PLAIN_NAME.fullmatch(name) and name not in os.environ:
        yield f"api_key_env is neither written as {OPENAI_KEY} is nor in the environment {_UNSHOWN}"


def find_url_faults(url: object) -> Iterator[str]:
    """Say whether a text cannot be a server's address, without anything that may be a secret.

    Args:
        url: What was given.

    Yields:
        A sentence, without the text.

    Example:
        >>> len(list(find_url_faults("http://localhost:8000/v1#sk-secret"))), list(find_url_faults("http://[::1]:8000/v1"))
        (1, [])
    """
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or (found[1] and int(found[1]) not in _PORTS):
        yield "base_url is not like http://localhost:8000/v1, without password, query or fragment (not shown: it may hold a key)"


def find_request_faults(request: object, ours: frozenset[str]) -> Iterator[str]:
    """Say what is wrong with further fields to be sent.

    Args:
        request: JSON; ``null`` where what was given cannot be written so.
        ours: Fields that may not be among them.

    Yields:
        A sentence a fault, without any value: it may be a key.

    Example:
        >>> list(find_request_faults('{"stream": true, "extra": {"api_key": "x"}}', frozenset({"stream"})))
        ['request has stream, which are set here', 'request has api_key, which looks like a key, expected api_key_env']
    """
    fields = json.loads(request) if isinstance(request, str) else None
    if not isinstance(fields, dict):
        yield "request cannot be sent as JSON, expected a dict of plain values by name, none of them NaN or infinite"
        return
    if set_here := sorted(ours & set(fields)):
        yield f"request has {', '.join(set_here)}, which are set here"
    if secrets := sorted(set(_find_secrets(fields, ""))):
        yield f"request has {', '.join(secrets)}, which looks like a key, expected api_key_env"


def _find_secrets(value: object, name: str) -> Iterator[str]:
    """Give the names of fields whose name or value looks like a key's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            hidden = "a name that" if _KEY_VALUE.search(key) else key
            yield from [hidden] if hidden != key or (_KEY_FIELD.search(key) and inner is not None) else _find_secrets(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _find_secrets(inner, name)
    elif isinstance(value, str) and _KEY_VALUE.search(value):
        yield name or "a value"
