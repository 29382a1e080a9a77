"""Errors: how they read, and that nothing of them is lost on the way."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.rankers import ToyReranker, ToyRetriever, topics

import pt_cascade
from pt_cascade import Cascade, ScoreTable, errors
from pt_cascade.errors import CascadeError, CascadeWarning, escape

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CascadeError)]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(CascadeError("cannot cut"), "cannot cut", id="what"),
        pytest.param(CascadeError("cannot cut", fix="p % 10"), "cannot cut. Fix: p % 10", id="fix"),
        pytest.param(CascadeError("cannot cut", ["k is 0"]), "cannot cut: k is 0", id="one problem"),
        pytest.param(CascadeError("cannot cut", "k is 0"), "cannot cut: k is 0", id="one problem as a str"),
        pytest.param(
            CascadeError("cannot cut", ["k is 0"], fix="p % 10"), "cannot cut: k is 0. Fix: p % 10", id="one problem, fix"
        ),
        pytest.param(CascadeError("cannot cut", ["a", "b"]), "cannot cut:\n  - a\n  - b", id="problems"),
        pytest.param(CascadeError("cannot cut", ["a", "b"], fix="c"), "cannot cut:\n  - a\n  - b\nFix: c", id="problems, fix"),
    ],
)
def test_errors_read_as_sentences(error: CascadeError, text: str) -> None:
    """One problem stands on the line of what failed, several stand on a line each, the fix comes last."""
    assert str(error) == text


@given(st.text(min_size=1), st.lists(st.text(min_size=1)), st.text())
def test_every_part_is_shown(what: str, problems: list[str], fix: str) -> None:
    """Whatever an error is made of stands in its text and in its parts."""
    error = CascadeError(what, iter(problems), fix=fix)
    assert all(escape(part) in str(error) for part in (what, *problems, fix))
    assert (error.what, error.problems, error.fix) == (what, tuple(problems), fix)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_a_process(kind: type[CascadeError]) -> None:
    """An error that a worker process raises arrives with all its parts."""
    error = pickle.loads(pickle.dumps(kind("cannot cut", ["a", "b"], fix="c")))  # noqa: S301 - our own bytes
    assert type(error) is kind
    assert str(error) == "cannot cut:\n  - a\n  - b\nFix: c"


def test_the_tree_is_as_drawn() -> None:
    """The module's picture names every kind of error and no other, and each says in a sentence what it is."""
    drawn = {line.split()[1] for line in str(errors.__doc__).splitlines() if line.startswith(("├── ", "└── "))}
    assert drawn == {kind.__name__ for kind in KINDS} - {"CascadeError"}
    assert all(str(kind.__doc__).splitlines()[0].endswith(".") for kind in [*KINDS, CascadeWarning])


def test_a_warning_is_not_an_error() -> None:
    """Whoever catches errors does not catch warnings."""
    assert issubclass(CascadeWarning, UserWarning)
    assert not issubclass(CascadeWarning, CascadeError)


FOUND = pd.DataFrame({"qid": "q0", "docno": ["a", "b"], "score": [2.0, 1.0]})
WARNED: dict[str, Callable[[], object]] = {
    "a cut-off without effect": lambda: Cascade.of(ToyRetriever(docs=9) % 5 >> ToyReranker() % 8),
    "a run with more documents": lambda: ScoreTable.from_runs({"one": FOUND[:1], "two": FOUND}),
    "a document without a text": lambda: Cascade.of(
        ToyRetriever(docs=9) % 5 >> pt.apply.text(lambda _: "") >> pt.apply.doc_score(lambda row: len(row["text"]))
    ).transform(topics(1)),
}


@pytest.mark.parametrize("case", WARNED)
def test_a_warning_is_of_the_line_that_called_the_package(case: str) -> None:
    """However deep in the package, and below PyTerrier, it is found: Python shows a warning once for a line."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        WARNED[case]()
    assert [one.filename for one in told if one.category is CascadeWarning] == [__file__]


def test_every_warning_of_the_package_is_given_by_one_function() -> None:
    """No other module gives one, which might be of a line of the package."""
    files = Path(pt_cascade.__path__[0]).rglob("*.py")
    assert {file.name for file in files if "warnings.warn(" in file.read_text(encoding="utf-8")} == {"errors.py"}
