"""Every vector of a sweep, against ``pt.Experiment`` on the same plain pipeline."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ir_measures import parse_measure
from toys.judges import Judge
from toys.rankers import ToyRetriever
from toys.strategies import CUTOFFS, JUDGES, RETRIEVERS
from toys.tables import KERNEL, TOPICS, Fine, assert_equal, chain, make_qrels, tabulate

from pt_cascade.analysis.cost.cost import StageCost
from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.replay.kernel_measures import UNJUDGED
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.execution.runner import run
from pt_cascade.execution.scoring.score import score

if TYPE_CHECKING:
    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.analysis.sweep.result import Sweep

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too
OTHERS = ("nDCG(judged_only=True)@10", "Bpref", "Rprec", "P(judged_only=True)@3", "Compat(p=0.8)")
MEASURES = [*KERNEL, *OTHERS]
QUERIES = "5 queries, 1 more judged but not in the table, 1 more not judged"  # of TOPICS, under make_qrels


@settings(max_examples=25, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, max_size=3), st.data(), st.integers(0, 99))
def test_every_vector_is_what_experiment_says(first: ToyRetriever, judges: list[Judge], data: st.DataObject, seed: int) -> None:
    """Golden: pt.Experiment on the plain pipeline, one to four stages, heavy ties, few documents, odd judgments."""
    vectors = sorted(
        data.draw(st.lists(st.tuples(*[CUTOFFS] * (len(judges) + 1)), min_size=1, max_size=4, unique=True)),
        key=lambda vector: [k or np.inf for k in vector],
    )
    qrels = make_qrels(seed)
    if not len(first.transform(TOPICS)):
        return
    got = sweep(tabulate(first, judges, TOPICS), qrels, MEASURES, grid=vectors)
    assert list(got.grid) == vectors
    assert_equal(got, [chain(first, judges, vector) for vector in vectors], TOPICS, qrels)


@settings(max_examples=15, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, min_size=1, max_size=3), st.data(), st.integers(0, 99))
def test_a_kept_tail_is_measured_as_run_leaves_it(first: ToyRetriever, judges: list[Judge], data: st.DataObject, seed: int) -> None:
    """Golden: the frame of run(tail="keep"), evaluated by pt.Experiment."""
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    if not len(first.transform(TOPICS)):
        return
    got = sweep(tabulate(first, judges, TOPICS), make_qrels(seed), MEASURES, grid=[cutoffs], tail="keep")
    assert_equal(got, [run(chain(first, judges, cutoffs), TOPICS, tail="keep").results], TOPICS, make_qrels(seed))


@settings(max_examples=10, phases=[Phase.generate])
@given(RETRIEVERS, st.lists(JUDGES, max_size=2), st.data(), st.sampled_from(["drop", "keep"]))
def test_by_rank_ignores_the_tie_rules_of_evaluation(
    first: ToyRetriever, judges: list[Judge], data: st.DataObject, tail: Tail
) -> None:
    """Golden: pt.Experiment on scores that say the rank and nothing else, so that nothing ties."""
    cutoffs = data.draw(st.tuples(*[CUTOFFS] * (len(judges) + 1)))
    if not len(first.transform(TOPICS)):
        return
    ranked = run(chain(first, judges, cutoffs), TOPICS, tail=tail).results
    got = sweep(tabulate(first, judges, TOPICS), make_qrels(1), MEASURES, grid=[cutoffs], tail=tail, by_rank=True)
    assert_equal(got, [ranked.assign(score=-ranked["rank"].astype(float))], TOPICS, make_qrels(1))


@settings(max_examples=4, phases=[Phase.generate])
@given(st.lists(JUDGES, min_size=2, max_size=2, unique=True), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(0, 99))
def test_a_table_of_just_the_needed_pairs_gives_every_vector(judges: list[Judge], depths: tuple[int, int], seed: int) -> None:
    """Golden: pt.Experiment at every vector up to the depths of what ``score`` made; the default grid is just these."""
    first = ToyRetriever(docs=12)
    table = score(chain(first, judges, (*depths, None)), TOPICS)
    got = sweep(table, make_qrels(seed), ["nDCG@10", "AP", "RR@10"])
    deepest = min(depths[0], int(table.retrieved[got.replayer.judged.queries].max()))
    assert list(got.grid) == [(k1, k2, None) for k1 in range(1, deepest + 1) for k2 in range(1, min(k1, depths[1]) + 1)]
    assert_equal(got, [chain(first, judges, vector) for vector in got.grid], TOPICS, make_qrels(seed))


def simple() -> tuple[ToyRetriever, list[Judge], Sweep]:
    """A sweep over three stages with ties."""
    first, judges = ToyRetriever(docs=14), [Judge(1), Fine(2, 2)]
    measures = ["nDCG@10", "R@3", "Bpref"]
    return first, judges, sweep(tabulate(first, judges, TOPICS), make_qrels(5), measures, grid=grid([3, 9], [2, 5], [2, None]))


def test_per_query_values_are_those_of_experiment() -> None:
    """Golden: pt.Experiment(perquery=True), at a vector that is not in the grid; their mean is what the frame says."""
    first, judges, got = simple()
    values = got.per_query((7, 3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        long = pt.Experiment(
            [chain(first, judges, (7, 3, 2))], TOPICS, make_qrels(5), [*map(parse_measure, got.measures)], perquery=True
        )
    wide = long.pivot_table(index="qid", columns="measure", values="value").loc[values["qid"]]
    assert values["qid"].tolist() == ["q0", "q1", "q3", "q9", "q10"]
    for name in got.measures:
        np.testing.assert_allclose(values[name], wide[name], rtol=0, atol=1e-12)
        at = got.frame.query("k1 == 9 and k2 == 5 and k3 == 2")[name].item()
        assert got.per_query((9, 5, 2))[name].mean() == pytest.approx(at, abs=1e-15)


def test_sums_over_groups_are_those_of_their_queries_with_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds add up to the whole; the same bits with one core and with many, time after time."""
    _, _, got = simple()
    vectors, every = got.grid.vectors, np.arange(len(got.qids))
    queries = got.replayer.sums(vectors, every)
    folds = got.replayer.sums(vectors, every % 2)
    np.testing.assert_allclose(folds, [queries[::2].sum(axis=0), queries[1::2].sum(axis=0)], rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.means, queries.mean(axis=0), rtol=0, atol=1e-12)
    for cores in (1, 2, 64, 2):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert (got.replayer.sums(vectors, every % 2) == folds).all()


def test_exchanged_labels_are_those_of_other_judgments() -> None:
    """Golden: the sweep under qrels that say the same, for measures in the kernel; judged and unjudged exchanged."""
    _, _, got = simple()
    replayer, random = got.replayer, np.random.default_rng(1)
    offsets, labels = replayer.rankings.offsets, replayer.labels.copy()
    for begin, end in pairwise(offsets):
        labels[begin:end] = random.permutation(labels[begin:end])
    pairs = replayer.table.frame[["qid", "docno"]].iloc[replayer.rankings.rows].assign(label=labels)
    old = make_qrels(5)
    unseen = old[~pd.MultiIndex.from_frame(old[["qid", "docno"]]).isin(pd.MultiIndex.from_frame(pairs[["qid", "docno"]]))]
    wanted = sweep(replayer.table, pd.concat([pairs[labels != UNJUDGED], unseen]), got.measures, grid=got.grid)
    by_row = np.empty_like(labels)
    by_row[replayer.rankings.rows] = labels
    exchanged = replace(replayer, judged=replace(replayer.judged, labels=by_row))
    means = exchanged.sums(got.grid.vectors)[0, :, :2] / len(got.qids)
    np.testing.assert_allclose(means, wanted.means[:, :2], rtol=0, atol=1e-12)
    only = replace(exchanged, measures=exchanged.measures[1:2])
    np.testing.assert_array_equal(only.sums(got.grid.vectors), exchanged.sums(got.grid.vectors)[:, :, 1:2])
    assert not np.allclose(wanted.means[:, :2], got.means[:, :2])


def test_measures_that_add_up_are_added_up() -> None:
    """Golden: pt.Experiment sums counts over queries, by their names, and averages all else."""
    first, judges = ToyRetriever(docs=9), [Judge(1)]
    got = sweep(tabulate(first, judges, TOPICS), make_qrels(3), ["NumRet", "NumRel", "NumQ", "NumRelRet"], grid=[(5, 2), (9, 9)])
    assert_equal(got, [chain(first, judges, vector) for vector in got.grid], TOPICS, make_qrels(3))
    found = first.transform(TOPICS)
    assert got.frame["NumRet"].tolist() == [2 * 4, (found["qid"] != "q2").sum()]


# --- defaults and frames


def test_a_cascade_of_one_stage_is_swept_over_its_own_cutoff() -> None:
    """Golden: pt.Experiment at every cut-off that the retriever allows."""
    first = ToyRetriever(docs=5)
    got = sweep(tabulate(first, [], TOPICS), make_qrels(2), ["P@3", "Judged@5"])
    assert list(got.grid) == [(k,) for k in range(1, len(got.grid) + 1)]
    assert repr(got) == f"Sweep(Grid({len(got.grid)} vectors: all of k1 1..{len(got.grid)}) of first; P@3, Judged@5; {QUERIES})"
    assert_equal(got, [first % k for k in range(1, len(got.grid) + 1)], TOPICS, make_qrels(2))


def test_a_grid_is_named_or_given_for_some_stages() -> None:
    """Every form gives the measures that its vectors have in the full grid."""
    _, _, got = simple()
    full = sweep(got.table, got.replayer.judged.qrels, got.measures, grid="full").frame
    for form in ("log", {"k1": [1, 10]}, {"k2": [2], "k1": [3, 4]}):
        some = sweep(got.table, got.replayer.judged.qrels, got.measures, grid=form).frame
        keys = [name for name in some if name.startswith("k")]
        pd.testing.assert_frame_equal(some.merge(full, on=keys, suffixes=("_some", ""))[[*full]], some, check_exact=True)


def test_the_default_grid_is_coarse_for_what_ir_measures_computes() -> None:
    """A replay a vector takes long: the grid is logarithmic, up to the deepest, and says so."""
    table = tabulate(ToyRetriever(docs=40), [Judge(1)], TOPICS)
    deepest = int(table.retrieved.max())
    steps = [k for k in (1, 2, 3, 5, 7, 10, 20, 30) if k < deepest]
    assert [k1 for k1, _ in sweep(table, make_qrels(2), ["Bpref"]).grid] == [*steps, deepest]
    assert len(sweep(table, make_qrels(2), ["AP"]).grid) == deepest


def test_the_frame_has_a_row_a_vector_and_says_where_nothing_is_cut() -> None:
    """Cut-offs, then measures under the names that ir_measures prints, then what it costs."""
    table = tabulate(ToyRetriever(docs=5), [Judge(1)], TOPICS)
    got = sweep(table, make_qrels(2), ["P(rel=2)@3", "RR"], [StageCost(), StageCost(per_pair_ms=2)], [(None, 2), (3, 2)])
    assert [*got.frame][:4] == ["k1", "k2", "P(rel=2)@3", "RR"]
    assert got.frame["k1"].tolist() == [3, pd.NA]
    assert got.frame["k2"].dtype == np.int64
    found = table.retrieved[got.replayer.judged.queries]
    assert got.frame["ms"].tolist() == pytest.approx([2 * np.minimum(found, 3).mean(), 2 * found.mean()])
    assert got.position("stage2") == got.position(1) == 1


def test_a_query_whose_labels_are_all_below_0_is_0() -> None:
    """In the kernel and by ir_measures, where pytrec_eval alone would never return; the judged share is what it is."""
    table = tabulate(ToyRetriever(docs=5), [Judge(1)], TOPICS)
    qrels = pd.DataFrame({"qid": ["q0", "q0"], "docno": ["d1", "d2"], "label": [-1, -2]})
    got = sweep(table, qrels, ["nDCG@10", "AP", "Bpref", "Judged@10"], grid=[(5, 5)]).frame
    share = table.frame.query("qid == 'q0'")["docno"].isin(["d1", "d2"]).mean()
    assert got.iloc[0].tolist() == [5, 5, 0, 0, 0, share]
