"""Queries that a stage fails on, or has no time for, while a table is scored: an error, or left out and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import R
from toys.fragile import TICK_MS, Fragile
from toys.rankers import ToyReranker, ToyRetriever, topics

import pt_cascade as ptc
from pt_cascade import Cascade, score
from pt_cascade.errors import CascadeWarning, PipelineError, QueryError, StageError, TableError

FIRST = ToyRetriever(docs=12, levels=4)
QUERIES = 5
FAILS = st.frozensets(st.sampled_from([f"q{n}" for n in range(QUERIES)]), max_size=QUERIES - 1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


def make(fails: frozenset[str], third: int = 2) -> Cascade:
    """A cascade whose second stage fails on some queries, which keep their order."""
    return Cascade.of(FIRST % 9 >> Fragile(fails=fails) % 4 >> ToyReranker(seed=5) % third).options(on_error="keep")


@settings(max_examples=8)
@given(FAILS, st.integers(1, QUERIES))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_failed_queries_are_left_out_and_the_others_are_as_ever(fails: frozenset[str], batch: int) -> None:
    """Golden: the table of the other queries alone, scored by a stage that does not fail."""
    table = score(make(fails), topics(QUERIES), query_batch_size=batch)
    asked = topics(QUERIES)
    others = score(make(frozenset()).options(on_error="raise"), asked[~asked["qid"].isin(fails)])
    assert table.topics["qid"].tolist() == others.topics["qid"].tolist()
    assert table.frame.equals(others.frame)
    assert table.replay((9, 4, 2)).equals(others.replay((9, 4, 2)))


def test_what_is_left_out_is_counted_and_not_asked_again(tmp_path: Path) -> None:
    """One warning; a failing query reaches the stage once, the next stage never; a resumed call knows what was left out."""
    cascade = make(frozenset({"q1", "q3"}))
    fragile = cascade[1].transformers[0]
    with pytest.warns(CascadeWarning, match=r"the table leaves out 2 queries that a stage could not score, first qid 'q1'"):
        table = score(cascade, topics(QUERIES), query_batch_size=2, checkpoint=tmp_path / "kept")
    assert table.topics["qid"].tolist() == ["q0", "q2", "q4"]
    assert sum(qids[0] == "q1" for qids in fragile.calls) == 1


def test_a_resumed_call_knows_what_was_left_out(tmp_path: Path) -> None:
    """The query that failed before the interruption is not asked again, and is counted."""
    fragile = Fragile(fails=frozenset({"q1"}))
    interrupted = Fragile(seed=6, fails=frozenset({"q4"}), error=KeyboardInterrupt(), most=1)
    cascade = Cascade.of(FIRST % 9 >> fragile % 4 >> interrupted % 2).options(on_error={"fragile": "keep"})
    with pytest.raises(KeyboardInterrupt):
        score(cascade, topics(QUERIES), query_batch_size=2, checkpoint=tmp_path / "kept")
    with pytest.warns(CascadeWarning, match=r"the table leaves out 1 query that a stage could not score, first qid 'q1'"):
        table = score(cascade, topics(QUERIES), query_batch_size=2, checkpoint=tmp_path / "kept")
    assert table.topics["qid"].tolist() == ["q0", "q2", "q3", "q4"]
    assert sum(qids[0] == "q1" for qids in fragile.calls) == 1


def test_a_sweep_counts_the_queries_that_are_left() -> None:
    """Judged queries that the table leaves out are not counted as 0."""
    found = FIRST.transform(topics(QUERIES))
    qrels = found[["qid", "docno"]].assign(label=1)
    with pytest.warns(CascadeWarning, match="leaves out 2"):
        table = score(make(frozenset({"q1", "q3"})), topics(QUERIES))
    swept = ptc.sweep(table, qrels, [R @ 2], grid=[(9, 4, 2)])
    counts = found["qid"].value_counts()
    assert swept.frame["R@2"].iloc[0] == pytest.approx(sum(2 / counts[qid] for qid in ("q0", "q2", "q4")) / 3)


def test_a_table_without_any_query_is_refused() -> None:
    """With the first reason."""
    with pytest.raises(StageError, match=r"no query could be scored: all 3 queries were left out; the first: .*no answer"):
        score(make(frozenset({"q0", "q1", "q2"})), topics(3))


def test_pairs_that_are_late_are_an_error_or_left_out() -> None:
    """A limit that no batch keeps: by default an error with a cure that works, with ``keep`` the short lists are the table."""
    fragile = Fragile(batch_size=4)
    cascade = Cascade.of(FIRST % 9 >> fragile % 4).options(time_limit_ms={"fragile": TICK_MS / 1e9})
    sizes = FIRST.transform(topics(QUERIES))["qid"].value_counts()
    with pytest.raises(StageError, match=r"stage 'fragile' could not score every document: \d+ documents? of 3 quer") as error:
        score(cascade, topics(QUERIES))
    assert "time_limit_ms={'fragile': None}" in error.value.fix
    assert len(score(cascade.options(time_limit_ms={"fragile": None}), topics(QUERIES)).topics) == QUERIES
    assert (sizes > 4).all()
    with pytest.raises(StageError, match=r"no query could be scored: .*ran out of time"):
        score(cascade.options(on_error="keep"), topics(QUERIES))


def test_the_checkpoint_of_other_options_is_not_taken(tmp_path: Path) -> None:
    """A table that may leave queries out is another table."""
    cascade = make(frozenset())
    broken = Cascade.of(FIRST % 9 >> Fragile() % 4 >> Fragile(seed=6, fails=frozenset({"q4"})) % 2)
    with pytest.raises(QueryError):
        score(broken, topics(QUERIES), query_batch_size=2, checkpoint=tmp_path / "kept")
    with pytest.raises(TableError, match="another table, with other stages"):
        score(cascade, topics(QUERIES), query_batch_size=2, checkpoint=tmp_path / "kept")
    with pytest.raises(TableError, match="another table, with other options"):
        score(broken.options(on_error="keep"), topics(QUERIES), query_batch_size=2, checkpoint=tmp_path / "kept")


def test_one_stage_has_one_set_of_options() -> None:
    """Two cascades with an equal stage and different options cannot share a column."""
    cascade = Cascade.of(FIRST % 9 >> Fragile() % 4)
    with pytest.raises(PipelineError, match="stage 'fragile' has other options in another cascade"):
        score([cascade, cascade.options(on_error="keep")], topics(2))
