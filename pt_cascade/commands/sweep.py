"""``pt-cascade sweep``: what every cut-off vector of a table gives and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.commands.paths import add_output, check_output
from pt_cascade.commands.sources import add_sources, describe, sweep_sources
from pt_cascade.errors import CascadeError, SweepError
from pt_cascade.files import write_file
from pt_cascade.numbers import count_of
from pt_cascade.reporting.sweeps import front_table, loss_table, recall_table, top_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

EXAMPLES = """\
pt-cascade sweep scores --collection pydocs --timings timings
pt-cascade sweep scores --qrels qrels.txt --costs t5=5 --out sweep.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_sources(parser)
    parser.add_argument("--measures", nargs="+", default=["nDCG@10", "R@100"], help="of ir_measures (default: nDCG@10 R@100)")
    add_output(parser, "write every vector to a .csv or .parquet file")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Sweep, show the best and the front, and write all; yield the paragraphs of the output."""
    if arguments.out:
        if not arguments.out.endswith((".csv", ".parquet")):
            problem = f"{arguments.out} is neither .csv nor .parquet"
            raise CascadeError("the vectors cannot be written", [problem], fix="--out sweep.csv")
        check_output(arguments)
    swept = sweep_sources(arguments, arguments.measures)
    if (rel := arguments.rel) and not any((labels >= rel).any() for labels in swept.replayer.judged.relevant):
        raise SweepError("there is no recall", [f"no judged document has a label of {rel} or more"], fix="--rel 1")
    yield f"{describe(swept.table)}\n{swept!r}\nA vector is a cut-off for each stage; ms are milliseconds a query.\n"
    yield f"{recall_table(swept, arguments.rel)}\n"
    first = swept.measures[0]
    yield f"{top_table(swept, first)}\n"
    if swept.cost is not None:
        yield f"{front_table(swept, swept.pareto_front(first), first)}\n"
    yield loss_table(swept, arguments.rel)
    if arguments.out:
        frame, parquet = swept.frame, arguments.out.endswith(".parquet")
        write_file(arguments.out, frame.to_parquet() if parquet else frame.to_csv(index=False).encode())
        yield f"\n{count_of(len(swept.frame), 'vector')} written to {arguments.out}"
