"""The actions of ``pt-cascade experiment``."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError, MissingError, require
from pt_cascade.files import write_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pt_cascade.experiments.experiment import Experiment
    from pt_cascade.experiments.folder import Results

_ACTIONS = {
    "validate": "check files; nothing is built or run",
    "list": "list experiments, and what their last runs gave",
    "show": "show the systems of experiments, and what is expected of them",
    "run": "run experiments, and write their results",
    "verify": "run experiments, and compare their numbers with the expected ones",
}
_RUN = ("run", "verify")

EXAMPLES = """\
pt-cascade experiment validate experiments
pt-cascade experiment verify experiments/fusion.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, help_text in _ACTIONS.items():
        action = actions.add_parser(name, help=help_text, description=help_text)
        action.add_argument("files", nargs="+", metavar="FILE", help="a YAML file, or a folder of them")
        if name in _RUN:
            action.add_argument("--out", metavar="FOLDER", help="for results (default: results, beside each file)")
        if name == "verify":
            action.add_argument("--details", action="store_true", help="show each number, also those that are OK")
        if name == "list":
            action.add_argument(
                "--out", metavar="FILE", help="write the list to a .html file, or into a .md file between its markers"
            )


def execute(arguments: argparse.Namespace) -> Iterator[str]:
    """Do what is asked; yield the paragraphs of the output."""
    for package in ("pydantic", "ruamel"):
        require(package, install="'pt_cascade[experiments]'", why="pt-cascade experiment")
    experiments = _open_files(arguments.files, verbose=arguments.action in _RUN)
    if arguments.action == "validate":
        yield from (f"{one.path}: valid; {_count(one)}" for one in experiments)
    elif arguments.action == "list":
        yield from _list(experiments, arguments.out)
    elif arguments.action == "show":
        yield from map(_show, experiments)
    elif arguments.action == "run":
        yield from (text for one in experiments for text in _run(one, arguments.out)[1])
    else:
        yield from _verify(experiments, arguments)


def _open_files(files: list[str], *, verbose: bool) -> list[Experiment]:
    """Open all files, and those of folders; list the problems of all of them at once."""
    from pt_cascade.experiments.experiment import open_experiment  # noqa: PLC0415 - an extra, checked before

    paths = [path for file in map(Path, files) for path in (sorted(file.glob("*.yaml")) if file.is_dir() else [file])]
    if not paths:
        raise MissingError("there is no experiment", [f"{', '.join(files)}: no .yaml file"], fix="give the path of a YAML file")
    opened, errors = [], []
    for path in paths:
        try:
            opened.append(open_experiment(path, verbose=verbose))
        except CascadeError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems = [problem for error in errors for problem in error.problems or (error.what,)]
        raise CascadeError(f"{len(errors)} files are not valid", problems)
    return opened


def _count(experiment: Experiment) -> str:
    file = experiment.file
    rows = sum(len(one.vectors) * len(one.fusions) for one in experiment.combinations)
    numbers = sum(len(columns) for part in file.expected.values() for columns in part.values())
    return f"systems: {len(experiment.combinations)}, with cut-offs and fusions: {rows}, expected numbers: {numbers}"


def _list(experiments: list[Experiment], out: str | None) -> Iterator[str]:
    from pt_cascade.experiments.matrix import format_html, format_text, insert_markdown  # noqa: PLC0415 - an extra, checked before

    yield format_text(experiments)
    if out is None:
        return
    if not out.endswith((".html", ".md")):
        raise CascadeError("the list cannot be written", [f"{out} is neither .html nor .md"], fix="--out experiments.html")
    path = Path(out)
    text = format_html(experiments) if out.endswith(".html") else insert_markdown(path, experiments)
    write_file(path, text.encode())
    yield f"\nwritten to {out}"


def _show(experiment: Experiment) -> str:
    from pt_cascade.experiments.matrix import list_entries  # noqa: PLC0415 - an extra, checked before

    file = experiment.file
    source = file.collection or ", ".join((file.runs or {}).values()) or shlex.join(file.script)
    lines = [
        f"{experiment.path}: {file.title}",
        f"  of {source}; {_count(experiment)}",
        f"  last run: {list_entries([experiment])[0].state}",
        *([f"  {file.note.strip()}"] if file.note else []),
    ]
    lines += [f"  system {one.line()}" + "".join(f", {fused}" for fused in one.fusions if fused) for one in experiment.combinations]
    for part, rows in file.expected.items():
        for row, columns in rows.items():
            lines.append(f"  expected {part}, {row}: " + ", ".join(f"{name} {value}" for name, value in columns.items()))
    return "\n".join([*lines, ""])


def _run(experiment: Experiment, out: str | None) -> tuple[Results, list[str]]:
    """Run an experiment; return its results, and the paragraphs that show them."""
    from pt_cascade.experiments.matrix import format_numbers  # noqa: PLC0415 - an extra, checked before

    folder = experiment.folder if out is None else Path(out, experiment.name)
    done = experiment.run(folder)
    changed = [f"changed since the run before: {'; '.join(done.changes)}"] if done.changes else []
    told = [f"{experiment.name}: {experiment.file.title}", *changed, format_numbers(done.numbers)]
    return done, [*told, f"written to {folder} in {done.seconds:.0f} s\n"]


def _verify(experiments: list[Experiment], arguments: argparse.Namespace) -> Iterator[str]:
    """Run, compare, and raise an error with every number and experiment that failed."""
    from pt_cascade.experiments.verification import verify_numbers  # noqa: PLC0415 - an extra, checked before

    failed = []
    for experiment in experiments:
        try:
            done, _ = _run(experiment, arguments.out)
        except CascadeError as error:
            if len(experiments) == 1:
                raise
            failed.append(f"{experiment.path.name}: {error}")
            continue
        checks = [*verify_numbers(experiment.file, done.numbers)]
        shown = [one for one in checks if arguments.details or one.state == "OKish"]
        counts = Counter(one.state for one in checks)
        counted = ", ".join(f"{counts[state]} {state}" for state in ("OK", "OKish", "FAIL"))
        counted = counted if checks else "no expected numbers, as the file has none"
        yield "\n".join([f"{experiment.name}: {counted}; {done.seconds:.0f} s", *(f"  {one}" for one in shown)])
        failed += [f"{experiment.path.name}:{experiment.line(one)}: {one}" for one in checks if one.state == "FAIL"]
    if failed:
        raise CascadeError(
            "not all numbers are as expected",
            failed,
            fix=shlex.join(["pt-cascade", "experiment", "verify", *arguments.files, "--details"]),
        )
