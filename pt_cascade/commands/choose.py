"""``pt-cascade choose``: cut-offs chosen by cross-validation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pt_cascade.analysis.certificates.fixed_sequence import TESTS
from pt_cascade.analysis.choice.choose import choose
from pt_cascade.commands.cascades import count, number, positive
from pt_cascade.commands.sources import add_sources, describe, read_cutoffs, sweep_sources
from pt_cascade.errors import CascadeError
from pt_cascade.progress import show_wait
from pt_cascade.reporting.sweeps import runners_up_table
from pt_cascade.reporting.widths import line_width

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep

EXAMPLES = """\
pt-cascade choose scores --collection pydocs --timings timings --budget-ms 50
pt-cascade choose scores --qrels qrels.txt --costs t5=5 --method certified
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_choice(parser)
    parser.add_argument("--details", action="store_true", help="show the evidence: curves, selection noise, what each fold picked")


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options of a choice."""
    add_sources(parser)
    parser.add_argument("--measure", default="nDCG@10", help="the measure to choose by (default: nDCG@10)")
    parser.add_argument("--budget-ms", type=positive, help="the largest time a query, see --percentile")
    parser.add_argument(
        "--percentile",
        type=number("a number from 1 to 100, or 0 for the mean", lambda value: value == 0 or 1 <= value <= 100),  # noqa: PLR2004
        default=95,
        help="of the times of queries, compared with --budget-ms (default: 95); 0: the mean",
    )
    parser.add_argument("--budget-usd", type=positive, help="the largest mean cost a query")
    parser.add_argument(
        "--margin",
        type=number("a number above 0 and below 1", lambda value: 0 < value < 1),
        default=0.02,
        help="the loss that plateau and certified accept (default: 0.02)",
    )
    parser.add_argument(
        "--reference", metavar="K,K,...", type=read_cutoffs, help="cut-offs in use, kept unless others hold (default: the deepest)"
    )
    parser.add_argument("--folds", type=partial(count, least=2), default=5, help="for cross-validation (default: 5)")
    parser.add_argument(
        "--alpha",
        type=number("a number above 0 and below 0.5", lambda value: 0 < value < 0.5),  # noqa: PLR2004
        default=0.05,
        help="the chance that a certificate is wrong (default: 0.05)",
    )
    parser.add_argument(
        "--test", choices=TESTS, default="dirichlet", help="of certificates; betting and anytime are proven (default: dirichlet)"
    )
    parser.add_argument(
        "--method", choices=("plateau", "budget", "certified"), help="default: budget if there is one, else plateau"
    )
    parser.add_argument("--seed", type=partial(count, least=0), default=0, help="of folds and bootstrap (default: 0)")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Sweep and choose; yield the paragraphs of the output."""
    swept, choice = choose_from_sources(arguments, [arguments.measure])
    yield f"{describe(swept.table)}\n{swept!r}\n"
    yield f"{choice.explain(details=arguments.details, width=line_width())}\n"
    if arguments.method is None and choice.method == "plateau":
        yield f"Recall is kept; --method certified, as in quickstart, bounds the loss of {choice.measure}.\n"
    if len(choice.runners_up):
        yield runners_up_table(choice)


def choose_from_sources(arguments: argparse.Namespace, measures: Sequence[str]) -> tuple[Sweep, Choice]:
    """Sweep the sources by some measures, and choose by the options."""
    if arguments.method == "budget" and arguments.budget_ms is None and arguments.budget_usd is None:
        raise CascadeError("cannot choose cut-offs", ["--method budget needs --budget-ms or --budget-usd"], fix="--budget-ms 50")
    swept = sweep_sources(arguments, measures)
    options = ("budget_ms", "budget_usd", "margin", "folds", "method", "seed", "alpha", "test", "rel", "reference")
    named = {name: getattr(arguments, name) for name in options}
    with show_wait("choosing"):
        return swept, choose(swept, swept.measures[0], percentile=arguments.percentile or None, **named)
