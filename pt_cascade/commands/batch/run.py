"""``pt-cascade run``: a cascade over many queries, into a folder of TREC runs."""

from __future__ import annotations

import math
import os
import re
import signal
import sys
from argparse import ArgumentTypeError
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.collections import open_collection
from pt_cascade.commands.cascades import COLLECTIONS, add_options, count, find_topics
from pt_cascade.commands.paths import check_inputs
from pt_cascade.errors import CascadeError, require
from pt_cascade.execution.batch.batch_run import EXECUTORS, PlannedRun, plan_batch, run_batch
from pt_cascade.execution.batch.forecast import Forecast, forecast_run
from pt_cascade.execution.batch.plan import Settings
from pt_cascade.execution.batch.source import CascadeSource, find_source
from pt_cascade.execution.batch.storage.merging import show_counts
from pt_cascade.progress import write_above
from pt_cascade.reporting.tables import format_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from pt_cascade.cascade import Cascade
    from pt_cascade.experiments.cascade_file import CascadeFile

_ROW = 300  # bytes of qid, query, docno, score and rank, with the copies that a stage makes
_TERMINATED = 128 + signal.SIGTERM

EXAMPLES = """\
pt-cascade run "bm25 % 100 >> bi_encoder % 10" --collection pydocs --out run
pt-cascade run module:pipeline --topics topics.tsv --out run --workers 2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "cascade", metavar="CASCADE", help="a line, see pt-cascade stages; a .yaml file; or module:name of a pipeline or function"
    )
    parser.add_argument("--collection", help=f"that of a line, and of the topics: {COLLECTIONS}")
    parser.add_argument("--engine", choices=("pisa", "terrier"), help="the BM25 engine of a line (default: pisa if installed)")
    parser.add_argument("--topics", metavar="FILE", help="also queries.jsonl or a folder (default: those of the collection)")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="the folder of the run; one that was stopped goes on")
    parser.add_argument("--fresh", action="store_true", help="move a run that is there aside, and start anew")
    parser.add_argument("--executor", choices=EXECUTORS, default="serial", help="where shards run (default: serial)")
    parser.add_argument("--workers", type=count, default=1, help="how many processes (default: 1)")
    parser.add_argument(
        "--resources",
        nargs="+",
        type=_resource,
        metavar="STAGE=NAME:N,...",
        help="with ray, what a worker takes for a stage, as mono_t5=num_gpus:1",
    )
    parser.add_argument("--threads", type=count, default=1, help="threads of a worker (default: 1)")
    parser.add_argument("--shard", type=_part, metavar="I/N", help="only the I-th of N parts, see pt-cascade merge")
    parser.add_argument("--shard-queries", type=count, default=100, help="queries of a shard (default: 100)")
    parser.add_argument("--query-batch-size", type=count, default=100, help="queries that pass the stages together (default: 100)")
    parser.add_argument("--prefixes", nargs="+", default=(), metavar="STAGE", help="write their rankings too; all: of all stages")
    parser.add_argument("--tail", choices=("drop", "keep"), help="drop removed documents, or rank them below the others")
    parser.add_argument("--tag", default="pt_cascade", help="of the TREC run (default: pt_cascade)")
    parser.add_argument("--score-cache", metavar="FOLDER", help="store the scores of each stage, for other runs")
    parser.add_argument("--max-attempts", type=count, default=3, help="how often a shard that fails is tried (default: 3)")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and what it will take; run and write nothing")
    parser.add_argument("--timings", metavar="FILE", help="for --dry-run: the times of the stages, of pt-cascade profile")
    parser.add_argument("--energy", action="store_true", help="measure the energy of this machine, for run.ir_metadata")
    parser.add_argument("--log", metavar="FILE", help="append a line of JSON for each event")
    add_options(parser)


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Run, and say where the results are."""
    options = {"tail": arguments.tail, "on_error": arguments.on_error}
    if arguments.time_limit_ms is not None:
        options["time_limit_ms"] = dict(arguments.time_limit_ms)
    if arguments.cascade.endswith((".yaml", ".yml")):
        source, collection = _read_source(arguments, options)
    else:
        source = find_source(arguments.cascade, arguments.collection, options, engine=arguments.engine)
        collection = arguments.collection
    topics = _read_topics(arguments, collection)
    if arguments.dry_run:
        settings = Settings(
            *(getattr(arguments, name) for name in ("shard_queries", "query_batch_size", "threads", "prefixes", "tag"))
        )
        planned = plan_batch(source, topics, settings)
        cost = None if arguments.timings is None else Timings.load(arguments.timings).cost()
        yield from _show_plan(planned, forecast_run(planned.cascade, planned.plan, cost), arguments.workers)
        return
    arguments.resources = dict(arguments.resources or ()) or None
    names = (
        "executor",
        "workers",
        "resources",
        "threads",
        "shard",
        "shard_queries",
        "query_batch_size",
        "prefixes",
        "tag",
        "score_cache",
        "max_attempts",
        "fresh",
        "energy",
        "log",
    )
    with _ending_on_sigterm():
        given = {name: getattr(arguments, name) for name in names}
        done = run_batch(source, topics, arguments.out, collection=collection, verbose=True, **given)
    if not done.counts:
        yield f"part {arguments.shard[0]} of {arguments.shard[1]} is finished; when all are: pt-cascade merge {arguments.out}"
        return
    yield show_counts(done.counts)
    yield f"in {done.results}: {', '.join(sorted(file.name for file in done.results.iterdir()))}"


def _show_plan(planned: PlannedRun, forecast: Forecast, workers: int) -> Iterator[str]:
    """Say what a run would do, and what it would take."""
    plan, settings = planned.plan, planned.plan.settings
    queries = sum(shard.queries for shard in plan.shards)
    yield plan.cascade["cascade"]
    yield f"{queries:,} queries in {len(plan.shards):,} shard(s), {settings.query_batch_size:,} through the stages together"
    yield f"{workers:,} worker(s) of {settings.threads:,} thread(s); this machine has {os.cpu_count()} processors\n"
    formats = {"docs in, at most": "{:,.0f}".format, "pairs in all, at most": "{:,.0f}".format}
    names = dict(zip(("docs_in", "pairs"), formats, strict=True))
    yield f"{format_table(forecast.stages.rename(columns=names), formats)}\n"
    if not math.isnan(forecast.rows):
        yield f"memory: about {forecast.rows * _ROW / 1e6:,.0f} MB a worker between stages, beside indexes, models and texts"
    if math.isnan(forecast.seconds):
        yield "time and money: give the --timings of pt-cascade profile"
    else:
        yield f"time: {tqdm.format_interval(forecast.seconds / workers)} by the timings, without the loading of indexes and models"
    if not math.isnan(forecast.usd):
        yield f"money: {forecast.usd:,.2f} US dollars"
    yield "nothing was run or written"


def _read_source(arguments: argparse.Namespace, options: Mapping[str, object]) -> tuple[CascadeSource, str]:
    """Return the source of a cascade in a YAML file, and its collection."""
    if given := [f"--{name} is given, and stands in the file" for name in ("collection", "engine") if getattr(arguments, name)]:
        raise CascadeError(f"{arguments.cascade} cannot be run so", given, fix=f"change it in {arguments.cascade}")
    require("pydantic", install="'pt_cascade[experiments]'", why="a cascade in a YAML file")
    from pt_cascade.experiments.cascade_file import find_collection, read_cascade  # noqa: PLC0415 - of an extra

    file = read_cascade(arguments.cascade)
    collection = find_collection(file.collection, Path(arguments.cascade))
    return find_source(partial(_build, file, collection), None, options), collection


def _build(file: CascadeFile, collection: str) -> Cascade:
    return file.build(open_collection(collection))


def _read_topics(arguments: argparse.Namespace, collection: str | None) -> pd.DataFrame:
    check_inputs(("--topics", arguments.topics), ("--timings", arguments.timings))
    if arguments.topics is not None:
        return find_topics(Path(arguments.topics))
    if collection is None:
        raise CascadeError("there are no topics", ["neither --topics nor --collection is given"], fix="--collection pydocs")
    return open_collection(collection).topics


def _part(text: str) -> tuple[int, int]:
    """Read the value of ``--shard``."""
    found = re.fullmatch("([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, such as 2/10")
    return int(found[1]), int(found[2])


def _resource(text: str) -> tuple[str, dict[str, float]]:
    """Read a value of ``--resources``."""
    stage, _, needs = text.partition("=")
    if not re.fullmatch(r"[^=:,]+=([^=:,]+:[0-9]{1,15}(\.[0-9]{1,9})?)(,[^=:,]+:[0-9]{1,15}(\.[0-9]{1,9})?)*", text):
        raise ArgumentTypeError(f"{text!r} is not STAGE=NAME:N,... such as mono_t5=num_gpus:1,num_cpus:4")
    return stage, {name: float(amount) for name, _, amount in (need.partition(":") for need in needs.split(","))}


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """End as Ctrl-C does, with a scheduler's exit code, so that what runs is not counted as failed."""

    def end(*_: object) -> None:
        write_above("pt-cascade run: terminated; the same command goes on")
        sys.exit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
