"""The pairs that make a table exact, against every cut-off vector tried one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.replay.required_documents import required_documents


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[list[list[int]]], list[int | None]]:
    """The rankings of 1 to 3 stages for up to 3 queries of up to 7 documents, and a depth for each stage."""
    stages = draw(st.integers(1, 3))
    queries = []
    for _ in range(draw(st.integers(1, 3))):
        docs = draw(st.integers(0, 7))
        queries.append([list(range(docs)), *(draw(st.permutations(range(docs))) for _ in range(stages - 1))])
    return queries, [draw(st.one_of(st.none(), st.integers(1, 8))) for _ in range(stages)]


def try_all(places: list[list[int]], depths: list[int | None]) -> list[bool]:
    """Cut a query's documents by every vector, as rule 5 of the design puts it, and mark what is left once."""
    docs = len(places[0])
    marked: set[int] = set()
    for cutoffs in product(*(range(1, (min(depth or docs, docs) or 1) + 1) for depth in depths)):
        left = list(range(docs))
        for place, k in zip(places, cutoffs, strict=True):
            left = sorted(left, key=place.__getitem__)[:k]
        marked |= set(left)
    return [doc in marked for doc in range(docs)]


@settings(max_examples=30)
@given(rankings())
def test_exactly_what_some_cutoffs_would_hand_on_is_needed(drawn: tuple[list[list[list[int]]], list[int | None]]) -> None:
    """The marks are those of trying every cut-off vector within the depths: none missing, none to spare."""
    queries, depths = drawn
    offsets = np.r_[0, np.cumsum([len(places[0]) for places in queries])].astype(np.int64)
    places = np.concatenate([np.array(places, np.int32).reshape(len(depths), -1) for places in queries], axis=1)
    assert required_documents(offsets, places, depths).tolist() == [mark for query in queries for mark in try_all(query, depths)]


def test_a_random_order_needs_as_many_as_the_design_says() -> None:
    """Golden: of 1000 documents in random order, 100 (1 + ln 10) = 330 are in the top 100 of some prefix (records, Rényi 1962)."""
    random = np.random.default_rng(0)
    queries = 50
    second = np.concatenate([random.permutation(1000) for _ in range(queries)])
    places = np.stack([np.tile(np.arange(1000), queries), second]).astype(np.int32)
    marks = required_documents(np.arange(queries + 1) * 1000, places, (1000, 100))
    assert marks.sum() / queries == pytest.approx(330, rel=0.01)
    assert marks.reshape(queries, 1000)[:, :100].all()


def test_an_order_that_agrees_needs_no_more_than_the_depth() -> None:
    """Where the second stage repeats the first one's order, only its top K2 are ever handed on; reversed, all of the K1 are."""
    rank = np.arange(50)
    for second, wanted in ((rank, 10), (rank[::-1], 40)):
        assert required_documents(np.array([0, 50]), np.stack([rank, second]).astype(np.int32), (40, 10)).sum() == wanted
