"""Experiments and their last results as text, Markdown and one HTML page."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from pt_cascade.errors import ExperimentError
from pt_cascade.experiments.verification import verify_numbers
from pt_cascade.files import read_file
from pt_cascade.reporting.tables import format_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pt_cascade.experiments.experiment import Experiment
    from pt_cascade.experiments.schema import Numbers
    from pt_cascade.experiments.verification import Check

BEGIN, END = (
    "<!-- experiments: pt-cascade experiment list experiments --out experiments/README.md -->",
    "<!-- end of experiments -->",
)
_LARGE = 10  # numbers have one decimal place from here on
_NEEDED = {"hub": "a model hub", "gpu": "a GPU"}
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Experiments</title><style>
body {font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em}
table {border-collapse: collapse} th, td {border-bottom: 1px solid #ccc; padding: .2em .8em; text-align: left; vertical-align: top}
.OK {background: #d8f0d8} .OKish {background: #fbf0c0} .FAIL {background: #f8d0d0}
.number {text-align: right; font-variant-numeric: tabular-nums}
</style></head><body><h1>Experiments</h1>
"""


class Entry(NamedTuple):
    """An experiment in a list."""

    name: str
    title: str
    state: str
    minutes: str
    checks: list[Check]
    where: str


def list_entries(experiments: Sequence[Experiment]) -> list[Entry]:
    """Compare the last results of each experiment with its expected numbers."""
    return [_describe(one) for one in experiments]


def _describe(experiment: Experiment) -> Entry:
    file, done = experiment.file, experiment.last_results()
    if done is None:
        needs = f" (needs {' and '.join(_NEEDED[one] for one in file.needs)})" if file.needs else ""
        return Entry(experiment.name, file.title, f"not yet run here{needs}", "", [], "")
    checks = [*verify_numbers(file, done.numbers)]
    counts = Counter(one.state for one in checks)
    state = ", ".join(f"{counts[one]} {one}" for one in ("OK", "OKish", "FAIL") if counts[one]) or "no expected numbers"
    hardware, versions = done.lock["hardware"], done.lock["versions"]
    machine = f"{hardware['processor']}, {hardware['cores']} cores" if isinstance(hardware, dict) else ""
    where = f"{done.date}, {machine}, Python {versions['python']}" if isinstance(versions, dict) else done.date
    return Entry(experiment.name, file.title, state, f"{done.seconds / 60:.1f}", checks, where)


def format_text(experiments: Sequence[Experiment]) -> str:
    """List experiments for a terminal."""
    entries = list_entries(experiments)
    return "\n".join(f"{one.name}: {one.title}\n  {one.state}{f'; {one.minutes} min' * bool(one.minutes)}" for one in entries)


def format_numbers(numbers: Numbers) -> str:
    """Lay out the numbers of a run: a table a part."""
    tables = []
    for part, rows in numbers.items():
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(part).reset_index()
        texts = [str(column) for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
        formats = {str(column): _show for column in frame if column not in texts}
        tables.append(format_table(frame, formats, left=texts))
    return "\n\n".join(tables) + "\n"


def insert_markdown(path: Path, experiments: Sequence[Experiment]) -> str:
    """Return a file's text with the list of experiments between its two markers."""
    text = read_file(path, fix=f"make it with the lines {BEGIN} and {END}, or --out experiments.html").decode()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ExperimentError(f"cannot write into {path}", [f"it lacks the lines {BEGIN} and {END}"], fix=f"add them to {path}")
    return before + begin + "\n" + "\n".join(_write_markdown(experiments)) + "\n" + END + after


def _write_markdown(experiments: Sequence[Experiment]) -> Iterator[str]:
    entries = list_entries(experiments)
    yield "| experiment | what it shows | command | minutes | last run |\n|---|---|---|---|---|"
    for one in entries:
        command = f"`pt-cascade experiment verify experiments/{one.name}.yaml`"
        yield f"| [{one.name}]({one.name}.yaml) | {one.title} | {command} | {one.minutes} | {one.state} |"
    for experiment, one in zip(experiments, entries, strict=True):
        if one.checks:
            yield f"\n## {one.title}\n\n{experiment.file.note.strip()}\n{one.where}.\n"
            yield from _write_checks(one.checks)


def _write_checks(checks: Sequence[Check]) -> Iterator[str]:
    """Write a table for each part: a row for each row, with what was found."""
    for part in dict.fromkeys(one.part for one in checks):
        of_part = [one for one in checks if one.part == part]
        columns = list(dict.fromkeys(one.column for one in of_part))
        yield f"| {part} | {' | '.join(columns)} |\n|{'---|' * (1 + len(columns))}"
        for row in dict.fromkeys(one.row for one in of_part):
            found = {one.column: _show(one.found) for one in of_part if one.row == row}
            yield f"| {row} | {' | '.join(found.get(column, '') for column in columns)} |"
        yield ""


def format_html(experiments: Sequence[Experiment]) -> str:
    """Write a page with a row for each expected number of each experiment."""
    parts = [_HEAD, "<table><tr><th>experiment</th><th>what it shows</th><th>minutes</th><th>last run</th></tr>"]
    entries = list_entries(experiments)
    for one in entries:
        linked = f'<a href="#{one.name}">{escape(one.name)}</a>'
        parts.append(
            f"<tr><td>{linked}</td><td>{escape(one.title)}</td><td class=number>{one.minutes}</td><td>{one.state}</td></tr>"
        )
    parts.append("</table>")
    for experiment, one in zip(experiments, entries, strict=True):
        note = " ".join([experiment.file.note.strip(), one.where or one.state])
        parts.append(f'<h2 id="{one.name}">{escape(one.title)}</h2><p>{escape(note)}</p>')
        head = "".join(f"<th>{name}</th>" for name in ("part", "row", "number", "found", "expected", "tolerance", ""))
        parts.append(f"<table><tr>{head}</tr>" if one.checks else "")
        for check in one.checks:
            cells = "".join(f"<td>{escape(text)}</td>" for text in (check.part, check.row, check.column))
            numbers = (_show(check.found), _show(check.expected), f"{check.tolerance:g}")
            cells += "".join(f"<td class=number>{escape(text)}</td>" for text in numbers)
            parts.append(f"<tr>{cells}<td class={check.state}>{check.state}</td></tr>")
        parts.append("</table>" if one.checks else "")
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _show(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.4f}" if abs(value) < _LARGE else f"{value:,.1f}"
