"""``pt-cascade doctor``: what is installed here, what the stages lack, and whether the cache can be written."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

from pt_cascade.caches import cache_root
from pt_cascade.commands.cache import find_entries, show_size
from pt_cascade.execution.installation import check_installation
from pt_cascade.reporting.widths import line_width

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_INDENT = 11
EXAMPLES = """\
pt-cascade doctor
"""


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Add no options."""


def execute(_: argparse.Namespace) -> Iterator[str]:
    """Say what was found, the problems last; end with code 1 if there are some."""
    problems = []
    for finding in check_installation():
        found = finding.found
        if finding.name == "cache":
            found += f", holds {show_size(sum(entry.size for entry in find_entries(cache_root())))}"
        yield textwrap.fill(
            f"{finding.name:<{_INDENT}}{found}", line_width(), subsequent_indent=" " * _INDENT, break_on_hyphens=False
        )
        problems += [finding.problem] if finding.problem else []
    yield "\nready" if not problems else "\n" + "\n".join(f"problem: {problem}" for problem in problems)
    if problems:
        sys.exit(1)
