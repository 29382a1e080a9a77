"""Runs asynchronous calls, a limited number at once, in a thread of their own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine

T = TypeVar("T")


def run_in_thread(work: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run work in a thread, since a notebook already has an event loop; Ctrl-C cancels the work and waits for its end."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - it comes with openai

    with start_blocking_portal() as portal:
        running = portal.start_task_soon(work)
        try:
            return running.result()
        finally:
            running.cancel()


async def run_jobs(jobs: Collection[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Run all jobs, in order, at most ``limit`` at once; the first exception cancels the others and is raised."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(jobs))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
