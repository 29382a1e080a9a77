"""Collects the judgments of one frame: each prompt is sent once, each answer is counted, each failure is marked."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pt_cascade.stages.llm.prompts import count_least

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    import numpy as np
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.llm.answers import Reading
    from pt_cascade.stages.llm.client import Client
    from pt_cascade.stages.llm.queries import Query
    from pt_cascade.stages.llm.responses import Response
    from pt_cascade.stages.llm.usage import Usage

EARLY = 20  # answers without any that can be read, after which the stage stops
_FEW = 2  # queries that a model may refuse, which does not stop the stage
_MORE = 1024
_KEEP = "llm_judge(..., on_error='keep') goes on, and marks what has no judgment"
_PROMPT = "check the model, the prompt and the fields of request"
_CONTEXT = "raise the server's context length (Ollama: num_ctx, vLLM: --max-model-len, llama.cpp: --ctx-size)"


@dataclass
class Judgments:
    """The judgments of a frame of n rows, filled call by call."""

    client: Client
    usage: Usage
    keep: bool  # whether a document without a judgment is marked, rather than an error
    scores: Floats  # shape (n,), NaN without a score
    failed: NDArray[np.bool_]  # shape (n,), True without a judgment
    cache: dict[bytes, asyncio.Future[tuple[Response, Reading]]] = field(default_factory=dict)  # by prompt

    async def ask(self, query: Query, documents: slice, prompt: str, read: Callable[[Response], Reading]) -> Reading | None:
        """Ask about documents of a query; without a judgment they are marked, and without an answer it is None."""
        response, reading = await self._ask_once(query, prompt, read)
        if response.error:
            self._fail(query, documents, response.error)
            return None
        self.usage.add_faults(query.number, {"refused"} if response.refused else reading.faults)
        least = count_least(prompt)
        if response.refused:
            self._fail(query, documents, f"the model refused: {response.instead or self.client.shorten(response.text)}")
        elif response.tokens[0] < least:
            why = f"the server read {response.tokens[0]:.0f} tokens of a prompt of {least} words, as its context is too short"
            self._fail(query, documents, why, f"{_CONTEXT}, or llm_judge(..., max_words=...)")
        elif "unread" in reading.faults:
            self._fail(query, documents, *self._explain(response))
            return reading
        else:
            self.client.state.useful = True
            return reading
        return None

    async def _ask_once(self, query: Query, prompt: str, read: Callable[[Response], Reading]) -> tuple[Response, Reading]:
        """Ask, and count the call on this query, unless the same prompt was asked before."""
        key = hashlib.blake2b(prompt.encode(), digest_size=16).digest()
        if key not in self.cache:
            self.cache[key] = asyncio.get_running_loop().create_future()
            response = await self.client.ask(prompt)
            self.usage.add_call(query.number, response)
            self.cache[key].set_result((replace(response, logprobs=()), read(response)))  # without its many log-probabilities
        return await self.cache[key]

    def _explain(self, response: Response) -> tuple[str, str]:
        """Describe an answer that cannot be read, and how to get a better one."""
        answer = response.instead or f"{self.client.shorten(response.text)!r:.150}"
        if not response.cut:
            return f"its answer cannot be read: {answer}", ""
        most = self.client.max_tokens
        fix = f"llm_judge(..., max_tokens={max(_MORE, 4 * most)}), or a field of request that turns reasoning off"
        return f"its answer was cut off at max_tokens={most}, too early to be read: {answer}", fix

    def _fail(self, query: Query, documents: slice, why: str, fix: str = "") -> None:
        """Mark documents without a judgment; raise where this is an error, or no answer so far could be read."""
        docnos, state = query.docnos[documents], self.client.state
        where = f"qid {query.qid!r}" + (f", docno {docnos[0]!r}" if len(docnos) == 1 else "")
        self.failed[query.rows[documents]] = True
        self.usage.fail(query.number, f"{where}: {why}")
        if not self.keep:
            raise self.client.stop([why], f"llm_judge has no judgment of {where}", fix or _KEEP)
        state.unreadable += [] if state.useful else [query.text]
        if len(state.unreadable) >= EARLY and (fix or len(set(state.unreadable)) > _FEW):
            problem = f"none of the first {len(state.unreadable)} gives a judgment, the last one for this reason: {why}"
            state.unreadable = []
            raise self.client.stop([problem], "llm_judge received no answer that can be read", fix or _PROMPT)


async def run_jobs(jobs: Collection[Callable[[], Awaitable[None]]], limit: int, done: Callable[[], object]) -> None:
    """Run all jobs, in order, at most ``limit`` at once; call ``done`` after each; the first exception cancels the others."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()
            done()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(jobs))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
