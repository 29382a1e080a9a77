"""An experiment whose numbers a script prints: it is run, and its Markdown tables are read."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import groupby
from typing import TYPE_CHECKING

from pt_cascade.errors import ExperimentError
from pt_cascade.experiments.cascade_file import find_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pt_cascade.experiments.schema import Numbers

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?=$|%| [^\d.+-])")


def run_script(script: Sequence[str], file: Path) -> Numbers:
    """Run a script of an experiment's file, in the folder of the file; return the numbers that it prints."""
    command = [sys.executable, find_path(script[0], file), *script[1:]]
    done = subprocess.run(command, cwd=file.absolute().parent, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed no error"])[-1]
        raise ExperimentError(f"{script[0]} ended with exit code {done.returncode}", [last], fix=shlex.join(command))
    return read_tables(done.stdout)


def read_tables(text: str) -> Numbers:
    r"""Read Markdown tables: each is a part, under the head of its first column.

    A row is named by its first cell, or by so many of its first cells that no two rows have the same name. A cell that begins with
    a number is that number; one that is several numbers stays a text.

    Example:
        >>> read_tables("| losses | n | wrong |\n|---|---|---|\n| small | 50 | 1.5 % |\n| small | 100 | 0.4 0.6 |")
        {'losses': {'small, 50': {'n': 50.0, 'wrong': 1.5}, 'small, 100': {'n': 100.0, 'wrong': '0.4 0.6'}}}
    """
    numbers: Numbers = {}
    for is_table, lines in groupby(text.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            head, _, *rows = [[cell.strip() for cell in line.strip(" |").split("|")] for line in lines]
            for name, row in zip(_name_rows(rows), rows, strict=True):
                columns = {column: _read(cell) for column, cell in zip(head[1:], row[1:], strict=False) if cell}
                numbers.setdefault(head[0], {})[name] = columns
    if not numbers:
        raise ExperimentError("the script printed no numbers", ["expected tables in Markdown"], fix='print("| part | number |")')
    return numbers


def _name_rows(rows: list[list[str]]) -> list[str]:
    """Join as many first cells as it takes for different names."""
    for n in range(1, len(rows[0]) if rows else 1):
        names = [", ".join(row[:n]) for row in rows]
        if len({*names}) == len(names):
            return names
    return [", ".join(row) for row in rows]


def _read(cell: str) -> float | str:
    found = _NUMBER.match(cell)
    return float(found[0].replace(",", "")) if found else cell
