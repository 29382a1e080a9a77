"""What can go wrong, as a tree; every message says what was found, what was expected and how to fix it.

CascadeError
├── FrameError              topics, results or qrels that are not what they should be
├── RecordError             a line of a TREC or collection file that cannot be read
├── PipelineError           a pipeline, stage or cut-off that a cascade cannot be made of
├── StageError              a stage that failed, or broke its promise, while running
├── CollectionError         a collection that is unknown, incomplete or inconsistent
├── TableError              a score table that is damaged, or asked for what it does not hold
├── StoreError              kept scores that are another stage's, damaged, or cannot be written
├── SweepError              cut-offs, measures, costs or a choice among them that make no sense
└── MissingError            a package, model or file that is not there, and how to get it
CascadeWarning              nothing is wrong yet, but you would want to know
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class CascadeError(Exception):
    """Anything pt_cascade refuses, with all the reasons at once.

    Args:
        what: One sentence: what could not be done.
        problems: Each thing found wrong, and what was expected there; one may come as a str.
        fix: The line to write instead, or the command to run.

    Example:
        >>> print(CascadeError("cannot cut", ["k is 0, expected 1 or more"], fix="pipeline % 10"))
        cannot cut: k is 0, expected 1 or more. Fix: pipeline % 10
    """

    def __init__(self, what: str, problems: str | Iterable[str] = (), *, fix: str = "") -> None:
        """Keep the parts, so that a caller can show them its own way."""
        super().__init__(what)
        self.what = what
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.fix = fix

    def __str__(self) -> str:
        """One problem stands on the same line; several stand on a line each."""
        fix = [f"Fix: {self.fix}"] if self.fix else []
        if len(self.problems) > 1:
            return "\n".join([f"{self.what}:", *(f"  - {problem}" for problem in self.problems), *fix])
        return " ".join([": ".join([self.what, *self.problems]) + ("." if fix else ""), *fix])


class FrameError(CascadeError):
    """Topics, results or qrels that are not what they should be."""


class RecordError(CascadeError):
    """A line of a TREC or collection file that cannot be read."""


class PipelineError(CascadeError):
    """A pipeline, stage or cut-off that a cascade cannot be made of."""


class StageError(CascadeError):
    """A stage that failed, or broke its promise, while running."""


class CollectionError(CascadeError):
    """A collection that is unknown, incomplete or inconsistent."""


class TableError(CascadeError):
    """A score table that is damaged, or asked for what it does not hold."""


class StoreError(CascadeError):
    """Kept scores that are another stage's, damaged, or cannot be written."""


class SweepError(CascadeError):
    """Cut-offs, measures, costs or a choice among them that make no sense."""


class MissingError(CascadeError):
    """A package, model or file that is not there, and how to get it."""


class CascadeWarning(UserWarning):
    """Nothing is wrong yet, but you would want to know."""


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
    """Say which package is missing, and the line that installs it.

    Args:
        package: The module to import.
        install: What pip calls it, where that differs.
        why: Who needs it.

    Raises:
        MissingError: The package is not installed.
    """
    if find_spec(package) is None:
        raise MissingError(f"{why} needs the package {package}", fix=f"pip install {install or package}")
