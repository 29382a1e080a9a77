"""Lines as wide as the terminal, or 80 columns in a file or a pipe."""

from __future__ import annotations

import re
import textwrap
from shutil import get_terminal_size

_CURE = re.compile(r"(?:^|\s)(?=Fix: )")


def line_width() -> int:
    """Return the columns of the terminal, which ``$COLUMNS`` overrides; 80 where the output is no terminal."""
    return get_terminal_size((80, 24)).columns


def wrap(text: str) -> str:
    """Break lines that are too wide between words, and indent what follows; a fix, which is copied, has a line of its own."""
    return "\n".join(_wrap(line, line_width()) for line in text.split("\n"))


def _wrap(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    said, *cure = _CURE.split(line, maxsplit=1)
    indent = " " * (len(said) - len(said.lstrip()) + 2)
    broken = textwrap.fill(said, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(filter(None, [broken, *cure]))
