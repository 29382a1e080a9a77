"""Runs the queries of one shard, and returns the files that hold its rankings and its trace."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pandas as pd
from threadpoolctl import threadpool_limits

from pt_cascade.cascade.steps import warn_unscored
from pt_cascade.errors import CascadeError
from pt_cascade.execution.batch.plan import Plan, describe_cascade
from pt_cascade.execution.batch.secrets import hide_values
from pt_cascade.execution.runner import Passage, refuse_whole, split_queries
from pt_cascade.trec.files import pack
from pt_cascade.trec.runs import format_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.batch.source import CascadeSource

T = TypeVar("T")
TRACE = "trace.parquet"
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """A shard to be run: its number in the plan, and its topics."""

    number: int
    topics: pd.DataFrame


@dataclass(frozen=True)
class Outcome:
    """What became of a task: the shard's files by name, or the error."""

    number: int
    files: dict[str, bytes]
    error: str = ""


class Worker:
    """Runs shards; it builds its cascade once, and refuses one that is not the plan's."""

    def __init__(self, source: CascadeSource, plan: Plan, cascade: Cascade | None = None) -> None:
        """Build the cascade and compare it with the plan, unless it is that of the plan."""
        self.plan = plan
        if cascade is not None:
            self.cascade = cascade
            return
        with limit_threads(plan.settings.threads):
            self.cascade = source.build()
        found = Plan(describe_cascade(self.cascade), plan.settings, plan.topics, plan.shards)
        if problems := found.differences(plan):
            fix = "use the same packages, models and indexes for all workers"
            raise CascadeError("a worker has another cascade than the plan", problems, fix=fix)

    def run(self, task: Task) -> Outcome:
        """Run a shard; an error of a stage is part of the outcome."""
        return self.attempt(task.number, lambda: Outcome(task.number, run_shard(self.cascade, task.topics, self.plan)))

    def attempt(self, number: int, work: Callable[[], T]) -> T | Outcome:
        """Do a part of a shard's work on the threads of the plan; an error of a stage becomes an outcome."""
        try:
            with limit_threads(self.plan.settings.threads):
                return work()
        except Exception as error:  # noqa: BLE001 - of any class, as it comes from a stage
            text = str(error) if isinstance(error, CascadeError) else f"{type(error).__name__}: {error}"
            return Outcome(number, {}, hide_values(text))


def run_shard(cascade: Cascade, topics: pd.DataFrame, plan: Plan) -> dict[str, bytes]:
    """Run the queries of a shard, one batch of the plan after the other; return its files by name."""
    passages = start_shard(topics, plan)
    return finish_shard(cascade, (advance(cascade, passage, plan.stages[-1]) for passage in passages), plan)


def start_shard(topics: pd.DataFrame, plan: Plan) -> list[Passage]:
    """Return the batches of a shard, before the first stage."""
    return [Passage(batch, plan.settings.prefixes) for batch in split_queries(topics, plan.settings.query_batch_size)]


def advance(cascade: Cascade, passage: Passage, last: str) -> Passage:
    """Run the stages of a batch up to the one named ``last``."""
    passage.advance(cascade, last)
    refuse_whole(cascade)
    return passage


def finish_shard(cascade: Cascade, passages: Iterable[Passage], plan: Plan) -> dict[str, bytes]:
    """Return the files of a shard by name, from its batches after the last stage."""
    files, settings = plan.settings.files(plan.stages), plan.settings
    packed = dict.fromkeys(files.values(), b"")
    traces = []
    for passage in passages:
        done, found = passage.finish(cascade)
        for stage, results in [*found.items(), ("", done.results)]:
            tag = f"{settings.tag}-{'_'.join(stage.split())}" if stage else settings.tag
            packed[files[stage]] += pack(format_run(results, files[stage], tag))
        traces.append(done.trace)
    trace = pd.concat(traces, ignore_index=True)
    warn_unscored([trace[trace["unscored"] > 0]])
    return {**packed, TRACE: trace.to_parquet(index=False)}


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Compute on some threads: of libraries that are loaded, and by their environment variables of those that load meanwhile."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    torch = sys.modules.get("torch")
    own = torch.get_num_threads() if torch else 0
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    try:
        with threadpool_limits(threads):
            if torch:
                torch.set_num_threads(threads)
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        if torch := sys.modules.get("torch"):  # if it loaded meanwhile, it has only the threads of the plan
            usual = os.environ.get("OMP_NUM_THREADS", "")
            torch.set_num_threads(own or (int(usual) if usual.isdecimal() else len(os.sched_getaffinity(0))))
