"""``pt-cascade stages``: the stages and their arguments."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError, did_you_mean
from pt_cascade.reporting.widths import line_width
from pt_cascade.stages.catalogue import CATALOGUE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_WIDEST = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("stage", nargs="?", help="show the documentation of one stage")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Describe one stage, or list all: arguments, purpose, what a score depends on, missing packages."""
    if arguments.stage is not None:
        if arguments.stage not in CATALOGUE:
            expected = f"expected one of {', '.join(CATALOGUE)}{did_you_mean(arguments.stage, CATALOGUE)}"
            raise CascadeError(f"there is no stage {arguments.stage!r}", [expected], fix="pt-cascade stages")
        entry = CATALOGUE[arguments.stage]
        yield f"{arguments.stage}{entry.arguments}\n\n{inspect.getdoc(entry.make)}"
        return
    width = min(_WIDEST, line_width())
    for name, entry in CATALOGUE.items():
        ready = f"not installed: {entry.lacks}" if entry.lacks else "ready"
        call = textwrap.fill(f"{name}{entry.arguments}", width, subsequent_indent=" " * (len(name) + 1))
        does = textwrap.fill(entry.does, width, initial_indent="    ", subsequent_indent="    ")
        yield f"{call}\n{does}\n    a score depends on: {entry.depends}; {ready}\n"
    yield "In one line, over a collection:\n"
    yield "  pt-cascade search your query --collection pydocs \\"
    yield '    --cascade "hybrid(bm25, dense) % 500 >> late_interaction % 30"'
