"""A replayed ranking against the live pipeline's, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from toys.judges import Judge
from toys.rankers import ToyReranker, ToyRetriever, topics
from toys.strategies import CUTOFFS, JUDGES, RETRIEVERS
from toys.tables import TOPICS, Fine, chain, tabulate

from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.errors import SweepError, TableError
from pt_cascade.execution.runner import run
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score

if TYPE_CHECKING:
    import pyterrier as pt

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
COLUMNS = ["qid", "query", "docno", "score", "rank"]


def assert_same(ours: pd.DataFrame, live: pd.DataFrame, columns: list[str] = COLUMNS) -> None:
    """Compare rows, types and all, and each query's rows in their order: a stage that sorts may sort the queries, too."""
    live = live[columns].astype({"qid": str, "query": str, "docno": str, "score": float, "rank": np.int64})
    ours, live = (frame[columns].sort_values("qid", kind="stable", ignore_index=True) for frame in (ours, live))
    pd.testing.assert_frame_equal(ours, live)


@settings(max_examples=40, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, max_size=3), st.data())
def test_it_is_the_live_frame(first: ToyRetriever, judges: list[Judge], data: st.DataObject) -> None:
    """Golden: the plain pipeline's own rows in their order, ranks and scores, for one to four stages and heavy ties."""
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    table = tabulate(first, judges, TOPICS)
    assert table.covers(cutoffs)
    assert_same(table.replay(cutoffs), chain(first, judges, cutoffs).transform(TOPICS))


@settings(max_examples=25, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, max_size=3), st.data())
def test_a_kept_tail_is_that_of_run(first: ToyRetriever, judges: list[Judge], data: st.DataObject) -> None:
    """Golden: run(tail="keep"), its rows in their order, the stage that cut each, and scores that say order only."""
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    live = run(chain(first, judges, cutoffs), TOPICS, tail="keep")
    names = live.trace["stage"].drop_duplicates().tolist()
    table = tabulate(first, judges, TOPICS)
    ours = table.replay(cutoffs, tail="keep")
    renamed = ours.assign(cut_by=ours["cut_by"].map({"": "", **dict(zip(table.stages, names, strict=False))}))
    if len(names) == len(table.stages):  # a stage that was handed nothing leaves no trace
        assert_same(renamed, live.results, [*COLUMNS, "cut_by"])
    else:
        assert_same(ours, live.results)


@pytest.mark.parametrize("sort", [False, True])
def test_what_score_made_replays(sort: bool) -> None:  # noqa: FBT001 - a parameter
    """Golden: the live pipeline within the depths, whether a stage keeps its rows or sorts them."""
    first, second, third = ToyRetriever(docs=30), ToyReranker(levels=4, sort=sort), ToyReranker(levels=2, seed=9, sort=not sort)
    table = score(first % 20 >> second % 6 >> third, topics(5))
    for cutoffs in ((20, 6, None), (13, 4, 2), (5, 5, 5), (1, 1, 1)):
        assert_same(table.replay(cutoffs), chain(first, [second, third], cutoffs).transform(topics(5)))
    assert_same(table.replay((9, 3), stages=table.stages[:2]), chain(first, [second], (9, 3)).transform(topics(5)))


def toy(**scores: list[float]) -> ScoreTable:
    """A table of one query over documents a, b, c, ..."""
    count = len(next(iter(scores.values())))
    frame = pd.DataFrame({"qid": "1", "docno": [*"abcdefgh"[:count]], "rank": range(count), **scores})
    path = Path(tuple(scores), (None,) * len(scores), (None,) * (len(scores) - 1))
    return ScoreTable(frame, pd.DataFrame({"qid": ["1"], "query": ["q"]}), tuple(map(Column, scores)), (path,))


def test_by_hand() -> None:
    """Golden, by hand: a, b, c, d, e retrieved; the second stage likes e, d and b; the third likes a and d."""
    table = toy(bm25=[5, 4, 3, 2, 1], bi=[0, 2, 1, 3, 4], t5=[9, 1, 5, 8, 2])
    assert table.replay((5, 3, 2))["docno"].tolist() == ["d", "e"]
    assert table.replay((3, 2, 1))["docno"].tolist() == ["c"]
    assert table.replay((1, 1, 1))["docno"].tolist() == ["a"]
    assert table.replay((4, None, 2))["docno"].tolist() == ["a", "d"]
    kept = table.replay((4, 3, 1), tail="keep").set_index("docno")
    assert kept.sort_values("rank").index.tolist() == ["d", "c", "b", "a", "e"]
    assert kept["cut_by"].to_dict() == {"d": "", "c": "t5", "b": "t5", "a": "bi", "e": "bm25"}
    assert kept["score"].to_dict() == {"d": 8.0, "c": 7.0, "b": 6.0, "a": 5.0, "e": 4.0}


def test_scores_below_a_kept_head_can_be_distinguished_by_float32() -> None:
    """trec_eval reads float32: at 1e9 its steps are 64 wide."""
    kept = toy(bm25=[1e9, 1e9 - 1, 1e9 - 2, 1e9 - 3]).replay((1,), tail="keep")
    assert (np.diff(kept["score"].to_numpy(np.float32)) < 0).all()


def test_what_is_covered() -> None:
    """What was not scored bars just the cut-offs that would hand it on."""
    table = toy(bm25=[3, 2, 1], t5=[1, np.nan, 2])
    assert [table.covers((k, 1)) for k in (1, 2, 3)] == [True, False, False]
    assert table.covers((1, None))
    assert not table.covers((None, 1))
    assert table.covers((None,), stages=("bm25",))


def test_queries_without_results_and_an_empty_table() -> None:
    """They give no rows, of the same columns and types."""
    frame = toy(bm25=[1.0]).frame
    table = ScoreTable(frame.head(0), pd.DataFrame({"qid": ["1"], "query": ["q"]}), (Column("bm25"),), (Path(("bm25",), (1,)),))
    for tail in ("drop", "keep"):
        got = table.replay((1,), tail=tail)
        assert len(got) == 0
        assert got[COLUMNS].dtypes.equals(toy(bm25=[1.0]).replay((1,))[COLUMNS].dtypes)


def test_a_list_stage_is_not_replayed() -> None:
    """It is refused, with what runs it; the stages before it are replayed."""
    old = toy(bm25=[2, 1], bi=[1, 2])
    table = ScoreTable(old.frame, old.topics, old.columns, (Path(("bm25", "bi"), (2, 1), (2,), live="duo"),))
    assert not table.covers((2, 1, 1))
    assert table.replay((2, 1))["docno"].tolist() == ["b"]
    with pytest.raises(TableError) as caught:
        table.replay((2, 1, 1))
    assert str(caught.value) == (
        "the cascade cannot be replayed: stage 'duo' depends on the whole list, so its scores are not in the table. "
        "Fix: cascade.finish(table, cutoffs)"
    )


def test_bad_arguments() -> None:
    """The whole messages."""
    table = toy(bm25=[2, 1], bi=[1, 2])
    with pytest.raises(SweepError) as caught:
        table.replay((2, 1), tail="cut")
    assert str(caught.value) == "tail is 'cut': expected one of drop, keep"
    for cutoffs, message in (
        ((2,), "2 stages bm25, bi. Fix: pass one cut-off for each stage, None for no cut"),
        ((2, 0), "cut-off of stage 'bi' is 0 (int), expected a whole number, 1 or more, or None for no cut"),
        ("21", "'21' (str), expected one cut-off for each of bm25, bi. Fix: (100, 100)"),
    ):
        for ask in (table.replay, table.covers):
            with pytest.raises(SweepError) as caught:
                ask(cutoffs)
            assert str(caught.value).endswith(message)


def plain(pipeline: pt.Transformer) -> pd.DataFrame:
    """Run it."""
    return pipeline.transform(TOPICS)


def test_a_stage_that_float32_cannot_follow_is_replayed_by_float64() -> None:
    """Ranks are float64's; only evaluation reads float32."""
    first, judge = ToyRetriever(docs=14), Fine(4, 1)
    table = tabulate(first, [judge], TOPICS)
    assert_same(table.replay((9, 3)), plain(first % 9 >> judge % 3))
    scores = table.frame["stage2"]
    assert scores.nunique() > scores.astype(np.float32).nunique()
