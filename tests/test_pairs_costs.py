"""What a pairwise stage costs: a duel for each document against each other, in both orders."""

from __future__ import annotations

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
from test_pairs_replay import WINS, make_table
from test_timing import Finder, Stopwatch
from toys import topics

from pt_cascade.analysis.choice import choose
from pt_cascade.analysis.cost_units import match_units
from pt_cascade.analysis.costs import Cost, StageCost
from pt_cascade.analysis.duels import join_duels
from pt_cascade.analysis.stage_costs import count_duels
from pt_cascade.analysis.sweeps import sweep
from pt_cascade.analysis.tables import Column, Path
from pt_cascade.analysis.timings import Timings
from pt_cascade.errors import SweepError, TableError
from pt_cascade.execution.timing import profile

if TYPE_CHECKING:
    import pathlib

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
    assert StageCost("duo", fixed_ms=1, compares=True).least == 2


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


def test_pairwise_timings_come_back_from_the_disk(tmp_path: pathlib.Path) -> None:
    """With the names of what compares; without such a stage there are none."""
    timings = slow()
    timings.save(tmp_path / "t.parquet")
    again = Timings.load(tmp_path / "t.parquet")
    assert again.pairwise == ("duellist",)
    assert again.cost().stages == timings.cost().stages
    replace(timings, pairwise=()).save(tmp_path / "plain.parquet")
    assert Timings.load(tmp_path / "plain.parquet").pairwise == ()


def test_a_name_that_is_no_later_stage_is_refused() -> None:
    """What retrieves compares nothing, and strangers are named."""
    for name in ("other", "finder"):
        with pytest.raises(TableError, match=f"pairwise names '{name}', which is no stage"):
            replace(slow(), pairwise=(name,))


def test_a_fit_without_a_slope_is_still_of_a_pairwise_stage() -> None:
    """However long a duel takes, a stage that compares documents has duels, and does not run on one document alone."""

    @dataclass(frozen=True)
    class Even(Slow):
        def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
            self.clock.work("duellist", results, 4 * results["qid"].nunique())
            return Duellist.compare(self, results, first, second)

    clock = Stopwatch()
    timings = profile(Finder(clock) % 16 >> Even(clock=clock) % 5, topics(6), repeats=1, warmup=2, clock=clock)
    frame = timings.frame.assign(tokens=np.nan)
    cost = replace(timings, frame=frame).cost()
    assert cost.stages[1].per_duel_ms == pytest.approx(0, abs=1e-9)
    assert (cost.stages[1].compares, cost.stages[1].tokens_per_duel) == (True, 0)
    told = cost.frame(np.array([[1, 5], [3, 5]]), percentiles=())
    assert told["duels"].tolist() == [0, 6]
    assert told["ms"].diff().iloc[1] == pytest.approx(4)


QRELS = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (
            [StageCost("bm25"), StageCost("bi", per_doc_ms=1), StageCost("duo", per_doc_ms=2)],
            "the cost does not fit the stages: stage 'duo' compares each two documents, "
            "but its cost is a document's, per_doc_ms=2. Fix: StageCost('duo', per_duel_ms=...)",
        ),
        (
            [StageCost(), StageCost(tokens_per_duel=9), StageCost(tokens_per_doc=7)],
            "the cost does not fit the stages:\n"
            "  - stage 'bi' scores each document by itself, but its cost is a duel's, tokens_per_duel=9\n"
            "  - stage 'duo' compares each two documents, but its cost is a document's, tokens_per_doc=7\n"
            "Fix: StageCost('bi', per_doc_ms=...)",
        ),
    ],
)
def test_a_cost_in_the_wrong_unit_is_refused(costs: list[StageCost], message: str) -> None:
    """A document is not a duel: which stage, what it was told, and what to tell it."""
    table = make_table(WINS, bm25=[3, 2, 1], bi=[1, 2, 3])
    with pytest.raises(SweepError) as caught:
        sweep(table, QRELS, ["RR"], costs, grid=[(3, 3, None)])
    assert str(caught.value) == message


@given(st.tuples(AMOUNT, AMOUNT, AMOUNT), st.booleans())
def test_a_cost_in_the_right_unit_is_kept(amounts: tuple[float, float, float], named: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever the amounts, and where nothing is told of duels, they are counted; a table of runs knows no pairwise stages."""
    fixed, per_doc, per_duel = amounts
    table = make_table(WINS, bm25=[3, 2, 1], bi=[1, 2, 3])
    costs = Cost.of(
        StageCost("bm25" * named),
        StageCost("bi" * named, fixed_ms=fixed, per_doc_ms=per_doc),
        StageCost("duo" * named, fixed, per_duel_ms=per_duel),
    )
    matched = match_units(costs, table, table.stages)
    assert [one.compares for one in matched.stages] == [False, False, True]
    assert [replace(one, compares=False) for one in matched.stages] == [replace(one, compares=False) for one in costs.stages]
    runs = replace(
        table, about={"made of": "runs"}, duels={}, columns=table.columns[:2], paths=(Path(("bm25", "bi"), (None, None)),)
    )
    assert match_units(Cost.of(StageCost(), StageCost(per_duel_ms=1)), runs, ("bm25", "bi")).stages[1].compares
    with pytest.raises(SweepError):
        match_units(Cost.of(StageCost(), StageCost(per_duel_ms=1)), replace(runs, about={}), ("bm25", "bi"))


def test_timings_that_know_no_duels_are_refused() -> None:
    """A profile of another cascade, or of an older version, tells a time a document."""
    timings = replace(slow(), pairwise=())
    table = make_table(WINS, finder=[3, 2, 1])
    changed = {"columns": (table.columns[0], Column("duellist")), "duels": {"duellist": table.duels["duo"]}}
    table = replace(table, **changed, paths=(Path(("finder", "duellist"), (None, None)),))
    with pytest.raises(SweepError, match=r"Fix: profile\(cascade, topics\)\.cost\(\), of this cascade$"):
        sweep(table, QRELS, ["RR"], timings.cost(), grid=[(3, None)])


def test_a_choice_tells_its_duels() -> None:
    """Golden, by hand: three documents hold six duels, beside the three documents that the stage is given."""
    costs = [StageCost("bm25", fixed_ms=1), StageCost("duo", per_duel_ms=2)]
    qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]})
    one = make_table(WINS, bm25=[3, 2, 1])
    two = pd.concat([one.frame, one.frame.assign(qid="2")], ignore_index=True)
    duels = join_duels([(one.duels["duo"], 0), (one.duels["duo"], 3)], "sum")
    asked = pd.DataFrame({"qid": ["1", "2"], "query": "q"})
    table = replace(one, frame=two, topics=asked, duels={"duo": duels})
    choice = choose(sweep(table, qrels, ["RR"], costs, grid=[(3, None)]), "RR", budget_ms=100, folds=2)
    assert ", 3 model pairs, 6 duels; by costs given by hand" in choice.explain()
