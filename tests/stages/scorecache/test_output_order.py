"""The order of a stage's answers: inferred from its results, probed where these do not decide, stored as JSON."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.table.tie_rules import EVERY_RULE, PLAIN, TieRule
from pt_cascade.errors import StageError
from pt_cascade.ranking import locate, rescore
from pt_cascade.stages.scorecache.output_order import OutputOrder, read_scores

RULES = st.sampled_from(sorted(EVERY_RULE))


@st.composite
def scored(draw: st.DrawFn) -> tuple[pd.DataFrame, np.ndarray]:
    """Some queries with some documents, rows, ranks, docnos and docids in any order, with heavily tied scores."""
    qids = draw(st.lists(st.sampled_from(["2", "10", "3"]), min_size=1, max_size=8))
    place, docid = (draw(st.permutations(range(len(qids)))) for _ in "ab")
    docnos = draw(st.permutations([f"d{n}" for n in range(len(qids))]))
    frame = pd.DataFrame({"qid": qids, "docno": docnos, "docid": docid})
    frame["rank"] = pd.Series(place).groupby(qids).rank().astype(int) - 1
    score = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(qids), max_size=len(qids)))
    return frame, np.array(score)


def by_hand(rule: TieRule, frame: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """Order by plain Python: rank each query's rows, then sort the rows, unless they stay where they are."""
    rows = [{**row, "score": value, "row": n} for n, (row, value) in enumerate(zip(frame.to_dict("records"), score, strict=True))]

    def key(row: dict[str, object], order: str, rank: str) -> object:
        names = {"given": "row", "rank": rank, "docno": "docno", "docno descending": "docno", "docid": "docid"}
        value = row[names[order]]
        return -int(value[1:]) if order == "docno descending" else value  # docnos have one digit

    for qid in {row["qid"] for row in rows}:
        mine = sorted((row for row in rows if row["qid"] == qid), key=lambda row: (-row["score"], key(row, rule.ties, "rank")))
        for rank, row in enumerate(mine):
            row["new"] = rank
    if rule.rows != "given":
        rows.sort(key=lambda row: (row["qid"], key(row, rule.rows, "new")))
    return pd.DataFrame(rows).assign(rank=lambda made: made["new"])[["qid", "docno", "docid", "rank", "score"]]


@given(RULES, scored())
def test_scores_are_put_by_each_rule(rule: TieRule, frame: tuple[pd.DataFrame, np.ndarray]) -> None:
    """Oracle: Python's own sort; the frame given is unchanged."""
    before = frame[0].copy()
    out = OutputOrder(frozenset({rule})).put(*frame)
    pd.testing.assert_frame_equal(out.reset_index(drop=True), by_hand(rule, *frame))
    pd.testing.assert_frame_equal(frame[0], before)


@given(scored())
def test_the_plain_rule_is_rescore(frame: tuple[pd.DataFrame, np.ndarray]) -> None:
    """Golden: what our own stages do, which is PyTerrier's add_ranks."""
    pd.testing.assert_frame_equal(OutputOrder(frozenset({PLAIN})).put(*frame), rescore(*frame))


@given(RULES, st.lists(scored(), min_size=1, max_size=3))
def test_the_rule_is_found_as_far_as_it_matters(rule: TieRule, frames: list[tuple[pd.DataFrame, np.ndarray]]) -> None:
    """Whatever was seen before, after some questions of two rows all rules that are left order each query as the true one does."""
    order, asked = OutputOrder(), 0

    def ask(rows: list[int]) -> OutputOrder:
        part = frame.iloc[rows]
        answer = by_hand(rule, part, score[rows])
        return order.observe(part, answer, locate(answer, part), "toy")

    for frame, score in frames:
        order = ask([0, 1][: len(frame)])
        while (rows := order.find_question(frame, score)) is not None:
            asked, before, order = asked + 1, order, ask(rows)
            assert order.rules < before.rules
        assert rule in order.rules
        wanted = by_hand(rule, frame, score).sort_values("qid", kind="stable").reset_index(drop=True)
        for left in order.rules:
            out = OutputOrder(frozenset({left})).put(frame, score)
            pd.testing.assert_frame_equal(out.sort_values("qid", kind="stable").reset_index(drop=True), wanted)
    assert asked <= 2 * 4


@given(st.sets(RULES, min_size=1))
def test_what_was_found_is_written_and_read(rules: set[TieRule]) -> None:
    """JSON gives it back as it was."""
    order = OutputOrder(frozenset(rules))
    assert OutputOrder.read(order.write()) == order


def test_scores_that_float64_does_not_hold_are_refused() -> None:
    """Golden: 2**53 + 1 is the first whole number that float64 does not have; text is no number, and a missing score is NaN."""
    assert read_scores(pd.DataFrame({"score": [2**53, -(2**53)]}), "toy").tolist() == [2.0**53, -(2.0**53)]
    assert np.isnan(read_scores(pd.DataFrame({"score": pd.array([pd.NA], dtype="Float64")}), "toy")).all()
    for score in ([2**53 + 2], [-(2**60)], pd.array([2**55], dtype="Int64")):
        with pytest.raises(StageError, match="they are whole numbers beyond 9007199254740992, which float64 rounds"):
            read_scores(pd.DataFrame({"score": score}), "toy")
    for score in (["high"], [None, "x"], [(1.0,)]):
        with pytest.raises(StageError, match="the scores of stage 'toy' cannot be cached: they are not numbers"):
            read_scores(pd.DataFrame({"score": pd.Series(score, dtype=object)}), "toy")


@pytest.mark.parametrize("rank", [[0, 1], [2, 1]])
def test_ranks_that_do_not_follow_the_scores_are_refused(rank: list[int]) -> None:
    """Golden, by hand: 2.0 ranks before 1.0, from 0; the other way round, or from 1, cannot be computed from scores."""
    frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1]})
    answer = frame.assign(score=[1.0, 2.0], rank=rank)
    with pytest.raises(StageError, match="the scores of stage 'toy' cannot be cached: it orders its rows or equal"):
        OutputOrder().observe(frame, answer, np.arange(2), "toy")


def test_rows_in_no_known_order_are_refused() -> None:
    """Ranks are right, but three rows come back in an order that neither input, rank nor docno explains."""
    frame = pd.DataFrame({"qid": "1", "docno": ["b", "a", "c"], "rank": [0, 1, 2]})
    answer = frame.assign(score=[3.0, 2.0, 1.0], rank=[0, 1, 2]).iloc[[0, 2, 1]]
    with pytest.raises(StageError, match="by no known rule"):
        OutputOrder().observe(frame, answer, locate(answer, frame), "toy")
