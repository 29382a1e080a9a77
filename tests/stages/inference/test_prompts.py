"""Prompts: filled from columns, safe with braces."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.stages.inference.prompts import check_prompt, fill, find_columns

TEXT = st.text(max_size=20)
BRACES = st.lists(st.sampled_from(["{", "}", "{query}", "{instruction}", "{0}", "{{", "\\1", "\\g<0>", "a"]), max_size=6).map(
    "".join
)
ROWS = st.lists(st.tuples(TEXT | BRACES, TEXT | BRACES), min_size=1, max_size=6)


@given(ROWS, TEXT.filter(lambda text: "{" not in text), TEXT.filter(lambda text: "{" not in text))
def test_a_prompt_is_filled_by_plain_joining(rows: list[tuple[str, str]], before: str, between: str) -> None:
    """Brute force: braces and backslashes in queries and instructions are text like any other."""
    results = pd.DataFrame(rows, columns=["query", "instruction"], dtype=object)
    prefixes, queries = fill(before + "{instruction}" + between, results)
    assert prefixes == [before + instruction + between for _, instruction in rows]
    assert queries == [query for query, _ in rows]
    prefixes, queries = fill(before + "{instruction}" + between + "{query}", results)
    assert prefixes == [""] * len(rows)
    assert queries == [before + instruction + between + query for query, instruction in rows]


@given(ROWS, st.sampled_from([None, ""]))
def test_no_prompt_leaves_the_query(rows: list[tuple[str, str]], prompt: str | None) -> None:
    """None and empty alike."""
    results = pd.DataFrame(rows, columns=["query", "instruction"], dtype=object)
    assert fill(prompt, results) == ([""] * len(rows), [query for query, _ in rows])


@pytest.mark.parametrize(
    ("prompt", "columns"),
    [
        (None, []),
        ("Instruct: find facts. ", []),
        ("{query}", []),
        ("{instruction} {query} {instruction} {lang}", ["instruction", "lang"]),
        ('{"json": 1} {} {a b}', []),
    ],
)
def test_the_columns_of_a_prompt(prompt: str | None, columns: list[str]) -> None:
    """A name in braces is a column, once; other braces are text."""
    assert find_columns(prompt) == columns


@pytest.mark.parametrize(
    ("prompt", "problems"),
    [
        ("{instruction}", []),
        ("{body} {docno}", ["prompt names {body}, {docno}, but the model reads the document beside the prompt: leave it out"]),
    ],
)
def test_a_document_in_a_prompt_is_refused(prompt: str, problems: list[str]) -> None:
    """It would be read twice."""
    assert check_prompt(prompt, ["docno", "body"]) == problems
