"""Lines as wide as the terminal; redirected output has lines of any width."""

from __future__ import annotations

import sys
import textwrap
from shutil import get_terminal_size

_ANY = 1_000_000


def line_width() -> int:
    """Return how many columns the terminal has, or a large number where the output is no terminal."""
    return get_terminal_size().columns if sys.stdout.isatty() else _ANY


def wrap(text: str) -> str:
    """Break lines that are too wide between words; what follows is indented by two more columns."""
    return "\n".join(_wrap(line, line_width()) for line in text.split("\n"))


def _wrap(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
