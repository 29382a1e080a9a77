"""A client for one OpenAI-compatible server: no redirect is followed, and nothing is sent that is not that server's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, StageError
from pt_cascade.stages.llm_keys import OPENAI_URL
from pt_cascade.stages.reranker import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2
    from openai import AsyncOpenAI

    from pt_cascade.stages.llm_keys import Key

_NETWORK = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
_OPENAI_ONLY = ["openai-organization", "openai-project"]


@dataclass(frozen=True)
class Server:
    """Whom to ask, and how patiently.

    Attributes:
        model: The model's name there.
        base_url: Up to and including ``/v1``.
        fields: What is sent with each prompt.
        retries: How often a call is tried again.
        timeout: Seconds a call may take.
    """

    model: str
    base_url: str
    fields: Mapping[str, object]
    retries: int
    timeout: float


def connect(server: Server, key: Key) -> AsyncOpenAI:
    """Make a client.

    It sends the key as ``Authorization``, and without a key no such header; ``OPENAI_ORG_ID`` and ``OPENAI_PROJECT_ID`` go to
    OpenAI's own server alone. The environment's proxies are used, as by every such client.

    Args:
        server: Whom to ask.
        key: The key, perhaps empty.

    Returns:
        A client, to be closed.

    Raises:
        MissingError: The package openai, or one that a proxy needs, is not installed, or the file of certificates is not there.
        StageError: The environment's proxies, or its certificates, cannot be used.
    """
    require("openai", why="llm_judge")
    import openai  # noqa: PLC0415 - heavy

    unsent = ([] if key.value else ["authorization"]) + (_OPENAI_ONLY if server.base_url != OPENAI_URL else [])

    async def leave_out(request: httpx2.Request) -> None:
        for name in unsent:
            request.headers.pop(name, None)

    try:
        hooks: dict[str, list[Callable[..., object]]] = {"request": [leave_out], "response": [_read_as_utf8]}
        web = openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks=hooks)
        words, url, seconds = key.value or "none", server.base_url, server.timeout
        return openai.AsyncOpenAI(api_key=words, base_url=url, timeout=seconds, max_retries=0, http_client=web)
    except (ImportError, FileNotFoundError) as error:  # the words of others may hold a proxy's password
        missing = f"what {_NETWORK} ask for is not there ({type(error).__name__})"
        raise MissingError("llm_judge cannot use the network", [missing], fix="pip install 'httpx2[socks]', or mend them") from None
    except Exception as error:  # noqa: BLE001 - of three libraries, of many kinds
        problem = f"its client cannot be made with these settings ({type(error).__name__}; they are not shown)"
        raise StageError("llm_judge cannot use the network", [problem], fix=f"look at {_NETWORK}") from None


async def _read_as_utf8(response: httpx2.Response) -> None:
    """Take a body for what JSON is, whatever charset the server declares: some name no charset at all."""
    response.encoding = "utf-8"
