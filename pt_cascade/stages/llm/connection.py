"""An OpenAI-compatible server, its key and a client for it: no redirect is followed, and nothing goes to it that is not for it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, StageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
_NETWORK = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
_OPENAI_ONLY = ("openai-organization", "openai-project")


@dataclass(frozen=True)
class Server:
    """Whom to ask, and how patiently."""

    model: str
    base_url: str
    ours: Mapping[str, object] = field(default_factory=dict)  # sent with each prompt; a server may refuse them
    theirs: Mapping[str, object] = field(default_factory=dict)  # what the user wants sent; it comes first, and is not changed
    retries: int = 0
    timeout: float = 60.0
    key: str = field(default="", repr=False)

    def hide_key(self, text: str) -> str:
        """Take the key out of a text."""
        spellings = (re.escape(json.dumps(self.key)[1:-1]), re.escape(self.key))
        return re.sub("|".join(spellings), "[key]", text) if self.key else text


def read_key(name: str, base_url: str) -> str:
    """Read a key from the environment variable of that name, white space around it left out; no name: no key.

    OpenAI's own server wants a key; another one needs none, unless a variable other than OpenAI's was named.

    Raises:
        MissingError: There is none though there should be, or it has characters that cannot be sent.
    """
    key, problem, fix = os.environ.get(name, "").strip() if name else "", "", "export it again, copied from the provider's page"
    if not all("\x21" <= sign <= "\x7e" for sign in key):
        problem = f"{name} holds white space or characters beyond ASCII, expected a key alone (its value is not shown)"
    elif not key and base_url == OPENAI_URL:
        problem = f"the environment has no {name or OPENAI_KEY}, and {OPENAI_URL} wants one"
        fix = f"export {name or OPENAI_KEY}=..., or llm_judge(..., base_url=...) for another server"
    elif not key and name not in ("", OPENAI_KEY):
        problem, fix = f"the environment has no {name}", "export it, or api_key_env=None for a server that needs no key"
    if problem:
        raise MissingError("llm_judge has no key to send", [problem], fix=fix)
    return key


def connect(server: Server) -> AsyncOpenAI:
    """Make a client, to be closed; without a key it sends no ``Authorization``.

    Raises:
        MissingError: A package that a proxy needs is not installed, or the file of certificates is not there.
        StageError: The environment's proxies, or its certificates, cannot be used.
    """
    import openai  # noqa: PLC0415 - heavy

    unsent = (() if server.key else ("authorization",)) + (_OPENAI_ONLY if server.base_url != OPENAI_URL else ())

    async def leave_out(request: httpx2.Request) -> None:
        for name in unsent:
            request.headers.pop(name, None)

    try:
        web = openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"request": [leave_out]})
        key, url, seconds = server.key or "none", server.base_url, server.timeout
        return openai.AsyncOpenAI(api_key=key, base_url=url, timeout=seconds, max_retries=server.retries, http_client=web)
    except (ImportError, FileNotFoundError) as error:  # the words of others may hold a proxy's password
        missing = f"what {_NETWORK} ask for is not there ({type(error).__name__})"
        raise MissingError("llm_judge cannot use the network", [missing], fix="pip install 'httpx2[socks]', or mend them") from None
    except Exception as error:  # noqa: BLE001 - of three libraries, of many kinds
        problem = f"its client cannot be made with these settings ({type(error).__name__}; they are not shown)"
        raise StageError("llm_judge cannot use the network", [problem], fix=f"look at {_NETWORK}") from None
