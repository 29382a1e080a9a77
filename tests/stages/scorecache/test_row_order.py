"""How a re-ranker puts scores on a frame: by every rule, found out by looking, and by asking where looking does not tell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.errors import StageError
from pt_cascade.ranking import locate, rescore
from pt_cascade.stages.scorecache.output_rule import UNKNOWN, Manner
from pt_cascade.stages.scorecache.row_order import ALL, PLAIN, Arrangement, narrow, read_scores, settle

RULES = st.sampled_from(sorted(ALL))


@st.composite
def scored(draw: st.DrawFn) -> tuple[pd.DataFrame, np.ndarray]:
    """Some queries with some documents, in any order of rows and ranks, with heavily tied scores."""
    qids = draw(st.lists(st.sampled_from(["2", "10", "3"]), min_size=1, max_size=8))
    place = draw(st.permutations(range(len(qids))))
    given_frame = pd.DataFrame({"qid": qids, "docno": [f"d{n}" for n in range(len(qids))]})
    given_frame["rank"] = pd.Series(place).groupby(qids).rank().astype(int) - 1
    score = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(qids), max_size=len(qids)))
    return given_frame, np.array(score)


def by_hand(rule: Arrangement, given_frame: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """Arrange by plain Python: sort each query's rows, then the queries."""
    told = zip(given_frame.to_dict("records"), score, strict=True)
    rows = [{**row, "score": value, "row": n} for n, (row, value) in enumerate(told)]
    for qid in {row["qid"] for row in rows}:
        mine = [row for row in rows if row["qid"] == qid]
        mine.sort(key=lambda row: (-row["score"], row["rank"] if rule.ties == "rank" else row["row"]))
        for rank, row in enumerate(mine):
            row["new"] = rank
    seen = list(dict.fromkeys(row["qid"] for row in rows))
    queries = {"mixed": lambda _: 0, "seen": seen.index, "sorted": lambda qid: qid}[rule.queries]
    rows.sort(key=lambda row: (queries(row["qid"]), row["new"] if rule.rows == "sorts" else row["row"]))
    return pd.DataFrame([{"qid": row["qid"], "docno": row["docno"], "rank": row["new"], "score": row["score"]} for row in rows])


@given(RULES, scored())
def test_scores_are_arranged_by_each_rule(rule: Arrangement, frame: tuple[pd.DataFrame, np.ndarray]) -> None:
    """Oracle: Python's own sort; the frame given is unchanged."""
    before = frame[0].copy()
    out = Manner(frozenset({rule}), "float64").put(*frame)
    pd.testing.assert_frame_equal(out.reset_index(drop=True), by_hand(rule, *frame))
    pd.testing.assert_frame_equal(frame[0], before)


@given(scored())
def test_the_plain_rule_is_rescore(frame: tuple[pd.DataFrame, np.ndarray]) -> None:
    """Golden: what our own stages do, which is PyTerrier's add_ranks."""
    pd.testing.assert_frame_equal(Manner(frozenset({PLAIN}), "float64").put(*frame), rescore(*frame))


@given(RULES, st.lists(scored(), min_size=1, max_size=3))
def test_the_rule_is_found_as_far_as_it_matters(rule: Arrangement, frames: list[tuple[pd.DataFrame, np.ndarray]]) -> None:
    """Whatever was seen before, after settling all rules left arrange the frame as the true one; by questions of 4 rows."""
    manner, asked = UNKNOWN, []

    def ask(possible: frozenset[Arrangement], rows: pd.DataFrame) -> frozenset[Arrangement]:
        answer = by_hand(rule, rows, score[rows.index])
        asked.append(len(rows))
        return narrow(possible, rows, answer, locate(answer, rows), "toy")

    for given_frame, score in frames:
        two = given_frame.head(2)
        answer = by_hand(rule, two, score[:2])
        manner = manner.observe(two, answer, locate(answer, two), "toy")
        manner = manner._replace(possible=settle(manner.possible, given_frame, score, ask))
        assert rule in manner.possible
        for left in manner.possible:
            out = Manner(frozenset({left}), "float64").put(given_frame, score)
            pd.testing.assert_frame_equal(out.reset_index(drop=True), by_hand(rule, given_frame, score))
    assert len(asked) < len(ALL)
    assert max(asked, default=0) <= 4


@given(st.sets(RULES, min_size=1), st.sampled_from(["", "float32", "int64"]))
def test_what_was_learned_is_written_and_read(possible: set[Arrangement], dtype: str) -> None:
    """The notes of a store give it back as it was."""
    manner = Manner(frozenset(possible), dtype)
    assert Manner.read(manner.write()) == manner


@pytest.mark.parametrize(
    "words",
    ["", "[]", "{}", '{"possible": [], "dtype": ""}', '{"possible": [["so", "keeps", "rows"]], "dtype": ""}', '{"possible": 7}',
     '{"possible": [["mixed", "keeps", "rows"]], "dtype": "floating"}', '{"possible": [["mixed"]], "dtype": ["x"]}'],
)  # fmt: skip
def test_words_that_are_no_manner_are_refused(words: str) -> None:
    """What is damaged is told, and is no rule."""
    with pytest.raises(ValueError, match=r"is no manner|Expecting value"):
        Manner.read(words)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("Float64", "Float64", "Float64"),
        ("Float64", "float32", "float64"),
        ("float32", "float64", "float64"),
        ("Int64", "Int64", "Int64"),
    ],
)
def test_scores_of_any_type_keep_it(one: str, other: str, both: str) -> None:
    """Types that NumPy does not have too; of two types the one that holds both."""
    given_frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"]}, index=[7, 7])
    manner = UNKNOWN
    for dtype in (one, other):
        answer = given_frame.assign(score=pd.array([2, 1], dtype=dtype), rank=[0, 1])
        manner = manner.observe(given_frame, answer, np.arange(2), "toy")
    assert Manner.read(manner.write()) == manner
    assert str(manner.put(given_frame, np.array([2.0, 1.0]))["score"].dtype) == both


def test_scores_that_float64_does_not_hold_are_refused() -> None:
    """Golden: 2**53 + 1 is the first whole number that float64 does not have; text is no number, and what is missing is NaN."""
    assert read_scores(pd.DataFrame({"score": [2**53, -(2**53)]}), "toy").tolist() == [2.0**53, -(2.0**53)]
    assert np.isnan(read_scores(pd.DataFrame({"score": pd.array([pd.NA], dtype="Float64")}), "toy")).all()
    for score in ([2**53 + 2], [-(2**60)], pd.array([2**55], dtype="Int64")):
        with pytest.raises(StageError, match="they are whole numbers beyond 9007199254740992"):
            read_scores(pd.DataFrame({"score": score}), "toy")
    for score in (["high"], [None, "x"], [(1.0,)]):
        with pytest.raises(StageError, match="the scores of stage 'toy' cannot be kept: they are no numbers"):
            read_scores(pd.DataFrame({"score": pd.Series(score, dtype=object)}), "toy")


def test_an_order_of_its_own_is_refused() -> None:
    """A stage that turns its rows around cannot be repeated."""
    given_frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1]})
    answer = given_frame.iloc[::-1].assign(score=[1.0, 2.0], rank=[1, 0])
    with pytest.raises(StageError, match="the scores of stage 'toy' cannot be kept: it orders its rows, or equal scores, in a way"):
        narrow(ALL, given_frame, answer, locate(answer, given_frame), "toy")


def test_a_stage_that_wavers_does_not_hold_up() -> None:
    """Asked for two rows it gives other scores, which tell nothing; then the plain rule is taken, after one question."""
    given_frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [1, 0]})
    asked = []
    possible = settle(ALL, given_frame, np.zeros(2), lambda possible, rows: asked.append(rows) or possible)
    assert (len(asked), possible) == (1, ALL)
    assert Manner(possible).put(given_frame, np.zeros(2))["rank"].tolist() == [0, 1]
