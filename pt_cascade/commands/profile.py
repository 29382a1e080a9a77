"""``pt-cascade profile``: what each stage of a collection's cascade takes, for the cost of any cut-offs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import add_cascade, build_cascade

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.analysis.cost.timing_data import Mode
    from pt_cascade.analysis.cost.timings import Timings
    from pt_cascade.stages.indexing.engines import Engine


@dataclass(frozen=True)
class Options:
    """What the command line asked for.

    Attributes:
        collection: The name or folder of a collection.
        engine: ``pisa`` or ``terrier``; None: PISA where it is installed.
        queries: How many judged queries to time; None: all.
        reranker: The model of the default cascade's last stage; None: late interaction.
        repeats: How often each query is run.
        mode: ``interactive`` or ``throughput``.
        out: A file to keep the timings in; None: they are only shown.
        cascade: A line for ``parse_cascade``; None: the collection's default cascade.
    """

    collection: str = "pydocs"
    engine: Engine | None = None
    queries: int | None = 20
    reranker: str | None = None
    repeats: int = 3
    mode: Mode = "interactive"
    out: str | None = None
    cascade: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--collection", default="pydocs", help="pydocs, pydocs:numpy,scipy, a folder, or a name pt.get_dataset knows"
    )
    add_cascade(parser)
    parser.add_argument("--queries", type=int, default=20, help="how many judged queries (default: 20; p99 needs 100)")
    parser.add_argument("--repeats", type=int, default=3, help="how often each query is run (default: 3)")
    parser.add_argument("--mode", choices=("interactive", "throughput"), default="interactive", help="one query at a time, or all")
    parser.add_argument("--out", metavar="FILE", help="keep the timings in a parquet file, for Timings.load")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Time the collection's cascade; yields what to print, piece by piece."""
    options = {name: getattr(arguments, name) for name in Options.__dataclass_fields__}
    yield from show(Options(**options), verbose=True)


def show(options: Options, *, verbose: bool = False) -> Iterator[str]:
    """Profile a cascade over a collection, keep the timings and show them.

    Args:
        options: What to run.
        verbose: Show progress bars on standard error.

    Yields:
        Paragraphs of text.

    Raises:
        CascadeError: The collection, the engine or a model is not there, or a number is out of range.
        MissingError: The folder of ``out`` is not there.
    """
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
    """Refuse what would fail after the wait."""
    from pt_cascade.errors import CascadeError, MissingError  # noqa: PLC0415 - loaded when the command runs

    if options.repeats < 1:
        raise CascadeError("nothing can be timed", ["repeats is below 1"], fix="pt-cascade profile --repeats 3")
    if options.out and not Path(options.out).resolve().parent.is_dir():
        folder = Path(options.out).parent
        raise MissingError(f"cannot write {options.out}", ["its folder is not there"], fix=f"mkdir -p {folder}")


def _table(timings: Timings) -> str:
    from pt_cascade.reporting.tables import lay_out  # noqa: PLC0415 - loaded when the command runs

    names = {
        "docs_in": "docs in",
        "fixed_ms": "fixed ms",
        "per_pair_ms": "ms a pair",
        "ms": "ms a query",
    }
    table = timings.summary().rename(columns={**names, "p50_ms": "p50 ms", "p95_ms": "p95 ms"})
    formats = dict.fromkeys(table.columns[1:], "{:,.2f}".format)
    return lay_out(table, {**formats, "docs in": "{:,.1f}".format, "ms a pair": "{:,.4f}".format})


def _explain(timings: Timings, options: Options, cutoffs: tuple[int | None, ...]) -> str:
    """Say where the numbers come from, and what to do with them."""
    kind = "one query at a time" if timings.mode == "interactive" else "all queries at once, which tells no percentiles"
    lines = [
        f"{timings.queries} queries, {options.repeats} times at each of {len(timings.shares)} depths, {kind}.",
        "A percentile of the sum is not the sum of percentiles; p95 needs 20 queries, p99 needs 100.",
        "On " + ", ".join(f"{name} {value}" for name, value in timings.machine.items()) + ".",
    ]
    if options.out:
        shown = f"{cutoffs}" if timings.mode == "interactive" else f"{cutoffs}, percentiles=()"
        lines += ["\nIn Python:\n", f"ptc.Timings.load({options.out!r}).cost().latency({shown})"]
    return "\n".join(lines)
