"""Choosing cut-offs: by hand on tiny tables, against pandas, and all that can be wrong with what is asked."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.scored import make_scores, make_sweep

from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.choice.cross_validation import cross_validate, permutation_control
from pt_cascade.analysis.choice.curve_shape import classify_curve
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.plateaus import find_plateaus
from pt_cascade.analysis.choice.result import Choice
from pt_cascade.analysis.choice.selection_noise import excess_variance, wild_bootstrap
from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.cost.sample import Sample
from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.sweep.result import Sweep
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.errors import SweepError

pytestmark = pytest.mark.filterwarnings("ignore:.*queries are too few.*:pt_cascade.errors.CascadeWarning")
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
    frames = [choice.versus, choice.folds, choice.runners_up, choice.noise]
    numbers = [choice.cutoffs, choice.in_sample, choice.held_out, choice.optimism, choice.plateaus, choice.curves, choice.advice]
    return [*numbers, choice.cost.to_dict(), choice.explain(), *(frame.to_csv() for frame in frames)]


def test_held_out_each_query_gets_what_the_others_chose() -> None:
    """By hand, a fold a query: without query 1 or 2, k = 2 is best (0.75) and gives 0.5; without query 3, k = 1 is, and gives 0."""
    choice = choose(by_hand(), "RR", budget_ms=100, percentile=None, folds=3)
    assert choice.cutoffs == (1, None)  # both have 2/3, and one document costs less
    assert choice.in_sample == pytest.approx(2 / 3)
    assert choice.held_out.mean == pytest.approx(1 / 3)
    assert choice.optimism == pytest.approx((0.25 + 0.25 + 1) / 3)
    folds = choice.folds.sort_values("held_out")
    assert folds["k1"].tolist() == [1, 2, 2]
    assert folds["held_out"].tolist() == [0.0, 0.5, 0.5]
    assert folds["in_sample"].tolist() == [1.0, 0.75, 0.75]
    assert folds["queries"].tolist() == [1, 1, 1]
    assert choice.versus["against"].tolist() == ["a → 2 · b", "a → 2"]
    assert choice.versus["difference"].tolist() == pytest.approx([-1 / 3, -1 / 2])


@settings(max_examples=8)
@given(st.integers(0, 100), st.integers(12, 120), st.sampled_from([None, 50, 95]))
def test_the_best_within_the_budget_is_that_of_pandas(seed: int, budget: int, percentile: float | None) -> None:
    """Golden: the frame of the sweep, filtered, sorted by cost, and its idxmax."""
    table = swept(20, 6, seed=seed)
    column = "ms" if percentile is None else f"p{percentile}_ms"
    inside = table.frame[table.frame[column] <= budget].sort_values("ms", kind="stable")
    best = inside.loc[inside["nDCG@10"].round(12).idxmax()]
    choice = choose(table, "nDCG@10", budget_ms=budget, percentile=percentile)
    assert choice.method == "budget"
    assert choice.cutoffs[:2] == (best["k1"], best["k2"])
    assert choice.in_sample == pytest.approx(best["nDCG@10"])
    assert choice.cost["ms"] == best["ms"]
    assert choice.cost[column] <= budget


def test_a_boundless_budget_gives_the_best_of_all() -> None:
    """And no held-out mean is above what an oracle would choose on its own fold."""
    table = swept(60)
    choice = choose(table, "nDCG@10", budget_ms=math.inf)
    assert choice.in_sample == pytest.approx(table.frame["nDCG@10"].max())
    assert choice.held_out.mean <= choice.in_sample + 1e-12
    assert choice.optimism > 0


def test_the_same_seed_gives_the_same_bits() -> None:
    """For each method; another seed gives other folds."""
    for options in ({"budget_ms": 60}, {"method": "plateau", "margin": 0.2}, {"method": "cheapest", "margin": 0.1}):
        one, other = (choose(swept(), "nDCG@10", **options) for _ in range(2))
        assert bits(one) == bits(other)
    one, other = (choose(swept(), "nDCG@10", budget_ms=60, seed=seed) for seed in (0, 1))
    assert one.noise["held_out"].tolist() != other.noise["held_out"].tolist()


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
    assert choice.explain().splitlines()[1] == (
        "  Method: the smallest cut-offs with recall at most 0.1 below the deepest's, on 300 queries (95 % intervals)"
    )
    assert f"{expected[1].stage} → {expected[1].k} keeps {expected[1].recall:.3f} of " in choice.explain()
    assert f"  Plateau of {expected[1]}" in choice.explain(details=True).splitlines()


def test_a_plateau_beyond_the_budget_is_reduced_and_reported() -> None:
    """The best within it, no deeper."""
    choice = choose(swept(300, 12), "nDCG@10", margin=0.1, budget_ms=30, percentile=95, method="plateau")
    assert choice.over_budget
    assert choice.cost["p95_ms"] <= 30
    assert all(k <= plateau.k for k, plateau in zip(choice.cutoffs, choice.plateaus, strict=False))
    reason = "because the smallest cut-offs with recall at most 0.1 below the deepest's exceed it"
    assert f"Method: the best nDCG@10 within 30 ms at p95, {reason}, on 300 queries" in choice.explain()


def test_the_cheapest_costs_less_and_is_within_the_margin_in_sample() -> None:
    """By the frame of the sweep."""
    table = swept(200)
    choice = choose(table, "nDCG@10", method="cheapest", margin=0.1)
    best = table.frame.loc[table.frame["nDCG@10"].idxmax()]
    assert choice.cost["ms"] < best["ms"]
    assert choice.in_sample >= best["nDCG@10"] - 0.1
    assert "Method: the least cost with nDCG@10 at most 0.1 below the best nDCG@10, on 200 queries" in choice.explain()


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("method", ["plateau", "cheapest", "budget"])
def test_a_cascade_may_have_any_number_of_stages(stages: int, method: str) -> None:
    """One plateau and shape for each but the last, or the only one's own."""
    scores, labels = make_scores(25, 6, stages)
    vectors = grid(range(1, 7)) if stages == 1 else None
    table = make_sweep(scores, labels, cost=COSTS[:stages], grid=vectors)
    choice = choose(table, "nDCG@10", method=method, budget_ms=150, margin=0.3)
    assert len(choice.cutoffs) == stages
    assert len(choice.plateaus) == (max(stages - 1, 1) if method == "plateau" else 0)
    assert len(choice.versus) == min(stages, 2)
    assert (choice.advice.verdict == "") == (stages < 3)
    assert choice.explain().startswith("Ship s1 → ")


@pytest.mark.parametrize("options", [{"tail": "keep"}, {"by_rank": True}, {"tail": "keep", "by_rank": True}])
def test_the_tail_and_the_order_of_the_sweep_hold_for_all_that_is_compared(options: dict[str, object]) -> None:
    """In-sample, against the deepest and against stage 1: by the sweep's own numbers, a fold a query and one vector to choose."""
    scores, labels = make_scores(20, 8, 2)
    scores["s2"] = scores["s2"].round()  # ties
    table = make_sweep(scores, labels, ("AP",), grid=[(4, 2), (8, 8)], cost=[StageCost(), StageCost(per_pair_ms=1)], **options)
    choice = choose(table, "AP", budget_ms=4)
    chosen, deepest = table.per_query((4, 2))["AP"], table.per_query((8, 8))["AP"]
    alone = make_sweep({"s1": scores["s1"]}, labels, ("AP",), grid=[(8,)], **options).per_query((8,))["AP"]
    assert choice.cutoffs == (4, 2)
    assert choice.versus["difference"].tolist() == pytest.approx([(chosen - deepest).mean(), (chosen - alone).mean()])
    assert choice.held_out.mean == pytest.approx(chosen.mean())
    assert choice.optimism == pytest.approx(0.0)


def test_a_list_of_vectors_need_not_hold_the_componentwise_deepest() -> None:
    """The largest product of cut-offs is what the choice is compared with, not the last of the list."""
    table = swept(grid=[(2, 2, None), (8, 1, 1), (6, 4, None), (4, 4, 2)])
    choice = choose(table, "nDCG@10", budget_ms=1000, percentile=None)
    assert choice.versus["against"].tolist() == ["s1 → 6 · s2 → 4 · s3", "s1 → 6"]
    assert choice.cutoffs in set(table.grid)
    assert choose(table, "nDCG@10", margin=0.5).cutoffs in set(table.grid)


def test_cutoffs_may_be_none() -> None:
    """Where a stage passes everything on, a choice says so, and so do its folds."""
    table = swept(grid=grid([2, None], [2, None], None))
    choice = choose(table, "nDCG@10", budget_ms=1000)
    assert choice.cutoffs == (None, None, None)
    assert choice.folds[["k1", "k2", "k3"]].isna().all(axis=None)
    assert choice.explain().startswith("Ship s1 · s2 · s3: nDCG@10 ")
    assert choose(table, "nDCG@10", margin=0.5).cutoffs in set(table.grid)


def test_a_measure_outside_the_kernel_is_chosen_by_as_any_other() -> None:
    """ERR@10, by ir_measures; its noise control has no exchanged labels."""
    table = swept(12, 5, measures=("ERR@10", "nDCG@10"), grid=grid([2, 5], [1, 3], None))
    choice = choose(table, "ERR@10", budget_ms=1000)
    assert choice.in_sample == pytest.approx(table.frame["ERR@10"].max())
    assert set(choice.noise["exchanged"]) == {"signs"}
    assert choice.advice.verdict != ""


def test_without_costs_the_documents_scored_are_the_cost() -> None:
    """And the explanation has no line on it."""
    choice = choose(swept(cost=None), "nDCG@10", method="cheapest", margin=0.3)
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
    assert f"within 60 ms on average and {limit:g} usd a query" in choice.explain()
    assert f"{1000 * choice.cost['usd']:.3g} usd per 1,000 queries" in choice.explain()
    assert choose(table, "nDCG@10", budget_usd=limit).cost["usd"] <= limit


def test_the_percentile_of_the_budget_is_shown_with_the_costs() -> None:
    """Also one that the sweep has not; costs by hand know no slow query."""
    choice = choose(swept(), "nDCG@10", budget_ms=40, percentile=90)
    assert choice.cost["p90_ms"] <= 40
    said = choice.explain().splitlines()
    assert said[0].endswith(f"held out, p90 {choice.cost['p90_ms']:.4g} ms")
    assert said[1].startswith("  Method: the best nDCG@10 within 40 ms at p90, on 40 queries ")
    assert f", p90 {choice.cost['p90_ms']:.4g} ms" in said[4]
    assert said[4].endswith("; costs given by hand have no slow queries")


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
    assert f"RR peaks at s1 → 1 (1.0000) and falls to 12 ({choice.curves[0].last:.4f}), held out " in choice.explain()
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
    """Signs or labels exchanged: a gain in-sample, none held out."""
    noise = choose(swept(100, 12, seed=2), "nDCG@10", budget_ms=1000).noise.groupby("exchanged")
    assert noise.size().to_dict() == {"labels": 3, "signs": 100}
    means, errors = noise["held_out"].mean(), noise["held_out"].std()
    assert abs(means["signs"]) < 3 * errors["signs"] / 10
    assert abs(means["labels"]) < 0.04
    assert (noise["in_sample"].mean() > 0).all()


def test_exchanged_labels_leave_nothing_of_a_real_gain() -> None:
    """One document of stage 1 gains 0.9 in RR over twelve; with labels anywhere, nothing like it."""
    table = peaked()
    choice = choose(table, "RR", method="cheapest", margin=0.5)
    assert choice.in_sample - table.frame["RR"].iloc[-1] > 0.8
    assert choice.noise.loc[choice.noise["exchanged"] == "labels", "in_sample"].max() < 0.3


def test_held_out_intervals_are_wider_by_what_choosing_varies() -> None:
    """By the variance of permutation_control; a plateau does not look for the best, so it adds none."""
    scores, labels = make_scores(60, 12, 3, 1)
    table = make_sweep(scores, labels, cost=COSTS[:3])
    for method, budget in (("budget", 1000), ("plateau", None)):
        choice = choose(table, "nDCG@10", budget_ms=budget, method=method, level=0.9)
        affordable, costs = choice.budget.check(table.stages, table.grid.vectors)
        fold = np.random.default_rng(0).permutation(60) % 5
        candidates = Candidates(table.replayer, table.grid.vectors, affordable, costs, fold, method, 0.02, 0.9)
        validated = cross_validate(candidates)
        noise, more = permutation_control(candidates, validated)
        last = candidates.per_query(candidates.deepest)
        assert (more > 0) == (method == "budget")
        assert choice.held_out == estimate(validated.measured, level=0.9, least=0.0, more=more)
        found = estimate(validated.measured - last, level=0.9, more=more)
        assert choice.versus["low"].iloc[0] in (found.low, 0.0)
        alone = make_sweep({"s1": scores["s1"]}, labels, grid=[(12,)]).per_query((12,))["nDCG@10"]
        found = estimate(validated.measured - alone.to_numpy(), level=0.9, more=more)
        assert choice.versus.iloc[1].tolist()[1:] == pytest.approx([found.mean, found.low, found.high])
        off, _ = wild_bootstrap(candidates.representatives[1] - last[:, None], fold, seed=0)
        assert noise.loc[noise["exchanged"] == "signs", "held_out"].tolist() == off.tolist()
        assert method == "plateau" or more == excess_variance(off, validated.measured - last)


def test_runners_up_are_no_neighbours_and_no_better_in_sample() -> None:
    """Each differs by a fifth or more in some cut-off from the choice and from those before; best first."""
    choice = choose(swept(60, 30, 2), "nDCG@10", budget_ms=1000)
    listed = [choice.cutoffs[0], *choice.runners_up["k1"]]
    assert len(listed) == 5
    assert all(max(one, two) >= 1.2 * min(one, two) for n, one in enumerate(listed) for two in listed[:n])
    assert choice.runners_up["nDCG@10"].is_monotonic_decreasing
    assert (choice.runners_up["difference"] <= 1e-12).all()
    assert (choice.runners_up["low"] <= choice.runners_up["difference"]).all()


def test_folds_that_chose_otherwise_are_reported() -> None:
    """The held-out measure is then that of other cut-offs; where each fold chose the deepest, the report says so, not 0."""
    choice = choose(by_hand(), "RR", budget_ms=100, percentile=None, folds=3)
    said = choice.explain().splitlines()
    interval = f"[{choice.held_out.low:.4f}, {choice.held_out.high:.4f}]"
    assert said[0] == f"Ship a → 1 · b: RR 0.3333 {interval} held out, mean {choice.cost['ms']:.4g} ms"
    assert said[2] == "  In-sample: 0.8333 on the queries used for choosing, 0.5000 too high"
    assert said[3] == "  Stability: without one fold each, a → 1 to 2"
    labels = np.pad(np.array([[1, 0], [1, 0], [0, 1]]), ((0, 0), (0, 6)))
    later = np.tile(np.r_[6.0, 7.0, 5.0:-1:-1], (3, 1))
    wide = make_sweep({"a": np.tile(-np.arange(8.0), (3, 1)), "b": later}, labels, ("RR",), grid=[(1, None), (8, None)])
    assert "  Stability: without one fold each, a → 1 to 8" in choose(wide, "RR", folds=3, method="cheapest", margin=0.01).explain()
    deep = choose(swept(30, 6, 2), "nDCG@10", margin=0.01)
    assert "  Against s1 → 6 · s2: every fold chose it" in deep.explain().splitlines()
    assert "  Stability: all 5 folds choose the same" in deep.explain().splitlines()
    assert (deep.versus.loc[0, ["difference", "low", "high"]] == 0).all()
    assert "30 queries cannot show that a cut-off below 6 loses 0.01 or less: use at least 299 queries" in deep.explain(
        details=True
    )
    assert "on 30 queries (95 % intervals; 100 to 500 would give narrower intervals)" in deep.explain()


def test_recall_of_a_plateau_is_at_the_level_of_the_measure() -> None:
    """By hand: each query's document of label 2 is first, one of label 1 is eighth, so recall of 2 and more needs no depth."""
    labels = np.tile([2, 0, 0, 0, 0, 0, 0, 1], (400, 1))
    table = make_sweep({"a": np.tile(-np.arange(8.0), (400, 1)), "b": labels * 1.0}, labels, ("R(rel=2)@5", "R@5"))
    graded, plain = choose(table, "R(rel=2)@5"), choose(table, "R@5")
    assert (graded.cutoffs, plain.cutoffs) == ((1, None), (8, None))
    assert "  Recall: a → 1 keeps 1.000 of 1.000; relevant are labels of 2 and more" in graded.explain().splitlines()
    assert "  Recall: a → 8 keeps 1.000 of 1.000" in plain.explain().splitlines()
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
    assert "; without 'llm', which runs live and has no cost" in choose(lacking, "nDCG@10", budget_ms=20).explain()
    assert known.cost.latency((8, 4), (), docs=[8]).stage_ms == (0, 8, 40)


THROUGHPUT = Cost(COSTS[:3], Sample(np.full(4, 8), 4, percentiles=False))
HEAD = "cannot choose cut-offs: "
NO_PRICE = "budget_usd is given, but no stage has a price, such as StageCost(usd_per_pair=...)"
PERCENTILE = "expected a number from 1 to 100, or None for the mean"
RAISE = " Fix: raise it, or sweep fewer stages or smaller cut-offs"
COST = " Fix: sweep(table, qrels, measures, cost=timings.cost())"
BAD = {
    "measure": ({}, {"measure": "P@5"}, f"{HEAD}the sweep has no measure P@5; it has nDCG@10"),
    "count": (
        {"measures": ("NumRet",)},
        {"measure": "NumRet"},
        f"{HEAD}measure NumRet is a count, expected a measure that is averaged over queries",
    ),
    "method": ({}, {"method": "best"}, f"{HEAD}method is 'best', expected one of plateau, budget, cheapest"),
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
    "seed": ({}, {"seed": -1}, f"{HEAD}seed is -1, expected a whole number, 0 or more"),
    "rel": ({}, {"rel": 0}, f"{HEAD}rel is 0, expected a whole number, 1 or more"),
    "all at once": (
        {"cost": None},
        {"measure": "P@5", "method": "all", "budget_ms": 0, "percentile": -5, "margin": 2, "folds": 0, "level": 1},
        "cannot choose cut-offs:\n"
        "  - the sweep has no measure P@5; it has nDCG@10\n"
        "  - method is 'all', expected one of plateau, budget, cheapest\n"
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
        f"no cut-offs are within the budget: the limit is 5 ms at p95; the nearest, s1 → 1 · s2 → 1 · s3, takes 11 ms.{RAISE}",
    ),
    "unmet on average": (
        {"cost": THROUGHPUT},
        {"budget_ms": 0.5, "percentile": None},
        "no cut-offs are within the budget: the limit is 0.5 ms on average; the nearest, s1 → 1 · s2 → 1 · s3, takes 11 ms."
        f"{RAISE}",
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
        f"s1 → 1 · s2 → 1 · s3, takes 101 ms and 1 usd.{RAISE}"
    )
    with pytest.raises(SweepError) as caught:
        choose(table, "nDCG@10", folds=2, budget_ms=50, percentile=None, budget_usd=0.5)
    assert str(caught.value) == (
        "no cut-offs are within the budget: the limit is 50 ms on average and 0.5 usd a query; the nearest, "
        f"s1 → 1 · s2 → 1 · s3, takes 101 ms and 1 usd.{RAISE}"
    )


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
    assert repr(choice).startswith("Choice(s1 → ")
    assert repr(choice).endswith(f"; nDCG@10 {choice.held_out.mean:.4f} held out)")
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
    shape = classify_curve("s", np.array([10, 20, 40]), values, fold)
    assert str(shape).startswith(said)
    peaks = [values[fold != fold[query]].mean(axis=0).argmax() for query in range(40)]
    assert shape.lead.mean == pytest.approx((values[np.arange(40), peaks] - values[:, 2]).mean())
