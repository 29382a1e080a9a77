"""What results show in a notebook and print in a paper: values computed another way, and names that are hostile."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ir_measures import R, nDCG
from scipy.stats import ttest_rel
from toys.rankers import ToyReranker, ToyRetriever, topics
from toys.scored import make_scores, make_sweep

import pt_cascade as ptc
from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.markup import Shown

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries
HOSTILE = "<img src=x onerror=alert(1)>"
COST = [ptc.StageCost(fixed_ms=1), ptc.StageCost(per_pair_ms=2)]


@pytest.fixture(scope="module")
def sweep() -> ptc.Sweep:
    """A toy: two stages, three cut-offs, 30 queries."""
    return make_sweep(*make_scores(30, 12, 2), ("nDCG@10", "R@5"), last=4, cost=COST, grid=ptc.grid([4, 8, 12], 4))


def time_stages(names: tuple[str, ...]) -> ptc.Timings:
    """Two stages, two queries, two depths: the second stage takes 4 ms a document and 5."""
    rows = [
        (name, qid, 0, share, docs * n, 10, docs, docs * n, np.nan, 5.0 + 4 * docs * n)
        for share, docs in ((1.0, 10), (0.5, 5))
        for qid in ("1", "2")
        for n, name in enumerate(names)
    ]
    return ptc.Timings(pd.DataFrame(rows, columns=list(COLUMNS)))


def cells(shown: Shown) -> list[list[str]]:
    """The cells of its Markdown, without bold."""
    lines = [line for line in shown.to_markdown().replace("**", "").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_sweep_prints_its_front_and_its_deepest_vector(sweep: ptc.Sweep) -> None:
    """Costs by hand, 1 ms and 2 a document; measures of ``pt.Experiment``'s kind, equal to the mean of ``per_query``."""
    head, *rows = cells(sweep)
    assert head[:5] == ["", "cascade", "nDCG@10", "R@5", "mean ms"]
    means = [sweep.per_query((k, 4))["nDCG@10"].mean() for k in (4, 8, 12)]
    assert means == sorted(means)  # so all three are the front
    assert [row[1] for row in rows] == [f"s1 → {k} · s2 → 4" for k in (4, 8, 12, 12)]
    assert [row[2] for row in rows] == [f"{mean:.4f}" for mean in [*means, means[-1]]]
    assert [row[4] for row in rows] == ["9.0", "17.0", "25.0", "25.0"]
    assert [row[0] for row in rows] == ["", "", "", "deepest"]
    best = [line for line in sweep.to_latex().splitlines() if f"\\textbf{{{means[-1]:.4f}}}" in line]
    assert len(best) == 2


def test_a_sweep_prints_the_measure_that_is_asked_for(sweep: ptc.Sweep) -> None:
    """And refuses one that it lacks; without costs it prints the best vector."""
    assert "front of R@5 and ms" in sweep.tabulate("R@5", "ms").caption
    with pytest.raises(ptc.CascadeError, match="the sweep has no measure RR"):
        sweep.tabulate("RR")
    free = make_sweep(*make_scores(30, 12, 2), ("nDCG@10",), grid=ptc.grid([2, 5, 12], None))
    with pytest.raises(ptc.CascadeError, match="the sweep has no measure RR"):
        free.tabulate("RR")
    frame = free.tabulate().frame
    assert frame["nDCG@10"].tolist() == [free.frame["nDCG@10"].max(), free.per_query((12, None))["nDCG@10"].mean()]


def test_a_choice_prints_what_it_is_compared_with(sweep: ptc.Sweep) -> None:
    """The reference's measure is the mean of its queries; stage 1's is that of its own ranking, which no query chose."""
    choice = ptc.choose(sweep, "nDCG@10", folds=3)
    head, picked, reference, first = cells(choice)
    assert head == ["", "cascade", "nDCG@10", "less the pick, 95 % interval", "mean ms"]
    assert picked[2:4] == [f"{choice.held_out.mean:.4f}", "-"]
    assert reference[1] == "s1 → 12 · s2 → 4"
    assert reference[2] == f"{sweep.per_query((12, 4))['nDCG@10'].mean():.4f}"
    labels = make_scores(30, 12, 2)[1]
    discounts = 1 / np.log2(np.arange(2, 12))
    ideal = (np.sort(labels, axis=1)[:, ::-1][:, :10] * discounts).sum(axis=1)
    alone = ((labels[:, :10] * discounts).sum(axis=1) / ideal).mean()
    assert float(first[2]) == pytest.approx(alone, abs=1e-4)
    assert first[3].startswith(f"{float(first[2]) - choice.held_out.mean:+.3f}")
    assert first[3].endswith("†")  # of 30 queries, the difference is large
    assert [row[4] for row in (reference, first)] == ["25.0", "1.0"]


def test_marks_of_a_comparison_are_those_of_scipy() -> None:
    """A dagger where the paired t-test, with Holm's correction, has p < 0.05; times add up from stage to stage."""
    qrels = pd.DataFrame([(f"q{q}", f"d{d}", (d + q) % 3) for q in range(9) for d in range(20)], columns=["qid", "docno", "label"])
    first, second, third = ToyRetriever(docs=20), ToyReranker(seed=1, levels=9), ToyReranker(seed=3, levels=9)
    compared = ptc.compare(first % 15 >> second % 10 >> third % 5, topics(9), qrels, [nDCG @ 10, R @ 10])
    rows = cells(compared)[1:]
    for n, measure in ((1, "nDCG@10"), (2, "R@10")):
        p = compared.effectiveness[f"{measure} p-value corrected"]
        assert [row[n].endswith("†") for row in rows] == (p < 0.05).tolist()
        assert [row[n].rstrip("†") for row in rows] == [f"{value:.4f}" for value in compared.effectiveness[measure]]
    assert "R@10" in compared.to_latex()
    times = compared.cost["ms"].tolist()
    assert [float(row[-1]) for row in rows] == pytest.approx([times[0], times[0] + times[1], times[3]], abs=0.06)


def test_a_mark_needs_a_small_p() -> None:
    """Golden: scipy's p of values made here is below 0.05 for one system and above for the other."""
    rng = np.random.default_rng(0)
    base = rng.random(20)
    p = [float(ttest_rel(base + 0.1 + rng.normal(0, 0.02, 20), base).pvalue), float(ttest_rel(rng.permutation(base), base).pvalue)]
    frame = pd.DataFrame({"name": ["a", "b", "c"], "RR": [0.5, 0.6, 0.5], "RR p-value corrected": [np.nan, *p]})
    cost = pd.DataFrame({"stage": ["a", "b", "c", "cascade"], "ms": [1.0, 2.0, 3.0, 6.0]})
    table = type(ptc.compare(ToyRetriever(docs=3) % 2, topics(1), _judge(), [nDCG @ 10]))(frame, cost, 20).tabulate()
    assert table.marks == {"RR": [False, True, False]}
    assert table.frame["mean ms"].tolist() == [1.0, 3.0, 6.0]


def _judge() -> pd.DataFrame:
    return pd.DataFrame({"qid": ["q0"], "docno": ["d1"], "label": [1]})


def test_tables_count_pairs_and_times(sweep: ptc.Sweep) -> None:
    """30 queries of 12 documents; the second stage of the timings takes 45 ms for 10 documents."""
    assert cells(sweep.table) == [["stage", "pairs scored", "failed"], ["s1", "360", "0"], ["s2", "360", "0"]]
    timed = cells(time_stages(("bm25", "t5")))
    assert timed[0] == ["stage", "docs in", "mean ms", "p50 ms"]
    assert timed[1:] == [["bm25", "0.0", "5.00", "5.00"], ["t5", "10.0", "45.00", "45.00"], ["cascade", "-", "50.00", "50.00"]]


def test_a_cascade_shows_its_options_and_no_transformer() -> None:
    """A column for an option that a stage has; transformers, with paths of indexes and models, are left to ``describe()``."""
    cascade = ptc.Cascade.of(ToyRetriever() % 10 >> ToyReranker() % 5)
    assert "ToyReranker(levels=3" in cascade.describe()["transformers"][1]
    assert cells(cascade) == [
        ["stage", "cut-off", "depends", "documents"],
        ["toy", "10", "pointwise", "retrieves"],
        ["toy_reranker", "5", "pointwise", "reranks"],
    ]
    risky = cascade.options(tail="keep", on_error="keep", time_limit_ms={"toy_reranker": 50})
    assert cells(risky)[2] == ["toy_reranker", "5", "pointwise", "reranks", "keep", "50.0"]
    assert risky.tabulate().caption == "The stages; tail: keep"


def test_no_name_is_markup_in_a_notebook() -> None:
    """Stages named like HTML stand as text in all five objects, which load nothing and run nothing."""
    scores, labels = make_scores(20, 10, 2)
    hostile = make_sweep({"s1": scores["s1"], HOSTILE: scores["s2"]}, labels, cost=COST)
    cascade = ptc.Cascade.of(ToyRetriever() % 10 >> ToyReranker())
    renamed = ptc.Cascade((cascade[0], type(cascade[1])(HOSTILE, cascade[1].transformers, 5)))
    for one in (renamed, hostile.table, time_stages(("bm25", HOSTILE)), hostile, ptc.choose(hostile, "nDCG@10", folds=2)):
        page = one._repr_html_()
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
        assert not any(f"<{tag}" in page for tag in ("img", "script", "style", "link", "iframe"))
        assert "color" not in page  # the notebook's own, dark or light
        assert page.count("<tr>") <= 16
