"""Runs shards on a Ray cluster: chains of actors, one actor for each group of stages, which are replaced when one of them dies."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.executors.actors import StageActor
from pt_cascade.execution.batch.executors.resources import LEAVES_JAVA_ITS_SIGNALS, check_feasible, group_stages, show_amounts
from pt_cascade.execution.batch.secrets import hide_values
from pt_cascade.execution.batch.shards import Outcome, Task

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Self, TypeAlias

    from pt_cascade.execution.batch.executors.resources import Resources
    from pt_cascade.execution.batch.plan import Plan
    from pt_cascade.execution.batch.source import CascadeSource

    Result: TypeAlias = str | Outcome | CascadeError

_START_SECONDS = 60.0  # until an actor has a place on a node
_START_FAILURES = 3
_CAUSE = re.compile(r"The actor is dead because (?:its worker process has died\. )?(.*)")


@dataclass(eq=False)
class _Chain:
    """An actor for each group of stages, and the shards on their way through them, the oldest first, each with its result."""

    actors: list[ray.actor.ActorHandle]
    started: Future[Result]
    ready: bool = False
    running: deque[tuple[Task, Future[Result]]] = field(default_factory=deque)

    @property
    def next(self) -> Future[Result]:
        """What it will give next: the result of its oldest shard, or that it has started."""
        return self.running[0][1] if self.running else self.started


class RayCluster:
    """Runs tasks on a Ray cluster that is there, else on this machine; see ``Executor``.

    Each of ``workers`` chains takes as many shards as it has actors, so that all of them have work. A chain in which an actor
    dies is replaced: its oldest shard is the one that failed, the others start again.
    """

    def __init__(self, source: CascadeSource, plan: Plan, workers: int, resources: Resources | None) -> None:
        """Check the resources; nothing is started."""
        self.source, self.plan, self.workers = source, plan, workers
        self.groups = group_stages(plan.stages, resources, plan.settings.threads)
        self.slots = workers * len(self.groups)
        self.chains: list[_Chain] = []
        self.queue: deque[Task] = deque()
        self.failures = 0
        self.connected = False

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the actors; leave the cluster, and stop it if it was started here."""
        for chain in [*self.chains]:
            self._stop(chain)
        if self.connected:
            ray.shutdown()

    def submit(self, task: Task) -> None:
        """Take a task; the first one starts the actors."""
        if not self.chains:
            self._connect()
        self.queue.append(task)

    def wait(self) -> Outcome:
        """Wait for the oldest shard of any chain."""
        while True:
            self._assign()
            limit = None if any(chain.ready for chain in self.chains) else _START_SECONDS
            waited = {chain.next: chain for chain in self.chains if chain.running or not chain.ready}
            done, _ = wait(waited, limit, FIRST_COMPLETED)  # ray.wait would change the exit code of a signal's handler
            if not done:
                raise self._no_place()
            if (outcome := self._take(waited[done.pop()])) is not None:
                return outcome

    def _connect(self) -> None:
        """Connect to the cluster of this session, of RAY_ADDRESS or of this machine, else start one, and start the actors."""
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            before = signal.getsignal(signal.SIGTERM)
            ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
            self.connected = True
            if callable(before) and signal.getsignal(signal.SIGTERM) is not before:
                signal.signal(signal.SIGTERM, before)  # Ray puts its own in place of the command's
        check_feasible(self.groups, self.workers, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        for _ in range(self.workers):
            self._start()

    def _assign(self) -> None:
        """Give waiting tasks to the chains that have started and have least to do."""
        while self.queue:
            free = [chain for chain in self.chains if chain.ready and len(chain.running) < len(self.groups)]
            if not free:
                return
            chain, task = min(free, key=lambda chain: len(chain.running)), self.queue.popleft()
            result = ray.put(task)
            for actor in chain.actors:
                result = actor.run.remote(result)
            chain.running.append((task, result.future()))

    def _take(self, chain: _Chain) -> Outcome | None:
        """Take what a chain has ready; None if that is no outcome."""
        try:
            result = chain.next.result()
        except RayError as error:
            return self._replace(chain, _describe(error))
        if isinstance(result, CascadeError):
            raise result
        if isinstance(result, Outcome):
            chain.running.popleft()
            return result
        chain.ready, self.failures = True, 0
        return None

    def _replace(self, chain: _Chain, problem: str) -> Outcome | None:
        """Start a chain in place of one that is broken; its oldest shard has failed, the others wait again."""
        self._stop(chain)
        self.failures += not chain.ready
        if self.failures > _START_FAILURES:
            raise CascadeError(
                "no worker can be started on the cluster", [problem], fix="install pt_cascade on all nodes, as it is here"
            )
        self._start()
        tasks = [task for task, _ in chain.running]
        self.queue.extendleft(reversed(tasks[1:]))
        return Outcome(tasks[0].number, {}, problem) if tasks else None

    def _start(self) -> None:
        source, folder = cloudpickle.dumps(self.source), str(Path.cwd())
        environment = {"env_vars": dict([LEAVES_JAVA_ITS_SIGNALS])}
        actors, started = [], ray.put("")
        for group in self.groups:
            remote = ray.remote(StageActor).options(max_restarts=0, runtime_env=environment, **group.options)
            actors.append(remote.remote(source, self.plan, group, folder, sys.path))
            started = actors[-1].start.remote(started)
        self.chains.append(_Chain(actors, started.future()))

    def _stop(self, chain: _Chain) -> None:
        self.chains.remove(chain)
        for actor in chain.actors:
            with suppress(RayError):
                ray.kill(actor)

    def _no_place(self) -> CascadeError:
        needs = [f"a worker needs {show_amounts(group.needs)} up to stage {group.last!r}" for group in self.groups]
        left = ray.available_resources()
        free = {name: left.get(name, 0) for group in self.groups for name in group.needs}
        problems = [
            f"no worker got a place in {_START_SECONDS:.0f} s",
            *needs,
            f"all nodes together have {show_amounts(free)} left",
        ]
        return CascadeError("the cluster is full", problems, fix="wait until its other jobs end, then start the same command again")


def _describe(error: RayError) -> str:
    """Say in one line why a worker failed."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    found = _CAUSE.search(str(cause))
    return hide_values(f"the worker on the cluster failed: {(found[1] if found else str(cause).strip().splitlines()[-1]):.300}")
