"""Many calls at once, but not too many, none of them twice, and none left running when something goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from pt_cascade.stages.llm_failures import CallError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from pt_cascade.stages.llm_answers import Reading
    from pt_cascade.stages.llm_messages import Answer

T = TypeVar("T")


def drive(work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run asynchronous work to its end, in a thread of its own: a notebook has an event loop already.

    Args:
        work: Makes the coroutine.

    Returns:
        Its result. An exception of the work comes out here; one that arrives meanwhile (Ctrl-C) cancels the work, waits until it
        has let go of its connections, and goes on.

    Example:
        >>> async def add() -> int:
        ...     return 1 + 1
        >>> drive(add)
        2
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()
    done: Future[T] = Future()

    async def main() -> T:
        task = asyncio.ensure_future(work())
        started.set_result((asyncio.get_running_loop(), task))
        return await task

    def run() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - handed over whole
            done.set_exception(error)

    thread = threading.Thread(target=run, name="llm_judge", daemon=True)
    thread.start()
    try:
        return done.result()
    except BaseException:
        if not done.done():
            loop, task = started.result()
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()


async def work_off(jobs: Iterable[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Do all jobs, in order, so many at once; the first exception stops the rest.

    Args:
        jobs: Each gives an awaitable when its turn comes.
        limit: How many run at once, 1 or more.

    Example:
        >>> async def job() -> None:
        ...     print("done")
        >>> asyncio.run(work_off([job, job], 8))
        done
        done
    """
    waiting = iter(jobs)

    async def work(job: Callable[[], Awaitable[None]]) -> None:
        await job()
        for another in waiting:
            await another()

    workers = [asyncio.ensure_future(work(job)) for job in list(islice(waiting, limit))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


@dataclass(frozen=True)
class Heard(Generic[T]):
    """An answer, and what was read in it.

    Attributes:
        answer: The answer, without its log-probabilities, of which there are many.
        reading: What was read in all of it.
    """

    answer: Answer
    reading: Reading[T]


class Once(Generic[T]):
    """Asks each prompt once, however many want the answer.

    Args:
        ask: Gives a prompt's answer, unless nobody wants it any more, or raises CallError.
    """

    def __init__(self, ask: Callable[[str, Callable[[], bool]], Awaitable[Answer]]) -> None:
        """Have nothing asked yet."""
        self.ask = ask
        self.turns: dict[bytes, asyncio.Lock] = {}
        self.known: dict[bytes, Heard[T] | CallError] = {}

    async def get(
        self, prompt: str, read: Callable[[Answer], Reading[T]], wanted: Callable[[], bool]
    ) -> tuple[Heard[T] | CallError, bool]:
        """Get what was heard in answer to a prompt, or what went wrong, and whether it was asked for now.

        Args:
            prompt: The user's message.
            read: Reads the answer; the same for the same prompt.
            wanted: Whether it is still wanted here; a call that is left for that alone is made anew for others.
        """
        key = hashlib.blake2b(prompt.encode(), digest_size=16).digest()
        async with self.turns.setdefault(key, asyncio.Lock()):
            if key in self.known:
                return self.known[key], False
            try:
                answer = await self.ask(prompt, wanted)
                self.known[key] = Heard(replace(answer, places=()), read(answer))
            except CallError as error:
                if error.left:
                    return error, True
                self.known[key] = error
            return self.known[key], True
