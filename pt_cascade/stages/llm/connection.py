"""The options of a server, its key, and a client of the package openai; no redirect is followed, and no error shows the key."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, StageError
from pt_cascade.numbers import check_word, is_amount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
ON_ERROR = ("raise", "keep")
_NETWORK = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
_SET_HERE = frozenset({"messages", "model", "n", "stream"})
NO_KEY = "no key is sent"
_RUN = re.compile(r"[!-~]{8,}")
_PART = re.compile(r"[A-Za-z0-9%\\]{8,}")
_PLAIN = re.compile(r"[A-Z]+|[A-Z]?[a-z]+|(?:[A-Z]?[a-z]{2,}+)+|[0-9]{1,11}")
_SECRET = re.compile(r'"([\w-]*(?:secret|password|authorization|api[-_]?key)|(?:\w+[_-])?token|key)": "', re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_URL = re.compile(rf"https?://{_HOST}(?:/[\x21-\x22\x24-\x3e\x40-\x7e]*)?", re.IGNORECASE | re.ASCII)
_PORTS = range(1, 1 << 16)


def read_key(name: str, base_url: str) -> str:
    """Read the key from an environment variable, or raise MissingError; OPENAI_API_KEY may be unset for other servers."""
    key = os.environ.get(name, "").strip()
    if not all("\x21" <= sign <= "\x7e" for sign in key):
        problem = f"{name} holds white space or characters beyond ASCII, expected a key alone (its value is not shown)"
        fix = "copy the key from the provider's page and export it again"
    elif key or (base_url != OPENAI_URL and name in ("", OPENAI_KEY)):
        return key
    else:
        problem = f"the environment has no {name or OPENAI_KEY} for {base_url}"
        fix = f"export {name or OPENAI_KEY}=..., or llm_judge(..., base_url=..., api_key_env=None) for a server that needs no key"
    raise MissingError("llm_judge has no key to send", [problem], fix=fix)


def connect(base_url: str, key: str, retries: int, timeout: float) -> AsyncOpenAI:
    """Make a client, or raise StageError where the proxies or certificates of the environment cannot be used.

    OpenAI's account goes to no other server; without a key, each call must leave its header out.
    """
    import openai  # noqa: PLC0415 - heavy

    unsent = ["OpenAI-Organization", "OpenAI-Project"] if base_url != OPENAI_URL else []
    try:
        return openai.AsyncOpenAI(
            api_key=key or NO_KEY,
            base_url=base_url,
            timeout=timeout,
            max_retries=retries,
            default_headers=dict.fromkeys(unsent, openai.Omit()),  # type: ignore[arg-type] # as for the headers of one call
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )
    except Exception as error:  # noqa: BLE001 - of three libraries; their messages may show the password of a proxy
        problem = f"no client can be made with the proxies and certificates of the environment ({type(error).__name__})"
        fix = f"check {_NETWORK}; pip install 'httpx2[socks]' for a SOCKS proxy"
        raise StageError("llm_judge cannot use the network", [problem], fix=fix) from None


def hide_secrets(text: str, key: str) -> str:
    """Replace the key in a text of a server, and the words that may be a key in any encoding: long, and not made of plain words.

    Base 85 is searched for itself, as its many signs leave parts that look like words.

    Example:
        >>> hide_secrets("no model gpt-4o-2024-11-20 for key s3cr3tkey, c2VjcmV0MDEyMzQ1 or s%33cr3tkey", "s3cr3tkey")
        'no model gpt-4o-2024-11-20 for key [key], [hidden] or [hidden]'
    """
    shown = text.replace(key, "[key]").replace(base64.b85encode(key.encode()).decode(), "[key]")
    return _RUN.sub(lambda run: run[0] if _is_plain(run[0]) else "[hidden]", shown)


def _is_plain(run: str) -> bool:
    """Tell whether characters without a space are plain words."""
    return all(map(_PLAIN.fullmatch, _PART.findall(run)))


def find_option_faults(options: Mapping[str, object]) -> Iterator[str]:
    """Name the options that are out of range; a value that may be a key is not shown."""
    for name, lowest in {"max_words": 1, "max_tokens": 1, "concurrency": 1, "retries": 0}.items():
        if type(value := options[name]) is not int or value < lowest:
            yield f"{name} is {value!r}, expected a whole number, {lowest} or more"
    if not is_amount(timeout := options["timeout"]) or timeout == 0:
        yield f"timeout is {timeout!r}, expected seconds, more than 0"
    if (seed := options["seed"]) is not None and type(seed) is not int:
        yield f"seed is {seed!r}, expected a whole number, or None"
    yield from check_word("on_error", options["on_error"], ON_ERROR)
    prices = options["prices"]
    if prices is not None and not (isinstance(prices, tuple) and [*map(is_amount, prices)] == [True, True]):
        yield f"prices is {prices!r}, expected US dollars a million tokens of prompts and of answers, e.g. (0.15, 0.6)"
    for name, form in (("model", "its name on the server"), ("instruction", "a text"), ("text_field", "a column's name")):
        if not isinstance(value := options[name], str) or not (value or name == "instruction"):
            yield f"{name} is {value!r}, expected {form}"
    yield from _find_server_faults(options["base_url"], options["api_key_env"], options["request"])


def _find_server_faults(url: object, variable: object, request: object) -> Iterator[str]:
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or (found[1] and int(found[1]) not in _PORTS):
        yield "base_url is not like http://localhost:8000/v1, without password, query or fragment (not shown: it may hold a key)"
    if not isinstance(variable, str) or (variable and not _VARIABLE.fullmatch(variable) and variable not in os.environ):
        yield "api_key_env is not the name of an environment variable (it is not shown: it may be a key)"
    fields = json.loads(request) if isinstance(request, str) else None
    if not isinstance(fields, dict):
        yield "request cannot be sent as JSON, expected a dict of plain values by name, none of them NaN or infinite"
    elif set_here := sorted(_SET_HERE & set(fields)):
        yield f"request has {', '.join(set_here)}, which llm_judge sets itself"
    if isinstance(request, str) and (secret := sorted(set(_SECRET.findall(request)))):
        yield f"request has a secret by the name of {', '.join(secret)}, expected the key in a variable that api_key_env names"
