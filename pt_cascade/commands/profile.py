"""``pt-cascade profile``: the times of each stage, to predict the cost of any cut-offs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.commands.cascades import add_cascade, build_cascade, count, find_judged, open_source, positive
from pt_cascade.commands.paths import add_output, check_output
from pt_cascade.execution.profiling import profile
from pt_cascade.numbers import count_of
from pt_cascade.reporting.tables import format_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.analysis.cost.timings import Timings


_QUERIES = 59  # the fewest for a budget at p95

EXAMPLES = """\
pt-cascade profile --collection pydocs --out timings
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_cascade(parser)
    parser.add_argument("--queries", type=count, help="how many judged queries (default: 59, for a budget at p95)")
    parser.add_argument("--seconds", type=positive, default=300, help="time fewer queries if it would take longer (default: 300)")
    parser.add_argument("--repeats", type=count, default=3, help="how often each query is run (default: 3)")
    parser.add_argument("--mode", choices=("interactive", "throughput"), default="interactive", help="one query at a time, or all")
    add_output(parser, "save the timings to a file, for --timings of sweep and choose")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Profile a cascade over a collection, save the timings; yield the paragraphs of the output."""
    if arguments.out:
        check_output(arguments)  # before the wait
    collection = open_source(arguments)
    topics = find_judged(collection, arguments.queries) if arguments.queries else collection.judged(_QUERIES)
    yield f"{collection.name}: {len(collection):,} documents, {len(topics):,} of its judged queries\n"
    cascade = build_cascade(collection, arguments)
    try:
        timings = profile(cascade, topics, arguments.mode, repeats=arguments.repeats, seconds=arguments.seconds, verbose=True)
    except KeyboardInterrupt as error:
        error.add_note("no times are kept: the same command measures them again")
        raise
    if arguments.out:
        timings.save(arguments.out)
    yield f"{cascade!r}\n"
    yield f"{_table(timings)}\n"
    yield _explain(timings, arguments.repeats)
    if arguments.out:
        shown = f"{cascade.cutoffs}" if timings.mode == "interactive" else f"{cascade.cutoffs}, percentiles=()"
        yield f"\nIn Python:\n\nptc.Timings.load({arguments.out!r}).cost().latency({shown})"


def _table(timings: Timings) -> str:
    names = {"docs_in": "docs in", "fixed_ms": "base ms", "per_pair_ms": "ms a doc", "ms": "mean ms"}
    table = timings.summary().rename(columns={**names, "p50_ms": "p50 ms", "p95_ms": "p95 ms"})
    formats = dict.fromkeys(table.columns[1:], "{:,.2f}".format)
    return format_table(table, {**formats, "docs in": "{:,.1f}".format, "ms a doc": "{:,.4f}".format})


def _explain(timings: Timings, repeats: int) -> str:
    """Return how the times were measured."""
    kind = "one query at a time" if timings.mode == "interactive" else "all queries at once, which gives no percentiles"
    lines = [
        f"{timings.queries} queries, {count_of(repeats, 'time')} at each of {len(timings.shares)} depths, {kind}.",
        "Milliseconds a query: base ms for any number of documents, ms a doc for each document (duo_t5: each comparison).",
        "A percentile of the sum is not the sum of percentiles.",
        "To show p95 takes 20 queries, p99 100; to keep to a budget at p95 takes 59, at p99 299.",
        "On " + ", ".join(f"{name} {value}" for name, value in timings.machine.items()) + ".",
    ]
    return "\n".join(lines)
