"""Costs: the textbook by hand, a loop over queries in plain Python as the oracle, and one answer however it is asked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade.analysis.cost import cost as costs
from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.cost.latency import check_percentiles, take_percentiles
from pt_cascade.analysis.cost.sample import Sample, StageTimes
from pt_cascade.errors import SweepError

FEW = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
NO_CUT = 2**31 - 1
AMOUNTS = st.integers(0, 40).map(lambda quarters: quarters / 4)
STAGES = st.builds(
    StageCost,
    fixed_ms=AMOUNTS,
    per_pair_ms=AMOUNTS,
    per_token_ms=AMOUNTS,
    tokens_per_pair=st.integers(1, 9),
    usd_per_token=AMOUNTS,
    usd_per_search=AMOUNTS,
    usd_per_hour=AMOUNTS,
)


@st.composite
def cascades(draw: st.DrawFn) -> tuple[Cost, list[list[int]], list[int]]:
    """A cost of one to four stages, some vectors, and how many documents some queries retrieve."""
    stages = draw(st.lists(STAGES, min_size=1, max_size=4))
    cutoff = st.one_of(st.integers(1, 250), st.just(NO_CUT))
    vectors = draw(st.lists(st.lists(cutoff, min_size=len(stages), max_size=len(stages)), min_size=1, max_size=6))
    return Cost.of(*stages), vectors, draw(st.lists(st.integers(0, 250), min_size=1, max_size=8))


def loop(cost: Cost, vector: list[int], docs: list[int]) -> dict[str, list[float]]:
    """The oracle: one query after the other, one stage after the other, as the definitions say."""
    every: dict[str, list[float]] = {"ms": [], "pairs": [], "usd": []}
    for found in docs:
        total, pairs, usd, reach = 0.0, 0, 0.0, found
        for n, stage in enumerate(cost.stages):
            if n:
                reach = min(reach, vector[n - 1])
            given = reach if n else 0
            ms = stage.fixed_ms + given * (stage.per_pair_ms + stage.per_token_ms * stage.tokens_per_pair)
            ms = 0.0 if n and not given else ms
            total, pairs = total + ms, pairs + given
            usd += stage.usd_per_token * stage.tokens_per_pair * given + stage.usd_per_search * math.ceil(given / 100)
            usd += stage.usd_per_hour * ms / 1000 / 3600
        for name, value in (("ms", total), ("pairs", pairs), ("usd", usd)):
            every[name].append(value)
    return every


@FEW
@given(cascades())
def test_costs_are_those_of_a_loop_over_queries(case: tuple[Cost, list[list[int]], list[int]]) -> None:
    """Mean time, percentiles, pairs and money of every vector, from frame and from latency alike."""
    cost, vectors, docs = case
    frame = cost.frame(np.array(vectors), docs)
    known = check_percentiles(None, len(docs))
    assert list(frame)[: len(known) + 2] == ["ms", *(f"p{p}_ms" for p in known), "pairs"]
    for vector, row in zip(vectors, frame.to_dict("records"), strict=True):
        every = loop(cost, vector, docs)
        for name in set(every) & set(row):
            assert row[name] == pytest.approx(np.mean(every[name]))
        assert [row[f"p{p}_ms"] for p in known] == pytest.approx(list(take_percentiles(np.array(every["ms"]), known)))
        late = cost.latency([None if k == NO_CUT else k for k in vector], docs=docs)
        assert late.ms == pytest.approx(row["ms"])
        assert late.joint_ms == pytest.approx([row[f"p{p}_ms"] for p in known])
        assert all(bound >= joint * (1 - 1e-12) for joint, bound in zip(late.joint_ms, late.bound_ms, strict=True))
        assert late.queries == len(docs) * bool(known)


@given(cascades())
def test_a_deeper_cut_off_never_costs_less(case: tuple[Cost, list[list[int]], list[int]]) -> None:
    """By hand, monotone in every cut-off; the last cut-off is free."""
    cost, vectors, docs = case
    shallow = np.array(vectors)
    for n in range(shallow.shape[1]):
        deeper = shallow.copy()
        deeper[:, n] = np.minimum(deeper[:, n].astype(np.int64) + 17, NO_CUT)
        before, after = (cost.frame(vectors, docs, percentiles=()) for vectors in (shallow, deeper))
        for name in before:
            assert (after[name] >= before[name] * (1 - 1e-12)).all()
            assert n < shallow.shape[1] - 1 or (after[name] == before[name]).all()


def test_without_docs_every_query_retrieves_enough() -> None:
    """The mean alone: no percentile column, no percentile; and no warning, as nothing is claimed."""
    cost = Cost.of(StageCost(fixed_ms=2), StageCost(per_pair_ms=0.5), StageCost(fixed_ms=1, per_pair_ms=10))
    frame = cost.frame(np.array([[100, 10, 5], [30, 50, 5]]))
    assert frame.to_dict("list") == {"ms": [153.0, 318.0], "pairs": [110.0, 60.0]}
    late = cost.latency((100, 10, 5))
    assert (late.ms, late.stage_ms, late.percentiles, late.queries) == (153.0, (2.0, 50.0, 101.0), (), 0)


def test_a_stage_that_is_given_nothing_is_not_run() -> None:
    """A query that found nothing costs its retrieval only: that is how a cascade runs."""
    late = Cost.of(StageCost(fixed_ms=2), StageCost(fixed_ms=10, usd_per_search=1)).latency((5, 5), (50,), docs=[0, 0, 7])
    assert (late.joint_ms, late.ms) == ((2.0,), pytest.approx(2 + 10 / 3))


def test_money_comes_in_its_three_units() -> None:
    """By hand: 250 documents are 3 search units; 250 x 200 tokens at 0.05 $ a million; 250 x 20 ms of a 3.6 $ hour."""
    vector = np.array([[250, 10]])
    priced = {"usd_per_search": 0.002}, {"usd_per_token": 5e-8, "tokens_per_pair": 200}, {"usd_per_hour": 3.6, "per_pair_ms": 20}
    usd = [Cost.of(StageCost(), StageCost(**fields)).frame(vector)["usd"].item() for fields in priced]
    assert usd == pytest.approx([0.006, 0.0025, 0.005])
    assert "usd" not in Cost.of(StageCost(), StageCost(per_pair_ms=20)).frame(vector)


def sampled(rows: int, seed: int = 0, *, queries: int = 200) -> Cost:
    """A profiled cost of three stages: fitted times and noise."""
    random = np.random.default_rng(seed)
    retrieved = random.integers(0, 1200, rows)
    stages = (StageCost("bm25", fixed_ms=3), StageCost("bi", 5, 0.01), StageCost("t5", 2, 0.5, usd_per_search=0.002))
    depths = [np.zeros((rows, 3)), *(np.minimum(np.array([[10, 100, 1000]]) * share, retrieved[:, None]) for share in (1, 0.1))]
    noise = random.lognormal(0, 0.3, (3, rows, 3))
    measured = zip(stages, depths, noise, strict=True)
    times = tuple(StageTimes.measured(stage, depth, stage.ms(depth) * factor) for stage, depth, factor in measured)
    return Cost(stages, Sample(retrieved, queries, times))


def test_a_profile_keeps_queries_together() -> None:
    """Golden: the stages' times at a vector, added up row by row in plain NumPy, then sorted; docs are not read."""
    cost = sampled(150)
    sample = cost.sample
    sums = sample.times[0].ms[:, -1]
    for n, k in ((1, 100), (2, 10)):
        given = np.minimum(k, sample.retrieved)
        sums = sums + np.where(given > 0, sample.times[n].at(given[None, :].astype(float), cost.stages[n])[0], 0.0)
    late = cost.latency((100, 10, 5), docs=[1])
    assert late.joint_ms == pytest.approx(tuple(np.sort(sums)[[74, 142, 148]]))
    assert late.ms == pytest.approx(cost.frame(np.array([[100, 10, 5]]))["ms"].item())


def test_one_answer_in_however_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors are computed in pieces that fit in memory: any size of piece and any order of vectors gives the same frame."""
    cost, random = sampled(60), np.random.default_rng(1)
    vectors = np.column_stack([random.integers(1, 1001, 500), random.integers(1, 101, 500), random.integers(1, 21, 500)])
    whole = cost.frame(vectors)
    monkeypatch.setattr(costs, "_CELLS", 7 * 60)
    pd.testing.assert_frame_equal(cost.frame(vectors), whole)
    order = random.permutation(500)
    pd.testing.assert_frame_equal(cost.frame(vectors[order]), whole.iloc[order].reset_index(drop=True))
    assert len(whole.drop_duplicates()) > 400


def test_no_vector_is_an_empty_frame() -> None:
    """The same columns, no row."""
    assert list(sampled(9, queries=100).frame(np.empty((0, 3), np.int64))) == ["ms", "p50_ms", "p95_ms", "p99_ms", "pairs", "usd"]


def test_percentiles_are_given_by_the_number_of_queries() -> None:
    """Not of rows: 300 rows of 99 queries have no p99; and queries that were timed together have none at all."""
    for queries, last in ((99, 95.0), (100, 99.0)):
        cost = sampled(300, queries=queries)
        assert cost.latency((10, 5, 5)).percentiles[-1] == last
        assert ("p99_ms" in cost.frame(np.array([[10, 5, 5]]))) == (last == 99)


def test_another_path_takes_its_stages_by_name() -> None:
    """In the order asked for, with their own times; the two-stage cost is the three-stage one without the middle."""
    cost = sampled(120)
    two = cost.select(["bm25", "t5"])
    assert [one.stage for one in two.stages] == ["bm25", "t5"]
    assert two.sample.times == (cost.sample.times[0], cost.sample.times[2])
    assert cost.select(["bm25", "bi", "t5"]).latency((50, 9, 5)) == cost.latency((50, 9, 5))
    hand = Cost.of(StageCost("bm25", 1), StageCost("bi", per_pair_ms=1), StageCost("t5", per_pair_ms=9))
    assert hand.select(["bm25", "t5", "bi"]).latency((10, 5, 5)).ms == 1 + 90 + 5


def test_costs_without_names_are_taken_by_position() -> None:
    """As many as the path has stages."""
    cost = Cost.of(StageCost(fixed_ms=1), StageCost(per_pair_ms=2))
    assert cost.select(["bm25", "t5"]) == Cost.of(StageCost("bm25", fixed_ms=1), StageCost("t5", per_pair_ms=2))


TWO = Cost.of(StageCost("bm25"), StageCost("t5", per_pair_ms=50))
TOKENS = "tokens_per_pair is 0, expected how many tokens the model reads for a pair"
AMOUNT = "expected a finite number, 0 or more"
VECTORS = "vectors are not cut-offs:"
HAND = "Fix: Cost.of(StageCost('bm25'), StageCost('t5', per_pair_ms=50))"
TOGETHER = "its queries were timed together (mode 'throughput'), so only their mean time is known"
MEANS = Cost(TWO.stages, Sample(np.array([5]), 1, percentiles=False))
BAD: dict[str, tuple[Any, str]] = {
    "negative": (lambda: StageCost("t5", per_pair_ms=-1), f"the cost of stage 't5' is out of range: per_pair_ms is -1, {AMOUNT}"),
    "all": (
        lambda: StageCost("t5", math.nan, math.inf, "2", usd_per_hour=True),
        f"the cost of stage 't5' is out of range:\n  - fixed_ms is nan, {AMOUNT}\n  - per_pair_ms is inf, {AMOUNT}\n"
        f"  - per_token_ms is '2', {AMOUNT}\n  - usd_per_hour is True, {AMOUNT}",
    ),
    "name": (lambda: StageCost(5), "the cost of stage 5 is out of range: stage is 5, expected its name"),
    "time per token": (lambda: StageCost("t5", per_token_ms=1), f"the cost of stage 't5' is out of range: {TOKENS}"),
    "no stage": (Cost.of, f"these stages do not make a cost: there is no stage, expected a StageCost for each stage. {HAND}"),
    "no StageCost": (lambda: Cost.of(5, StageCost()), f"these stages do not make a cost: 5 is not a StageCost. {HAND}"),
    "twice": (
        lambda: Cost.of(StageCost("a"), StageCost("a")),
        f"these stages do not make a cost: stage 'a' has 2 costs, expected one. {HAND}",
    ),
    "unknown": (
        lambda: TWO.select(["bm25", "duo", "llm"]),
        "the cost does not cover the stages: there is no cost for duo, llm, only for bm25, t5. Fix: "
        "StageCost('duo', per_pair_ms=...)",
    ),
    "too few": (
        lambda: Cost.of(StageCost()).select(["bm25", "t5"]),
        "the cost does not cover the stages: there is no cost for bm25, t5, only for a stage without name. "
        "Fix: StageCost('bm25', per_pair_ms=...)",
    ),
    "too many cut-offs": (
        lambda: TWO.latency((9, 9, 9)),
        "this is not a vector of cut-offs: 3 cut-offs (9, 9, 9) for 2 stages bm25, t5. "
        "Fix: pass one cut-off for each stage, None for no cut",
    ),
    "unbounded": (
        lambda: TWO.latency((None, 9)),
        "the number of documents of a stage is unknown: a cut-off is None, and the number of documents that a "
        "query retrieves is unknown. "
        "Fix: pass docs=table.retrieved, or set that cut-off",
    ),
    "together": (
        lambda: MEANS.latency((9, 9), (95,)),
        f"the cost has no percentiles: {TOGETHER}. "
        "Fix: cost.latency(cutoffs, percentiles=()), or profile(cascade, topics, mode='interactive')",
    ),
    "shape": (
        lambda: TWO.frame(np.array([[9, 9, 9]])),
        f"{VECTORS} the shape is (1, 3), expected (vectors, 2), a cut-off for each stage",
    ),
    "kind": (
        lambda: TWO.frame(np.array([[9.5, 9]])),
        f"{VECTORS} the type is float64, expected whole numbers, 2147483647 for no cut",
    ),
    "zero": (lambda: TWO.frame(np.array([[9, 0]])), f"{VECTORS} the smallest is 0, expected 1 or more"),
    "flat": (
        lambda: TWO.frame(np.array([9.5, 9])),
        f"{VECTORS}\n  - the shape is (2,), expected (vectors, 2), a cut-off for each stage\n"
        "  - the type is float64, expected whole numbers, 2147483647 for no cut",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused(case: str) -> None:
    """Each with its exact message, all reasons at once."""
    ask, message = BAD[case]
    with pytest.raises(SweepError) as error:
        ask()
    assert str(error.value) == message


def test_queries_that_were_timed_together_still_tell_means() -> None:
    """Throughput: no percentile columns, and how many documents each query has is known."""
    assert MEANS.frame(np.array([[9, 9]])).to_dict("list") == {"ms": [250.0], "pairs": [5.0]}
    assert MEANS.latency((None, 9), percentiles=()).ms == 250.0
