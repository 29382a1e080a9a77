"""Runs a cascade over many queries into a folder; a run that was stopped is resumed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pt_cascade.errors import CascadeError, ShardError, few, require, warn
from pt_cascade.execution.batch.executors import Executor, Processes, Serial
from pt_cascade.execution.batch.folder import BatchFolder, open_folder
from pt_cascade.execution.batch.merging import merge_shards
from pt_cascade.execution.batch.plan import make_plan, make_settings
from pt_cascade.execution.batch.shards import Task, Worker, limit_threads
from pt_cascade.execution.batch.source import CascadeSource, find_source
from pt_cascade.files import to_path
from pt_cascade.frames import canonical_input
from pt_cascade.numbers import is_whole
from pt_cascade.progress import show_progress

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import pyterrier as pt

    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.batch.cluster.resources import Resources
    from pt_cascade.execution.batch.plan import Plan

EXECUTORS = ("serial", "processes", "ray")


@dataclass(frozen=True)
class BatchRun:
    """A run in a folder.

    Attributes:
        folder: Holds ``manifest.json``, the shards and the results.
        counts: The counts of queries, of those without results, and for each stage of what it did not score; empty for a part
            of the shards.
    """

    folder: Path
    counts: Mapping[str, object]

    @property
    def results(self) -> Path:
        """The folder of ``run.res.gz``, the rankings of the prefixes, and ``trace.parquet``."""
        return self.folder / "results"


def run_batch(  # noqa: PLR0913 - options, each with a default
    cascade: pt.Transformer | Callable[[], pt.Transformer] | CascadeSource | str,
    topics: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    collection: str | None = None,
    executor: Literal["serial", "processes", "ray"] = "serial",
    workers: int = 1,
    resources: Resources | None = None,
    threads: int = 1,
    shard_queries: int = 100,
    query_batch_size: int = 100,
    prefixes: Sequence[str] | Literal["all"] = (),
    tail: Tail | None = None,
    tag: str = "pt_cascade",
    shard: tuple[int, int] | None = None,
    max_attempts: int = 3,
    fresh: bool = False,
    verbose: bool = False,
) -> BatchRun:
    """Run a cascade over many queries into a folder of TREC runs, which may be stopped and started again; ``run`` is for a frame.

    The same call resumes a run that was stopped. The files do not depend on the executor, the workers, or what was stopped.

    Args:
        cascade: A pipeline or Cascade; a line as for ``parse_cascade``; ``module:name`` of a pipeline or of a function that makes
            one; or such a function.
        topics: Frame[qid, query], or Frame[qid, query, docno, ...] of results to re-rank.
        out: The folder; made if it does not exist.
        collection: That of a line, see ``open_collection``.
        executor: ``serial``: in this process; ``processes``: in ``workers`` processes, which make the cascade for themselves;
            ``ray``: on the Ray cluster of RAY_ADDRESS or of this machine, else on this machine.
        workers: How many processes, 1 or more; with ``ray`` so many for each group of consecutive stages with equal resources.
        resources: With ``ray`` only: what a worker takes for a stage, by stage name, as ``{"mono_t5": {"num_gpus": 1}}``:
            ``num_cpus`` (default: ``threads``), ``num_gpus``, ``memory`` in bytes, or a resource of your nodes.
        threads: Threads that each worker computes on, 1 or more.
        shard_queries: Queries of a shard, which is what a run that was stopped loses at most; 1 or more.
        query_batch_size: Queries that pass the stages together, 1 or more; bounds the memory between stages.
        prefixes: Names of stages before the last whose ranking is written too, or ``all``.
        tail: As for ``run``.
        tag: The tag of the TREC run, one word.
        shard: ``(i, n)``: only the i-th of n parts of the shards, from 1; merge them with ``pt-cascade merge``.
        max_attempts: How often a shard that fails is tried, over all calls; 1 or more.
        fresh: Move a folder that is there aside, and start anew.
        verbose: Show progress.

    Returns:
        The folder and the counts.

    Raises:
        CascadeError: An argument is not valid; or the folder cannot be written, is used by another run, or holds a run of
            something else.
        ShardError: A shard failed in each attempt, after all others are finished.

    Warns:
        CascadeWarning: A shard was damaged, and is run again; a shard failed, and is tried again.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> folder = getfixture("tmp_path")
        >>> topics = pd.DataFrame({"qid": ["1", "2"], "query": ["q", "r"]})
        >>> found = pd.DataFrame({"qid": ["1", "1"], "query": "q", "docno": ["a", "b"], "score": [2.0, 1.0], "rank": [0, 1]})
        >>> done = run_batch(pt.Transformer.from_df(found) % 1, topics, folder / "run")
        >>> done.counts["queries"], done.counts["queries_without_results"]
        (2, 1)
    """
    _check(executor, workers, max_attempts, shard, resources)
    source = find_source(cascade, collection, {"tail": tail})
    if executor != "serial":
        source.check_portable(executor)
    topics = canonical_input(topics)
    with limit_threads(threads if is_whole(threads, 1) else 1):
        built = source.build()
    settings = make_settings(built, shard_queries, query_batch_size, threads, prefixes, tag)
    plan, parts = make_plan(built, topics, settings)
    folder = open_folder(out, fresh=fresh)
    with folder.lock("" if shard is None else f"{shard[0]}-of-{shard[1]}"):
        folder.resume(plan)
        mine = [n for n in range(len(parts)) if shard is None or n % shard[1] == shard[0] - 1]
        with _make_executor(executor, source, plan, built, workers, resources) as here:
            _run_shards(folder, plan, here, {n: parts[n] for n in mine}, max_attempts, shown=verbose)
        counts = merge_shards(folder, plan) if shard is None else {}
    return BatchRun(folder.path, counts)


def merge_folder(out: str | os.PathLike[str]) -> BatchRun:
    """Make the results of a folder whose shards are all finished, unless they are there."""
    folder = BatchFolder(to_path(out))
    plan, _ = folder.read_manifest()
    with folder.lock():
        return BatchRun(folder.path, merge_shards(folder, plan))


def _run_shards(
    folder: BatchFolder, plan: Plan, executor: Executor, parts: Mapping[int, pd.DataFrame], max_attempts: int, *, shown: bool
) -> None:
    """Run all shards that are not finished; raise one error for those that fail in each attempt."""
    for n in parts:
        if folder.is_finished(n) and (problem := folder.drop_damaged(n)):
            warn(f"{problem}; the shard is run again")
    left = [n for n in parts if not folder.is_finished(n)]
    waiting = deque(n for n in left if len(folder.attempts(n)) < max_attempts)
    isolated = [n for n in left if n not in set(waiting)]
    queries = {n: plan.shards[n].queries for n in parts}
    total, done = sum(queries.values()), sum(queries[n] for n in parts if folder.is_finished(n))
    running: set[int] = set()
    with show_progress("run", "query", total, done=done, shown=shown) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < executor.slots:
                    n = waiting.popleft()
                    folder.attempts(n).begin()
                    running.add(n)
                    executor.submit(Task(n, parts[n]))
                outcome = executor.wait()
                n = outcome.number
                if outcome.error:
                    running.discard(n)
                    folder.attempts(n).fail(outcome.error)
                    again = len(folder.attempts(n)) < max_attempts
                    (waiting if again else isolated).append(n)
                    warn(f"shard {n} failed, {'and is tried again' if again else 'and is not tried again'}: {outcome.error}")
                else:
                    folder.write_shard(n, outcome.files)
                    running.discard(n)
                    done += queries[n]
                    bar.update(queries[n])
        except BaseException as error:  # none of these shards is the cause
            for n in running:
                folder.attempts(n).withdraw()
            error.add_note(f"{done:,} of {total:,} queries are finished and saved: the same command goes on")
            raise
    if isolated:
        raise _failure(folder, plan, sorted(isolated), max_attempts)


def _failure(folder: BatchFolder, plan: Plan, isolated: Sequence[int], max_attempts: int) -> ShardError:
    shown = [
        f"shard {n}, {plan.shards[n].queries} queries from qid {plan.shards[n].first!r} to {plan.shards[n].last!r}: "
        f"{folder.attempts(n).last_error}"
        for n in isolated
    ]
    what = f"{len(isolated)} of {len(plan.shards)} shard(s) failed {max_attempts} times; the others are finished in {folder.path}"
    return ShardError(what, few(shown), fix=f"mend the cause, then run(..., max_attempts={2 * max_attempts})")


def _make_executor(
    executor: str, source: CascadeSource, plan: Plan, built: Cascade, workers: int, resources: Resources | None
) -> Executor:
    if executor == "serial":
        return Serial(Worker(source, plan, built))
    if executor == "processes":
        return Processes(source, plan, workers)
    require("ray", install="'pt_cascade[ray]'", why="executor='ray'")
    from pt_cascade.execution.batch.cluster.executor import RayCluster  # noqa: PLC0415 - ray is an extra

    return RayCluster(source, plan, workers, resources)


def _check(executor: str, workers: int, max_attempts: int, shard: tuple[int, int] | None, resources: Resources | None) -> None:
    """Refuse options that are not valid, all at once."""
    problems = [] if executor in EXECUTORS else [f"executor is {executor!r}, expected one of {', '.join(EXECUTORS)}"]
    counts = {"workers": workers, "max_attempts": max_attempts}
    problems += [f"{name} is {value!r}, expected 1 or more" for name, value in counts.items() if not is_whole(value, least=1)]
    if executor == "serial" and workers != 1:
        problems.append(f"workers is {workers}, but executor='serial' runs in this process")
    if executor != "ray" and resources is not None:
        problems.append(f"resources are given, which executor={executor!r} does not know")
    if shard is not None:
        valid = isinstance(shard, tuple) and len(shard) == 2 and all(is_whole(n, least=1) for n in shard) and shard[0] <= shard[1]  # noqa: PLR2004
        problems += [] if valid else [f"shard is {shard!r}, expected (i, n) with i from 1 to n"]
    if problems:
        raise CascadeError("the run cannot start", problems, fix="run_batch(cascade, topics, out, executor='processes', workers=4)")
