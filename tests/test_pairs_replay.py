"""A replayed ranking of a cascade with a pairwise last stage, against the live pipeline's, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from duellists import Duellist, FineDuellist, tabulate_duels
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from judges import Judge
from tabling import TOPICS, chain
from test_replay import COLUMNS, assert_same
from test_sweeps import CUTOFF, FIRST, JUDGES

from pt_cascade.analysis.duels import Duels
from pt_cascade.analysis.preferences import aggregate
from pt_cascade.analysis.sweeps import sweep
from pt_cascade.analysis.tables import Column, Path, ScoreTable
from pt_cascade.errors import TableError
from pt_cascade.execution.executor import run

if TYPE_CHECKING:
    from toys import ToyRetriever

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
HOWS = ("sum", "sym-sum", "binary", "sum-log", "sym-sum-log", "min", "max")
LASTS = st.builds(
    lambda kind, *options: kind(*options),
    st.sampled_from([Duellist, FineDuellist]),
    st.sampled_from(HOWS),
    st.integers(1, 9),
    st.integers(1, 4),
    st.sampled_from(["given", "rank"]),
    st.sampled_from(["given", "rank"]),
)


@settings(max_examples=40, phases=[Phase.generate])
@given(FIRST, st.lists(JUDGES, max_size=2), LASTS, st.data())
def test_any_cutoffs_replay_the_live_pipeline(
    first: ToyRetriever, judges: list[Judge], last: Duellist, data: st.DataObject
) -> None:
    """Golden: the plain pipeline, scores bit for bit, ties by the rule of the stage; two to four stages, every aggregation."""
    cutoffs = data.draw(st.tuples(*[CUTOFF] * (len(judges) + 2)))
    table = tabulate_duels(first, judges, last, TOPICS)
    assert table.covers(cutoffs)
    assert_same(table.replay(cutoffs), chain(first, [*judges, last], cutoffs).transform(TOPICS))


@settings(max_examples=25, phases=[Phase.generate])
@given(FIRST, st.lists(JUDGES, max_size=2), LASTS, st.data())
def test_a_kept_tail_is_that_of_run(first: ToyRetriever, judges: list[Judge], last: Duellist, data: st.DataObject) -> None:
    """Golden: run(tail="keep"): what a pairwise stage cuts follows in its order, then what the stages before it cut."""
    cutoffs = data.draw(st.tuples(*[CUTOFF] * (len(judges) + 2)))
    live = run(chain(first, [*judges, last], cutoffs), TOPICS, tail="keep")
    table = tabulate_duels(first, judges, last, TOPICS)
    names = live.trace["stage"].drop_duplicates().tolist()
    ours = table.replay(cutoffs, tail="keep")
    if len(names) == len(table.stages):  # a stage that was handed nothing leaves no trace
        ours = ours.assign(cut_by=ours["cut_by"].map({"": "", **dict(zip(table.stages, names, strict=False))}))
        assert_same(ours, live.results, [*COLUMNS, "cut_by"])
    else:
        assert_same(ours, live.results)


def make_table(wins: np.ndarray, how: str = "sum", **scores: list[float]) -> ScoreTable:
    """A table of one query over documents a, b, c, ..., with all duels that have a probability."""
    count = len(wins)
    frame = pd.DataFrame({"qid": "1", "docno": [*"abcdefgh"[:count]], "rank": range(count), **scores})
    first, second = np.nonzero(~np.isnan(wins))
    stages = (*scores, "duo")
    path = Path(stages, (None,) * len(stages), (None,) * len(scores))
    columns = tuple(map(Column, stages))
    topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
    return ScoreTable(frame, topics, columns, (path,), duels={"duo": Duels(how, first, second, wins[first, second])})


WINS = np.array([[np.nan, 0.75, 0.5], [0.5, np.nan, 0.25], [0.0, 1.0, np.nan]])


def test_by_hand() -> None:
    """Golden, by hand: the sums of three documents, then of the two that are handed on, then of one, which scores 0."""
    table = make_table(WINS, bm25=[3, 2, 1])
    assert table.replay((3, None))[["docno", "score"]].to_numpy().tolist() == [["a", 1.25], ["b", 0.75], ["c", 1.0]]
    assert table.replay((3, None))["rank"].tolist() == [0, 2, 1]
    assert table.replay((2, None))[["docno", "score"]].to_numpy().tolist() == [["a", 0.75], ["b", 0.5]]
    assert table.replay((1, None))[["docno", "score"]].to_numpy().tolist() == [["a", 0.0]]
    assert table.replay((3, 1))["docno"].tolist() == ["a"]
    assert table.replay((3,), stages=("bm25",))["docno"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("how", HOWS)
def test_scores_are_those_of_aggregate(how: str) -> None:
    """Golden: preferences.aggregate over the documents that are handed on, bit for bit, of random probabilities, 0, -0 and 1."""
    wins = np.random.default_rng(0).random((8, 8))
    wins[1, 2:5], wins[2:5, 3], wins[5, 6] = 0, 1, -0.0
    wins[np.diag_indices(8)] = np.nan
    table = make_table(wins, how, bm25=[*range(8, 0, -1)], bi=[3, 1, 4, 1.5, 9, 2, 6, 5])
    for cutoffs, kept in (((8, 8), [*range(8)]), ((6, 3), [0, 2, 4]), ((2, 1), [0])):
        assert table.replay((*cutoffs, None))["score"].tolist() == aggregate(wins[np.ix_(kept, kept)], how).tolist()
        assert len(sweep(table, table.frame.assign(label=1), ["AP"], grid=[(*cutoffs, None)]).frame)  # -0 is no lacking duel


def test_what_is_covered() -> None:
    """A duel that is lacking bars just the cut-offs that hand on both its documents; the message names them and the call."""
    wins = WINS.copy()
    wins[0, 2] = wins[2, 0] = np.nan
    table = make_table(wins, bm25=[3, 2, 1], bi=[1, 2, 3])
    assert [table.covers((k, None, 1)) for k in (1, 2, 3)] == [True, True, False]
    assert table.covers((3, 2, None))  # bi keeps c and b
    with pytest.raises(TableError) as caught:
        table.replay((3, None, 2))
    assert str(caught.value) == (
        "the table does not cover these cut-offs: bm25 → bi → duo at (3, None, 2) needs 2 duel(s), e.g. qid 1, docno a against c, "
        "scored by 'duo'. Fix: score(cascade, topics, depths=(None, None))"
    )


def test_a_pairwise_stage_may_only_stand_last() -> None:
    """A path through it is refused, as one of the table's own and as one that is asked for."""
    table = make_table(WINS, bm25=[3, 2, 1], bi=[1, 2, 3])
    assert table.replay((2, None), stages=("bm25", "duo"))["docno"].tolist() == ["a", "b"]
    with pytest.raises(TableError, match="'duo' compares documents, so its scores depend on which reach it: it may only"):
        table.replay((3, 2, 1), stages=("bm25", "duo", "bi"))
    for stages in (("bm25", "duo", "bi"), ("duo",)):
        with pytest.raises(TableError, match=r"stage 'duo' has duels, so it may only stand last|'bm25' first"):
            replace(table, paths=(Path(stages, (None,) * len(stages)),))


def test_unusable_duels() -> None:
    """Every reason is named; a table is not made of them."""
    table = make_table(WINS, bm25=[3, 2, 1])
    good = table.duels["duo"]
    for changed, problem in (
        (replace(good, first=good.first + 1), "2 duel\\(s\\) are of rows that the table does not have"),
        (replace(good, second=good.first), "6 duel\\(s\\) are not of two documents of one query"),
        (replace(good, first=good.first[::-1], second=good.second[::-1]), "its duels do not rise by first and second row"),
        (Duels("sum", good.first[1:], good.second[1:], good.p[1:]), "1 duel\\(s\\) lack the other order"),
        (replace(good, p=good.p + 0.5), "2 duel\\(s\\) have no probability from 0 to 1"),
        (replace(good, p=np.full(6, np.nan)), "6 duel\\(s\\) have no probability from 0 to 1"),
    ):
        with pytest.raises(TableError, match=f"stage 'duo': {problem}"):
            replace(table, duels={"duo": changed})
    with pytest.raises(TableError, match="it has duels of 'other', which is no stage of it"):
        replace(table, duels={"duo": good, "other": good})
    with pytest.raises(TableError, match="aggregation is 'mean', expected one of sum, "):
        replace(good, aggregation="mean")
    with pytest.raises(TableError, match=r"their shapes are \(6,\), \(6,\), \(5,\), expected one"):
        replace(good, p=good.p[1:])


def test_what_a_table_says_of_itself() -> None:
    """Golden: its repr counts duels apart from pairs."""
    assert repr(make_table(WINS, bm25=[3, 2, 1])) == "ScoreTable(1 queries; pairs scored: bm25 3; duels: duo 6)"
