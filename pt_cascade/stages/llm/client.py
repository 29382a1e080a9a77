"""Sends requests to an OpenAI-compatible server; the package openai retries, and this module handles the other errors.

- After a 429 that outlasts the package's retries all calls wait, twice as long each time, up to ``LONGEST_WAIT`` in all.
- A status 200 without an answer is asked for again.
- Where a server refuses a default field, with any status, the call is repeated without it (``find_changes``); if that gives an
  answer, so are later calls.
- An error that no later call can avoid stops all calls, and so do ``MOST_FAILED`` failed calls in a row.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import QueryError
from pt_cascade.numbers import count_of
from pt_cascade.stages.llm.connection import NO_KEY, hide_secrets
from pt_cascade.stages.llm.responses import Response, find_changes, read_error, read_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import openai
    from openai.types.chat import ChatCompletionUserMessageParam

    from pt_cascade.stages.llm.responses import Kind

LONGEST_WAIT = 600.0
MOST_FAILED = 20
_FIRST_WAIT, _LAST_WAIT, _PAUSE = 15.0, 60.0, 0.5
_SHOWN = 300
_LIMITS = ("max_completion_tokens", "max_tokens")
_ABOUT_LENGTH = re.compile(r"too (?:long|large|many)|context|length|exceed", re.IGNORECASE)
_KEPT = "cached(llm_judge(...), path, batch_size=32) stores them batch by batch"
_WAIT = "call the stage again later, or llm_judge(..., concurrency=1), which sends one request at a time"
_FIX = "check base_url, model, max_tokens, the key in the environment, and the fields of request"


@dataclass
class ServerState:
    """The state of a server after earlier calls, and the clock for waiting."""

    asked: bool = False  # whether a call has ended
    answered: bool = False  # whether a call has got an answer
    changes: dict[str, object] = field(default_factory=dict)  # of the default fields, see find_changes
    free_at: float = 0.0  # when the rate limit ends
    failed: int = 0  # calls without an answer in a row
    useful: bool = False  # whether an answer could be read
    unreadable: list[str] = field(default_factory=list)  # the queries of all answers until then
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic


@dataclass
class Client:
    """Sends requests to one server in one event loop."""

    connection: openai.AsyncOpenAI
    state: ServerState
    model: str
    defaults: Mapping[str, object]  # fields that a server may refuse
    request: Mapping[str, object]  # the user's fields, which replace the defaults
    first: asyncio.Lock = field(default_factory=asyncio.Lock)
    answers: int = 0
    error: QueryError | None = None

    @property
    def max_tokens(self) -> int:
        """The limit of an answer's tokens."""
        fields = {**self.defaults, **self.request}
        return next((value for name in _LIMITS if isinstance(value := fields.get(name), int)), 0)

    async def ask(self, prompt: str) -> Response:
        """Ask until there is an answer, or no retry is of use; the first call runs alone, to learn which fields are refused."""
        async with self.first:
            if not self.state.asked:
                return await self._retry(prompt)
        return await self._retry(prompt)

    async def _retry(self, prompt: str) -> Response:
        state, tokens, changes = self.state, np.zeros(2), dict[str, object]()
        retries = empty = waits = 0
        while True:
            defaults = {**self.defaults, **state.changes, **changes}
            sent = {name: value for name, value in defaults.items() if value is not None and name not in self.request}
            response = await self._send(prompt, sent)
            tokens, retries = tokens + response.tokens, retries + response.retries
            if response.kind == "rate_limited":
                self._hold(response, waits)
                waits += 1
            elif response.error and (found := find_changes(sent, response.about)):
                changes |= found
            elif response.kind == "empty" and empty < self.connection.max_retries:
                await state.sleep(_PAUSE * 2**empty)
                empty += 1
            else:
                break
            retries += 1
        state.changes |= changes if response.kind == "answer" else {}
        return self._note(replace(response, tokens=tokens, retries=retries))

    async def _send(self, prompt: str, defaults: Mapping[str, object]) -> Response:
        """Send one call, with the package's own retries."""
        import openai  # noqa: PLC0415 - heavy

        if self.error:
            raise self.error
        while (wait := self.state.free_at - self.state.now()) > 0:
            await self.state.sleep(wait)
        fields = {name: value for name, value in {**defaults, **self.request}.items() if value is not None}
        headers = {"Authorization": openai.Omit()} if self.connection.api_key == NO_KEY else {}
        message: ChatCompletionUserMessageParam = {"role": "user", "content": prompt}
        try:
            create = self.connection.chat.completions.with_raw_response.create
            raw = await create(model=self.model, messages=[message], extra_body=fields, extra_headers=headers)
        except openai.APIError as error:
            response, retries = self._read_failure(error), int(error.request.headers.get("x-stainless-retry-count", "0"))
        else:
            body, retries = None, raw.retries_taken
            with suppress(ValueError, RecursionError):
                body = json.loads(raw.content)
            response = read_response(body)
        return replace(response, retries=retries, error=self.shorten(response.error), instead=self.shorten(response.instead))

    def _read_failure(self, error: openai.APIError) -> Response:
        import openai  # noqa: PLC0415 - heavy

        if isinstance(error, openai.APITimeoutError):
            return Response(error=f"no answer within {self.connection.timeout} s", kind="failed", tokens=np.full(2, np.nan))
        if not isinstance(error, openai.APIStatusError):
            cause = error.__cause__ or error
            kind: Kind = "unreachable" if type(cause).__name__ == "ConnectError" else "failed"
            return Response(error=f"the connection failed: {cause}", kind=kind)
        if error.response.is_redirect:
            to, secret = error.response.next_request, dict.fromkeys(("username", "password", "query", "fragment"))
            where = str(to.url.copy_with(**secret)).removesuffix("/chat/completions") if to else "no address"
            words = f"{error.status_code}: the server redirects to {where}; set base_url to that address"
            return Response(error=words, kind="fatal")
        return read_error(error.body, error.status_code)

    def _hold(self, response: Response, waits: int) -> None:
        """Make all calls wait for the rate limit to end, or give up."""
        pause = min(_FIRST_WAIT * 2**waits, _LAST_WAIT)
        if waits * _LAST_WAIT + pause > LONGEST_WAIT:
            self._note(response)
        self.state.free_at = max(self.state.free_at, self.state.now() + pause)

    def _note(self, response: Response) -> Response:
        """Note how a call ended; raise where later calls would fail likewise."""
        state, kind, words = self.state, response.kind, response.error
        state.asked = True
        if not words:
            state.answered, state.failed, self.answers = True, 0, self.answers + 1
            return response
        state.failed += kind != "rejected"
        early = kind == "unreachable" or (kind == "rejected" and not _ABOUT_LENGTH.search(words))
        if kind in ("fatal", "rate_limited") or (early and not state.answered):
            raise self.stop([words], fix=_WAIT if kind == "rate_limited" else _FIX)
        if state.failed >= MOST_FAILED:
            problem = f"{state.failed} calls in a row had no answer, the last one for this reason: {words}"
            state.failed = 0
            raise self.stop([problem])
        return response

    def stop(self, problems: Sequence[str], what: str = "", fix: str = _FIX) -> QueryError:
        """Make the error that stops all calls and counts the lost answers."""
        lost = f"lost: {count_of(self.answers, 'answer')} that this call of the stage received; {_KEPT}"
        what = what or f"llm_judge cannot call {self.model!r} at {str(self.connection.base_url).rstrip('/')}"
        self.error = QueryError(what, [*problems, *([lost] if self.state.useful and self.answers else [])], fix=fix)
        return self.error

    def shorten(self, text: str) -> str:
        """Shorten a text of the server to one line, without what looks like a key."""
        text = " ".join(hide_secrets(text, self.connection.api_key).encode("utf-8", "replace").decode("utf-8").split())
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
