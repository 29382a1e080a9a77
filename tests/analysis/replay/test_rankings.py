"""The order of a query's documents at every stage, and in evaluation, ties and all."""

from __future__ import annotations

import warnings
from random import Random

import ir_measures
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from toys.judges import Judge, simulate
from toys.rankers import ToyRetriever
from toys.strategies import JUDGES, RETRIEVERS
from toys.tables import TOPICS, tabulate

from pt_cascade.analysis.replay import rankings as module
from pt_cascade.analysis.replay.rankings import Rankings, compute_rankings, place_all
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.analysis.table.tie_rules import TieRule, number_docnos
from pt_cascade.execution.score_table import ScoreTable


@settings(max_examples=25, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, max_size=3), st.sampled_from([1, 30, 1 << 20]))
def test_places_are_those_of_the_cascade_worked_out_by_hand(first: ToyRetriever, judges: list[Judge], cells: int) -> None:
    """Oracle: each stage's ranking of all documents, by sorting lists of docnos; whatever the size of a block."""
    table = tabulate(first, judges, TOPICS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS", cells)
        made = compute_rankings(table, table.stages)
    docno = table.frame["docno"].to_numpy()[made.rows]
    for query, name in enumerate(TOPICS["query"]):
        mine = slice(*made.offsets[query : query + 2])
        for stage, (_, ranked) in enumerate(simulate(first, judges, name, (None,) * (len(judges) + 1))):
            assert docno[mine][np.argsort(made.places[stage, mine])].tolist() == ranked
            assert sorted(made.places[stage, mine]) == list(range(len(ranked)))


SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 + 2e-9, 1e39, 2e39, -1e39, -2e39, 5e-324])
DOCNOS = ["10", "9", "d", "D", "é", "z", "日本", "", "a b", "\U0001f600"]


@settings(max_examples=20, phases=[Phase.generate])
@given(st.lists(SCORES, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_evaluated_order_is_that_of_the_evaluation_tools(scores: list[float], random: Random) -> None:
    """Golden: 1/RR of trec_eval, and of MS MARCO's script, with each document in turn the only relevant one."""
    docnos = random.sample(DOCNOS, len(scores))
    frame = pd.DataFrame({"qid": "1", "docno": docnos, "rank": range(len(scores)), "first": 0.0, "second": scores})
    topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
    table = ScoreTable(frame, topics, (Column("first"), Column("second")), (Path(("first", "second"), (9, 9)),))
    made = compute_rankings(table, table.stages)
    run = {"1": dict(zip(docnos, scores, strict=True))}
    for measure, place in ((ir_measures.RR, made.evaluated[0]), (ir_measures.RR @ 50, made.evaluated[1])):
        ranks = [1 / measure.calc_aggregate({"1": {docno: 1}}, run) for docno in docnos]
        assert (place + 1).tolist() == pytest.approx(ranks)
    assert compute_rankings(table, table.stages, by_rank=True).evaluated.tolist() == [made.places[1].tolist()] * 2


def test_docnos_compare_as_bytes_do() -> None:
    """Golden: Python's own order of their UTF-8 bytes."""
    shown = sorted(DOCNOS, key=str.encode)
    numbers = number_docnos(pd.Series(DOCNOS))
    assert [DOCNOS[n] for n in np.argsort(numbers)] == shown
    assert number_docnos(pd.Series(["b", "a", "b"], dtype=object)).tolist() == [2, 1, 2]


def made_of(table_scores: dict[str, list[float]], **columns: Column) -> Rankings:
    """The rankings of a table of one query over documents 0, 1, 2, ..."""
    frame = pd.DataFrame({"qid": "1", "docno": [*map(str, range(len(table_scores["s1"])))], **table_scores})
    frame["rank"] = (-frame["s1"]).rank(method="first").astype(int) - 1
    names = tuple(table_scores)
    table = ScoreTable(
        frame,
        pd.DataFrame({"qid": ["1"], "query": ["q"]}),
        tuple(columns.get(name, Column(name)) for name in names),
        (Path(names, (None,) * len(names)),),
    )
    return compute_rankings(table, names)


def test_ties_follow_rows_or_ranks_of_the_stages_before() -> None:
    """Golden, by hand: the first stage returns 0, 1, 2, 3 and ranks 3, 1, 2, 0; the second and third find all equal."""
    scores = {"s1": [1.0, 3.0, 2.0, 4.0], "s2": [0.0] * 4, "s3": [0.0] * 4}

    def third(second: Column, last: Column) -> list[int]:
        """Documents in the order of the last stage."""
        made = made_of(scores, s2=second, s3=last)
        return made.rows[np.argsort(made.places[2])].tolist()

    kept, ranked = TieRule("given", "given"), TieRule("given", "rank")
    assert third(Column("s2", kept), Column("s3", kept)) == [0, 1, 2, 3]
    assert third(Column("s2", ranked), Column("s3", kept)) == [0, 1, 2, 3]
    assert third(Column("s2", ranked), Column("s3", ranked)) == [3, 1, 2, 0]
    assert third(Column("s2", TieRule("rank", "rank")), Column("s3", kept)) == [3, 1, 2, 0]
    assert third(Column("s2", TieRule("rank", "given")), Column("s3", ranked)) == [0, 1, 2, 3]
    assert third(Column("s2", TieRule("docno descending", "docno")), Column("s3", kept)) == [3, 2, 1, 0]
    assert third(Column("s2", TieRule("given", "docno descending")), Column("s3", ranked)) == [3, 2, 1, 0]


def test_what_was_not_scored_has_no_place_anywhere() -> None:
    """-1 at the stage and in evaluation; the others close ranks; queries whose rankings differ are marked."""
    made = made_of({"s1": [3.0, 2.0, 1.0, 0.0], "s2": [5.0, np.nan, 5.0, 7.0]})
    assert made.places[1].tolist() == [1, -1, 2, 0]
    assert made.evaluated.tolist() == [[2, -1, 1, 0], [1, -1, 2, 0]]
    assert made.agree.tolist() == [False]
    assert made_of({"s1": [3.0, 2.0], "s2": [np.nan, 1.0]}).agree.tolist() == [True]


def test_no_documents_at_all() -> None:
    """Queries without any have no places, and nothing to disagree about."""
    none = np.zeros(0)
    assert place_all(np.zeros(3, int), none.astype(int), np.zeros((2, 0)), [TieRule()] * 2, {}).shape == (2, 0)
    table = ScoreTable(
        pd.DataFrame({"qid": none.astype(str), "docno": none.astype(str), "rank": none.astype(int), "s1": none}),
        TOPICS,
        (Column("s1"),),
        (Path(("s1",), (None,)),),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = compute_rankings(table, ("s1",))
    assert (made.every.shape, made.agree.tolist(), made.offsets.tolist()) == ((3, 0), [True] * 6, [0] * 7)
