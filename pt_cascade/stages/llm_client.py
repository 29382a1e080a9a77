"""Asking an OpenAI-compatible server: one call at a time, tried again where that may help (see ``llm_failures``).

- Pauses double and vary. All calls honour a ``Retry-After``; a server that wants longer than ``LONGEST_PAUSE`` is not waited for.
- Once no call can succeed, all stop: what is fatal at any time; before the first answer whatever trying again does not help, or
  nobody listening; and ``SILENCE`` calls in a row without an answer.
- A call that nobody wants any more is not tried again.
- ``content_filter`` is an answer, a refusal, whatever its status.
- A server that refuses ``seed``, ``logprobs`` or ``max_tokens`` by name is asked without, or by ``max_completion_tokens``.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pt_cascade.errors import StageError
from pt_cascade.stages.llm_failures import FILTERED, SPENT, TOO_MANY, CallError, read_status
from pt_cascade.stages.llm_messages import Answer, NoAnswerError, choose_fields, read_answer, read_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from openai import AsyncOpenAI

    from pt_cascade.stages.llm_keys import Key
    from pt_cascade.stages.llm_messages import Failure
    from pt_cascade.stages.llm_server import Server

LONGEST_PAUSE = 300.0
SILENCE = 20
LARGEST = 8 << 20
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0
_SPREAD = 0.1
_TICK = 1e-3
_WORDS = 300
_FIX = "look at base_url, model, the key in the environment, and the fields of request"


@dataclass(frozen=True)
class Patience:
    """How time passes; a test has its own."""

    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    toss: Callable[[], float] = random.random


@dataclass
class Memory:
    """What is known of a server by having asked it.

    Attributes:
        asked: Whether a call has come to its end.
        answered: Whether one was answered.
        refused: Fields that it refuses.
        free_at: When it may be asked again.
        silent: How many calls in a row had no answer.
        models: What it called the models that answered.
    """

    asked: bool = False
    answered: bool = False
    refused: set[str] = field(default_factory=set)
    free_at: float = 0.0
    silent: int = 0
    models: set[str] = field(default_factory=set)


class Line:
    """A line to a server, for one event loop.

    Args:
        server: Whom to ask.
        key: The key that its client sends, to take it out of what is said.
        client: Its client, open.
        memory: What is known of it; kept from line to line.
        patience: How time passes.
    """

    def __init__(self, server: Server, key: Key, client: AsyncOpenAI, memory: Memory, patience: Patience) -> None:
        """Have nothing asked yet."""
        self.server, self.key, self.client, self.memory, self.patience = server, key, client, memory, patience
        self.first = asyncio.Lock()
        self.answers = 0
        self.hopeless: StageError | None = None

    async def ask(self, prompt: str, wanted: Callable[[], bool] = lambda: True) -> Answer:
        """Ask until there is an answer or no use in asking; the first call ever goes alone, to learn what the server refuses.

        Args:
            prompt: The user's message.
            wanted: Whether anybody still wants the answer; asked before each further try.

        Returns:
            The answer, with how often it was asked for again, and the tokens of all tries.

        Raises:
            CallError: There is none; ``left`` where nobody wanted it any more.
            StageError: No call can succeed.
        """
        if not self.memory.asked:
            async with self.first:
                if not self.memory.asked:
                    return await self._insist(prompt, wanted)
        return await self._insist(prompt, wanted)

    async def _insist(self, prompt: str, wanted: Callable[[], bool]) -> Answer:
        retries = tried = 0
        spent: tuple[int | None, int | None] = (0, 0)
        while True:
            if self.hopeless:
                raise self.hopeless
            call = await self._try(prompt)
            spent = (_add(spent[0], call.tokens_in), _add(spent[1], call.tokens_out))
            if isinstance(call, Answer):
                return self._hear(replace(call, retries=retries, tokens_in=spent[0], tokens_out=spent[1]))
            call.retries, (call.tokens_in, call.tokens_out) = retries, spent
            retries += 1
            if call.names:  # they were sent, so another call may have learnt it meanwhile
                self.memory.refused |= call.names
            else:
                self._check(call, tried)
                await self._pause(tried, call.pause)
                tried += 1
            if not wanted():
                call.left = True
                self._give_up(call)

    def _hear(self, answer: Answer) -> Answer:
        self.memory.asked = self.memory.answered = True
        self.memory.silent = 0
        self.memory.models |= {self.words(answer.model)} if answer.model else set()
        self.answers += 1
        return answer

    def _check(self, error: CallError, tried: int) -> None:
        """Give up where trying again would not help."""
        if error.fatal or not error.again or tried >= self.server.retries or (error.pause or 0) > LONGEST_PAUSE:
            self._give_up(error)

    def _give_up(self, error: CallError) -> None:
        """End a call without an answer; and all others, where they would end likewise."""
        self.memory.asked = True
        self.memory.silent += 1
        early = not self.memory.answered and (not error.again or error.nobody)
        if not error.fatal and not early and self.memory.silent < SILENCE:
            raise error
        problems = [error.words]
        if not error.fatal and not early:
            problems = [f"{self.memory.silent} calls in a row had no answer, the last one for this: {error.words}"]
        if self.answers:
            kept = "cached(llm_judge(...), path, batch_size=32) keeps them batch by batch"
            problems.append(f"the {self.answers} answer(s) before, of this call to the stage, are lost with it; {kept}")
        self.memory.silent = 0
        self.hopeless = StageError(f"llm_judge cannot ask {self.server.model!r} at {self.server.base_url}", problems, fix=_FIX)
        raise self.hopeless

    async def _pause(self, tried: int, wanted: float | None) -> None:
        """Wait twice as long as before, less up to a half; and note how long the server wants all calls to wait."""
        self.memory.free_at = max(self.memory.free_at, self.patience.clock() + (wanted or 0.0))
        await self.patience.sleep(min(_FIRST_PAUSE * 2**tried, _LAST_PAUSE) * (1 + self.patience.toss()) / 2)

    async def _await_turn(self) -> None:
        """Wait as long as the server said, also what it says meanwhile, and up to a tenth longer, so that not all come at once."""
        while (wait := self.memory.free_at - self.patience.clock()) > _TICK:
            await self.patience.sleep(wait * (1 + _SPREAD * (1 - self.patience.toss())))

    async def _try(self, prompt: str) -> Answer | CallError:
        """Ask once."""
        import openai  # noqa: PLC0415 - heavy

        await self._await_turn()
        if self.hopeless:
            raise self.hopeless
        sent = choose_fields(self.server.fields, self.memory.refused)
        try:
            body = await asyncio.wait_for(self._send(prompt, sent), self.server.timeout)
        except (asyncio.TimeoutError, openai.APITimeoutError):
            return CallError(f"no answer within {self.server.timeout:g} s", tokens_in=None, tokens_out=None)
        except openai.APIStatusError as error:
            failure = read_failure(error.response.text)
            return self._fail(error.status_code, error.response.headers, failure, sent)
        except Exception as error:  # noqa: BLE001 - of four libraries, of many kinds
            why = error.__cause__ or error
            return CallError(self.words(f"the connection failed: {why}"), nobody=type(why).__name__ == "ConnectError")
        try:
            return read_answer(body)
        except NoAnswerError as error:
            return self._fail(error.failure.code, {}, error.failure, sent)

    async def _send(self, prompt: str, sent: Mapping[str, object]) -> str:
        """Give the body of the response; one that is larger than any answer is not read to its end, and so none."""
        create = self.client.chat.completions.with_streaming_response.create
        message = {"role": "user", "content": prompt}
        body = bytearray()
        async with create(model=self.server.model, messages=[message], extra_body=sent) as response:  # type: ignore[list-item]
            async for part in response.iter_bytes():
                body += part
                if len(body) > LARGEST:
                    return f"more than {LARGEST >> 20} MiB"
        return body.decode("utf-8-sig", "replace")

    def _fail(
        self, code: int | None, headers: Mapping[str, str], failure: Failure, sent: Mapping[str, object]
    ) -> Answer | CallError:
        if FILTERED in failure.kinds:
            return Answer("", refused=True, tokens_in=failure.tokens_in, tokens_out=failure.tokens_out)
        if code is None and SPENT not in failure.kinds:
            words = self.words(f"the answer is none: {failure.message}")
            return CallError(words, tokens_in=failure.tokens_in or 0, tokens_out=failure.tokens_out or 0)
        failure = replace(failure, message=self.words(failure.message))
        return read_status(code or TOO_MANY, {name: self.key.hide(value) for name, value in headers.items()}, failure, sent)

    def words(self, text: str) -> str:
        """Shorten what the server said, and take the key out of it.

        Args:
            text: Its words.
        """
        text = " ".join(self.key.hide(text).encode("utf-8", "replace").decode("utf-8").split())
        return text if len(text) <= _WORDS else f"{text[: _WORDS - 3]}..."


def _add(spent: int | None, more: int | None) -> int | None:
    return None if spent is None or more is None else spent + more
