"""The options of a server, its key, and a client of the package openai; no redirect is followed, and no error shows the key."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, StageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
ON_ERROR = ("raise", "keep")
_NETWORK = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
_SET_HERE = frozenset({"messages", "model", "n", "stream"})
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_HOST = r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
_URL = re.compile(rf"https?://{_HOST}(?:/[\x21-\x22\x24-\x3e\x40-\x7e]*)?", re.IGNORECASE | re.ASCII)
_PORTS = range(1, 1 << 16)


@dataclass(frozen=True)
class Server:
    """The server to ask, and what each call sends."""

    model: str
    base_url: str
    defaults: Mapping[str, object] = field(default_factory=dict)  # fields that a server may refuse
    request: Mapping[str, object] = field(default_factory=dict)  # the user's fields, which replace the defaults
    retries: int = 0
    timeout: float = 60.0
    key: str = field(default="", repr=False)

    @property
    def unsent(self) -> list[str]:
        """The headers to leave out: the key where there is none, and OpenAI's account for another server."""
        return ["Authorization"] * (not self.key) + ["OpenAI-Organization", "OpenAI-Project"] * (self.base_url != OPENAI_URL)

    def hide_key(self, text: str) -> str:
        """Replace the key in a text."""
        return text.replace(self.key, "[key]") if self.key else text


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


def connect(server: Server) -> AsyncOpenAI:
    """Make a client, or raise StageError where the proxies or certificates of the environment cannot be used."""
    import openai  # noqa: PLC0415 - heavy

    try:
        return openai.AsyncOpenAI(
            api_key=server.key or "none",
            base_url=server.base_url,
            timeout=server.timeout,
            max_retries=server.retries,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )
    except Exception as error:  # noqa: BLE001 - of three libraries; their messages may show the password of a proxy
        problem = f"no client can be made with the proxies and certificates of the environment ({type(error).__name__})"
        fix = f"check {_NETWORK}; pip install 'httpx2[socks]' for a SOCKS proxy"
        raise StageError("llm_judge cannot use the network", [problem], fix=fix) from None


def find_option_faults(options: Mapping[str, object]) -> Iterator[str]:
    """Name the options that are out of range; a value that may be a key is not shown."""
    for names, lowest in ((("max_words", "max_tokens", "concurrency"), 1), (("retries",), 0)):
        for name in names:
            if type(value := options[name]) is not int or value < lowest:
                yield f"{name} is {value!r}, expected a whole number, {lowest} or more"
    if not _is_number(timeout := options["timeout"]) or timeout == 0:
        yield f"timeout is {timeout!r}, expected seconds, more than 0"
    if (seed := options["seed"]) is not None and type(seed) is not int:
        yield f"seed is {seed!r}, expected a whole number, or None"
    if options["on_error"] not in ON_ERROR:
        yield f"on_error is {options['on_error']!r}, expected one of {', '.join(ON_ERROR)}"
    prices = options["prices"]
    if prices is not None and not (isinstance(prices, tuple) and [_is_number(price) for price in prices] == [True, True]):
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


def _is_number(value: object) -> bool:
    """Tell whether a value is a finite number, 0 or more."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
