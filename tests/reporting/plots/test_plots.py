"""Figures: what is drawn, against values computed here; the files; and that settings of matplotlib stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from toys.scored import make_scores, make_sweep

import pt_cascade as ptc
from pt_cascade.analysis.calibration.report import CalibrationReport
from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.errors import CascadeError, MissingError, SweepError

mpl = pytest.importorskip("matplotlib", reason="pip install 'pt_cascade[plots]'")
mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - after the backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from matplotlib.axes import Axes

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries
QUERIES, DOCUMENTS = 30, 12
SCORES, LABELS = make_scores(QUERIES, DOCUMENTS, 2)
CUTOFFS = [(k1, k2) for k1 in (4, 6, 8, 12) for k2 in (1, 2, 4) if k2 <= k1]


def time_queries() -> tuple[ptc.Timings, np.ndarray]:
    """Times of 80 queries at the deepest cut-offs and at half of them; and those at the deepest, summed over both stages."""
    rng = np.random.default_rng(1)
    first, second = rng.gamma(4, 1, 80), rng.gamma(4, 2, 80)
    rows = [
        (stage, f"{q}", 0, share, docs * n, DOCUMENTS, docs, docs * n, np.nan, (second[q] * docs if n else first[q]))
        for share, docs in ((1.0, DOCUMENTS), (0.5, DOCUMENTS // 2))
        for n, stage in enumerate(SCORES)
        for q in range(80)
    ]
    return ptc.Timings(pd.DataFrame(rows, columns=list(COLUMNS))), first + DOCUMENTS * second


TIMINGS, SUMS = time_queries()
REPORT = CalibrationReport(
    pd.DataFrame(),
    pd.DataFrame(
        {
            "method": ["none", "none", "platt", "platt"],
            "bin": [0, 1, 0, 1],
            "weight": 1.0,
            "probability": [0.2, 0.9, 0.1, 0.6],
            "relevant": [0.1, 0.5, 0.12, 0.55],
            "low": [0.05, 0.4, 0.1, 0.5],
            "high": [0.2, 0.6, 0.2, 0.7],
        }
    ),
)


@pytest.fixture(scope="module")
def sweep() -> ptc.Sweep:
    """A toy with the times of a profile."""
    return make_sweep(SCORES, LABELS, ("nDCG@10", "R@5"), last=4, cost=TIMINGS.cost(), grid=CUTOFFS)


@pytest.fixture(scope="module")
def choice(sweep: ptc.Sweep) -> ptc.Choice:
    """What is chosen within a budget."""
    return ptc.choose(sweep, "nDCG@10", budget_ms=120, percentile=95, folds=3)


FIGURES: dict[str, Callable[..., Axes]] = {
    "front": lambda sweep, choice, ax: ptc.plots.draw_front(sweep, ax, choice=choice),
    "surface": lambda sweep, choice, ax: ptc.plots.draw_surface(sweep, ax, choice=choice),
    "recall": lambda sweep, choice, ax: ptc.plots.draw_recall(sweep, ax, choice=choice),
    "losses": lambda sweep, choice, ax: ptc.plots.draw_losses(sweep, ax, choice=choice),
    "latency": lambda sweep, choice, ax: ptc.plots.draw_latency(sweep, ax, choice=choice),
    "reliability": lambda _, __, ax: ptc.plots.draw_reliability(REPORT, ax),
}
LABELLED = {
    "front": ("upper bound of the p95 time of a query (ms)", "nDCG@10"),
    "surface": ("cut-off of s1 (docs)", "cut-off of s2 (docs)"),
    "recall": ("cut-off k of the stage (documents)", "recall@k"),
    "losses": ("loss, mean over queries", ""),
    "latency": ("time of a query, all stages (ms)", "share of queries"),
    "reliability": ("probability, mean of a bin", "share of relevant pairs"),
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close what a test drew."""
    yield
    plt.close("all")


def lines(ax: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What is drawn as lines, by the beginning of their labels."""
    return {str(line.get_label()).partition(":")[0]: tuple(np.asarray(line.get_data(), float)) for line in ax.lines}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_where_it_is_asked_to_be(name: str, sweep: ptc.Sweep, choice: ptc.Choice, tmp_path: Path) -> None:
    """It returns the axes that it got, labelled with units; changes no setting; and is saved in three formats, twice the same."""
    before = dict(mpl.rcParams)
    _, ax = plt.subplots()
    assert FIGURES[name](sweep, choice, ax) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == LABELLED[name]
    for kind, start in (("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")):
        ptc.plots.save_figure(ax, tmp_path / f"figure.{kind}")
        saved = (tmp_path / f"figure.{kind}").read_bytes()
        assert saved.startswith(start)
        ptc.plots.save_figure(ax, tmp_path / f"again.{kind}")
        assert (tmp_path / f"again.{kind}").read_bytes() == saved
    saved = (tmp_path / "figure.pdf").read_bytes()
    assert b"/Type3" not in saved  # journals refuse these fonts
    assert b"/FontFile2" in saved
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", FIGURES)
def test_a_new_figure_fits_a_column(name: str, sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """3.3 inches wide, with texts of 6 to 8 points, and nothing outside."""
    ax = FIGURES[name](sweep, choice, None)
    figure = ax.get_figure()
    assert figure.get_size_inches()[0] == pytest.approx(3.3)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]
    assert {text.get_fontsize() for text in texts} <= {6, 7, 8}
    box = figure.get_tightbbox()
    assert box.x0 >= -0.02
    assert box.x1 <= 3.32


def test_the_front_shows_all_vectors_and_what_none_beats(sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """Measures are means of ``per_query``, times the upper bounds of ``Cost.latency``; the front is by brute force."""
    points = [(sweep.cost.latency(vector, (95,)).high_ms[0], sweep.per_query(vector)["nDCG@10"].mean()) for vector in sweep.grid]
    ax = ptc.plots.draw_front(sweep, choice=choice)
    drawn = lines(ax)
    np.testing.assert_allclose(np.transpose(drawn["all cut-offs"]), points, rtol=1e-12)
    front = sorted(
        (x, y)
        for n, (x, y) in enumerate(points)
        if not any((a <= x and b >= y) and ((a, b) != (x, y) or m < n) for m, (a, b) in enumerate(points) if m != n)
    )
    np.testing.assert_allclose(np.transpose(drawn["Pareto front"])[:-1], front, rtol=1e-12)
    at = list(sweep.grid).index(choice.cutoffs)
    np.testing.assert_allclose(np.ravel(drawn["chosen"]), points[at])
    np.testing.assert_allclose(np.ravel(drawn["deepest"]), points[-1])
    assert drawn["budget"][0].tolist() == [120, 120]
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert f"chosen: {', '.join(map(str, choice.cutoffs))}" in told
    assert {"deepest: 12, 4", "budget: 120 ms"} <= set(told)
    assert next(line for line in ax.lines if line.get_label() == "all cut-offs").get_rasterized()


def test_the_front_takes_another_measure_and_cost(sweep: ptc.Sweep) -> None:
    """Pairs are the documents that the second stage scores: its first cut-off."""
    ax = ptc.plots.draw_front(sweep, measure="R@5", cost="pairs")
    x, y = lines(ax)["all cut-offs"]
    assert x.tolist() == [k1 for k1, _ in CUTOFFS]
    np.testing.assert_allclose(y, [sweep.per_query(vector)["R@5"].mean() for vector in CUTOFFS])
    assert ax.get_xlabel() == "model pairs a query (pairs)"


def test_without_costs_the_front_is_over_pairs() -> None:
    """As the explorer page has it; a price is in dollars."""
    assert "pairs" in ptc.plots.draw_front(make_sweep(SCORES, LABELS, grid=CUTOFFS)).get_xlabel()
    priced = make_sweep(SCORES, LABELS, grid=CUTOFFS, cost=[ptc.StageCost(), ptc.StageCost(usd_per_pair=0.01)])
    ax = ptc.plots.draw_front(priced, cost="usd")
    assert lines(ax)["all cut-offs"][0].tolist() == pytest.approx([0.01 * k1 for k1, _ in CUTOFFS])
    assert ax.get_xlabel() == "US dollars a query (USD)"


def test_the_surface_has_the_measure_of_each_vector(sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """A cell a vector, as the mean of ``per_query``, around its cut-offs; marks stand in their cells."""
    ax = ptc.plots.draw_surface(sweep, choice=choice)
    (mesh,) = ax.collections
    cells = mesh.get_array().reshape(3, 4)
    for x, k1 in enumerate((4, 6, 8, 12)):
        for y, k2 in enumerate((1, 2, 4)):
            assert cells[y, x] == pytest.approx(sweep.per_query((k1, k2))["nDCG@10"].mean())
    edges = mesh.get_coordinates()
    np.testing.assert_allclose(edges[0, 1:4, 0], np.sqrt([4 * 6, 6 * 8, 8 * 12]))
    assert np.ravel(lines(ax)["chosen"]).tolist() == list(choice.cutoffs)


def test_recall_is_counted_by_hand(sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """Stage 1 ranks the documents in their order; the second by its scores of those that the choice passes on."""
    k1 = choice.cutoffs[0]
    second = np.take_along_axis(LABELS[:, :k1], np.argsort(-SCORES["s2"][:, :k1], axis=1, kind="stable"), axis=1)
    drawn = lines(ax := ptc.plots.draw_recall(sweep, choice=choice))
    for stage, labels in (("s1", LABELS), ("s2", second)):
        recall = labels.cumsum(axis=1) / LABELS.sum(axis=1, keepdims=True)
        x, y = drawn[stage]
        assert x.tolist() == list(range(1, labels.shape[1] + 1))
        np.testing.assert_allclose(y, recall.mean(axis=0))
    first = LABELS.cumsum(axis=1) / LABELS.sum(axis=1, keepdims=True)
    error = 1.96 * first.std(axis=0, ddof=1) / np.sqrt(QUERIES)
    band = ax.collections[0].get_paths()[0].vertices
    for n in (0, 5):
        ends = sorted(set(np.round(band[np.isclose(band[:, 0], n + 1)][:, 1], 12)))
        assert ends == pytest.approx(sorted({max(first[:, n].mean() - error[n], 0), min(first[:, n].mean() + error[n], 1)}))


def test_the_plateau_is_marked() -> None:
    """At the smallest cut-off that ``choose`` shows to lose no recall: here all relevant documents are first."""
    labels = np.zeros((200, DOCUMENTS), int)
    labels[:, 0] = 1
    early = make_sweep({"s1": -np.tile(np.arange(DOCUMENTS), (200, 1)), "s2": labels}, labels, grid=CUTOFFS)
    chosen = ptc.choose(early, "nDCG@10", margin=0.05)
    assert lines(ptc.plots.draw_recall(early, choice=chosen))["plateau"][0].tolist() == [4]


def test_losses_are_counted_by_hand(sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """The share of relevant documents below each cut-off, mean over queries; the last bar of recall is 0."""
    k1, k2 = choice.cutoffs
    kept = np.take_along_axis(LABELS[:, :k1], np.argsort(-SCORES["s2"][:, :k1], axis=1, kind="stable"), axis=1)[:, :k2]
    relevant = LABELS.sum(axis=1)
    first, last = (LABELS[:, :k1].sum(axis=1) / relevant).mean(), (kept.sum(axis=1) / relevant).mean()
    ax = ptc.plots.draw_losses(sweep, choice=choice)
    bars = [bar.get_width() for bar in ax.containers[0]]
    assert bars == pytest.approx([0, 1 - first, first - last, 0], abs=1e-12)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "not retrieved by s1",
        f"cut by s1 → {k1}",
        f"cut by s2 → {k2}",
        "ordered by s2",
    ]


def test_times_are_those_that_were_measured(sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """At the deepest cut-offs, the profile's own, the sums over the stages; the mark is numpy's percentile."""
    drawn = lines(ptc.plots.draw_latency(sweep, choice=choice))
    x, y = drawn["deepest"]
    np.testing.assert_allclose(x[1:], np.sort(SUMS), rtol=1e-9)
    np.testing.assert_allclose(y[1:], np.arange(1, 81) / 80)
    mark, level = drawn["_p95 of deepest"]
    assert (mark[0], level[0]) == (pytest.approx(np.percentile(SUMS, 95, method="inverted_cdf")), 0.95)
    assert drawn["budget"][0].tolist() == [120, 120]
    assert drawn["_interval"][0].tolist() == [choice.times.low_ms[0], choice.times.high_ms[0]]
    assert drawn["_interval"][0][1] <= 120  # what the budget bounds


def test_a_budget_beyond_the_data_is_named_and_not_drawn(sweep: ptc.Sweep) -> None:
    """It would leave no room for the data."""
    chosen = ptc.choose(sweep, "nDCG@10", budget_ms=5000, folds=3)
    for draw in (ptc.plots.draw_front, ptc.plots.draw_latency):
        ax = draw(sweep, choice=chosen)
        assert "budget: 5000 ms, beyond the axis" in [text.get_text() for text in ax.get_legend().get_texts()]
        assert ax.get_xlim()[1] < 1000


def test_reliability_is_that_of_the_report() -> None:
    """Points, intervals, and the diagonal."""
    ax = ptc.plots.draw_reliability(REPORT)
    before, after = (container.lines[0] for container in ax.containers)
    assert np.transpose(before.get_data()).tolist() == [[0.2, 0.1], [0.9, 0.5]]
    assert np.transpose(after.get_data()).tolist() == [[0.1, 0.12], [0.6, 0.55]]
    bars = ax.containers[1].lines[2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in bars] == [[0.1, 0.2], [0.5, 0.7]]
    assert before.get_marker() != after.get_marker()
    assert before.get_linestyle() != after.get_linestyle()


def test_figures_are_told_apart_without_colors(sweep: ptc.Sweep, choice: ptc.Choice) -> None:
    """Marks have their own shapes, curves their own lines, bars their own hatches."""
    marks = {str(line.get_label())[:7]: line.get_marker() for line in ptc.plots.draw_front(sweep, choice=choice).lines}
    assert marks["deepest"] != marks["chosen:"]
    curves = [line.get_linestyle() for line in ptc.plots.draw_recall(sweep, choice=choice).lines if line.get_marker() == "None"]
    assert len(set(curves)) == len(curves) == 2
    bars = [container.patches[0].get_hatch() for container in ptc.plots.draw_losses(sweep).containers]
    assert len(set(bars)) == 2


def test_fusions_and_no_cut_have_names() -> None:
    """Weights stand after the cut-offs, and no cut is all."""
    fused = make_sweep(SCORES, LABELS, grid=[(4, None), (12, None)], fusion=[ptc.StageFusion({"s1": 1, "s2": 3})])
    told = [text.get_text() for text in ptc.plots.draw_front(fused).get_legend().get_texts()]
    assert "deepest: 12, all; weights 0.25, 0.75" in told
    ptc.plots.draw_recall(fused)
    ptc.plots.draw_losses(fused)


def test_any_name_is_text() -> None:
    """No name is mathematics, none is left out of a legend, and the longest leaves room for the figure."""
    names = ("$\\foo$", "_hidden", "a" * 10_000, "$")
    scores, labels = make_scores(4, 6, 4)
    odd = make_sweep(dict(zip(names, scores.values(), strict=True)), labels, grid=[(6, 6, 6, 6), (6, 5, 4, 3), (6, 6, 5, 4)])
    for draw in (ptc.plots.draw_recall, ptc.plots.draw_losses, ptc.plots.draw_surface):
        figure = draw(odd).get_figure()
        figure.draw_without_rendering()
        assert figure.get_tightbbox().x1 <= 3.34  # a name may be cut off, a legend not
    told = [text.get_text() for text in ptc.plots.draw_recall(odd).get_legend().get_texts()]
    assert told == [r"\$\foo\$", " _hidden", "a" * 23 + "…", r"\$", "deepest: 6, 6, 6, 6"]


def test_what_cannot_be_drawn_is_refused(sweep: ptc.Sweep, choice: ptc.Choice, tmp_path: Path) -> None:
    """All problems at once, each with a cure."""
    with pytest.raises(SweepError, match="no measure RR") as caught:
        ptc.plots.draw_front(sweep, measure="RR", cost="joules")
    assert "no cost 'joules'" in str(caught.value)
    with pytest.raises(SweepError, match="1 of the cut-offs of s1, s2 vary, expected two"):
        ptc.plots.draw_surface(make_sweep(SCORES, LABELS, grid=[(4, None), (12, None)]))
    ptc.plots.draw_surface(make_sweep(SCORES, LABELS, grid={"k1": [5, 10], "k2": [2, 5]}))  # the printed cure
    plt.close("all")
    with pytest.raises(SweepError, match="rel is 0, expected a whole number"):
        ptc.plots.draw_recall(sweep, rel=0)
    with pytest.raises(SweepError, match="the sweep has no cost"):
        ptc.plots.draw_latency(make_sweep(SCORES, LABELS, grid=CUTOFFS))
    with pytest.raises(SweepError, match="the choice is of another sweep"):
        ptc.plots.draw_losses(make_sweep(SCORES, LABELS, grid=[(5, 5)]), choice=choice)
    with pytest.raises(SweepError, match="this is not a sweep"):
        ptc.plots.draw_front(choice)
    with pytest.raises(SweepError, match="this is not a choice: it is a Sweep, expected what choose returns"):
        ptc.plots.draw_recall(sweep, choice=sweep)
    with pytest.raises(CascadeError, match="these are not axes: it is a Choice"):
        ptc.plots.draw_losses(sweep, choice)
    with pytest.raises(SweepError, match="this is not a calibration report: it is a Sweep"):
        ptc.plots.draw_reliability(sweep)
    assert not plt.get_fignums()  # what is refused leaves no figure
    ax = plt.subplots()[1]
    with pytest.raises(CascadeError, match=r"ends in '.jpg', expected .pdf, .svg or .png") as caught:
        ptc.plots.save_figure(ax, tmp_path / "figure.jpg", dpi=0)
    assert "dpi is 0" in str(caught.value)
    with pytest.raises(MissingError, match="its folder does not exist"):
        ptc.plots.save_figure(ax, tmp_path / "none" / "figure.pdf")


def test_a_missing_matplotlib_is_named(sweep: ptc.Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setattr("pt_cascade.errors.find_spec", lambda name: None if name == "matplotlib" else True)
    with pytest.raises(MissingError, match=r"pip install 'pt_cascade\[plots\]'"):
        ptc.plots.draw_losses(sweep)


def test_many_vectors_make_a_small_file(tmp_path: Path) -> None:
    """The cloud is an image also in a PDF: 20,000 points take less than 200 kB."""
    many = make_sweep(*make_scores(3, 200, 2), grid=ptc.grid(range(1, 201), range(1, 201)))
    assert len(many.grid) > 20_000
    ptc.plots.save_figure(ptc.plots.draw_front(many), tmp_path / "front.pdf")
    assert (tmp_path / "front.pdf").stat().st_size < 200_000
