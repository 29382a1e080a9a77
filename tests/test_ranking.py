"""Ranking: the tie rule is PyTerrier's, and pairs are distinguished."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.ranking import pair_codes, ranks, rescore, same_pairs

QIDS = st.sampled_from(["1", "2", "10", "é"])
SCORES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0]), st.floats(allow_nan=False))
ROWS = st.lists(st.tuples(QIDS, SCORES), max_size=30)
PAIRS = st.lists(st.tuples(QIDS, st.sampled_from("abc0")), max_size=12)


def as_frame(rows: list[tuple[str, float]]) -> pd.DataFrame:
    """Rows in any order, queries mixed, scores tied."""
    return pd.DataFrame({"qid": [qid for qid, _ in rows], "score": np.array([score for _, score in rows], float)})


def as_pairs(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    """Pairs, some of them more than once."""
    return pd.DataFrame(pairs, columns=["qid", "docno"]).astype(str)


@given(ROWS)
def test_ranks_are_those_of_pyterrier(rows: list[tuple[str, float]]) -> None:
    """For any rows, ties and mixed queries too, the ranks are those of pt.model.add_ranks."""
    frame = as_frame(rows)
    wanted = pt.model.add_ranks(frame.copy())["rank"].tolist()
    for qid in (frame["qid"], frame["qid"].astype(object), frame["qid"].tolist()):
        found = ranks(qid, frame["score"].to_numpy())
        assert found.dtype == np.int64
        assert found.tolist() == wanted


@given(ROWS)
def test_sorted_rows_need_no_sorting(rows: list[tuple[str, float]]) -> None:
    """Rows that stand in rank order already are ranked as they stand, by whichever way."""
    frame = as_frame(rows).sort_values(["qid", "score"], ascending=[True, False], kind="stable")
    assert ranks(frame["qid"], frame["score"].to_numpy()).tolist() == frame.groupby("qid").cumcount().tolist()


@pytest.mark.parametrize(
    ("qids", "scores", "wanted"),
    [
        pytest.param("", [], [], id="none"),
        pytest.param("a", [1.0], [0], id="one"),
        pytest.param("aaa", [1.0, 2.0, 1.0], [1, 0, 2], id="a tie goes by row"),
        pytest.param("aabb", [2.0, 1.0, 2.0, 1.0], [0, 1, 0, 1], id="in order"),
        pytest.param("abab", [1.0, 1.0, 2.0, 1.0], [1, 0, 0, 1], id="mixed"),
        pytest.param("aa", [0.0, -0.0], [0, 1], id="two zeros are a tie"),
        pytest.param("ab", [1.0, 2.0], [0, 0], id="a query each"),
    ],
)
def test_ranks_by_hand(qids: str, scores: list[float], wanted: list[int]) -> None:
    """Ranks count from 0 in each query, by falling score, then by row."""
    assert ranks(list(qids), np.array(scores)).tolist() == wanted


@given(ROWS)
def test_rescoring_keeps_all_but_score_and_rank(rows: list[tuple[str, float]]) -> None:
    """New scores bring their ranks; rows, index and other columns stay, and so does the frame that was given."""
    frame = as_frame(rows).assign(rank=7, text="t")
    frame.index = pd.Index([row % 3 for row in range(len(rows))])
    before = frame.copy(deep=True)
    score = -frame["score"].to_numpy()
    found = rescore(frame, score)
    pd.testing.assert_frame_equal(frame, before)
    assert found["score"].tolist() == score.tolist()
    assert found["rank"].tolist() == pt.model.add_ranks(frame.assign(score=score))["rank"].tolist()
    pd.testing.assert_frame_equal(found[["qid", "text"]], frame[["qid", "text"]])


@given(PAIRS)
def test_pairs_have_equal_codes_if_they_are_equal(pairs: list[tuple[str, str]]) -> None:
    """Codes are equal exactly where the pairs are, so that ("1", "0a") is not ("10", "a")."""
    frame = as_pairs(pairs)
    codes = pair_codes(frame["qid"], frame["docno"]).tolist()
    assert all((codes[i] == codes[j]) == (pairs[i] == pairs[j]) for i in range(len(pairs)) for j in range(i))


@given(PAIRS, PAIRS)
def test_same_pairs_are_the_same_set(left: list[tuple[str, str]], right: list[tuple[str, str]]) -> None:
    """Two frames hold the same pairs exactly if their sets of pairs are equal, in whatever order."""
    one, two = list(dict.fromkeys(left)), list(dict.fromkeys(right))
    assert same_pairs(as_pairs(one), as_pairs(two)) == (set(one) == set(two))
    assert same_pairs(as_pairs(one), as_pairs(one[::-1]))
