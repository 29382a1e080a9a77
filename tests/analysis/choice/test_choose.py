"""Choosing cut-offs: by hand on tiny tables, against pandas, and all that can be wrong with what is asked."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.scored import make_scores, make_sweep

from pt_cascade.analysis.certificates.dirichlet import weigh_at_random
from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.choice.cross_validation import (
    count_folds,
    cross_validate,
    draw_folds,
    excess_variance,
    measure_noise,
    wild_bootstrap,
)
from pt_cascade.analysis.choice.curve_shape import classify_curve
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.plateaus import find_plateaus
from pt_cascade.analysis.choice.result import Choice, show_digits
from pt_cascade.analysis.choice.selection import find_reference
from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.cost.sample import Sample, StageTimes
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.grid.descents import descend
from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.sweep.result import Sweep
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.errors import SweepError

COSTS = (StageCost("s1"), StageCost("s2", per_pair_ms=1), StageCost("s3", per_pair_ms=10), StageCost("s4", per_pair_ms=30))


def swept(queries: int = 40, documents: int = 8, stages: int = 3, *, seed: int = 0, **options: object) -> Sweep:
    """A sweep with costs by hand, or what the options say."""
    scores, labels = make_scores(queries, documents, stages, seed)
    return make_sweep(scores, labels, **{"cost": COSTS[:stages]} | options)


def by_hand() -> Sweep:
    """Three queries, RR at k = 1 and 2: 1 and 0.5, 1 and 0.5, 0 and 1; stage a alone as deep as 2: 1, 1, 0.5."""
    scores = {"a": np.tile([2.0, 1.0], (3, 1)), "b": np.tile([0.0, 1.0], (3, 1))}
    return make_sweep(scores, np.array([[1, 0], [1, 0], [0, 1]]), ("RR",), cost=[StageCost(), StageCost(per_pair_ms=1)])


def bits(choice: Choice) -> list[object]:
    """Everything in a choice that is a number or a text, to the last bit."""
    frames = [choice.folds, choice.runners_up, choice.noise]
    numbers = [choice.cutoffs, choice.picked, choice.in_sample, choice.held_out, choice.gain, choice.first_stage, choice.verdict]
    more = [choice.plateaus, choice.curves, choice.advice, choice.cost.to_dict(), choice.explain(details=True)]
    return [*numbers, *more, *(frame.to_csv() for frame in frames)]


def test_held_out_each_query_gets_what_the_others_chose() -> None:
    """By hand, a fold a query: without query 1 or 2, k = 2 is best (0.75) and gives 0.5; without query 3, k = 1 is, and gives 0."""
    choice = choose(by_hand(), "RR", budget_ms=100, percentile=None, folds=3)
    assert choice.picked == (1, None)  # both have 2/3, and one document costs less
    assert choice.cutoffs == choice.reference == (2, None)
    assert choice.in_sample == choice.kept.mean == pytest.approx(2 / 3)
    assert choice.held_out.mean == pytest.approx(1 / 3)
    folds = choice.folds.sort_values("held_out")
    assert folds["k1"].tolist() == [1, 2, 2]
    assert folds["held_out"].tolist() == [0.0, 0.5, 0.5]
    assert folds["queries"].tolist() == [1, 1, 1]
    assert (choice.gain.mean, choice.first_stage.mean) == pytest.approx((-1 / 3, -1 / 2))


def test_figures_of_a_vector_and_of_choosing_it_are_told_apart() -> None:
    """One in-sample figure, of the vector that all queries picked; the folds' own in-sample figures are nowhere."""
    choice = choose(swept(60), "nDCG@10", budget_ms=1000)
    assert choice.in_sample == pytest.approx(swept(60).per_query(choice.picked)["nDCG@10"].mean())
    assert "in_sample" not in choice.folds
    told = choice.explain(details=True)
    assert f"{choice.in_sample:.4f}" in told
    assert told.count("in-sample") == 3  # of the vector, twice, and of the noise
    assert choice.folds.groupby("repeat")["queries"].sum().tolist() == [60] * 20
    weighted = (choice.folds["held_out"] * choice.folds["queries"]).sum() / 1200
    assert choice.held_out.mean == pytest.approx(weighted)


@settings(max_examples=8)
@given(st.integers(0, 100), st.integers(12, 120), st.sampled_from([None, 50, 95]))
def test_the_best_within_the_budget_is_that_of_pandas(seed: int, budget: int, percentile: float | None) -> None:
    """Golden: the frame of the sweep, filtered, sorted by cost, and its idxmax; by hand, the largest time counts."""
    table = swept(20, 6, seed=seed)
    every = table.cost.select(table.stages).frame(table.grid.vectors, docs=[6] * 20, percentiles=(100,))
    inside = table.frame[every["ms" if percentile is None else "p100_ms"] <= budget].sort_values("ms", kind="stable")
    best = inside.loc[inside["nDCG@10"].round(12).idxmax()]
    choice = choose(table, "nDCG@10", budget_ms=budget, percentile=percentile)
    assert choice.method == "budget"
    assert choice.picked[:2] == (best["k1"], best["k2"])
    assert choice.in_sample == pytest.approx(best["nDCG@10"])
    assert choice.cost["ms"] <= budget


def test_a_boundless_budget_gives_the_best_of_all() -> None:
    """And no held-out mean is above what an oracle would choose on its own fold."""
    table = swept(60)
    choice = choose(table, "nDCG@10", budget_ms=math.inf)
    assert choice.in_sample == pytest.approx(table.frame["nDCG@10"].max())
    assert choice.held_out.mean < choice.in_sample


def test_the_same_seed_gives_the_same_bits() -> None:
    """For each method; another seed gives other folds."""
    for options in ({"budget_ms": 60}, {"method": "plateau", "margin": 0.2}, {"method": "certified", "margin": 0.1}):
        one, other = (choose(swept(), "nDCG@10", **options) for _ in range(2))
        assert bits(one) == bits(other)
    one, other = (choose(swept(), "nDCG@10", budget_ms=60, seed=seed) for seed in (0, 1))
    assert one.folds["held_out"].tolist() != other.folds["held_out"].tolist()


def test_a_plateau_is_chosen_by_recall_and_then_the_measure() -> None:
    """Golden: the plateaus of the recall that the sweep itself gives, on all queries, at their cut-offs."""
    table = swept(300, 12)
    choice = choose(table, "nDCG@10", margin=0.1)

    def recall(stage: int, given: tuple[int, ...]) -> np.ndarray:
        kept = table.table.replay((*given, None), stages=table.stages[: stage + 1]).merge(table.replayer.judged.qrels)
        found = kept.pivot_table(index="qid", columns="rank", values="label").loc[list(table.qids)].cumsum(axis=1)
        return (
            found.to_numpy() / table.replayer.judged.qrels.groupby("qid")["label"].sum().loc[list(table.qids)].to_numpy()[:, None]
        )

    expected = find_plateaus(recall, table.stages, table.grid.vectors, 0.1)
    assert choice.method == "plateau"
    assert choice.plateaus == expected
    assert choice.cutoffs == (*(one.k for one in expected), None)
    assert choice.verdict.decision == "ship"
    assert choice.verdict.guaranteed
    assert choice.verdict.reason == (
        f"recall loses at most {expected[0].bound:.3f} (s1), {expected[1].bound:.3f} (s2), each with 95 % certainty"
    )
    assert f"  Plateau of {expected[1]}" in choice.explain(details=True).splitlines()


def test_a_plateau_beyond_the_budget_is_reduced_and_judged_as_the_best() -> None:
    """The best within it, no deeper; and as it looked for the best, the held-out interval is wider."""
    table = swept(300, 12)
    choice = choose(table, "nDCG@10", margin=0.1, budget_ms=30, percentile=95, method="plateau", reference=(12, 12, None))
    assert choice.over_budget == (choice.cutoffs == choice.reference)
    assert table.cost.latency(choice.picked, (), [12]).ms <= 30
    assert all(k <= plateau.k for k, plateau in zip(choice.picked, choice.plateaus, strict=False))
    assert not choice.verdict.guaranteed
    free = choose(table, "nDCG@10", margin=0.1, method="plateau")
    narrow, wide = (one.held_out.high - one.held_out.low for one in (free, choice))
    assert wide > narrow


def test_a_certificate_is_a_bound_on_the_loss_of_the_vector_itself() -> None:
    """Golden: the first vectors on the way down whose losses pass the test, by the sweep's own numbers; the cheapest of them."""
    table = swept(200)
    choice = choose(table, "nDCG@10", method="certified", margin=0.2)
    vectors = table.grid.vectors
    last = table.per_query((8, 8, None))["nDCG@10"].to_numpy()
    passed = [vectors[-1]]
    for row in descend(np.minimum(vectors, 8), np.array([8, 8, 8])):
        loss = last - table.per_query(as_cutoffs(vectors[row]))["nDCG@10"].to_numpy()
        if weigh_at_random(loss[None], 0.2)[0] > 0.05:
            break
        passed.append(vectors[row])
    costs = [table.frame.loc[(vectors == one).all(axis=1), "ms"].iloc[0] for one in passed]
    assert len(passed) > 2
    assert choice.cutoffs == choice.picked == as_cutoffs(passed[int(np.argmin(costs))])
    assert choice.cost["ms"] == min(costs) < costs[0]
    assert (choice.verdict.decision, choice.verdict.guaranteed) == ("ship", True)
    assert choice.verdict.reason == "it loses at most 0.2 nDCG@10 on average, with 95 % certainty"
    assert "by the dirichlet test, proven for losses of 0 and 1, conjectured for others" in choice.explain(details=True)
    proven = choose(table, "nDCG@10", method="certified", margin=0.2, test="betting", alpha=0.1)
    assert proven.verdict.reason == "it loses at most 0.2 nDCG@10 on average, with 90 % certainty"
    assert "by the betting test, proven for any losses" in proven.explain(details=True)


@pytest.mark.parametrize(("margin", "needed"), [(0.02, 149), (0.05, 59)])
def test_thirty_queries_cannot_drop_a_stage_and_the_number_that_could_is_said(margin: float, needed: int) -> None:
    """However alike the vectors are: the reference is kept, and no fewer than (1 - margin)ⁿ ≤ .05 queries are named."""
    table = swept(30)
    for method in ("certified", "plateau"):
        choice = choose(table, "nDCG@10", method=method, margin=margin)
        assert choice.cutoffs == choice.reference == (8, 8, None)
        assert choice.verdict.decision == "cannot tell"
        assert choice.verdict.needed >= needed
        assert choice.explain().startswith("Cannot tell: about ")
        assert choice.explain().splitlines()[0].endswith(" queries would. Keep s1 → 8 · s2 → 8 · s3")


def test_a_reference_is_what_is_kept_and_compared_with() -> None:
    """The vector that is in use, though another one is the deepest; and by default the first within the budget on the way down."""
    table = swept(40)
    choice = choose(table, "nDCG@10", budget_ms=1000, reference=(4, 2, None))
    assert choice.reference == (4, 2, None)
    assert choice.kept.mean == pytest.approx(table.per_query((4, 2, None))["nDCG@10"].mean())
    certified = choose(table, "nDCG@10", method="certified", margin=0.3, reference=(4, 2, None))
    assert certified.cutoffs[0] <= 4
    plateau = choose(table, "nDCG@10", method="plateau", margin=0.3, reference=(4, 2, None))
    assert all(one.deepest <= k for one, k in zip(plateau.plateaus, (4, 2), strict=True))
    within = choose(table, "nDCG@10", budget_ms=40)
    way = table.grid.vectors[descend(np.minimum(table.grid.vectors, 8), np.array([8, 8, 8]))]
    affordable = [as_cutoffs(one) for one in way if one[0] + 10 * one[1] <= 40]
    assert within.reference == affordable[0]
    dear = choose(table, "nDCG@10", budget_ms=20, reference=(8, 8, None))
    assert dear.over_budget == (dear.cutoffs == (8, 8, None))
    with pytest.raises(SweepError) as caught:
        choose(swept(4, grid=[(2, 2, None)]), "nDCG@10", folds=2, reference=(8, 2, None))
    assert str(caught.value) == (
        f"{HEAD}the reference s1 → 8 · s2 → 2 · s3 is not in the grid of the sweep. "
        "Fix: reference=(2, 2, None), the nearest that is"
    )


def test_folds_are_as_many_as_a_certificate_takes() -> None:
    """By hand: of 160 queries, 15 folds leave 149, which certify a margin of .02; of 149 no number does, and five stay five."""
    found = [count_folds(n, 5, "certified", 0.02, 0.05, "dirichlet") for n in (149, 157, 160, 186, 187)]
    assert found == [5, 20, 15, 6, 5]
    assert count_folds(160, 5, "budget", 0.02, 0.05, "dirichlet") == 5
    same = {"s1": np.tile(-np.arange(4.0), (160, 1)), "s2": np.tile(-np.arange(4.0), (160, 1))}
    labels = np.zeros((160, 4), int)
    labels[:, 0] = 1
    choice = choose(make_sweep(same, labels, ("RR",)), "RR", method="certified")
    assert choice.cutoffs == (1, None)
    assert set(choice.folds["k1"]) == {1}


@pytest.mark.parametrize("seed", range(3))
def test_the_verdict_is_the_same_whatever_the_seed(seed: int) -> None:
    """Twenty splits average the luck of one: twelve seeds give one verdict, or none can tell and the spread is shown."""
    table = swept(60, seed=seed)
    found = [choose(table, "nDCG@10", budget_ms=60, seed=n) for n in range(4)]
    assert len({one.verdict.decision for one in found}) == 1
    assert all("held out over 20 splits" in re.sub(r"\s+", " ", one.explain()) for one in found)


def test_the_report_is_short_and_narrow() -> None:
    """The verdict, then at most ten lines of at most 80 columns; whatever is measured."""
    for options in ({"budget_ms": 60}, {"method": "plateau", "margin": 0.2}, {"method": "certified", "margin": 0.1}):
        first, *others = choose(swept(60), "nDCG@10", **options).explain().splitlines()
        assert first.split(" ")[0] in {"Ship", "Keep", "Cannot"}
        assert len(others) <= 10
        assert max(map(len, [first, *others])) <= 80


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("method", ["plateau", "certified", "budget"])
def test_a_cascade_may_have_any_number_of_stages(stages: int, method: str) -> None:
    """One plateau and shape for each but the last, or the only one's own."""
    scores, labels = make_scores(25, 6, stages)
    vectors = grid(range(1, 7)) if stages == 1 else None
    table = make_sweep(scores, labels, cost=COSTS[:stages], grid=vectors)
    choice = choose(table, "nDCG@10", method=method, budget_ms=150, margin=0.3)
    assert len(choice.cutoffs) == stages
    assert len(choice.plateaus) == (max(stages - 1, 1) if method == "plateau" else 0)
    assert (choice.first_stage is None) == (stages == 1)
    assert (choice.advice.verdict == "") == (stages < 3)
    assert re.match(r"(Ship|Keep|Cannot tell: about [\d,]+ queries would\. Keep) s1", choice.explain())


@pytest.mark.parametrize("options", [{"tail": "keep"}, {"by_rank": True}, {"tail": "keep", "by_rank": True}])
def test_the_tail_and_the_order_of_the_sweep_hold_for_all_that_is_compared(options: dict[str, object]) -> None:
    """In-sample, against the deepest and against stage 1: by the sweep's own numbers, a fold a query and one vector to choose."""
    scores, labels = make_scores(20, 8, 2)
    scores["s2"] = scores["s2"].round()  # ties
    table = make_sweep(scores, labels, ("AP",), grid=[(4, 2), (8, 8)], cost=[StageCost(), StageCost(per_pair_ms=1)], **options)
    choice = choose(table, "AP", budget_ms=4, reference=(8, 8))
    chosen, deepest = table.per_query((4, 2))["AP"], table.per_query((8, 8))["AP"]
    alone = make_sweep({"s1": scores["s1"]}, labels, ("AP",), grid=[(8,)], **options).per_query((8,))["AP"]
    assert choice.picked == (4, 2)
    expected = (chosen - deepest).mean(), (chosen - alone).mean()
    assert (choice.gain.mean, choice.first_stage.mean) == pytest.approx(expected)
    assert choice.held_out.mean == pytest.approx(chosen.mean())


def test_a_list_of_vectors_need_not_hold_the_componentwise_deepest() -> None:
    """The largest product of cut-offs is what the choice is compared with, not the last of the list."""
    table = swept(grid=[(2, 2, None), (8, 1, 1), (6, 4, None), (4, 4, 2)])
    choice = choose(table, "nDCG@10", budget_ms=1000, percentile=None)
    assert choice.reference == (6, 4, None)
    assert choice.picked in set(table.grid)
    assert choose(table, "nDCG@10", margin=0.5).cutoffs in set(table.grid)


def test_cutoffs_may_be_none() -> None:
    """Where a stage passes everything on, a choice says so, and so do its folds."""
    table = swept(grid=grid([2, None], [2, None], None))
    choice = choose(table, "nDCG@10", budget_ms=1000)
    assert choice.reference == (None, None, None)
    assert choose(table, "nDCG@10", margin=0.5).cutoffs in set(table.grid)


def test_a_measure_outside_the_kernel_is_chosen_by_as_any_other() -> None:
    """ERR@10, by ir_measures."""
    table = swept(12, 5, measures=("ERR@10", "nDCG@10"), grid=grid([2, 5], [1, 3], None))
    choice = choose(table, "ERR@10", budget_ms=1000)
    assert choice.in_sample == pytest.approx(table.frame["ERR@10"].max())
    assert choice.advice.verdict != ""


def test_without_costs_the_documents_scored_are_the_cost() -> None:
    """And the explanation has no line on it."""
    choice = choose(swept(cost=None), "nDCG@10", method="certified", margin=0.3)
    assert choice.cost.empty
    assert choice.advice.longer.endswith(" pairs a query)")
    assert " ms" not in choice.explain(details=True)


def test_costs_by_position_serve_the_shorter_cascades_too() -> None:
    """Costs without names are those of the sweep's stages, in order; without s2, s3 costs what it does."""
    named, unnamed = swept(), swept(cost=[StageCost(), StageCost(per_pair_ms=1), StageCost(per_pair_ms=10)])
    assert bits(choose(unnamed, "nDCG@10", budget_ms=40)) == bits(choose(named, "nDCG@10", budget_ms=40))


def test_money_is_a_budget_too() -> None:
    """Alone, or beside time: the best row of the frame within both."""
    cost = [StageCost("s1"), StageCost("s2", per_pair_ms=1, usd_per_hour=1), StageCost("s3", per_pair_ms=10, usd_per_search=0.001)]
    table = swept(cost=cost)
    limit = table.frame["usd"].quantile(0.3)
    inside = table.frame[(table.frame["usd"] <= limit) & (table.frame["ms"] <= 60)]
    choice = choose(table, "nDCG@10", budget_ms=60, percentile=None, budget_usd=limit)
    assert choice.in_sample == pytest.approx(inside["nDCG@10"].max())
    assert choice.method == "budget"
    told = re.sub(r"\s+", " ", choice.explain())
    assert f"within 60 ms on average and {limit:g} usd a query" in told
    assert f"{show_digits(1000 * choice.cost['usd'], 3)} usd per 1,000 queries" in told
    assert choose(table, "nDCG@10", budget_usd=limit).cost["usd"] <= limit


def test_a_budget_at_a_percentile_holds_for_its_upper_bound() -> None:
    """By hand: of 100 timed queries the 99th is the bound of p95, so 96 ms are within 100 ms only if at most one query is late."""
    for late, expected in ((1, (8, None)), (2, (4, None))):
        table = profiled(100, late)
        choice = choose(table, "nDCG@10", budget_ms=100)
        assert choice.reference == expected
        assert choice.picked == expected
        assert choice.times.percentiles == (95.0,)
        assert choice.times.joint_ms[0] <= choice.times.high_ms[0] <= 100
    told = re.sub(r"\s+", " ", choice.explain())
    assert "p95 48 ms (48 to 72, 100 queries)" in told


@pytest.mark.parametrize(("queries", "percentile", "needed"), [(58, 95, 59), (20, 95, 59), (100, 99, 299)])
def test_a_percentile_that_so_few_timed_queries_cannot_bound_is_refused(queries: int, percentile: int, needed: int) -> None:
    """With the number that could; the mean is there for any."""
    table = profiled(queries, 0)
    with pytest.raises(SweepError) as caught:
        choose(table, "nDCG@10", budget_ms=100, percentile=percentile)
    assert str(caught.value) == (
        f"{HEAD}{queries} queries were timed: p{percentile} takes {needed} or more, or pass percentile=None for the mean"
    )
    assert choose(table, "nDCG@10", budget_ms=100, percentile=None).picked


def test_costs_by_hand_know_no_slow_query() -> None:
    """The largest time counts, of the query that retrieves the most, and no percentile is printed."""
    choice = choose(swept(), "nDCG@10", budget_ms=40, percentile=90)
    assert choice.cost["ms"] <= 40
    assert choice.times is None
    told = re.sub(r"\s+", " ", choice.explain())
    assert "Asked: the best nDCG@10 within 40 ms at p90" in told
    assert "model pairs (by hand: no slow queries)" in told


def profiled(queries: int, late: int) -> Sweep:
    """Two vectors, s1 → 4 and s1 → 8 · s2, that take 48 and 96 ms, some queries half as long again."""
    scores, labels = make_scores(30, 8, 2)
    factors = np.where(np.arange(queries) < late, 1.5, 1.0)[:, None]
    times = StageTimes(np.tile([4.0, 8.0], (queries, 1)), np.array([48.0, 96.0]) * factors)
    none = StageTimes(np.zeros((queries, 1)), np.zeros((queries, 1)))
    stages = (StageCost("s1"), StageCost("s2", per_pair_ms=12))
    cost = Cost(stages, Sample(np.full(queries, 8), queries, (none, times)))
    return make_sweep(scores, labels, cost=cost, grid=[(4, None), (8, None)])


def peaked(queries: int = 80) -> Sweep:
    """RR by a second stage that puts any document from the fifth on first; the relevant one is the first of stage 1."""
    labels = np.zeros((queries, 12), int)
    labels[:, 0] = 1
    first = np.tile(-np.arange(12.0), (queries, 1))
    later = np.tile(np.where(np.arange(12) < 4, -np.arange(12.0), np.arange(12.0)), (queries, 1))
    later += np.random.default_rng(0).normal(0, 1e-3, later.shape)
    return make_sweep({"s1": first, "s2": later}, labels, ("RR",))


def test_a_curve_that_peaks_and_falls_is_reported_and_a_flat_or_rising_one_is_not() -> None:
    """By construction; the plateau of recall knows nothing of it."""
    choice = choose(peaked(), "RR", margin=0.2)
    assert [(shape.stage, shape.kind, shape.peak, shape.deepest, shape.best) for shape in choice.curves] == [
        ("s1", "peaked", 1, 12, 1.0)
    ]
    assert f"RR peaks at s1 → 1 (1.0000) and falls to 12 ({choice.curves[0].last:.4f}), held out " in choice.explain(details=True)
    flat = np.zeros((80, 12), int)
    flat[:, 0] = 1
    first = np.tile(-np.arange(12.0), (80, 1))
    assert [one.kind for one in choose(make_sweep({"s1": first, "s2": first}, flat, ("RR",)), "RR", margin=0.2).curves] == [
        "plateau"
    ]
    deep = np.zeros((80, 12), int)
    deep[np.arange(80), np.arange(80) % 12] = 1
    rising = make_sweep({"s1": first, "s2": deep * 1.0}, deep, ("RR",))
    shape = choose(rising, "RR", margin=0.2).curves[0]
    assert (shape.kind, shape.peak) == ("increasing", 12)
    assert str(shape) == "still increases at s1 → 12 (1.0000): a deeper list may be better"


def test_nothing_is_gained_from_nothing_on_held_out_queries() -> None:
    """With signs at random: a gain in-sample, none held out."""
    noise = choose(swept(100, 12, seed=2), "nDCG@10", budget_ms=1000).noise
    assert list(noise) == ["in_sample", "held_out"]
    assert abs(noise["held_out"].mean()) < 3 * noise["held_out"].std() / 10
    assert noise["in_sample"].mean() > 0


def test_held_out_intervals_are_wider_by_what_choosing_varies() -> None:
    """By the variance of measure_noise; a plateau does not look for the best, so it adds none, unless the budget makes it."""
    scores, labels = make_scores(60, 12, 3, 1)
    table = make_sweep(scores, labels, cost=COSTS[:3])
    for method, limit, searched in (("budget", 1000, True), ("plateau", None, False), ("plateau", 30, True)):
        deepest = None if limit == 1000 else (12, 12, None)
        choice = choose(table, "nDCG@10", budget_ms=limit, method=method, level=0.9, reference=deepest)
        affordable, costs = choice.budget.check(table.stages, table.grid.vectors)
        split = draw_folds(60, 5, 0)
        candidates = Candidates(table.replayer, table.grid.vectors, affordable, costs, split, -1, method, level=0.9)
        candidates = replace(candidates, reference=find_reference(candidates, table.stages, deepest))
        validated = cross_validate(candidates)
        _, more = measure_noise(candidates, validated)
        last = candidates.per_query(candidates.reference)
        assert (more > 0) == searched
        assert choice.held_out == estimate(validated.per_query, level=0.9, least=0.0, more=more)
        found = estimate(validated.per_query - last, level=0.9, more=more)
        means = validated.measured.mean(axis=1)
        wider = 2 * means.std(ddof=1) / np.sqrt(20)  # of the ways to split
        assert choice.gain.low == pytest.approx(found.low - wider) or choice.gain.low == choice.gain.high == 0
        depth = choice.reference[0]
        alone = make_sweep({"s1": scores["s1"]}, labels, grid=[(depth,)]).per_query((depth,))["nDCG@10"]
        found = estimate(validated.per_query - alone.to_numpy(), level=0.9, more=more)
        assert choice.first_stage.low == pytest.approx(found.low)
        off, _ = wild_bootstrap(candidates.representatives[1] - last[:, None], split[0], seed=0)
        assert not searched or more == excess_variance(off, validated.per_query - last)


def test_runners_up_are_no_neighbours_and_no_better_in_sample() -> None:
    """Each differs by a fifth or more in some cut-off from the choice and from those before; best first."""
    choice = choose(swept(60, 30, 2), "nDCG@10", budget_ms=1000)
    listed = [choice.picked[0], *choice.runners_up["k1"]]
    assert len(listed) == 5
    assert all(max(one, two) >= 1.2 * min(one, two) for n, one in enumerate(listed) for two in listed[:n])
    assert choice.runners_up["nDCG@10"].is_monotonic_decreasing
    assert (choice.runners_up["difference"] <= 1e-12).all()
    assert (choice.runners_up["low"] <= choice.runners_up["difference"]).all()


def test_folds_that_chose_otherwise_are_reported() -> None:
    """By hand: two of three folds chose a → 2; where each fold chose the reference, the gain is 0 without width."""
    choice = choose(by_hand(), "RR", budget_ms=100, percentile=None, folds=3)
    said = choice.explain().splitlines()
    assert said[0].startswith("Cannot tell: about ")
    assert said[0].endswith(" queries would. Keep a → 2 · b")
    assert "  Folds: 1 of 3 pick the same, others a → 1 to 2" in said
    assert "  Best seen: a → 1 · b, 0.6667 in-sample" in said
    deep = choose(swept(30, 6, 2), "nDCG@10", margin=0.01)
    assert (deep.gain.mean, deep.gain.low, deep.gain.high) == (0.0, 0.0, 0.0)
    assert "100 of 100 pick the same" in deep.explain()
    assert "30 queries cannot show that a cut-off below 6 loses 0.01 or less: use at least 299 queries" in deep.explain(
        details=True
    )


def test_recall_of_a_plateau_is_at_the_level_of_the_measure() -> None:
    """By hand: each query's document of label 2 is first, one of label 1 is eighth, so recall of 2 and more needs no depth."""
    labels = np.tile([2, 0, 0, 0, 0, 0, 0, 1], (400, 1))
    table = make_sweep({"a": np.tile(-np.arange(8.0), (400, 1)), "b": labels * 1.0}, labels, ("R(rel=2)@5", "R@5"))
    graded, plain = choose(table, "R(rel=2)@5"), choose(table, "R@5")
    assert (graded.cutoffs, plain.cutoffs) == ((1, None), (8, None))
    assert "; relevant are labels of 2 and more" in graded.explain(details=True)
    assert "relevant are" not in plain.explain(details=True)
    assert choose(table, "R(rel=2)@5", rel=1).cutoffs == (8, None)


def test_a_live_last_stage_is_in_the_budget_or_its_absence_is_said() -> None:
    """By hand: 'llm', which is in no table, gets what s2 passes on, 4 documents at 10 ms; s2 gets 8 at 1 ms."""
    table = swept(20, 8, 2, cost=None).table
    path = replace(table.paths[0], live="llm")
    qrels = swept(20, 8, 2).replayer.judged.qrels
    stages = [StageCost("s1"), StageCost("s2", per_pair_ms=1), StageCost("llm", per_pair_ms=10)]
    live = replace(table, paths=(path,))
    options = {"qrels": qrels, "measures": ["nDCG@10"], "grid": [(8, 4), (2, 1)]}
    known, lacking = (sweep(live, cost=stages[:count], **options) for count in (3, 2))
    assert known.frame["ms"].tolist() == [2 + 10, 8 + 40]
    assert lacking.frame["ms"].tolist() == [2, 8]
    assert sweep(live, cost=[replace(one, stage="") for one in stages], **options).frame["ms"].tolist() == [12, 48]
    assert choose(known, "nDCG@10", budget_ms=20).cutoffs == (2, 1)
    assert "runs live" not in choose(known, "nDCG@10", budget_ms=20).explain()
    told = re.sub(r"\s+", " ", choose(lacking, "nDCG@10", budget_ms=20).explain())
    assert "; without 'llm', which runs live and has no cost" in told
    assert known.cost.latency((8, 4), (), docs=[8]).stage_ms == (0, 8, 40)


THROUGHPUT = Cost(COSTS[:3], Sample(np.full(4, 8), 4, percentiles=False))
HEAD = "cannot choose cut-offs: "
NO_PRICE = "budget_usd is given, but no stage has a price, such as StageCost(usd_per_pair=...)"
PERCENTILE = "expected a number from 1 to 100, or None for the mean"
RAISE = ", or sweep fewer stages or smaller cut-offs"
COST = " Fix: sweep(table, qrels, measures, cost=timings.cost())"
BAD = {
    "measure": ({}, {"measure": "P@5"}, f"{HEAD}the sweep has no measure P@5; it has nDCG@10"),
    "count": (
        {"measures": ("NumRet",)},
        {"measure": "NumRet"},
        f"{HEAD}measure NumRet is a count, expected a measure that is averaged over queries",
    ),
    "method": ({}, {"method": "best"}, f"{HEAD}method is 'best', expected one of plateau, budget, certified"),
    "no budget": ({}, {"method": "budget"}, f"{HEAD}method 'budget' needs budget_ms or budget_usd"),
    "no cost": ({"cost": None}, {"budget_ms": 5}, f"{HEAD}budget_ms is given, but the sweep has no cost.{COST}"),
    "no cost in usd": ({"cost": None}, {"budget_usd": 5}, f"{HEAD}budget_usd is given, but the sweep has no cost.{COST}"),
    "no price": (
        {},
        {"budget_usd": 5},
        f"{HEAD}{NO_PRICE}",
    ),
    "budget 0": ({}, {"budget_ms": 0}, f"{HEAD}budget_ms is 0, expected a number above 0"),
    "budget below 0": ({}, {"budget_ms": -1.5}, f"{HEAD}budget_ms is -1.5, expected a number above 0"),
    "budget nan": ({}, {"budget_ms": math.nan}, f"{HEAD}budget_ms is nan, expected a number above 0"),
    "budget text": ({}, {"budget_ms": "100"}, f"{HEAD}budget_ms is '100', expected a number above 0"),
    "percentile 0": (
        {},
        {"percentile": 0},
        f"{HEAD}percentile is 0, {PERCENTILE}",
    ),
    "percentile 0.95": (
        {},
        {"percentile": 0.95},
        f"{HEAD}percentile is 0.95, {PERCENTILE}",
    ),
    "percentile 101": (
        {},
        {"percentile": 101},
        f"{HEAD}percentile is 101, {PERCENTILE}",
    ),
    "throughput": (
        {"cost": THROUGHPUT},
        {"budget_ms": 50},
        f"{HEAD}queries were timed together, so only their mean time is known: pass percentile=None",
    ),
    "one fold": ({}, {"folds": 1}, f"{HEAD}folds is 1, expected a whole number from 2 to 4, the number of judged queries"),
    "folds": ({}, {"folds": 5}, f"{HEAD}folds is 5, expected a whole number from 2 to 4, the number of judged queries"),
    "folds true": ({}, {"folds": True}, f"{HEAD}folds is True, expected a whole number from 2 to 4, the number of judged queries"),
    "margin 0": ({}, {"margin": 0.0}, f"{HEAD}margin is 0.0, expected a number above 0 and below 1"),
    "margin below 0": ({}, {"margin": -0.1}, f"{HEAD}margin is -0.1, expected a number above 0 and below 1"),
    "level": ({}, {"level": 0.5}, f"{HEAD}level is 0.5, expected a number above 0.5 and below 1"),
    "alpha": ({}, {"alpha": 0.5}, f"{HEAD}alpha is 0.5, expected a number above 0 and below 0.5"),
    "test": ({}, {"test": "t"}, f"{HEAD}test is 't', expected one of dirichlet, betting, anytime"),
    "seed": ({}, {"seed": -1}, f"{HEAD}seed is -1, expected a whole number, 0 or more"),
    "rel": ({}, {"rel": 0}, f"{HEAD}rel is 0, expected a whole number, 1 or more"),
    "all at once": (
        {"cost": None},
        {"measure": "P@5", "method": "all", "budget_ms": 0, "percentile": -5, "margin": 2, "folds": 0, "level": 1},
        "cannot choose cut-offs:\n"
        "  - the sweep has no measure P@5; it has nDCG@10\n"
        "  - method is 'all', expected one of plateau, budget, certified\n"
        "  - budget_ms is 0, expected a number above 0\n"
        "  - budget_ms is given, but the sweep has no cost\n"
        "  - percentile is -5, expected a number from 1 to 100, or None for the mean\n"
        "  - margin is 2, expected a number above 0 and below 1\n"
        "  - level is 1, expected a number above 0.5 and below 1\n"
        "  - folds is 0, expected a whole number from 2 to 4, the number of judged queries\n"
        "Fix: sweep(table, qrels, measures, cost=timings.cost())",
    ),
    "unmet": (
        {},
        {"budget_ms": 5},
        f"no cut-offs are within the budget: the limit is 5 ms at p95; the nearest, s1 → 1 · s2 → 1 · s3, takes 11 ms."
        f" Fix: budget_ms=11.1{RAISE}",
    ),
    "unmet on average": (
        {"cost": THROUGHPUT},
        {"budget_ms": 0.5, "percentile": None},
        "no cut-offs are within the budget: the limit is 0.5 ms on average; the nearest, s1 → 1 · s2 → 1 · s3, takes 11 ms."
        f" Fix: budget_ms=11.1{RAISE}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_makes_no_sense_is_refused_with_all_reasons(case: str) -> None:
    """The whole message."""
    made, asked, message = BAD[case]
    scores, labels = make_scores(4, 8, 3)
    table = make_sweep(scores, labels, **{"cost": COSTS[:3]} | made)
    with pytest.raises(SweepError) as caught:
        choose(table, **{"measure": "nDCG@10", "folds": 2} | asked)
    assert str(caught.value) == message


def test_two_budgets_that_cannot_both_be_met_name_the_nearest_vector() -> None:
    """Each could be met alone: the dear stage takes little time, the slow one costs nothing."""
    cost = [StageCost("s1"), StageCost("s2", per_pair_ms=100), StageCost("s3", per_pair_ms=1, usd_per_search=1.0)]
    table = swept(4, cost=cost, grid=[(1, 1, None), (8, 8, None)])
    with pytest.raises(SweepError) as caught:
        choose(table, "nDCG@10", folds=2, budget_ms=50, percentile=None, budget_usd=2)
    assert str(caught.value) == (
        "no cut-offs are within the budget: the limit is 50 ms on average and 2 usd a query; the nearest, "
        f"s1 → 1 · s2 → 1 · s3, takes 101 ms and 1 usd. Fix: budget_ms=102{RAISE}"
    )
    with pytest.raises(SweepError) as caught:
        choose(table, "nDCG@10", folds=2, budget_ms=50, percentile=None, budget_usd=0.5)
    assert str(caught.value) == (
        "no cut-offs are within the budget: the limit is 50 ms on average and 0.5 usd a query; the nearest, "
        f"s1 → 1 · s2 → 1 · s3, takes 101 ms and 1 usd. Fix: budget_ms=102, budget_usd=1.01{RAISE}"
    )
    assert choose(table, "nDCG@10", folds=2, budget_ms=102, percentile=None, budget_usd=1.01).cutoffs == (1, 1, None)


def test_one_judged_query_is_not_a_sample() -> None:
    """Nothing can be held out."""
    scores, labels = make_scores(1, 8, 2)
    with pytest.raises(SweepError) as caught:
        choose(make_sweep(scores, labels), "nDCG@10")
    assert str(caught.value) == f"{HEAD}1 query has a judgment, expected at least 2, better 100 to 500"


def test_a_choice_is_short_in_a_console_and_changes_nothing() -> None:
    """Its repr is one line; the sweep's frame stays as it was."""
    table = swept()
    before = table.frame.copy()
    choice = choose(table, "nDCG@10", budget_ms=30)
    assert re.fullmatch(r"Choice\((ship|keep|cannot tell): s1 → .*; nDCG@10 0\.\d{4}\)", repr(choice))
    pd.testing.assert_frame_equal(table.frame, before)


CURVES = {
    "as good": ([0.2, 0.7, 0.7], "levels off: s → 20 (0.7000) is as good as 40 (0.7000)"),
    "not shown": ([0.2, 0.72, 0.7], "levels off: s → 20 (0.7200) is not shown to be better than 40 (0.7000), held out "),
    "perhaps": ([0.2, 0.8, 0.7], "levels off: s → 20 (0.8000) is not shown to be better than 40 (0.7000), held out +0.1000 [-0.0"),
    "at the end": ([0.2, 0.7, 0.71], "levels off: s → 40 (0.7100) is not shown to be better than half as deep"),
}


@pytest.mark.parametrize("case", CURVES)
def test_a_curve_that_levels_off_says_how(case: str) -> None:
    """Differences of 0.02 and less between queries that differ by 0.3 at random."""
    means, said = CURVES[case]
    noise = np.random.default_rng(0).normal(0, 0.3, (40, 3))
    noise[:, 2] = noise[:, 1] if case == "as good" else noise[:, 2]
    values = noise - noise.mean(axis=0) + means
    fold = np.arange(40) % 5
    shape = classify_curve("s", np.array([10, 20, 40]), values, fold[None])
    assert str(shape).startswith(said)
    peaks = [values[fold != fold[query]].mean(axis=0).argmax() for query in range(40)]
    assert shape.lead.mean == pytest.approx((values[np.arange(40), peaks] - values[:, 2]).mean())
