"""``pt-cascade report``: one HTML page that shows a sweep and a choice."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pt_cascade.analysis.calibration.report import report_calibration
from pt_cascade.commands.choose import add_choice, choose_from_sources
from pt_cascade.commands.paths import add_output, check_output
from pt_cascade.files import write_file
from pt_cascade.progress import show_wait
from pt_cascade.reporting.explorer.page import build_page

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

EXAMPLES = """\
pt-cascade report scores --collection pydocs --timings timings --out page.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_choice(parser)
    add_output(parser, "the page (default: report.html)", metavar="PAGE")
    parser.set_defaults(out="report.html")
    parser.add_argument("--measures", nargs="+", default=["R@100"], help="further measures of the page (default: R@100)")
    parser.add_argument("--calibration", metavar="STAGE", help="show how true probabilities of this stage's scores are")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Sweep, choose and write the page; yield the paragraphs of the output."""
    check_output(arguments)
    swept, choice = choose_from_sources(arguments, [arguments.measure, *arguments.measures])
    stage, qrels = arguments.calibration, swept.replayer.judged.qrels
    calibration = None if stage is None else report_calibration(swept.table, stage, qrels, rel=choice.rel)
    yield f"{choice.explain().partition(chr(10))[0]}\n"
    with show_wait("making the page"):
        page = build_page(swept, choice, shlex.join(["pt-cascade", *arguments.words]), calibration=calibration)
    write_file(arguments.out, page.encode())
    yield f"page written to {arguments.out}: open it in a browser"
