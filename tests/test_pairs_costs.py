"""What a pairwise stage costs: a duel for each document against each other, in both orders."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from duellists import Duellist
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from test_timing import Finder, Stopwatch
from toys import topics

from pt_cascade.analysis.costs import Cost, StageCost
from pt_cascade.analysis.stage_costs import count_duels
from pt_cascade.analysis.timings import Timings
from pt_cascade.errors import SweepError, TableError
from pt_cascade.execution.timing import profile

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.ranking import Floats, Ints

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries
AMOUNT = st.floats(0, 100)


@given(st.integers(0, 30), AMOUNT, AMOUNT, AMOUNT)
def test_every_ordered_pair_is_a_duel(n: int, fixed: float, per_doc: float, per_duel: float) -> None:
    """Oracle: the permutations of two of n documents, counted one by one, at their price beside the other parts."""
    duels = len(list(permutations(range(n), 2)))
    assert count_duels(n) == duels
    cost = StageCost("duo", fixed_ms=fixed, per_doc_ms=per_doc, per_duel_ms=per_duel)
    assert cost.ms(float(n)) == pytest.approx(fixed + n * per_doc + duels * per_duel)
    priced = StageCost("duo", tokens_per_duel=3, per_token_ms=per_doc, usd_per_token=per_duel)
    assert priced.ms(float(n)) == pytest.approx(3 * per_doc * duels)
    assert priced.usd(np.array([float(n)]), np.zeros(1)) == pytest.approx(3 * per_duel * duels)


def test_by_hand() -> None:
    """Golden, by hand: 20 documents hold 380 duels of 2 ms; 3 documents 6 duels; one document none, in no time."""
    cost = Cost.of(StageCost("bm25", fixed_ms=5), StageCost("bi", per_doc_ms=0.05), StageCost("duo", fixed_ms=1, per_duel_ms=2))
    late = cost.latency((1000, 20, 5))
    assert late.stage_ms == (5.0, 50.0, 761.0)
    frame = cost.frame(np.array([[1000, 20, 5], [1000, 2, 1], [1000, 1, 1]]), docs=[1000, 3])
    assert frame["duels"].tolist() == [(380 + 6) / 2, 2.0, 0.0]
    assert frame["ms"].tolist() == pytest.approx([5 + 0.05 * 501.5 + 1 + 386, 5 + 0.05 * 501.5 + 1 + 4, 5 + 0.05 * 501.5])
    assert "duels" not in Cost.of(StageCost(), StageCost(per_doc_ms=1)).frame(np.array([[5, 5]]))


def test_tokens_must_be_told() -> None:
    """A price a token needs tokens, of a document or of a duel."""
    with pytest.raises(SweepError, match="tokens_per_doc is 0"):
        StageCost("duo", usd_per_token=1e-6)
    assert StageCost("duo", usd_per_token=1e-6, tokens_per_duel=500).compares
    assert not StageCost("mono", per_doc_ms=1).compares


@dataclass(frozen=True)
class Slow(Duellist):
    """Compares in 4 ms and 0.5 ms a duel; reads 7 tokens a duel."""

    clock: Stopwatch = field(default_factory=Stopwatch, compare=False)

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Compare, and take time."""
        self.clock.work("duellist", results, 4 * results["qid"].nunique() + 0.5 * len(first))
        return super().compare(results, first, second)

    def count_tokens(self, frame: pd.DataFrame) -> list[int]:
        """Seven a duel."""
        return (7 * (frame.groupby("qid")["docno"].transform("size") - 1)).tolist()


def slow(mode: str = "interactive") -> Timings:
    """Profile a retriever and a slow comparer."""
    clock = Stopwatch()
    pipeline = Finder(clock) % 16 >> Slow(clock=clock) % 5
    return profile(pipeline, topics(6), mode, repeats=1, warmup=2, clock=clock)


@pytest.mark.parametrize("mode", ["interactive", "throughput"])
def test_a_profile_tells_the_time_of_a_duel(mode: str) -> None:
    """Golden: what the toy spent, at depths that were not profiled as well; a line through the documents could not tell."""
    timings = slow(mode)
    assert timings.pairwise == ("duellist",)
    fitted = timings.cost().stages[1]
    assert (fitted.fixed_ms, fitted.per_duel_ms, fitted.tokens_per_duel) == pytest.approx((4, 0.5, 7))
    assert (fitted.per_doc_ms, fitted.tokens_per_doc) == (0, 0)
    assert timings.cost().latency((9, 5), ()).stage_ms[1] == pytest.approx(4 + 0.5 * 72)
    token = timings.cost("token").stages[1]
    assert (token.per_token_ms, token.per_duel_ms, token.tokens_per_duel) == pytest.approx((0.5 / 7, 0, 7))
    assert timings.summary()["per_duel_ms"].tolist()[1] == pytest.approx(0.5)
    straight = replace(timings, pairwise=()).cost().stages[1]
    assert straight.ms(9.0) != pytest.approx(4 + 0.5 * 72, rel=0.2)
    assert "per_duel_ms" not in replace(timings, pairwise=()).summary()


@dataclass(frozen=True)
class Stock(pt.Transformer):
    """A pairwise stage that only says so, as a stock DuoT5 does."""

    depends = "pair"
    documents = "same"
    stage_name = "stock"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by length."""
        pt.validate.result_frame(inp, context=self)
        return pt.model.add_ranks(inp.assign(score=inp["docno"].str.len().astype(float)))


def test_stages_that_say_they_compare_are_priced_by_the_duel() -> None:
    """Whether or not their answers can be kept."""
    assert profile(Finder(Stopwatch()) % 9 >> Stock() % 5, topics(2), repeats=1, warmup=1).pairwise == ("stock",)


def test_pairwise_timings_come_back_from_the_disk(tmp_path: Path) -> None:
    """With the names of what compares; timings without such a stage are of the format that older readers know."""
    timings = slow()
    timings.save(tmp_path / "t.parquet")
    again = Timings.load(tmp_path / "t.parquet")
    assert again.pairwise == ("duellist",)
    assert again.cost().stages == timings.cost().stages
    replace(timings, pairwise=()).save(tmp_path / "plain.parquet")
    told = {
        name: json.loads(parquet.read_schema(tmp_path / name).metadata[b"pt_cascade.timings"])
        for name in ("t.parquet", "plain.parquet")
    }
    assert (told["t.parquet"]["format"], told["plain.parquet"]["format"], "pairwise" in told["plain.parquet"]) == (2, 1, False)
    assert Timings.load(tmp_path / "plain.parquet").pairwise == ()


def test_a_name_that_is_no_later_stage_is_refused() -> None:
    """What retrieves compares nothing, and strangers are named."""
    for name in ("other", "finder"):
        with pytest.raises(TableError, match=f"pairwise names '{name}', which is no stage"):
            replace(slow(), pairwise=(name,))
