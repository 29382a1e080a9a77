"""``pt-cascade profile``: the times of each stage, to predict the cost of any cut-offs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import add_cascade, add_collection, build_cascade

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.analysis.cost.timings import Mode, Timings
    from pt_cascade.stages.indexing.engines import Engine


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    collection: str = "pydocs"
    engine: Engine | None = None
    queries: int | None = 20
    reranker: str | None = None
    repeats: int = 3
    mode: Mode = "interactive"
    out: str | None = None
    cascade: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_collection(parser)
    add_cascade(parser)
    parser.add_argument("--queries", type=int, default=20, help="how many judged queries (default: 20; p99 needs 100)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each query is run (default: 3)")
    parser.add_argument("--mode", choices=("interactive", "throughput"), default="interactive", help="one query at a time, or all")
    parser.add_argument("--out", metavar="FILE", help="save the timings to a parquet file, for Timings.load")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Profile the cascade; yield the paragraphs of the output."""
    options = {name: getattr(arguments, name) for name in Options.__dataclass_fields__}
    yield from show(Options(**options), verbose=True)


def show(options: Options, *, verbose: bool = False) -> Iterator[str]:
    """Profile a cascade over a collection, save the timings; yield the paragraphs of the output."""
    from pt_cascade.collections import open_collection  # noqa: PLC0415 - loaded when the command runs
    from pt_cascade.execution.profiling import profile  # noqa: PLC0415 - likewise

    _check(options)
    collection = open_collection(options.collection)
    topics = collection.judged(options.queries)
    yield f"{collection.name}: {len(collection):,} documents, {len(topics):,} of its judged queries\n"
    cascade = build_cascade(collection, line=options.cascade, engine=options.engine, reranker=options.reranker, verbose=verbose)
    timings = profile(cascade, topics, options.mode, repeats=options.repeats, verbose=verbose)
    if options.out:
        timings.save(options.out)
    yield f"{cascade!r}\n"
    yield f"{_table(timings)}\n"
    yield _explain(timings, options, cascade.cutoffs)


def _check(options: Options) -> None:
    """Check the options before anything runs."""
    from pt_cascade.errors import CascadeError, MissingError  # noqa: PLC0415 - loaded when the command runs

    if options.repeats < 1:
        raise CascadeError("the cascade cannot be profiled", ["repeats is below 1"], fix="pt-cascade profile --repeats 3")
    if options.out and not Path(options.out).resolve().parent.is_dir():
        folder = Path(options.out).parent
        raise MissingError(f"cannot write {options.out}", ["its folder does not exist"], fix=f"mkdir -p {folder}")


def _table(timings: Timings) -> str:
    from pt_cascade.reporting.tables import format_table  # noqa: PLC0415 - loaded when the command runs

    names = {
        "docs_in": "docs in",
        "fixed_ms": "fixed ms",
        "per_pair_ms": "ms a pair",
        "ms": "ms a query",
    }
    table = timings.summary().rename(columns={**names, "p50_ms": "p50 ms", "p95_ms": "p95 ms"})
    formats = dict.fromkeys(table.columns[1:], "{:,.2f}".format)
    return format_table(table, {**formats, "docs in": "{:,.1f}".format, "ms a pair": "{:,.4f}".format})


def _explain(timings: Timings, options: Options, cutoffs: tuple[int | None, ...]) -> str:
    """Return how the times were measured, and code that loads them."""
    kind = "one query at a time" if timings.mode == "interactive" else "all queries at once, which gives no percentiles"
    lines = [
        f"{timings.queries} queries, {options.repeats} times at each of {len(timings.shares)} depths, {kind}.",
        "A percentile of the sum is not the sum of percentiles; p95 needs 20 queries, p99 needs 100.",
        "On " + ", ".join(f"{name} {value}" for name, value in timings.machine.items()) + ".",
    ]
    if options.out:
        shown = f"{cutoffs}" if timings.mode == "interactive" else f"{cutoffs}, percentiles=()"
        lines += ["\nIn Python:\n", f"ptc.Timings.load({options.out!r}).cost().latency({shown})"]
    return "\n".join(lines)
