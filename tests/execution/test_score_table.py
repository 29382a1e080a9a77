"""What a score table is, and what it refuses to be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.errors import CascadeError, TableError
from pt_cascade.execution.score_table import ScoreTable

COLUMNS = (Column("bm25"), Column("t5"))
PATH = Path(("bm25", "t5"), (2, 1), (2,))
TOPICS = pd.DataFrame({"qid": ["2", "1", "3"], "query": ["two", "one", "none"]})


def make(frame: pd.DataFrame | None = None, **options: Any) -> ScoreTable:
    """Two queries, rows of the second not in the order of their ranks."""
    good = pd.DataFrame(
        {
            "qid": ["2", "2", "1", "1", "1"],
            "docno": ["a", "b", "a", "c", "b"],
            "rank": [0, 1, 2, 0, 1],
            "bm25": [2.0, 1.0, 3.0, 9.0, 3.0],
            "t5": [0.0, 1.0, np.nan, -1.0, 5.0],
        }
    )
    fields = {"topics": TOPICS, "columns": COLUMNS, "paths": (PATH,)} | options
    return ScoreTable(good if frame is None else frame, **fields)


FRAME = make().frame
SAYS = "this is not a score table: "
BAD = {
    "no column": ({"frame": FRAME.drop(columns=["t5", "rank"])}, f"{SAYS}missing columns: rank, t5, found qid, docno, bm25"),
    "a query in two places": (
        {"frame": FRAME.iloc[[0, 2, 3, 4, 1]]},
        f"{SAYS}the rows are not in the order of the topics, those of a query together",
    ),
    "queries in another order": (
        {"frame": FRAME.iloc[[2, 3, 4, 0, 1]]},
        f"{SAYS}the rows are not in the order of the topics, those of a query together",
    ),
    "an unknown query": ({"frame": FRAME.assign(qid=["2", "2", "1", "1", "x"])}, f"{SAYS}qid 'x' is not among the topics"),
    "a query missing": ({"frame": FRAME.assign(qid=["2", "2", "1", "1", None])}, f"{SAYS}qid nan is not among the topics"),
    "a document twice": ({"frame": FRAME.assign(docno=["a", "b", "c", "a", "c"])}, f"{SAYS}qid '1', docno 'c' occurs twice"),
    "a NUL in a docno": (
        {"frame": FRAME.assign(docno=["a", "b", "a\0x", "c", "a\0y"])},
        f"{SAYS}docno 'a\\x00x' holds a NUL character, at which trec_eval cuts it",
    ),
    "ranks from 1": (
        {"frame": FRAME.assign(rank=FRAME["rank"] + 1)},
        f"{SAYS}rank is not that of 'bm25' by descending score, from 0",
    ),
    "a rank twice": (
        {"frame": FRAME.assign(rank=[0, 1, 2, 0, 0])},
        f"{SAYS}rank is not that of 'bm25' by descending score, from 0",
    ),
    "ranks of other scores": (
        {"frame": FRAME.assign(bm25=[2.0, 1.0, 3.0, 9.0, 2.0])},
        f"{SAYS}rank is not that of 'bm25' by descending score, from 0",
    ),
    "ranks that are floats": (
        {"frame": FRAME.assign(rank=FRAME["rank"] / 2)},
        f"{SAYS}column 'rank' holds float64, expected whole numbers",
    ),
    "scores that are text": ({"frame": FRAME.assign(t5="x")}, f"{SAYS}column 't5' holds str, expected numbers"),
    "scores that may be missing": (
        {"frame": FRAME.assign(t5=FRAME["t5"].astype("Float64"))},
        f"{SAYS}column 't5' holds Float64, expected numbers",
    ),
    "no scores of the first stage": (
        {"frame": FRAME.assign(bm25=[2.0, np.nan, 3.0, np.inf, 3.0])},
        f"{SAYS}2 scores of the first stage 'bm25' not finite",
    ),
    "infinite scores": ({"frame": FRAME.assign(t5=np.inf)}, f"{SAYS}stage 't5' has infinite scores, expected numbers, NaN or -inf"),
    "a stage twice": ({"columns": (*COLUMNS, COLUMNS[1])}, f"{SAYS}stage 't5' occurs twice"),
    "no path": ({"paths": ()}, f"{SAYS}there is no path"),
    "odd paths": (
        {"paths": (Path(("t5",), (1,)), Path(("bm25", "mono"), (1, 1)), Path(("bm25", "t5"), (1,), (1, 2)), Path((), ()))},
        "this is not a score table:\n"
        "  - path t5 repeats a stage, has one that is not in bm25, t5, or does not begin with 'bm25'\n"
        "  - path bm25 → mono repeats a stage, has one that is not in bm25, t5, or does not begin with 'bm25'\n"
        "  - path bm25 → t5 has 1 cut-offs, expected 2\n"
        "  - path bm25 → t5 has 2 depths, expected 1\n"
        "  - path (empty) repeats a stage, has one that is not in bm25, t5, or does not begin with 'bm25'",
    ),
    "a topic twice": (
        {"topics": pd.concat([TOPICS, TOPICS.head(1)])},
        "topics are not usable: qid repeats an earlier row in 1 of 4 rows (qid '2'). Fix: topics = topics.drop_duplicates(\"qid\")",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_data_that_cannot_be_replayed_is_not_a_table(options: dict[str, Any], message: str) -> None:
    """The whole message, of all that is wrong at once."""
    with pytest.raises(CascadeError) as caught:
        make(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"stage": "rank"},
            "stage 'rank' cannot be in a table: 'rank' is the name of another column of the table. "
            "Fix: give it another name, such as 'rank_1'",
        ),
        ({"stage": ""}, "stage '' cannot be in a table: '' is the name of another column of the table"),
        (
            {"stage": "t5", "rule": ("given", "x")},
            "stage 't5' cannot be in a table: the tie rule is ('given', 'x'), expected two of given, rank, docno, "
            "docno descending, docid",
        ),
    ],
)
def test_invalid_columns_are_refused(fields: dict[str, Any], message: str) -> None:
    """The whole message."""
    with pytest.raises(TableError) as caught:
        Column(**fields)
    assert str(caught.value) == message


def test_what_a_table_tells() -> None:
    """Positions of queries, how much each found, its stages, its paths and any other that begins with the first stage."""
    table = make()
    assert table.queries.tolist() == [0, 0, 1, 1, 1]
    assert table.retrieved.tolist() == [2, 3, 0]
    assert table.stages == ("bm25", "t5")
    assert table.find_path() is PATH
    assert table.find_path(["bm25", "t5"]) is PATH
    assert table.find_path(["bm25"]) == Path(("bm25",), (None,), ())
    assert repr(table) == "ScoreTable(3 queries; pairs scored: bm25 5, t5 4)"
    for stages in (["t5"], ["bm25", "t5", "t5"], ["bm25", "x"], []):
        with pytest.raises(TableError) as caught:
            table.find_path(stages)
        shown = " → ".join(stages)
        message = f"the table has no cascade {shown}: its stages are bm25, t5; every cascade begins with 'bm25'"
        assert str(caught.value) == message


def test_topics_are_made_canonical_and_an_empty_table_is_one() -> None:
    """Whole numbers for qids become text; a table may hold no row."""
    assert make(FRAME.head(0), topics=TOPICS.assign(qid=[2, 1, 3])).topics["qid"].tolist() == ["2", "1", "3"]
    assert make(FRAME.assign(t5=[1, 2, 3, 4, 5], bm25=[2, 1, 3, 9, 3])).replay((1, 1))["score"].tolist() == [1.0, 4.0]
    assert replace(make(), depth=5).depth == 5


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.permutations(range(8)), st.randoms(use_true_random=False))
def test_any_order_of_ranks_among_equal_scores_is_one(scores: list[int], rows: list[int], random: Any) -> None:
    """Whatever order a retriever gave to ties, and to its rows, is kept; one rank exchanged across unequal scores is not."""
    shuffled = sorted(range(len(scores)), key=lambda n: (-scores[n], random.random()))
    rank = [shuffled.index(n) for n in range(len(scores))]
    order = [n for n in rows if n < len(scores)]
    frame = pd.DataFrame({"qid": "1", "docno": [f"d{n}" for n in order]}).assign(
        rank=[rank[n] for n in order], bm25=[float(scores[n]) for n in order], t5=0.0
    )
    table = make(frame)
    assert table.replay((None,), stages=("bm25",)).sort_values("rank")["docno"].tolist() == [f"d{n}" for n in shuffled]
    if min(scores) < max(scores):
        swapped = frame["rank"].replace({0: len(scores) - 1, len(scores) - 1: 0})
        with pytest.raises(TableError, match="rank is not that of"):
            make(frame.assign(rank=swapped))
