"""Runs a cascade over many queries into a folder; a run that was stopped is resumed."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pt_cascade.errors import CascadeError, require
from pt_cascade.execution.batch.executors.local import Executor, Processes, Serial
from pt_cascade.execution.batch.executors.resources import LEAVES_JAVA_ITS_SIGNALS
from pt_cascade.execution.batch.journal import open_journal
from pt_cascade.execution.batch.plan import Settings, make_plan
from pt_cascade.execution.batch.provenance.calls import note_call
from pt_cascade.execution.batch.provenance.metadata import describe_stages, write_metadata
from pt_cascade.execution.batch.shard_loop import ShardLoop
from pt_cascade.execution.batch.shards import Worker, limit_threads
from pt_cascade.execution.batch.source import CascadeSource, find_source
from pt_cascade.execution.batch.storage.folder import BatchFolder, open_folder
from pt_cascade.execution.batch.storage.merging import merge_shards
from pt_cascade.files import to_path
from pt_cascade.frames import canonical_input
from pt_cascade.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import pyterrier as pt

    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.batch.executors.resources import Resources
    from pt_cascade.execution.batch.plan import Plan
    from pt_cascade.ranking import Ints

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
    prefixes: Sequence[str] = (),
    tail: Tail | None = None,
    tag: str = "pt_cascade",
    score_cache: str | os.PathLike[str] | None = None,
    shard: tuple[int, int] | None = None,
    max_attempts: int = 3,
    fresh: bool = False,
    energy: bool = False,
    log: str | os.PathLike[str] | None = None,
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
        resources: With ``ray``: what a worker takes for a stage, by stage name, as ``{"mono_t5": {"num_gpus": 1}}``:
            ``num_cpus`` (default: ``threads``), ``num_gpus``, ``memory`` in bytes, or a resource that your nodes declare.
        threads: Threads that each worker computes on, 1 or more.
        shard_queries: Queries of a shard, which is what a run that was stopped loses at most; 1 or more.
        query_batch_size: Queries that pass the stages together, 1 or more; bounds the memory between stages.
        prefixes: Names of stages before the last whose ranking is written too; ``["all"]``: of all of them.
        tail: As for ``run``.
        tag: The tag of the TREC run, one word.
        score_cache: A folder that keeps the scores of re-ranking stages for other runs, as for ``score``.
        shard: ``(i, n)``: only the i-th of n parts of the shards, from 1; merge them with ``pt-cascade merge``.
        max_attempts: How often a shard that fails is tried, over all calls; 1 or more.
        fresh: Move a folder that is there aside, and start anew.
        energy: Measure the energy of this machine by tirex-tracker, for ``run.ir_metadata``.
        log: A file to which a line of JSON is appended for each event.
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
    _check(executor, workers, resources, max_attempts, shard)
    if energy:
        require("tirex_tracker", install="'pt_cascade[tracking]'", why="energy=True")
    settings = Settings(shard_queries, query_batch_size, threads, prefixes, tag)
    source = find_source(cascade, collection, {"tail": tail})
    planned = plan_batch(replace(source, score_cache=score_cache), topics, settings)
    if executor != "serial":
        planned.source.check_portable(executor)
    journal, folder = open_journal(log), open_folder(out, fresh=fresh)
    with folder.lock("" if shard is None else f"{shard[0]}-of-{shard[1]}"):
        folder.resume(planned.plan)
        parts = {n: part for n, part in enumerate(planned.parts) if shard is None or n % shard[1] == shard[0] - 1}
        loop = ShardLoop(folder, planned.plan, planned.topics, parts, max_attempts, journal)
        about = {"executor": executor, "workers": workers, "threads": threads, "resources": resources, "shard": shard}
        stages = describe_stages(planned.cascade)
        noted = note_call(folder.path, about, stages, collection, energy=energy) if loop.waiting else nullcontext()
        where = executor if loop.waiting else "serial"  # no workers for nothing
        with noted, _open_executor(where, planned, min(workers, len(loop.waiting)), resources) as opened:
            loop.run(opened, shown=verbose)
        counts = _merge(folder, planned.plan) if shard is None else {}
        journal.note("finished", **counts)
    return BatchRun(folder.path, counts)


@dataclass(frozen=True)
class PlannedRun:
    """A run that has not begun: the cascade and what makes it again, the plan, the topics, and the rows of each shard."""

    source: CascadeSource
    cascade: Cascade
    plan: Plan
    topics: pd.DataFrame
    parts: Sequence[Ints]


def plan_batch(source: CascadeSource, topics: pd.DataFrame, settings: Settings) -> PlannedRun:
    """Make the cascade and the plan of a run."""
    frame = canonical_input(topics)
    with limit_threads(settings.threads if is_whole(settings.threads, 1) else 1):
        built = source.build()
    plan, parts = make_plan(built, frame, settings)
    return PlannedRun(source, built, plan, frame, parts)


def merge_folder(out: str | os.PathLike[str]) -> BatchRun:
    """Make the results of a folder whose shards are all finished, unless they are there."""
    folder = BatchFolder(to_path(out))
    plan, _ = folder.read_manifest()
    with folder.lock():
        return BatchRun(folder.path, _merge(folder, plan))


def _merge(folder: BatchFolder, plan: Plan) -> dict[str, object]:
    """Make the results and the side file; return the counts."""
    counts = merge_shards(folder, plan)
    write_metadata(folder.path, plan, counts)
    return counts


def _open_executor(name: str, planned: PlannedRun, workers: int, resources: Resources | None) -> Executor:
    """Return what runs the shards."""
    if name == "serial":
        return Serial(Worker(planned.source, planned.plan, planned.cascade))
    if name == "ray":
        require("ray", install="'pt_cascade[ray]'", why="executor='ray'")
        os.environ.setdefault(*LEAVES_JAVA_ITS_SIGNALS)  # before ray is imported
        from pt_cascade.execution.batch.executors.cluster import RayCluster  # noqa: PLC0415 - ray is an extra

        return RayCluster(planned.source, planned.plan, workers, resources)
    return Processes(planned.source, planned.plan, workers)


def _check(executor: str, workers: int, resources: Resources | None, max_attempts: int, shard: tuple[int, int] | None) -> None:
    """Refuse options that are not valid, all at once."""
    problems = [] if executor in EXECUTORS else [f"executor is {executor!r}, expected one of {', '.join(EXECUTORS)}"]
    counts = {"workers": workers, "max_attempts": max_attempts}
    problems += [f"{name} is {value!r}, expected 1 or more" for name, value in counts.items() if not is_whole(value, least=1)]
    if executor == "serial" and workers != 1:
        problems.append(f"workers is {workers}, but executor='serial' runs in this process")
    if executor != "ray" and resources:
        problems.append(f"resources are given, but executor={executor!r} has none")
    if shard is not None:
        valid = isinstance(shard, tuple) and len(shard) == 2 and all(is_whole(n, least=1) for n in shard) and shard[0] <= shard[1]  # noqa: PLR2004
        problems += [] if valid else [f"shard is {shard!r}, expected (i, n) with i from 1 to n"]
    if problems:
        raise CascadeError("the run cannot start", problems, fix=f"executor={'ray' if resources else 'processes'!r}, workers=4")
