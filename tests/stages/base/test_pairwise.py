"""The pairwise re-ranker: each two documents of a query compared once in each order, and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from itertools import permutations
from typing import ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.rankers import toss

from pt_cascade import Cascade
from pt_cascade.analysis.fusion.pair_aggregation import FIXED, Aggregation, aggregate
from pt_cascade.errors import StageError
from pt_cascade.stages.base.pairwise import PairReranker, list_pairs

RESULTS = st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 30)), unique=True, max_size=14).map(
    lambda rows: pd.DataFrame(rows, columns=["qid", "docno"]).assign(
        qid=lambda frame: frame["qid"].astype(str), docno=lambda frame: "d" + frame["docno"].astype(str), query="heat"
    )
)


def beats(qid: str, one: str, two: str, seed: int = 0) -> float:
    """The probability that one document beats another: a hash of query and documents, with many ties, 0 and 1 included."""
    return toss(seed, qid, one, two, sides=8) / 7


@dataclass(frozen=True)
class ToyDuo(PairReranker):
    """Compares by ``beats``, and notes what it was asked."""

    aggregation: Aggregation = "sym-sum"
    asked: list[tuple[str, str, str]] = field(default_factory=list, compare=False)

    stage_name: ClassVar[str] = "toy_duo"
    schematic: ClassVar[dict[str, str | None]] = {"label": "Toy", "help_url": None}

    def needs(self) -> list[str]:
        """It reads the query."""
        return ["query"]

    def compare(self, results: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Toss for each pair."""
        qid, docno = results["qid"].tolist(), results["docno"].tolist()
        assert all(qid[one] == qid[two] for one, two in zip(first, second, strict=True))
        pairs = [(qid[one], docno[one], docno[two]) for one, two in zip(first, second, strict=True)]
        self.asked.extend(pairs)
        return np.array([beats(*pair) for pair in pairs], float)


def of_query(results: pd.DataFrame, qid: str) -> list[str]:
    """The documents of a query, in row order."""
    return results.loc[results["qid"] == qid, "docno"].tolist()


@given(RESULTS)
def test_every_ordered_pair_is_compared_once(results: pd.DataFrame) -> None:
    """n(n - 1) comparisons a query, none across queries, none of a document with itself."""
    stage = ToyDuo()
    stage.transform(results)
    every = [(qid, *pair) for qid in results["qid"].unique() for pair in permutations(of_query(results, qid), 2)]
    assert stage.asked == every


@given(RESULTS)
def test_scores_are_sums_over_the_others(results: pd.DataFrame) -> None:
    """Brute force over interleaved queries: p(i, j) + 1 - p(j, i) over the others of the same query, wherever their rows stand."""
    expected = [
        sum(
            round((1 + (beats(qid, doc, other) - beats(qid, other, doc))) / FIXED)
            for other in of_query(results, qid)
            if other != doc
        )
        * FIXED
        for qid, doc in zip(results["qid"], results["docno"], strict=True)
    ]
    assert ToyDuo().transform(results)["score"].tolist() == expected


@given(RESULTS, st.data())
def test_stored_comparisons_give_any_subset(results: pd.DataFrame, data: st.DataObject) -> None:
    """What replay rests on: the scores of a part, from the answers of the whole, bit for bit those of the stage, in any order."""
    part = results.iloc[data.draw(st.lists(st.sampled_from(range(len(results))), unique=True))] if len(results) else results
    for how in ("sym-sum", "sum-log", "min"):
        out = ToyDuo(how).transform(part)
        for qid in part["qid"].unique():
            docs = of_query(part, qid)
            kept = np.array([[np.nan if one == two else beats(qid, one, two) for two in docs] for one in docs])
            assert out.loc[out["qid"] == qid, "score"].tolist() == aggregate(kept, how).tolist()


@given(st.lists(st.sampled_from(["1", "2", "3"]), max_size=12))
def test_pairs_are_the_permutations_of_each_query(qid: list[str]) -> None:
    """Golden pairs from itertools, for text and for a column."""
    expected = [
        pair for name in dict.fromkeys(qid) for pair in permutations([n for n, other in enumerate(qid) if other == name], 2)
    ]
    for given_as in (qid, pd.Series(qid, dtype=str)):
        first, second = list_pairs(given_as)
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
        assert (first.dtype, second.dtype) == (np.int64, np.int64)


def frame(*rows: tuple[str, str]) -> pd.DataFrame:
    """Results with one query text."""
    return pd.DataFrame(rows, columns=["qid", "docno"]).assign(query="heat")


def test_a_single_document_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query with one document scores it 0, and no model is asked; no rows give no rows."""
    monkeypatch.setattr(ToyDuo, "compare", lambda *_: pytest.fail("a model was asked"))
    stage = ToyDuo()
    out = stage.transform(frame(("p", "a"), ("q", "b")))
    assert (out["score"].tolist(), out["rank"].tolist()) == ([0.0, 0.0], [0, 0])
    assert stage.transform(frame().astype(str)).empty


def test_rows_and_columns_stay_as_they_were() -> None:
    """Same rows, order and index, other columns kept, ties ranked by row order; the input untouched."""
    results = frame(("q", "c"), ("p", "a"), ("q", "a"), ("q", "b")).assign(url="u", score=1.0, rank=9)
    results.index = pd.Index([3, 1, 4, 7])
    before = results.copy(deep=True)
    out = ToyDuo("binary").transform(results)
    pd.testing.assert_frame_equal(results, before)
    pd.testing.assert_frame_equal(out[["qid", "docno", "query", "url"]], before[["qid", "docno", "query", "url"]])
    ranked = pt.model.add_ranks(out.drop(columns="rank"))
    assert out["rank"].tolist() == ranked["rank"].tolist()


def test_a_cascade_reads_it_as_a_pair_stage() -> None:
    """So that replay keeps its answers instead of its scores."""
    run = frame(("q", "a"), ("q", "b"), ("q", "c")).assign(score=[3.0, 2.0, 1.0], rank=[0, 1, 2])
    stage = ToyDuo()
    cascade = Cascade.of(pt.Transformer.from_df(run) % 2 >> stage % 1)
    out = cascade.transform(pd.DataFrame({"qid": ["q"], "query": ["heat"]}))
    assert (cascade[-1].depends, cascade[-1].documents, cascade[-1].name) == ("pairwise", "reranks", "toy_duo")
    assert (len(out), len(stage.asked)) == (1, 2)


def test_a_copy_carries_its_arguments() -> None:
    """Stages built alike are equal; a pickle keeps how answers add up."""
    assert ToyDuo("min") == ToyDuo("min") != ToyDuo("max")
    assert pickle.loads(pickle.dumps(ToyDuo("min"))) == ToyDuo("min")  # noqa: S301 - our own


@pytest.mark.parametrize("lost", [np.nan, -3.0, 1.5])
def test_answers_that_are_no_probabilities_are_refused(lost: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the stage and the first of them."""
    monkeypatch.setattr(ToyDuo, "compare", lambda _, __, first, ___: np.r_[np.full(len(first) - 1, 0.5), lost])
    with pytest.raises(StageError, match=f"^toy_duo: .*1 of 6 are not from 0 to 1, the first is {lost}$"):
        ToyDuo().transform(frame(("q", "a"), ("q", "b"), ("q", "c")))
