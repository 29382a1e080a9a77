"""Runs the shards of a plan by an executor: each until it is finished, or has failed as often as is allowed."""

from __future__ import annotations

import io
import time
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
from tqdm import tqdm

from pt_cascade.errors import ShardError, few, warn
from pt_cascade.execution.batch.shards import TRACE, Task
from pt_cascade.execution.batch.storage.attempts import DIED
from pt_cascade.numbers import count_of
from pt_cascade.progress import seconds_left, show_note, show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pt_cascade.execution.batch.executors.local import Executor
    from pt_cascade.execution.batch.journal import Journal
    from pt_cascade.execution.batch.plan import Plan
    from pt_cascade.execution.batch.storage.folder import BatchFolder
    from pt_cascade.ranking import Ints

MOST_FAILED = 10  # attempts in a row


@dataclass
class ShardLoop:
    """The shards of one call.

    Attributes:
        folder: Where finished shards and attempts are.
        plan: The plan of the run.
        topics: All topics.
        parts: The rows of each shard by its number.
        max_attempts: How often a shard is tried.
        journal: The log.
        waiting: The numbers of the shards to run.
        running: When each shard began that runs now.
        isolated: The numbers of the shards that are not tried again.
        failed_in_a_row: How many attempts have failed since one succeeded.
        ms: The milliseconds of each stage in the shards that this call has finished.
    """

    folder: BatchFolder
    plan: Plan
    topics: pd.DataFrame
    parts: Mapping[int, Ints]
    max_attempts: int
    journal: Journal
    waiting: deque[int] = field(default_factory=deque)
    running: dict[int, float] = field(default_factory=dict)
    isolated: list[int] = field(default_factory=list)
    failed_in_a_row: int = 0
    ms: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        """Find the shards that are not finished; those that are damaged are removed."""
        for n in self.parts:
            if self.folder.is_finished(n) and (problem := self.folder.drop_damaged(n)):
                warn(f"{problem}; the shard is run again")
            if not self.folder.is_finished(n):
                again = len(self.folder.attempts(n)) < self.max_attempts
                (self.waiting if again else self.isolated).append(n)

    def run(self, executor: Executor, *, shown: bool) -> None:
        """Run the shards; raise one error for those that failed in each attempt, when the others are finished."""
        left = sum(self.plan.shards[n].queries for n in [*self.waiting, *self.isolated])
        total = sum(self.plan.shards[n].queries for n in self.parts)
        self.journal.note("started", cascade=self.plan.cascade["cascade"], queries=total, queries_finished=total - left)
        with show_progress("run", "query", total, done=total - left, shown=shown) as bar, self._withdrawing():
            while self.waiting or self.running:
                while self.waiting and len(self.running) < executor.slots:
                    self._submit(executor)
                bar.update(self._take(executor))
                if shown and self.ms:
                    show_note(self.tell_stages(seconds_left(bar)))
        if self.isolated:
            raise self._failure()

    def _submit(self, executor: Executor) -> None:
        """Begin a shard."""
        n = self.waiting.popleft()
        self.folder.attempts(n).begin()
        self.running[n] = time.monotonic()
        self.journal.note("shard_started", shard=n, attempt=len(self.folder.attempts(n)))
        executor.submit(Task(n, self.topics.take(self.parts[n])))

    def _take(self, executor: Executor) -> int:
        """Wait for a shard; return how many queries it finished."""
        outcome = executor.wait()
        n = outcome.number
        seconds = round(time.monotonic() - self.running[n], 3)
        if not outcome.error:
            self.folder.write_shard(n, outcome.files)
            del self.running[n]
            self.failed_in_a_row = 0
            trace = pd.read_parquet(io.BytesIO(outcome.files[TRACE]), columns=["stage", "ms"])
            for stage, ms in trace.groupby("stage")["ms"].sum().items():
                self.ms[str(stage)] += ms
            self.journal.note("shard_finished", shard=n, queries=self.plan.shards[n].queries, seconds=seconds)
            return self.plan.shards[n].queries
        del self.running[n]
        attempts = self.folder.attempts(n)
        attempts.fail(outcome.error)
        again = len(attempts) < self.max_attempts
        (self.waiting if again else self.isolated).append(n)
        self.journal.note("shard_failed", shard=n, attempt=len(attempts), seconds=seconds, error=outcome.error)
        warn(f"shard {n} failed, and is {'' if again else 'not '}tried again: {outcome.error}")
        self.failed_in_a_row += 1
        if self.failed_in_a_row >= MOST_FAILED:
            problem = f"the last attempt, at shard {n}: {outcome.error}"
            what = f"{MOST_FAILED} attempts failed one after the other, so the run is stopped"
            raise ShardError(what, [problem], fix="mend the cause, and start the command again")
        return 0

    def tell_stages(self, seconds: float) -> str:
        """Say how much of the seconds that are left each stage takes, by its share of the time up to now."""
        whole = sum(self.ms.values()) or 1.0
        times = [f"{name} {tqdm.format_interval(seconds * self.ms.get(name, 0.0) / whole)}" for name in self.plan.stages]
        return f"left: {', '.join(times)}"

    @contextmanager
    def _withdrawing(self) -> Iterator[None]:
        """Do not count the attempts at shards that the end of this call interrupts."""
        try:
            yield
        except BaseException as error:
            for n in self.running:
                self.folder.attempts(n).withdraw()
            shards = sum(self.folder.is_finished(n) for n in self.parts)
            error.add_note(f"{shards:,} of {len(self.parts):,} shards are finished and saved: the same command goes on")
            self.journal.note("stopped", error=type(error).__name__, shards_finished=shards)
            raise

    def _failure(self) -> ShardError:
        shown = []
        for n in sorted(self.isolated):
            shard, attempts = self.plan.shards[n], self.folder.attempts(n)
            queries = f"{shard.queries} queries from qid {shard.first!r} to {shard.last!r}"
            shown.append(f"shard {n}, {queries}, failed {len(attempts)} times: {attempts.last_error or DIED}")
        what = f"{len(shown)} of {count_of(len(self.plan.shards), 'shard')} failed; the others are finished in {self.folder.path}"
        return ShardError(what, few(shown), fix=f"mend the cause, and start again with max_attempts={2 * self.max_attempts}")
