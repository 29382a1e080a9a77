"""The numbers of the page, computed by its script in a browser, against those of the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toys.judges import Judge
from toys.pages import open_page, settle, start_browser
from toys.rankers import ToyRetriever
from toys.scored import make_scores, make_sweep, make_timings
from toys.tables import KERNEL, TOPICS, Fine, make_qrels, tabulate

import pt_cascade as ptc
from pt_cascade.analysis.calibration import report_calibration
from pt_cascade.analysis.sweep.result import Sweep

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries; cut-offs that cannot cut
VECTORS = [(1, 1, 1), (3, 2, 2), (6, 4, None), (9, 9, 3), (None, 5, 5), (None, None, None)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with start_browser() as started:
        yield started


def write_page(sweep: Sweep, folder: Path, measure: str = "nDCG@10", **options: Any) -> Path:
    """Choose and write the page."""
    path = folder / "page.html"
    ptc.report(sweep, ptc.choose(sweep, measure, folds=2, **options), path)
    return path


@pytest.mark.parametrize("tail", ["drop", "keep"])
def test_queries_and_losses_are_those_of_the_sweep(browser: Any, tmp_path: Path, tail: Any) -> None:
    """Golden: sweep.per_query, sweep.loss and sweep.recall, compared with pt.Experiment elsewhere; ties, odd judgments, no cut."""
    table = tabulate(ToyRetriever(14, 3), [Judge(1, 3, "rank", "rank"), Fine(3, 5)], TOPICS)
    sweep = ptc.sweep(table, make_qrels(4), KERNEL, grid=VECTORS, tail=tail)
    with open_page(browser, write_page(sweep, tmp_path)) as page:
        names = page.evaluate("content.measures.map((one) => one.name)")
        for row, vector in enumerate(sweep.grid):
            wanted = sweep.per_query(vector)
            for n, name in enumerate(names):
                script = f"Array.from(explorer.orders.replay(explorer.rows.cutoffs({row}), 0, content.measures[{n}]).values)"
                np.testing.assert_allclose(page.evaluate(script), wanted[name], rtol=0, atol=1e-12, err_msg=f"{name} at {vector}")
            found = page.evaluate(f"explorer.orders.replay(explorer.rows.cutoffs({row}), 0, content.measures[0])")
            loss = sweep.loss(vector, rel=1)
            assert -np.diff(found["left"]) == pytest.approx(loss["lost"].iloc[1:-1].to_numpy())
            assert found["recall"] == pytest.approx(loss["recall"].iloc[:-1].to_numpy(), abs=1e-12)
            for stage in range(3):
                curve = sweep.recall(stage, vector[:stage], rel=1)["recall"].to_numpy()
                kept = found["curves"][stage]["recall"]
                assert kept == pytest.approx(curve[: len(kept)], abs=1e-12)
                assert curve[len(kept) :] == pytest.approx(curve[len(kept) - 1] if kept else 0)


@pytest.mark.parametrize(("by_rank", "tail"), [(False, "drop"), (True, "drop"), (False, "keep")])
def test_fused_queries_are_those_of_the_sweep(browser: Any, tmp_path: Path, by_rank: Any, tail: Any) -> None:
    """Golden: sweep.per_query at each row, compared with ``fuse`` and pt.Experiment elsewhere; all rules, ties of fused scores.

    Stages failed on some documents, and on all of one query.
    """
    rules = [{"method": "rrf"}, *({"normalise": how} for how in ("min-max", "z-score", "max", "sum", "rank", "none"))]
    fusions = [None, *(one for rule in rules for one in ptc.fusions(["first", "stage2", "stage3"], 0.5, **rule))]
    table = tabulate(ToyRetriever(14, 3), [Judge(1, 3, "rank", "rank"), Fine(3, 5)], TOPICS)
    number = table.frame["docno"].str[1:].astype(int)
    failed = {"stage2": number % 5 == 3, "stage3": (number % 4 == 1) | (table.frame["qid"] == "q1")}
    table = replace(table, frame=table.frame.assign(**{name: table.frame[name].mask(one, -np.inf) for name, one in failed.items()}))
    fusions = fusions if tail == "drop" else fusions[:9]
    sweep = ptc.sweep(table, make_qrels(4), KERNEL, grid=VECTORS[2:5], by_rank=by_rank, fusion=fusions, tail=tail)
    with open_page(browser, write_page(sweep, tmp_path)) as page:
        names = page.evaluate("content.measures.map((one) => one.name)")
        for row, (*_, number) in enumerate(sweep.rows.tolist()):
            wanted = sweep.per_query(list(sweep.grid)[row // len(sweep.fusions)], sweep.fusions[number])
            script = f"explorer.orders.replay(explorer.rows.cutoffs({row}), explorer.rows.fusion[{row}], measure).values"
            found = page.evaluate(f"content.measures.map((measure) => Array.from({script}))")
            np.testing.assert_allclose(np.transpose(found), wanted[names], rtol=0, atol=1e-12, err_msg=f"row {row}")


def test_the_rows_and_the_times_are_those_of_the_sweep(browser: Any, tmp_path: Path) -> None:
    """Golden: sweep.frame and cost.latency, with measured times; shown with four digits."""
    scores, labels = make_scores(80, 40, 3)
    cost = make_timings(("s1", "s2", "s3")).cost()
    sweep = make_sweep(scores, labels, ("nDCG@10", "R@20"), cost=cost, grid=ptc.grid([5, 20, 40], [3, 20], [5, None]))
    budget = float(sweep.frame["p95_ms"].median())
    with open_page(browser, write_page(sweep, tmp_path, budget_ms=budget)) as page:
        for row, vector in enumerate(sweep.grid):
            page.evaluate(f"explorer.move({row})")
            settle(page)
            shown = page.inner_text("#now")
            assert f"nDCG@10 {sweep.frame['nDCG@10'].iloc[row]:.4f}, " in shown
            late = cost.latency(vector)
            assert page.evaluate(
                f"[50, 95, 99].map((p) => takePercentile(sumTimes(content.latency, explorer.rows.cutoffs({row})), p))"
            ) == (pytest.approx(late.joint_ms, rel=1e-12))
            assert f"upper bound of the p95 of the time of a query {_four_digits(late.high_ms[1])} ms" in shown
            assert f"(p95 itself: {_four_digits(late.joint_ms[1])} ms)" in shown
            assert f"{_four_digits(late.high_ms[1])} ms, which a budget is compared with" in page.inner_text("#latency-words")
            assert ("above the budget" in shown) == (late.high_ms[1] > budget)


def test_the_budget_decides_as_choose_does(browser: Any, tmp_path: Path) -> None:
    """Golden: what choose picks at each budget in time and money; by hand: the 119th of 120 sums is the upper bound of p95."""
    scores, labels = make_scores(80, 40, 3)
    timings = make_timings(("s1", "s2", "s3"))
    fitted = timings.cost()
    stages = tuple(replace(one, usd_per_pair=0.01 * n) for n, one in enumerate(fitted.stages))
    cost = replace(fitted, stages=stages, sample=replace(fitted.sample, usd=()))
    sweep = make_sweep(scores, labels, ("nDCG@10", "R@20"), cost=cost, grid=ptc.grid([5, 10, 20, 40], [3, 10, 20], None))
    deepest = timings.frame[timings.frame["share"] == 1.0].groupby("qid")["ms"].sum().sort_values()
    with open_page(browser, write_page(sweep, tmp_path, budget_ms=1e6, budget_usd=0.5)) as page:
        assert page.evaluate("explorer.rows.cost[content.deepest]") == pytest.approx(deepest.iloc[118], rel=1e-6)
        bounds = sorted(page.evaluate("Array.from(explorer.rows.cost)"))
        for budget in (*bounds[2:], bounds[4] * 0.999, 1e6):
            page.evaluate(f"explorer.limit = {budget}")
            best = page.evaluate("explorer.rows.cutoffs(explorer.best())")
            picked = ptc.choose(sweep, "nDCG@10", budget_ms=budget * (1 + 1e-6), budget_usd=0.5, folds=2).picked
            assert tuple(best) == picked, budget
    usd = sweep.frame["usd"].to_numpy()
    assert (usd > 0.5).any()


def test_the_times_of_costs_by_hand(browser: Any, tmp_path: Path) -> None:
    """Golden: cost.latency; each query retrieves as many documents as it did, and a pairwise stage skips a single document."""
    table = tabulate(ToyRetriever(14, 4), [Judge(1, 9), Judge(2, 9)], TOPICS)
    stages = [ptc.StageCost("first", fixed_ms=2), ptc.StageCost("stage2", 1, 0.5), ptc.StageCost("stage3", 1, 3, compares=True)]
    sweep = ptc.sweep(table, make_qrels(4), ["nDCG@10"], cost=stages, grid=VECTORS)
    docs = table.retrieved[sweep.replayer.judged.queries]
    with open_page(browser, write_page(sweep, tmp_path)) as page:
        assert "longest time, " in page.inner_text("#latency-words")
        for row, vector in enumerate(sweep.grid):
            script = f"takePercentile(sumTimes(content.latency, explorer.rows.cutoffs({row})), 50)"
            assert page.evaluate(script) == pytest.approx(sweep.cost.latency(vector, (50,), docs).joint_ms[0])


def test_weights_have_sliders(browser: Any, tmp_path: Path) -> None:
    """A slider of a weight moves to the row with that weight; golden: sweep.frame. At its end is the last stage alone."""
    scores, labels = make_scores(30, 20, 2)
    fusions = [None, *ptc.fusions(["s1", "s2"], 0.25)]
    sweep = make_sweep(scores, labels, fusion=fusions, grid=[(5, 5), (20, None)])
    with open_page(browser, write_page(sweep, tmp_path), "#k1=20&k2=all&w1=0.75&w2=0.25") as page:
        frame = sweep.frame
        wanted = frame[(frame["k1"] == 20) & (frame["w1"] == 0.75)]["nDCG@10"].iloc[0]
        assert f"s1 → 20 · s2 · fused(s1=0.75, s2=0.25): nDCG@10 {wanted:.4f}" in page.inner_text("#now")
        page.focus("#slider-w1")
        page.keyboard.press("ArrowLeft")
        settle(page)
        wanted = frame[(frame["k1"] == 20) & (frame["w1"] == 0.5)]["nDCG@10"].iloc[0]
        assert f"fused(s1=0.5, s2=0.5): nDCG@10 {wanted:.4f}" in page.inner_text("#now")
        assert "cascade.fused({'s1': 0.5, 's2': 0.5}).with_cutoffs(20, None)" in page.inner_text("#python")
        page.focus("#slider-w1")
        page.keyboard.press("End")
        settle(page)
        wanted = frame[(frame["k1"] == 20) & frame["w1"].isna()]["nDCG@10"].iloc[0]
        assert f"s1 → 20 · s2: nDCG@10 {wanted:.4f}" in page.inner_text("#now")


def test_one_query_is_explained(browser: Any, tmp_path: Path) -> None:
    """By hand: which stage cuts the relevant document, at which rank, and what stands above it."""
    run = pd.DataFrame({"qid": [*"111122"], "docno": [*"abcdab"], "score": [4.0, 3.0, 2.0, 1.0, 2.0, 1.0]})
    table = ptc.ScoreTable.from_runs({"bm25": run, "t5": run.assign(score=[1.0, 2.0, 4.0, 3.0, 1.0, 2.0])})
    qrels = pd.DataFrame({"qid": [*"1112"], "docno": [*"cbzb"], "label": [2, 1, 1, 1]})
    sweep = ptc.sweep(table, qrels, ["RR", "R@2"], grid=[(1, 1), (2, 1), (4, 1)])
    with open_page(browser, write_page(sweep, tmp_path, "RR"), "#k1=2&k2=1&query=1") as page:
        settle(page)
        cells = [row.split("\t") for row in page.inner_text("#fates tbody").split("\n")]
        assert cells == [
            ["c", "2", "cut by bm25 → 2, at rank 3", "b (relevant, 1); a (not judged)"],
            ["b", "1", "kept, at rank 1 of t5", "nothing"],
        ]
        assert "1 of 3 relevant documents are cut, 1 were not retrieved by bm25." in page.inner_text("#query")


def test_lost_documents_are_those_of_ranking_by_hand(browser: Any, tmp_path: Path) -> None:
    """Golden: each stage sorts what the one before passed on; a relevant document's rank there, and the three above it."""
    scores, labels = make_scores(6, 14, 3)
    sweep = make_sweep(scores, labels, grid=[(9, 5, 2), (14, 14, 14)])
    with open_page(browser, write_page(sweep, tmp_path), "#k1=9&k2=5&k3=2") as page:
        for q in range(6):
            wanted, given = {}, list(range(14))
            for (stage, score), k in zip(scores.items(), (9, 5, 2), strict=True):
                ranked = sorted(given, key=lambda d, by=score: -by[q, d])
                for rank, doc in enumerate(ranked):
                    fate = f"cut by {stage} → {k}, at rank {rank + 1}" if rank >= k else f"kept, at rank {rank + 1} of {stage}"
                    above = [f"d{one:04} ({'relevant, 1' if labels[q, one] else 'not relevant, 0'})" for one in ranked[:rank][-3:]]
                    wanted[doc] = (fate, "; ".join(reversed(above)) or "nothing")
                given = ranked[:k]
            page.evaluate(f"explorer.query = {q}; explorer.tables.explain()")
            cells = [row.split("\t") for row in page.inner_text("#fates tbody").split("\n")]
            found = {doc: (fate, above) for doc, _, fate, above in cells}
            assert found == {f"d{doc:04}": wanted[doc] for doc in np.flatnonzero(labels[q])}


def test_plateaus_stand_where_they_were_found(browser: Any, tmp_path: Path) -> None:
    """By hand: all 40 queries have their one relevant document at rank 2 of stage 1, and first at stage 2 if it gets there."""
    labels = np.tile([0, 1, 0, 0, 0, 0, 0, 0], (40, 1))
    first = np.tile(-np.arange(8.0), (40, 1))
    sweep = make_sweep(
        {"s1": first, "s2": labels + 0.01 * first, "s3": labels + 0.01 * first}, labels, grid=ptc.grid([1, 2, 4, 8], [1, 2, 4], 1)
    )
    with open_page(browser, write_page(sweep, tmp_path, margin=0.1), "#k1=2&k2=1") as page:
        marks = (
            "[0, 1, 2].map((n) => { const { x, y } = explorer.plots.model('recall', `plateau${n}`).data; return [...x, ...y]; })"
        )
        assert page.evaluate(marks) == [[2, 1], [1, 1], []]
        assert "Triangle" in page.inner_text("#recall-words")
        page.evaluate("location.hash = '#k1=8&k2=1'")
        page.wait_for_function("explorer.rows.cutoffs(explorer.row)[0] === 8")
        settle(page)
        assert page.evaluate(marks) == [[2, 1], [], []]  # stage 2 was not examined below 8


def test_calibration_is_that_of_the_report(browser: Any, tmp_path: Path) -> None:
    """Golden: the frames of report_calibration; by hand: before it, scores of -1 and 2 are their sigmoids."""
    scores, labels = make_scores(30, 12, 2)
    sweep = make_sweep({"s1": scores["s1"], "s2": 3.0 * labels - 1}, labels)
    report = report_calibration(sweep.table, "s2", sweep.replayer.judged.qrels, ["platt"], bins=2)
    path = tmp_path / "page.html"
    ptc.report(sweep, ptc.choose(sweep, "nDCG@10"), path, calibration=report)
    with open_page(browser, path) as page:
        rows = [row.split("\t") for row in page.inner_text("#errors").split("\n")]
        curve = page.evaluate("explorer.plots.model('reliability', 'method0').data")
        assert page.inner_text("#reliability-legend").split() == ["none", "platt"]
        assert "30 queries" in page.inner_text("#calibration")
    assert rows[0] == ["Method", "ECE", "Brier", "log loss"]
    brier = np.mean((1 / (1 + np.exp(1 - 3 * labels)) - labels) ** 2)
    assert rows[1][0] == "none"
    assert rows[1][2].startswith(f"{brier:.3f} [")
    wanted = report.curve[report.curve["method"] == "none"]
    assert curve["x"] == pytest.approx(wanted["probability"].to_numpy())
    assert curve["y"] == pytest.approx(wanted["relevant"].to_numpy())


def _four_digits(value: float) -> str:
    return f"{float(f'{value:.4g}'):,}".removesuffix(".0")
