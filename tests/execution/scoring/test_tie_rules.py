"""How a stage orders rows and equal scores, found out from what it returns; what follows no rule is refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.judges import Judge

from pt_cascade import Cascade, score
from pt_cascade.analysis.table.tie_rules import EVERY_RULE, Order, TieRule, TieRules, choose_rule, narrow_rules
from pt_cascade.cascade import Stage, Step
from pt_cascade.errors import PipelineError
from pt_cascade.execution.scoring.tie_rules import Dimension, join_rules, observe, settle
from pt_cascade.ranking import locate

TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["one", "two"]})
FOUND = pd.DataFrame({"qid": [q for q in "12" for _ in range(30)], "query": [q for q in ("one", "two") for _ in range(30)]}).assign(
    docno=[f"d{n * 7 % 30}" for n in range(60)], score=[30.0 - n % 30 for n in range(60)], rank=[n % 30 for n in range(60)]
)


def given_frame(docnos: str, ranks: list[int], qid: str = "1") -> pd.DataFrame:
    """A frame that a stage is given."""
    return pd.DataFrame({"qid": qid, "docno": list(docnos), "rank": ranks})


def ranked_frame(docnos: str, scores: list[float], ranks: list[int], qid: str = "1") -> pd.DataFrame:
    """A frame that a stage returns."""
    return given_frame(docnos, ranks, qid).assign(score=scores)


def orders(rules: TieRules) -> tuple[set[str], set[str]]:
    """The orders of rows and of ties among rules."""
    return {rule.rows for rule in rules}, {rule.ties for rule in rules}


@pytest.mark.parametrize(
    ("ranked", "rows", "ties"),
    [
        (ranked_frame("bac", [1, 2, 3], [2, 1, 0]), {"given"}, {"given", "rank", "docno", "docno descending"}),
        (ranked_frame("cab", [3, 2, 1], [0, 1, 2]), {"rank"}, {"given", "rank", "docno", "docno descending"}),
        (ranked_frame("bac", [3, 2, 1], [0, 1, 2]), {"given", "rank"}, {"given", "rank", "docno", "docno descending"}),
        (ranked_frame("abc", [1, 2, 3], [2, 1, 0]), {"docno"}, {"given", "rank", "docno", "docno descending"}),
        (ranked_frame("bac", [1, 1, 1], [0, 1, 2]), {"given", "rank"}, {"given"}),
        (ranked_frame("bac", [1, 1, 1], [1, 0, 2]), {"given"}, {"docno"}),
        (ranked_frame("bac", [1, 1, 1], [2, 0, 1]), {"given"}, {"rank"}),
        (ranked_frame("cba", [1, 1, 1], [0, 1, 2]), {"rank", "docno descending"}, {"docno descending"}),
        (ranked_frame("bac", [1, 1, 1], [0, 2, 1]).assign(docid=[5, 9, 7]), {"given"}, {"docid"}),
    ],
)
def test_the_rules_that_agree_are_kept(ranked: pd.DataFrame, rows: set[str], ties: set[str]) -> None:
    """Given b, a, c with ranks 2, 0, 1: by hand, which rules explain what came back."""
    left = narrow_rules(EVERY_RULE, given_frame("bac", [2, 0, 1]), ranked)
    assert orders(left) == (rows, ties)


def test_queries_do_not_order_one_another() -> None:
    """A stage that returns its queries in another order keeps the rows of each."""
    given = pd.concat([given_frame("ba", [1, 0], "1"), given_frame("ba", [1, 0], "2")])
    ranked = pd.concat([ranked_frame("ba", [1, 1], [0, 1], "2"), ranked_frame("ba", [1, 2], [1, 0], "1")])
    assert choose_rule(narrow_rules(EVERY_RULE, given, ranked)) == TieRule("given", "given")


@pytest.mark.parametrize("rows", get_args(Order))
@pytest.mark.parametrize("ties", get_args(Order))
def test_two_documents_tell_what_an_answer_left_open(rows: Order, ties: Order) -> None:
    """Two of equal, or of different, scores are asked for while a rule is open, at most 16 pairs; without such, it stays open."""
    judge = Judge(levels=2, rows=rows, ties=ties)
    docs = [f"d{n}" for n in range(30)]
    low, high = ([doc for doc in docs if judge.judge("q", doc) == value] for value in (0.0, 1.0))

    def find(dimension: Dimension, orders: Collection[Order]) -> pd.DataFrame | None:
        if len(orders) == 1:
            return None
        two = high[:2] if dimension == "ties" else [low[0], high[0]]
        return pd.DataFrame({"qid": "1", "query": "q", "docno": two, "score": 0.0, "rank": 5})

    stage = Stage("s", (judge,), depends="pointwise", documents="reranks")
    rules = settle(stage, EVERY_RULE, find)
    assert TieRule(rows, ties) in rules
    assert len(rules) <= 9  # of 25: docids and docnos of two documents may go together
    assert len(judge.log.asked) <= 16
    calls = len(judge.log.calls)
    assert settle(stage, frozenset({TieRule(rows, ties)}), find) == {TieRule(rows, ties)}
    assert settle(stage, EVERY_RULE, lambda *_: None) == EVERY_RULE
    assert len(judge.log.calls) == calls


@settings(max_examples=10)
@given(st.sampled_from(get_args(Order)), st.sampled_from(get_args(Order)), st.integers(1, 3))
def test_replay_follows_the_rule_of_every_stage(rows: Order, ties: Order, levels: int) -> None:
    """What the table replays is what the live pipeline ranks, rows and ties included; a second stage hands its order on."""
    judge, last = Judge(1, levels, rows, ties), Judge(2, 2)
    pipeline = pt.Transformer.from_df(FOUND) % 20 >> judge % 9 >> last % 5
    table = score(pipeline, TOPICS, depths=(20, 9), query_batch_size=1)
    for cutoffs in ((20, 9, 5), (13, 4, 4), (7, 7, 3)):
        live = Cascade.of(pipeline).with_cutoffs(*cutoffs).pipeline().transform(TOPICS)
        ours = table.replay(cutoffs)
        assert ours[["qid", "docno", "rank"]].to_numpy().tolist() == live[["qid", "docno", "rank"]].to_numpy().tolist()


def test_a_stage_without_a_rule_is_refused() -> None:
    """Ties by a key that only it knows: the first batch shows it; the printed cure works."""

    def rank(results: pd.DataFrame) -> pd.DataFrame:
        out = results.assign(score=1.0, key=results["docno"].map(lambda docno: int(docno[1:]) * 11 % 13))
        out = out.sort_values(["qid", "score", "key"], ascending=[True, False, True])
        return out.assign(rank=out.groupby("qid").cumcount()).drop(columns="key")

    odd = pt.apply.generic(rank)
    pipeline = pt.Transformer.from_df(FOUND) % 20 >> odd % 5
    cascade = Cascade.of(pipeline).with_stage(1, name="odd", documents="reranks")
    with pytest.raises(PipelineError) as error:
        score(cascade, TOPICS)
    assert str(error.value).startswith(
        "stage 'odd' cannot be replayed: it orders its rows or equal scores by no known rule: for qid '1'"
    )
    assert error.value.fix == (
        'sort its results: stage >> pt.apply.generic(lambda results: pt.model.add_ranks(results.sort_values(["qid", "docno"])))'
    )
    cure = odd >> pt.apply.generic(lambda results: pt.model.add_ranks(results.sort_values(["qid", "docno"])))
    cured = pt.Transformer.from_df(FOUND) % 20 >> cure % 5
    live, ours = cured.transform(TOPICS), score(cured, TOPICS).replay((20, 5))
    assert ours[["qid", "docno", "rank"]].to_numpy().tolist() == live[["qid", "docno", "rank"]].to_numpy().tolist()


def test_an_answer_that_contradicts_an_earlier_one_is_refused() -> None:
    """A stage that kept the rows before may not sort them now."""
    stage = Stage("s", (Judge(),))
    given, ranked = given_frame("bac", [2, 0, 1]), ranked_frame("cab", [3, 2, 1], [0, 1, 2])
    with pytest.raises(PipelineError) as error:
        observe(Step(stage, given, ranked, ranked, given["qid"], 0.0), frozenset({TieRule("given", "given")}))
    assert str(error.value) == (
        "stage 's' cannot be replayed: it orders its rows or equal scores by no known rule: for qid '1' it was given b (rank 2), "
        "a (rank 0), c (rank 1) and returned c (rank 0, score 3), a (rank 1, score 2), b (rank 2, score 1); over all results "
        "this is neither the order of the input rows or ranks, nor an order by rank, docno or docid. "
        f"Fix: {error.value.fix}"
    )


@given(
    st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("abcd")), unique=True),
    st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("abcd")), unique=True),
)
def test_every_pair_is_located(left: list[tuple[str, str]], right: list[tuple[str, str]]) -> None:
    """Each row's position in the other frame, by a plain search; -1 where it is not there."""
    one, other = (pd.DataFrame(pairs, columns=["qid", "docno"], dtype=str) for pairs in (left, right))
    assert locate(one, other).tolist() == [right.index(pair) if pair in right else -1 for pair in left]


def test_batches_that_contradict_each_other_are_refused() -> None:
    """Two calls at once may each have seen another order; what agrees with all batches is kept."""
    given, docno, docid = TieRule("given", "given"), TieRule("given", "docno"), TieRule("given", "docid")
    joined = join_rules([{"a": frozenset({given, docno})}, {"a": frozenset({docno, docid}), "b": EVERY_RULE}])
    assert joined == {"a": {docno}, "b": EVERY_RULE}
    with pytest.raises(PipelineError, match="stage 'a' cannot be replayed: it orders equal scores by no known rule") as error:
        join_rules([joined, {"a": frozenset({given})}])
    assert error.value.fix.startswith("sort its results: ")
