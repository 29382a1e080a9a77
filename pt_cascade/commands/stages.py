"""``pt-cascade stages``: the stages and their arguments."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError, did_you_mean
from pt_cascade.reporting.widths import line_width
from pt_cascade.stages.catalogue import CATALOGUE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.stages.catalogue import Entry

_WIDEST = 100
_MODELS = {"mono_t5": "castorini/monot5-base-msmarco", "duo_t5": "castorini/duot5-base-msmarco", "llm_judge": "gpt-4o-mini"}
_CROSS = "cross_encoder('cross-encoder/ms-marco-MiniLM-L6-v2')"
LINES = {name: f"{name} % 10" for name in ("bm25", "dense", "hybrid")}
LINES |= {name: f"bm25 % 100 >> {name} % 10" for name in ("bi_encoder", "late_interaction")}
LINES |= {name: f"bm25 % 100 >> {name}('{model}') % 10" for name, model in _MODELS.items()}
LINES |= {"cross_encoder": f"bm25 % 100 >> {_CROSS} % 10", "passages": f"bm25 % 100 >> passages({_CROSS}) % 10"}
LINES |= {"cached": f"bm25 % 100 >> cached({_CROSS}, './scores') % 10"}

EXAMPLES = """\
pt-cascade stages
pt-cascade stages mono_t5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("stage", nargs="?", help="show the documentation of one stage")


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Describe one stage, or list all: arguments, purpose, what a score depends on, missing packages."""
    width = min(_WIDEST, line_width())
    if arguments.stage is not None:
        if arguments.stage not in CATALOGUE:
            expected = f"expected one of {', '.join(CATALOGUE)}{did_you_mean(arguments.stage, CATALOGUE)}"
            raise CascadeError(f"there is no stage {arguments.stage!r}", [expected], fix="pt-cascade stages")
        yield from _describe(arguments.stage, CATALOGUE[arguments.stage], width)
        return
    for name, entry in CATALOGUE.items():
        call = textwrap.fill(f"{name}{entry.arguments}", width, subsequent_indent=" " * (len(name) + 1))
        yield f"{call}\n{_fill(entry.does, width)}\n{_fill(_state(entry), width)}\n"
    yield "In one line, over a collection:\n"
    yield "  pt-cascade search your query --collection pydocs \\"
    yield '    --cascade "hybrid(bm25, dense) % 500 >> late_interaction % 30"'


def _describe(name: str, entry: Entry, width: int) -> Iterator[str]:
    """Yield the documentation of one stage: what it does, its arguments with their defaults, and a line with it."""
    about, *sections = re.split(r"\n\n(\w+):\n", inspect.getdoc(entry.make) or "")
    parts = dict(zip(sections[::2], sections[1::2], strict=True))
    yield f"{name}\n"
    yield from (f"{_fill(part, width, indent=2)}\n" for part in [*re.split(r"\n\n|\n(?=- )", about), _state(entry)])
    yield "Arguments:"
    defaults = {key: one.default for key, one in inspect.signature(entry.make).parameters.items()}
    for text in re.split(r"\n(?=    \S)", parts["Args"]):
        argument, _, does = text.strip().partition(": ")
        default = defaults.get(argument, inspect.Parameter.empty)
        shown = "" if default is inspect.Parameter.empty else f" (default: {default})"
        yield f"  {argument}{shown}\n{_fill(does, width, indent=6)}"
    yield f"\nReturns:\n{_fill(parts['Returns'], width, indent=2)}\n"
    yield "A line takes index, vectors and texts from the collection.\n"
    yield f'At the command line:\n\npt-cascade search your query --collection pydocs \\\n  --cascade "{LINES[name]}"'


def _state(entry: Entry) -> str:
    """Say what a score depends on, and which package is missing."""
    return f"a score depends on: {entry.depends}; {f'not installed: {entry.lacks}' if entry.lacks else 'ready'}"


def _fill(text: str, width: int, indent: int = 4) -> str:
    """Lay out a paragraph of a docstring."""
    bare = " ".join(re.sub(r"``|\*\*", "", text).split())
    return textwrap.fill(bare, width, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False)
