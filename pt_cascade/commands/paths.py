"""The paths of a command: an output that is new or to be replaced, and inputs that exist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.errors import CascadeError, MissingError, suggest_path
from pt_cascade.files import check_writable, to_path

if TYPE_CHECKING:
    import argparse

_FOLDERS = ("TABLE", "--topics")
REPLACE = "--overwrite, or --out of a new path"
_MAKES = {  # the argument, and what makes its file or does without
    "TABLE": "pt-cascade score --collection pydocs --out scores",
    "--timings": "pt-cascade profile --collection pydocs --out timings",
    "--qrels": "give the path of a file, or --collection in place of --qrels",
    "--topics": "give the path of a file, or leave --topics out",
    "--runs": "give the path of a file for each stage",
}


def add_output(parser: argparse.ArgumentParser, help_text: str, *, metavar: str = "FILE", required: bool = False) -> None:
    """Add ``--out`` and ``--overwrite``."""
    parser.add_argument("--out", metavar=metavar, required=required, help=help_text)
    parser.add_argument("--overwrite", action="store_true", help="replace what --out names, if it exists")


def find_existing(arguments: argparse.Namespace) -> list[str]:
    """Name the output if it exists and is not to be replaced; a device is written to."""
    out = Path(arguments.out)
    return [f"--out {out} exists"] if not arguments.overwrite and (out.is_file() or out.is_dir()) else []


def check_output(arguments: argparse.Namespace) -> None:
    """Refuse a file that exists, unless it is to be replaced, and one that cannot be written."""
    check_writable(arguments.out)
    if problems := find_existing(arguments):
        raise CascadeError(f"cannot write {arguments.out}", problems, fix=REPLACE)


def check_inputs(*inputs: tuple[str, str | None]) -> None:
    """Refuse paths, each after its argument, at which there is nothing, with the closest file beside it, or a folder for a file."""
    problems: dict[str, str] = {}
    for name, path in ((name, path) for name, path in inputs if path is not None):
        if not to_path(path, "read").exists():
            problems[name] = f"{name} {path} does not exist{suggest_path(Path(path))}"
        elif Path(path).is_dir() and name not in _FOLDERS:
            problems[name] = f"{name} {path} is a folder, expected a file"
    if problems:
        fix = "; ".join(dict.fromkeys(_MAKES[name.split()[0]] for name in problems))
        raise MissingError("a file is missing", problems.values(), fix=fix)
