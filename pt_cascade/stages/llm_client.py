"""Asking an OpenAI-compatible server: one call at a time, tried again where that may help, the key never shown.

- Tried again, after a pause that doubles and varies: 429, 408, 409, 5xx, time-outs, lost connections, and a 200 that holds no
  answer. All calls honour a ``Retry-After``; a server that wants a longer pause than ``LONGEST_PAUSE`` is not waited for.
- Not tried again: any other 4xx, a spent quota, or what the server itself says not to. Before the first answer that is an error.
- ``content_filter`` is an answer, a refusal, whatever its status.
- A server that refuses ``seed``, ``logprobs`` or ``max_tokens`` by name is asked without, or by ``max_completion_tokens``.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pt_cascade.errors import MissingError, StageError
from pt_cascade.stages.llm_messages import Answer, choose_fields, read_answer
from pt_cascade.stages.reranker import require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from openai import APIStatusError, AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
LONGEST_PAUSE = 300.0
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0
_TRY_AGAIN = frozenset({408, 409, 429})
_SERVER_ERROR = 500
_SPENT = "insufficient_quota"
_FILTERED = "content_filter"
_SPARE = ("logprobs", "seed", "max_tokens")
_UNKNOWN = re.compile(r"un(?:supported|expected|known|recognized)|(?:not|n't) (?:support|permit|allow|available)", re.IGNORECASE)
_WORDS = 300


@dataclass(frozen=True)
class Server:
    """Whom to ask, and how patiently.

    Attributes:
        model: The model's name there.
        base_url: Up to and including ``/v1``.
        api_key_env: The environment variable with the key; empty: no key is sent.
        fields: What is sent with each prompt.
        retries: How often a call is tried again.
        timeout: Seconds a call may take.
    """

    model: str
    base_url: str
    api_key_env: str
    fields: Mapping[str, object]
    retries: int
    timeout: float

    def open(self) -> AsyncOpenAI:
        """Make a client, with the key from the environment.

        Raises:
            MissingError: The package openai is not installed, or OpenAI's own server is asked without a key.
        """
        require("openai", why="llm_judge")
        from openai import AsyncOpenAI  # noqa: PLC0415 - heavy

        if not self.key and self.base_url == OPENAI_URL:
            name = self.api_key_env or "OPENAI_API_KEY"
            fix = f"export {name}=..., or llm_judge(..., base_url=...) for another server"
            raise MissingError("llm_judge has no key", [f"the environment has no {name}, and {OPENAI_URL} wants one"], fix=fix)
        return AsyncOpenAI(api_key=self.key or "none", base_url=self.base_url, timeout=self.timeout, max_retries=0)

    @property
    def key(self) -> str:
        """The key, read when asked for; empty where there is none."""
        return os.environ.get(self.api_key_env, "") if self.api_key_env else ""


@dataclass(frozen=True)
class Patience:
    """How time passes; a test has its own."""

    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    toss: Callable[[], float] = random.random


@dataclass
class Memory:
    """What is known of a server by having asked it."""

    asked: bool = False
    answered: bool = False
    refused: set[str] = field(default_factory=set)
    free_at: float = 0.0


class CallError(Exception):
    """A call that failed.

    Args:
        words: What the server, or the network, said.
        again: Whether trying again may help.
        pause: Seconds to wait before, where the server said so.
        names: Fields that the server refuses.
        nobody: Whether nothing listens there.
    """

    tokens_in = tokens_out = 0  # none that anybody counted

    def __init__(
        self,
        words: str,
        *,
        again: bool = True,
        pause: float | None = None,
        names: frozenset[str] = frozenset(),
        nobody: bool = False,
    ) -> None:
        """Keep the parts."""
        super().__init__(words)
        self.words, self.again, self.pause, self.names, self.nobody = words, again, pause, names, nobody
        self.retries = 0


class Line:
    """A line to a server, for one event loop.

    Args:
        server: Whom to ask.
        client: Its client, open.
        memory: What is known of it; kept from line to line.
        patience: How time passes.
    """

    def __init__(self, server: Server, client: AsyncOpenAI, memory: Memory, patience: Patience) -> None:
        """Have nothing asked yet."""
        self.server, self.client, self.memory, self.patience = server, client, memory, patience
        self.first = asyncio.Lock()
        self.hopeless: StageError | None = None

    async def ask(self, prompt: str) -> Answer:
        """Ask until there is an answer or no use in asking; the first call ever goes alone, to learn what the server refuses.

        Args:
            prompt: The user's message.

        Returns:
            The answer, with how often it was asked for again.

        Raises:
            CallError: There is none.
            StageError: The server has never answered, and refuses this call, or nothing listens there.
        """
        if not self.memory.asked:
            async with self.first:
                if not self.memory.asked:
                    return await self._insist(prompt)
        return await self._insist(prompt)

    async def _insist(self, prompt: str) -> Answer:
        if self.hopeless:
            raise self.hopeless
        retries = tried = 0
        while isinstance(call := await self._try(prompt), CallError):
            call.retries = retries
            retries += 1
            if call.names:  # they were sent, so another call may have learnt it meanwhile
                self.memory.refused |= call.names
            else:
                self._check(call, tried)
                await self._pause(tried, call.pause)
                tried += 1
        self.memory.asked = self.memory.answered = True
        return replace(call, retries=retries)

    def _check(self, error: CallError, tried: int) -> None:
        """Give up where trying again would not help."""
        if error.again and tried < self.server.retries and (error.pause or 0) <= LONGEST_PAUSE:
            return
        self.memory.asked = True
        if self.memory.answered or (error.again and not error.nobody):
            raise error
        fix = "look at base_url, model, the key in the environment, and the fields of request"
        what = f"llm_judge cannot ask {self.server.model!r} at {self.server.base_url}"
        self.hopeless = StageError(what, [error.words], fix=fix)
        raise self.hopeless

    async def _pause(self, tried: int, wanted: float | None) -> None:
        """Wait twice as long as before, less up to a half; and as long as the server said, which holds for all calls."""
        self.memory.free_at = max(self.memory.free_at, self.patience.clock() + (wanted or 0.0))
        await self.patience.sleep(min(_FIRST_PAUSE * 2**tried, _LAST_PAUSE) * (1 + self.patience.toss()) / 2)

    async def _try(self, prompt: str) -> Answer | CallError:
        """Ask once."""
        import openai  # noqa: PLC0415 - heavy

        wait = self.memory.free_at - self.patience.clock()
        if wait > 0:
            await self.patience.sleep(wait)
        sent = choose_fields(self.server.fields, self.memory.refused)
        create = self.client.chat.completions.with_raw_response.create
        try:
            call = create(model=self.server.model, messages=[{"role": "user", "content": prompt}], extra_body=sent)
            raw = await asyncio.wait_for(call, self.server.timeout)
            return read_answer(raw.text)
        except ValueError as error:
            return CallError(self._words(f"the answer is none: {error}"))
        except (asyncio.TimeoutError, openai.APITimeoutError):
            return CallError(f"no answer within {self.server.timeout:g} s")
        except openai.APIConnectionError as error:
            nobody = type(error.__cause__).__name__ == "ConnectError"
            return CallError(self._words(f"the connection failed: {error.__cause__ or error}"), nobody=nobody)
        except openai.APIStatusError as error:
            if error.code == _FILTERED:
                return Answer("", refused=True)
            return self._read_status(error, sent)

    def _read_status(self, error: APIStatusError, sent: Mapping[str, object]) -> CallError:
        code, headers = error.status_code, error.response.headers
        again = code in _TRY_AGAIN or code >= _SERVER_ERROR
        again = again and error.code != _SPENT and headers.get("x-should-retry") != "false"
        said = _get_message(error)
        words = self._words(f"{code}: {said}")
        names = frozenset(name for name in _SPARE if name in sent and name in said and not again and _UNKNOWN.search(said))
        return CallError(words, again=again, pause=_read_pause(headers), names=names)

    def _words(self, text: str) -> str:
        """Shorten what the server said, and take the key out of it."""
        text = text.replace(self.server.key, "[key]") if self.server.key else text
        text = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
        return text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}..."


def _get_message(error: APIStatusError) -> str:
    """Find the server's words: OpenAI's message, another server's whole body, or else what the client makes of the code."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or body or error.message)


def _read_pause(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or as a date."""
    try:
        if "retry-after-ms" in headers:
            return max(float(headers["retry-after-ms"]) / 1000, 0.0)
        return max(float(headers["retry-after"]), 0.0)
    except KeyError:
        return None
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time(), 0.0)
    except (KeyError, TypeError, ValueError):
        return None
