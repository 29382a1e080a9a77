"""Where shards run: here, or in other processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING, Protocol

from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.shards import Outcome, Task, Worker

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from types import TracebackType
    from typing import Self

    from pt_cascade.execution.batch.plan import Plan
    from pt_cascade.execution.batch.source import CascadeSource


_LAST_SECONDS = 10


class Executor(Protocol):
    """Runs tasks, several at a time.

    Attributes:
        slots: How many tasks it takes before one of them ends.
    """

    slots: int

    def __enter__(self) -> Self:
        """Start."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop at once, also what runs."""
        ...

    def submit(self, task: Task) -> None:
        """Take a task; at most ``slots`` are taken and have not ended."""
        ...

    def wait(self) -> Outcome:
        """Wait until a task ends; the death of its worker is an outcome with an error."""
        ...


@dataclass
class Serial:
    """Runs one task at a time in this process."""

    worker: Worker
    tasks: list[Task] = field(default_factory=list)
    slots: int = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, task: Task) -> None:
        """Take a task."""
        self.tasks.append(task)

    def wait(self) -> Outcome:
        """Run the task."""
        return self.worker.run(self.tasks.pop(0))


@dataclass
class _Slot:
    """A process, the pipe to it, and the number of the shard that it runs."""

    process: SpawnProcess
    pipe: Connection
    number: int | None = None


@dataclass
class Processes:
    """Runs a task in each of some processes, which build the cascade for themselves; one that dies is replaced."""

    source: CascadeSource
    plan: Plan
    slots: int
    started: list[_Slot] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start the processes, and wait until each has its cascade or has died: what ends the run before that is no attempt."""
        for _ in range(self.slots):
            self._start()
        try:
            for slot in self.started:
                wait([slot.pipe])
        except BaseException as error:  # Ctrl-C, or SIGTERM
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for slot in self.started:
            slot.pipe.close()  # a process without a task ends then by itself
        for slot in self.started:
            slot.process.join(0 if kind else _LAST_SECONDS)
            slot.process.kill()
            slot.process.join()

    def submit(self, task: Task) -> None:
        """Give a task to a process that has none."""
        slot = next((slot for slot in self.started if slot.number is None), None) or self._start()
        slot.number = task.number
        with suppress(BrokenPipeError):  # it died; ``wait`` will see that
            slot.pipe.send(task)

    def wait(self) -> Outcome:
        """Wait for the first process that ends its task, or dies."""
        ready = wait([slot.pipe for slot in self.started if slot.number is not None])
        slot = next(slot for slot in self.started if slot.pipe is ready[0])
        try:
            outcome = slot.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.started.remove(slot)
            slot.process.join()
            slot.pipe.close()
            return Outcome(slot.number or 0, {}, f"the worker process ended {_describe_exit(slot.process.exitcode)}")
        if outcome is None:  # it has its cascade
            return self.wait()
        if isinstance(outcome, CascadeError):
            raise outcome
        slot.number = None
        return outcome  # type: ignore[no-any-return] # from ``_serve``

    def _start(self) -> _Slot:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.source, self.plan))
        process.start()
        theirs.close()
        self.started.append(_Slot(process, ours))
        return self.started[-1]


def _serve(pipe: Connection, source: CascadeSource, plan: Plan) -> None:
    """Send None when the cascade is built, or its error; then run tasks until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one stops it
    Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")  # what is not scored is counted in the trace
    with suppress(EOFError, BrokenPipeError):
        try:
            worker = Worker(source, plan)
        except Exception as error:  # noqa: BLE001 - of any class
            told = [] if isinstance(error, CascadeError) else [f"{type(error).__name__}: {error}"]
            pipe.send(CascadeError("a worker cannot make the cascade", told, fix="executor='serial'") if told else error)
            return
        pipe.send(None)
        while True:
            pipe.send(worker.run(pipe.recv()))


def _end_with_parent() -> None:
    """End this process when the one that started it is killed, also in the middle of a shard."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by signal {signal.Signals(-code).name}" + ", perhaps for want of memory" * (-code == signal.SIGKILL)
    return f"with exit code {code}"
