"""Many calls at once, but not too many, none of them twice, and none left running when something goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from pt_cascade.stages.llm.failures import CallError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine

    from pt_cascade.stages.llm.answers import Reading
    from pt_cascade.stages.llm.messages import Answer

T = TypeVar("T")


def drive(work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run asynchronous work in a thread of its own, as a notebook has an event loop already; Ctrl-C cancels it and waits."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - it comes with openai

    with start_blocking_portal() as portal:
        running = portal.start_task_soon(work)
        try:
            return running.result()
        finally:
            running.cancel()


async def run_all(jobs: Collection[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Do all jobs, in order, at most ``limit`` at once; the first exception stops the rest."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    workers = [asyncio.ensure_future(work()) for _ in range(min(limit, len(jobs)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


@dataclass(frozen=True)
class Heard(Generic[T]):
    """An answer, without its log-probabilities, of which there are many, and what was read in all of it."""

    answer: Answer
    reading: Reading[T]


class Once(Generic[T]):
    """Asks each prompt once, however many want the answer."""

    def __init__(self, ask: Callable[[str], Awaitable[Answer]]) -> None:
        """Have nothing asked yet."""
        self.ask = ask
        self.known: dict[bytes, asyncio.Future[Heard[T] | CallError]] = {}

    async def get(self, prompt: str, read: Callable[[Answer], Reading[T]]) -> tuple[Heard[T] | CallError, bool]:
        """Get what was heard in answer to a prompt, or what went wrong, and whether it was asked for now."""
        key = hashlib.blake2b(prompt.encode(), digest_size=16).digest()
        if key in self.known:
            return await self.known[key], False
        self.known[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self.ask(prompt)
            self.known[key].set_result(Heard(replace(answer, places=()), read(answer)))
        except CallError as error:
            self.known[key].set_result(error)
        return self.known[key].result(), True
