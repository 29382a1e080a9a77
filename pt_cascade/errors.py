"""The errors of pt_cascade. Each message says what was found, what was expected and how to fix it.

CascadeError
├── FrameError              topics, results or qrels that are not usable
├── RecordError             a line of a TREC or collection file that cannot be read
├── PipelineError           a pipeline, stage or cut-off that is not valid
├── StageError              a stage that failed or returned something invalid
├── QueryError              a StageError: a stage that failed on the queries it was given
├── ShardError              a StageError: shards of a run that failed in each attempt
├── CollectionError         a collection that is unknown, incomplete or inconsistent
├── TableError              a score table that is damaged or lacks what is needed
├── ScoreCacheError         a score cache that is damaged, another stage's, or not writable
├── SweepError              cut-offs, measures, costs or options of a choice that are not valid
├── ExperimentError         a YAML file of a cascade or an experiment that is not valid
└── MissingError            a package, model or file that is missing
CascadeWarning              something allowed that may be a mistake
"""

from __future__ import annotations

import inspect
import re
import warnings
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")  # control characters, and those that turn lines
_PASSED = {"pt_cascade", "pyterrier", "functools", "contextlib"}  # what a warning is not about


class CascadeError(Exception):
    """The base class of all errors; it lists all problems at once.

    Args:
        what: What could not be done.
        problems: What was found and what was expected, one or several.
        fix: A line of code or a command that helps.

    Example:
        >>> print(CascadeError("cannot cut", ["k is 0, expected 1 or more"], fix="pipeline % 10"))
        cannot cut: k is 0, expected 1 or more. Fix: pipeline % 10
    """

    exit_code = 1  # of the command line

    def __init__(self, what: str, problems: str | Iterable[str] = (), *, fix: str = "") -> None:
        """Keep the parts."""
        super().__init__(what)
        self.what = what
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.fix = fix

    def __str__(self) -> str:
        """Show one problem on the same line, several on a line each."""
        fix = [f"Fix: {self.fix}"] if self.fix else []
        if len(self.problems) > 1:
            return escape("\n".join([f"{self.what}:", *(f"  - {problem}" for problem in self.problems), *fix]))
        line = ": ".join([self.what, *self.problems])
        return escape(" ".join([line + ("." if fix and not line.endswith("?") else ""), *fix]))


class FrameError(CascadeError):
    """Topics, results or qrels that are not usable."""


class RecordError(CascadeError):
    """A line of a TREC or collection file that cannot be read."""


class PipelineError(CascadeError):
    """A pipeline, stage or cut-off that is not valid."""


class StageError(CascadeError):
    """A stage that failed or returned something invalid."""


class QueryError(StageError):
    """A stage that failed on the queries it was given, which ``on_error="keep"`` answers with the order before the stage."""


class ShardError(StageError):
    """Shards of a run that failed in each attempt; all other shards are finished."""

    exit_code = 3


class CollectionError(CascadeError):
    """A collection that is unknown, incomplete or inconsistent."""


class TableError(CascadeError):
    """A score table that is damaged or lacks what is needed."""


class ScoreCacheError(CascadeError):
    """A score cache that is damaged, another stage's, or not writable."""


class SweepError(CascadeError):
    """Cut-offs, measures, costs or options of a choice that are not valid."""


class ExperimentError(CascadeError):
    """A YAML file of a cascade or an experiment that is not valid."""


class MissingError(CascadeError):
    """A package, model or file that is missing."""


class CascadeWarning(UserWarning):
    """A warning of something that may be a mistake."""

    def __str__(self) -> str:
        return escape(super().__str__())


def warn(message: str) -> None:
    """Give a CascadeWarning at the innermost line that is neither of pt_cascade nor of PyTerrier."""
    level, frame = 1, inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, CascadeWarning, stacklevel=level)


def escape(text: str) -> str:
    r"""Return a text that cannot control a terminal, whatever data it shows; tabs and line ends stay.

    Example:
        >>> print(escape("docno \x1b[2J"))
        docno \x1b[2J
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def closest(name: object, known: Iterable[str]) -> str:
    """Return the known name that a misspelt one most resembles, letter case aside; empty if none is close.

    Example:
        >>> closest("BM52", ["bm25", "dense"]), closest("lucene", ["bm25", "dense"])
        ('bm25', '')
    """
    names = {one.lower(): one for one in reversed([*known])}  # of two spellings the first
    return next((names[one] for one in get_close_matches(str(name).lower(), names, n=1, cutoff=0.7)), "")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'bm25'?`` for the closest known name, else nothing."""
    return f"; did you mean {found!r}?" if (found := closest(name, known)) else ""


def suggest_path(path: Path) -> str:
    """Return ``; did you mean './folder'?`` for the closest name beside a path at which there is nothing, else nothing."""
    try:
        near = closest(path.name, [file.name for file in path.expanduser().parent.iterdir()])
    except (OSError, RuntimeError):  # no folder, or not ours to read; no such user
        return ""
    return f"; did you mean {str(path.with_name(near))!r}?" if near else ""


def clip(text: str, most: int = 80) -> str:
    """Quote the beginning of a text."""
    return repr(text if len(text) <= most else text[: most - 3] + "...")


def first_line(error: BaseException) -> str:
    """Give the first line of an error's message, or its class; Java's messages hold the whole stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def few(problems: Sequence[str], most: int = 5) -> list[str]:
    """Return the first problems, and how many more there are."""
    return [*problems[:most], *([f"and {len(problems) - most} more"] if len(problems) > most else [])]


@contextmanager
def naming(stage: str) -> Iterator[None]:
    """Put the name of a stage before the message of a CascadeError that the block raises, unless the message has it.

    Example:
        >>> with naming("mono_t5"):
        ...     raise MissingError("cannot load 'model'")
        Traceback (most recent call last):
        pt_cascade.errors.MissingError: mono_t5: cannot load 'model'
    """
    try:
        yield
    except CascadeError as error:
        if repr(stage) not in error.what and not error.what.startswith((f"{stage} ", f"{stage}: ")):
            error.what = f"{stage}: {error.what}"
        raise


def require(package: str, *, install: str = "", why: str) -> None:
    """Raise a MissingError if the module ``package`` is not installed; ``install`` is its name for pip, ``why`` what needs it."""
    if find_spec(package) is None:
        raise MissingError(f"{why} needs the package {package}", fix=f"pip install {install or package}")
