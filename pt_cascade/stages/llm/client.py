"""Asking an OpenAI-compatible server: the openai package tries again what may pass, this module does what it does not.

- Where the package has tried 429 in vain, all calls wait, twice as long each time, up to ``LONGEST_WAIT`` in all.
- A 200 without an answer is asked for again.
- A server that refuses a field that is ours, with whatever status, is asked otherwise (``find_changes``), and once that gives an
  answer, in later calls too.
- Once no call can succeed, all stop: what is fatal; before the first answer a refusal; ``SILENCE`` calls in a row without one.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from pt_cascade.errors import StageError
from pt_cascade.stages.llm.failures import CallError, find_changes, is_about_length, read_error
from pt_cascade.stages.llm.messages import Answer, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import httpx2
    import openai
    from openai._legacy_response import LegacyAPIResponse
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionUserMessageParam

    from pt_cascade.stages.llm.connection import Server

    Tokens: TypeAlias = tuple[int | None, int | None]

LONGEST_WAIT = 600.0
SILENCE = 20
_FIRST_WAIT, _LAST_WAIT, _PAUSE = 15.0, 60.0, 0.5
_WORDS = 300
_KEPT = "cached(llm_judge(...), path, batch_size=32) keeps them batch by batch"
_LIMITS = ("max_completion_tokens", "max_tokens")
_RATE = "call the stage again later, or llm_judge(..., concurrency=1), which asks less at once"
_FIX = "look at base_url, model, the key in the environment, and the fields of request"


@dataclass(frozen=True)
class Clock:
    """How time passes; a test has its own."""

    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic


@dataclass
class Memory:
    """What is known of a server by having asked it, from frame to frame."""

    asked: bool = False  # whether a call has come to its end
    answered: bool = False  # whether one was answered
    changes: dict[str, object] = field(default_factory=dict)  # fields that it wants otherwise, see find_changes
    free_at: float = 0.0  # when it may be asked again
    silent: int = 0  # how many calls in a row had no answer
    models: set[str] = field(default_factory=set)  # what it called the models that answered
    useful: bool = False  # whether an answer could be used
    useless: list[str] = field(default_factory=list)  # the queries of all that could not, until then


class Client:
    """Asks one server, in one event loop."""

    def __init__(self, server: Server, connection: openai.AsyncOpenAI, memory: Memory, clock: Clock) -> None:
        """Have nothing asked yet."""
        self.server, self.connection, self.memory, self.clock = server, connection, memory, clock
        self.first = asyncio.Lock()
        self.answers = 0
        self.error: StageError | None = None

    @property
    def max_tokens(self) -> int:
        """How long an answer may be."""
        fields = {**self.server.ours, **self.server.theirs}
        return next((value for name in _LIMITS if isinstance(value := fields.get(name), int)), 0)

    async def ask(self, prompt: str) -> Answer:
        """Ask until there is an answer or no use in asking; the first call ever goes alone, to learn what the server refuses.

        Raises:
            CallError: There is none.
            StageError: There will be none for any other prompt either.
        """
        async with self.first:
            if not self.memory.asked:
                return await self._insist(prompt)
        return await self._insist(prompt)

    async def _insist(self, prompt: str) -> Answer:
        spent: Tokens = (0, 0)
        retries = tries = waits = 0
        learnt: dict[str, object] = {}
        while True:
            ours = {name: value for name, value in self._ours(learnt).items() if value is not None}
            try:
                answer = await self._send(prompt, ours)
                self.memory.changes |= learnt
                return self._hear(replace(answer, retries=retries + answer.retries, tokens=_add(spent, answer.tokens)))
            except CallError as error:
                error.retries = retries = retries + error.retries
                error.tokens = spent = _add(spent, error.tokens)
                if error.kind not in ("limited", "filtered") and (changes := find_changes(ours, error.said)):
                    learnt |= changes
                elif error.kind == "limited":
                    self._hold(error, waits)
                    waits += 1
                elif error.kind == "empty" and tries < self.server.retries:
                    await self.clock.sleep(_PAUSE * 2**tries)
                    tries += 1
                elif error.kind == "filtered":
                    return self._hear(Answer("", refused=True, instead=error.words, tokens=spent, retries=retries))
                else:
                    self._give_up(error)
                retries += 1

    def _ours(self, learnt: Mapping[str, object]) -> dict[str, object]:
        """Give the fields that a server may refuse, as it wants them; what the user set is not among them."""
        fields = {**self.server.ours, **self.memory.changes, **learnt}
        return {name: value for name, value in fields.items() if name not in self.server.theirs}

    async def _send(self, prompt: str, ours: Mapping[str, object]) -> Answer:
        """Ask once, as the package does."""
        import openai  # noqa: PLC0415 - heavy

        if self.error:
            raise self.error
        while (wait := self.memory.free_at - self.clock.now()) > 0:
            await self.clock.sleep(wait)
        fields = {name: value for name, value in {**ours, **self.server.theirs}.items() if value is not None and name != "stream"}
        create, model = self.connection.chat.completions.with_raw_response.create, self.server.model
        message: ChatCompletionUserMessageParam = {"role": "user", "content": prompt}
        try:
            if "stream" in ours:
                streamed = await create(model=model, messages=[message], extra_body=fields, stream=True)
                completion, said, retries = await _collect(streamed.parse()), "", streamed.retries_taken
            else:
                raw = await create(model=model, messages=[message], extra_body=fields)
                completion, said, retries = _parse(raw), raw.content.decode("utf-8", "replace"), raw.retries_taken
        except openai.APIStatusError as error:
            raise self._read_status(error) from None
        except openai.APITimeoutError as error:
            words = f"no answer within {self.server.timeout:g} s"
            raise CallError(words, retries=_count_retries(error.request), tokens=(None, None)) from None
        except openai.APIConnectionError as error:
            why = error.__cause__ or error
            gone = type(why).__name__ == "ConnectError" and not self.memory.answered
            words = self.shorten(f"the connection failed: {why}")
            raise CallError(words, "fatal" if gone else "silent", retries=_count_retries(error.request)) from None
        try:
            if isinstance(completion, str) and completion.lstrip().startswith("data:"):
                raise CallError("it streams", "empty", said="it must stream")  # noqa: TRY301 - as any other
            return replace(read_answer(completion, said), retries=retries)
        except CallError as error:
            error.words, error.retries = self.shorten(error.words), retries
            raise

    def _read_status(self, error: openai.APIStatusError) -> CallError:
        failure = read_error(error.body, error.status_code, error.response.text or "no words with it")
        if error.response.is_redirect:
            to, secret = error.response.next_request, dict.fromkeys(("username", "password", "query", "fragment"))
            where = str(to.url.copy_with(**secret)).removesuffix("/chat/completions") if to else "nowhere"
            failure.words = f"{error.status_code}: the server redirects to {where}; put that into base_url"
        failure.words, failure.retries = self.shorten(failure.words), _count_retries(error.request)
        said = error.response.headers.get("retry-after", "")
        failure.pause = float(said) if said.isascii() and said.isdigit() else 0.0
        return failure

    def _hold(self, error: CallError, waits: int) -> None:
        """Let all calls wait for a rate limit to pass; give up where that is no use."""
        pause = max(error.pause, min(_FIRST_WAIT * 2**waits, _LAST_WAIT))
        if waits * _LAST_WAIT + pause > LONGEST_WAIT:
            self._give_up(error)
        self.memory.free_at = max(self.memory.free_at, self.clock.now() + pause)

    def _hear(self, answer: Answer) -> Answer:
        self.memory.asked = self.memory.answered = True
        self.memory.silent = 0
        self.memory.models |= {self.shorten(answer.model)} if answer.model else set()
        self.answers += 1
        return replace(answer, instead=self.shorten(answer.instead))

    def _give_up(self, error: CallError) -> None:
        """End a call without an answer; and all others, where they would end likewise."""
        self.memory.asked = True
        self.memory.silent += error.kind != "prompt"
        early = not self.memory.answered and error.kind == "prompt" and not is_about_length(error.words)
        if error.kind in ("fatal", "limited") or early:
            raise self.stop([error.words], fix=_RATE if error.kind == "limited" else _FIX) from None
        if self.memory.silent >= SILENCE:
            said = f"{self.memory.silent} calls in a row had no answer, the last one for this: {error.words}"
            self.memory.silent = 0
            raise self.stop([said]) from None
        raise error

    def stop(self, problems: Sequence[str], what: str = "", fix: str = _FIX) -> StageError:
        """Make the error that ends all calls; it says how many answers are lost with it."""
        lost = f"the {self.answers} answer(s) before, of this call to the stage, are lost with it; {_KEPT}"
        what = what or f"llm_judge cannot ask {self.server.model!r} at {self.server.base_url}"
        self.error = StageError(what, [*problems, *([lost] if self.memory.useful and self.answers else [])], fix=fix)
        return self.error

    def shorten(self, text: str) -> str:
        """Shorten what the server said, and take the key out of it."""
        text = " ".join(self.server.hide_key(text).encode("utf-8", "replace").decode("utf-8").split())
        return text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}..."


def _parse(raw: LegacyAPIResponse[ChatCompletion]) -> object:
    """Read a body; None where it is no JSON."""
    with suppress(ValueError, RecursionError):
        return raw.parse()
    return None


async def _collect(stream: openai.AsyncStream[ChatCompletionChunk]) -> object:
    """Put a streamed answer together; None where it breaks off."""
    from openai.lib.streaming.chat import ChatCompletionStreamState  # noqa: PLC0415 - heavy

    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    with suppress(Exception):  # of the libraries that read a stream, of many kinds
        async for chunk in stream:
            state.handle_chunk(chunk)
        whole = state.current_completion_snapshot
        return whole if whole.choices[0].finish_reason else None
    return None


def _count_retries(request: httpx2.Request) -> int:
    """Read how often the package has made a call again."""
    return int(request.headers.get("x-stainless-retry-count", "0"))


def _add(spent: Tokens, more: Tokens) -> Tokens:
    first, second = (None if one is None or other is None else one + other for one, other in zip(spent, more, strict=True))
    return first, second
