"""Where relevant documents get lost, recall curves, and how deep a table reaches."""

from __future__ import annotations

from math import log2

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.strategies import CUTOFFS, JUDGES, RETRIEVERS
from toys.tables import TOPICS, chain, make_qrels, tabulate

from pt_cascade.analysis.sweep.losses import recall_per_query
from pt_cascade.analysis.sweep.result import Sweep
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.errors import SweepError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score


def five() -> Sweep:
    """One query: a, b, c, d, e retrieved, x not; the second stage likes c, a, e, b and d, the third e, a, c, b and d."""
    frame = pd.DataFrame(
        {
            "qid": "1",
            "docno": [*"abcde"],
            "rank": range(5),
            "bm25": [5.0, 4.0, 3.0, 2.0, 1.0],
            "bi": [4.0, 2.0, 5.0, 1.0, 3.0],
            "t5": [4.0, 2.0, 3.0, 1.0, 5.0],
        }
    )
    asked = pd.DataFrame({"qid": ["1", "2"], "query": ["q", "nobody judged this"]})
    path = Path(("bm25", "bi", "t5"), (5, 4, 3), (5, 4))
    table = ScoreTable(frame, asked, tuple(map(Column, path.stages)), (path,))
    qrels = pd.DataFrame({"qid": "1", "docno": [*"abcex"], "label": [0, 1, 2, 1, 2]})
    return sweep(table, qrels, ["nDCG@2", "R@5"])


def test_losses_by_hand() -> None:
    """Golden, by hand: of b, c, e and x the last is not retrieved, e is cut first, then b; of a and c the third stage shows a."""
    got = five().loss((4, 2, 1), depth=2)
    assert got["at"].tolist() == [
        "judged",
        "not retrieved by bm25",
        "cut by bm25 → 4",
        "cut by bi → 2",
        "cut by t5 → 1",
        "ordered by t5",
    ]
    assert got["lost"].tolist() == [0, 1, 1, 1, 1, 0]
    assert not np.signbit(got[["lost_recall", "lost_ndcg"]].to_numpy()).any(), "no loss is 0.0, not -0.0"
    assert got["recall"].tolist() == [1, 0.75, 0.5, 0.25, 0, 0]
    assert got["lost_recall"].tolist() == [0, 0.25, 0.25, 0.25, 0.25, 0]
    ideal, second = 2 + 2 / log2(3), 1 / log2(3)
    assert got["ndcg"].tolist() == pytest.approx([1, (2 + second) / ideal, (2 + second) / ideal, 2 / ideal, 0, 0])
    assert got["lost_ndcg"].sum() == pytest.approx(1)
    ordered = five().loss((4, 2, None), depth=2)
    assert ordered["at"].tolist()[-2:] == ["cut by t5", "ordered by t5"]
    assert ordered["lost_ndcg"].tolist()[-2:] == pytest.approx([0, (2 - 2 / log2(3)) / ideal])
    assert five().loss((4, 2, 1), rel=2)["lost"].tolist() == [0, 1, 0, 0, 1, 0]


def test_recall_by_hand() -> None:
    """Golden, by hand: of each stage, absolute and relative to what it was handed; undefined where that is nothing."""
    got = five()
    assert got.recall()["recall"].tolist() == [0, 0.25, 0.5, 0.5, 0.75]
    assert got.recall("bm25")["relative"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1])
    second = got.recall("bi", (4,))
    assert np.isnan(second["error"]).all()  # of one query
    assert second.drop(columns="error").to_dict("list") == {
        "k": [1, 2, 3, 4],
        "recall": [0.25, 0.25, 0.5, 0.5],
        "relative": [0.5, 0.5, 1, 1],
        "queries": [1] * 4,
    }
    assert got.recall(1)["recall"].tolist() == [0.25, 0.25, 0.5, 0.75, 0.75]
    assert got.recall("t5", (4, 2))["recall"].tolist() == [0, 0.25]
    nothing = got.recall("bi", (1,))
    assert nothing["recall"].tolist() == [0]
    assert (np.isnan(nothing["relative"]).all(), nothing["queries"].tolist()) == (True, [0])
    assert got.recall("bm25", rel=2)["recall"].tolist() == [0, 0, 0.5, 0.5, 0.5]


def test_recall_and_losses_are_at_the_level_of_the_measures() -> None:
    """By hand: of c and x, both 2, the first is retrieved third. Without a level of its own a measure counts labels of 1."""
    got = five()
    graded = sweep(got.table, got.replayer.judged.qrels, ["nDCG@2", "R(rel=2)@5"])
    assert (got.rel, graded.rel) == (1, 2)
    assert graded.recall("bm25")["recall"].tolist() == [0, 0, 0.5, 0.5, 0.5]
    assert graded.loss((4, 2, 1))["lost"].tolist() == [0, 1, 0, 0, 1, 0]
    assert graded.recall("bm25", rel=1)["recall"].tolist() == got.recall("bm25")["recall"].tolist()


def named(qrels: pd.DataFrame) -> pd.DataFrame:
    """Rename for ir_measures, queries that were asked only."""
    asked = qrels[qrels["qid"].isin(TOPICS["qid"])]
    return asked.rename(columns={"qid": "query_id", "docno": "doc_id", "label": "relevance"})


@settings(max_examples=15, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, min_size=1, max_size=2), st.data(), st.integers(0, 99))
def test_losses_are_what_ir_measures_says_of_each_step(
    first: ToyRetriever, judges: list[Judge], data: st.DataObject, seed: int
) -> None:
    """Golden: recall, and nDCG of the best order by label, of what the plain pipeline leaves after each cut-off; rows add up."""
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    table, qrels = tabulate(first, judges, TOPICS), make_qrels(seed)
    got = sweep(table, qrels, ["nDCG@3"], grid=[cutoffs])
    loss = got.loss(cutoffs, depth=3)
    measures = [ir_measures.R @ 1000, ir_measures.nDCG @ 3, ir_measures.NumRet(rel=1)]
    left = (named(qrels)["relevance"] > 0).sum()
    for row, (n, cutoff) in enumerate([(0, None), *enumerate(cutoffs)], start=1):
        step = chain(first, judges[:n], (*cutoffs[:n], cutoff)).transform(TOPICS)
        best = step.merge(qrels, how="left", on=["qid", "docno"]).fillna({"label": 0})
        run = best.assign(score=best["label"].astype(float)).rename(columns={"qid": "query_id", "docno": "doc_id"})
        values = ir_measures.calc(measures, named(qrels), run[["query_id", "doc_id", "score"]]).aggregated
        assert loss["recall"].iloc[row] == pytest.approx(values[measures[0]], abs=1e-12)
        assert loss["ndcg"].iloc[row] == pytest.approx(values[measures[1]], abs=1e-12)
        assert left - loss["lost"].iloc[row] == values[measures[2]]
        left -= loss["lost"].iloc[row]
    assert loss["ndcg"].iloc[-1] == pytest.approx(got.means[0, 0], abs=1e-12)
    assert loss["lost_ndcg"].sum() == pytest.approx(loss["ndcg"].iloc[0] - loss["ndcg"].iloc[-1], abs=1e-12)


@settings(max_examples=10, phases=[Phase.generate])
@given(RETRIEVERS, JUDGES, st.integers(1, 9), st.integers(0, 99))
def test_recall_curves_are_what_the_kernel_says(first: ToyRetriever, judge: Judge, k1: int, seed: int) -> None:
    """R@1000 of the pipeline cut at each k, by another way; each query's own."""
    table, qrels = tabulate(first, [judge], TOPICS), make_qrels(seed)
    got = sweep(table, qrels, ["R@1000"], grid=[(k1, 1)])
    for stage, vectors in ((0, [(k, None) for k in range(1, 15)]), (1, [(k1, k) for k in range(1, 15)])):
        curve = got.recall(stage, (k1,) * stage)
        every = recall_per_query(got.replayer, stage, (k1,) * stage)[0]
        assert curve["k"].tolist() == list(range(1, len(curve) + 1))
        for k, vector in zip(curve["k"], vectors, strict=False):
            values = got.per_query(vector)["R@1000"]
            np.testing.assert_allclose(every[:, k - 1], values, rtol=0, atol=1e-12)
            assert curve["recall"].iloc[k - 1] == pytest.approx(values.mean(), abs=1e-12)


@settings(max_examples=6, phases=[Phase.generate])
@given(st.lists(JUDGES, min_size=2, max_size=2, unique=True), st.tuples(st.integers(1, 9), st.integers(1, 9)))
@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_table_reaches_as_deep_as_it_was_made_for(judges: list[Judge], depths: tuple[int, int]) -> None:
    """By what ``score`` made, no deeper than there are documents; every vector up to there is covered."""
    table = score(chain(ToyRetriever(docs=9), judges, (*depths, None)), TOPICS)
    got = sweep(table, make_qrels(1), ["RR"])
    reached = got.replayer.reach
    assert reached[0] == min(depths[0], table.retrieved[got.replayer.judged.queries].max())
    assert reached[1] == min(depths[1], reached[0])
    assert all(table.covers((*vector[:2], None)) for vector in got.grid)


def test_where_not_all_was_scored_the_first_cutoff_is_the_deepest_that_can_be() -> None:
    """The top three of query 1, the top two of query 2; a query without a judgment does not count; else an error."""
    frame = pd.DataFrame(
        {
            "qid": ["1"] * 4 + ["2"] * 3 + ["3"],
            "docno": [*"abcdabca"],
            "rank": [0, 1, 2, 3, 0, 1, 2, 0],
            "bm25": [4.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 1.0],
            "t5": [1.0, 1.0, 1.0, np.nan, 1.0, 1.0, np.nan, np.nan],
        }
    )
    asked = pd.DataFrame({"qid": ["1", "2", "3"], "query": "q"})
    table = ScoreTable(frame, asked, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (None, None)),))
    qrels = pd.DataFrame({"qid": ["1", "2", "3"], "docno": "a", "label": 1})
    assert sweep(table, qrels.head(2), ["RR"]).replayer.reach == (2,)
    assert sweep(table, qrels.head(1), ["RR"]).replayer.reach == (3,)
    with pytest.raises(SweepError) as caught:
        sweep(table, qrels, ["RR"])
    assert str(caught.value) == (
        "the table covers no cut-offs of bm25 → t5: a stage did not score the first document of some query's list"
    )
