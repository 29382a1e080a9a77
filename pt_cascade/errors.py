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

from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        line = ": ".join([self.what, *self.problems])
        return " ".join([line + ("." if fix and not line.endswith("?") else ""), *fix])


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


def require(package: str, *, install: str = "", why: str) -> None:
    """Raise a MissingError if the module ``package`` is not installed; ``install`` is its name for pip, ``why`` what needs it."""
    if find_spec(package) is None:
        raise MissingError(f"{why} needs the package {package}", fix=f"pip install {install or package}")
