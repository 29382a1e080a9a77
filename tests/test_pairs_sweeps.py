"""Every vector of a sweep whose last stage is pairwise, against ``pt.Experiment`` and ``replay``."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from duellists import Duellist, FineDuellist, tabulate_duels
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from judges import Judge
from tabling import KERNEL, TOPICS, assert_equal, chain, make_qrels
from test_pairs_replay import LASTS, WINS, make_table
from test_sweeps import CUTOFF, FIRST, JUDGES, MEASURES
from toys import ToyRetriever

from pt_cascade.analysis import orders, surfaces
from pt_cascade.analysis.grids import grid
from pt_cascade.analysis.sweeps import Sweep, sweep
from pt_cascade.errors import SweepError, TableError
from pt_cascade.execution.executor import run

if TYPE_CHECKING:
    from types import ModuleType

    from pt_cascade.analysis.cutoffs import Tail

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too


@settings(max_examples=15, phases=[Phase.generate])
@given(FIRST, st.lists(JUDGES, max_size=2), LASTS, st.data(), st.integers(0, 99))
def test_every_vector_is_what_experiment_says(
    first: ToyRetriever, judges: list[Judge], last: Duellist, data: st.DataObject, seed: int
) -> None:
    """Golden: pt.Experiment on the plain pipeline, heavy ties, every aggregation, measures in the kernel and others."""
    vectors = data.draw(st.lists(st.tuples(*[CUTOFF] * (len(judges) + 2)), min_size=1, max_size=4, unique=True))
    if not len(first.transform(TOPICS)):
        return
    got = sweep(tabulate_duels(first, judges, last, TOPICS), make_qrels(seed), MEASURES, grid=vectors)
    assert_equal(got, [chain(first, [*judges, last], vector) for vector in got.grid], TOPICS, make_qrels(seed))


@settings(max_examples=12, phases=[Phase.generate])
@given(FIRST, st.lists(JUDGES, max_size=2), LASTS, st.data(), st.integers(0, 99))
def test_a_kept_tail_is_measured_as_run_leaves_it(
    first: ToyRetriever, judges: list[Judge], last: Duellist, data: st.DataObject, seed: int
) -> None:
    """Golden: the frame of run(tail="keep"), evaluated by pt.Experiment."""
    cutoffs = data.draw(st.tuples(*[CUTOFF] * (len(judges) + 2)))
    if not len(first.transform(TOPICS)):
        return
    got = sweep(tabulate_duels(first, judges, last, TOPICS), make_qrels(seed), MEASURES, grid=[cutoffs], tail="keep")
    assert_equal(got, [run(chain(first, [*judges, last], cutoffs), TOPICS, tail="keep").results], TOPICS, make_qrels(seed))


def replayed(got: Sweep, tail: Tail) -> list[pd.DataFrame]:
    """The rankings of a sweep's vectors, one by one."""
    frames = [got.table.replay(cutoffs, tail=tail) for cutoffs in got.grid]
    return [frame.assign(score=-frame["rank"].astype(float)) for frame in frames] if got.replayer.by_rank else frames


@settings(max_examples=12, phases=[Phase.generate])
@given(FIRST, st.lists(JUDGES, max_size=2), LASTS, st.integers(0, 99), st.sampled_from(["drop", "keep"]), st.booleans(), st.data())
def test_dense_grids_are_what_one_replay_a_vector_gives(
    first: ToyRetriever,
    judges: list[Judge],
    last: Duellist,
    seed: int,
    tail: Tail,
    by_rank: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    """Oracle: replay, evaluated by pt.Experiment: whoever enters and leaves between two vectors, what is kept stands."""
    if not len(first.transform(TOPICS)):
        return
    axes = [data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)) for _ in range(len(judges) + 2)]
    every = [*product(*axes[:-1], [*axes[-1], None])]
    table = tabulate_duels(first, judges, last, TOPICS)
    got = sweep(table, make_qrels(seed), KERNEL, grid=every, tail=tail, by_rank=by_rank)
    assert_equal(got, replayed(got, tail), TOPICS, make_qrels(seed))


@pytest.mark.parametrize("how", ["sym-sum", "binary", "min", "max"])
def test_every_vector_of_a_deep_grid(how: str) -> None:
    """Oracle: one replay a vector, all of k1 to 12 and k2 to 6: sets grow, shrink, and exchange documents in every way."""
    last = Duellist(how, 3, 4) if how == "binary" else FineDuellist(how, 3, 4)
    table = tabulate_duels(ToyRetriever(docs=22, levels=4), [Judge(1, 9)], last, TOPICS)
    got = sweep(table, make_qrels(3, docs=22), ["nDCG@10", "AP", "RR@10", "P@3"], grid=grid(range(1, 13), range(1, 7), [2, None]))
    assert_equal(got, replayed(got, "drop"), TOPICS, make_qrels(3, docs=22))
    for vector in ((12, 6, None), (9, 5, 2)):
        at = list(got.grid).index(vector)
        assert got.loss(vector)["ndcg"].iloc[-1] == pytest.approx(got.means[at, 0], abs=1e-12)
    surfaces = [got.means[:, n].reshape(-1, 2) for n in range(len(got.measures))]
    assert all(len(np.unique(surface)) > 20 for surface in surfaces[:2])


@pytest.mark.parametrize("tail", ["drop", "keep"])
def test_every_vector_where_the_duels_follow_the_first_stage(tail: Tail) -> None:
    """Oracle: one replay a vector; each document that enters moves all, and ties reach beyond the depth of all measures."""
    last = Duellist("sum", 3, 2)
    table = tabulate_duels(ToyRetriever(docs=22, levels=4), [], last, TOPICS)
    got = sweep(table, make_qrels(3, docs=22), ["nDCG@2", "RR@3", "P@1"], grid=grid(range(1, 15), [1, 2, 4, None]), tail=tail)
    assert_equal(got, replayed(got, tail), TOPICS, make_qrels(3, docs=22))


def test_by_hand() -> None:
    """Golden, by hand: b is relevant; against a and c it stands last, against a alone second, and of one there is but a."""
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    got = sweep(make_table(WINS, bm25=[3, 2, 1]), qrels, ["RR"], grid=[(1, None), (2, None), (3, None), (3, 2)])
    assert got.frame["RR"].tolist() == [0.0, 1 / 2, 0.0, 1 / 3]


def test_the_default_grid_is_all_that_the_duels_cover() -> None:
    """What was asked about bounds k1, at the depths of the path; a deeper vector is refused, and the duel named."""
    wins = np.full((4, 4), 0.25)
    wins[np.diag_indices(4)] = wins[0, 3] = wins[3, 0] = np.nan
    table = make_table(wins, bm25=[4, 3, 2, 1])
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    assert list(sweep(table, qrels, ["RR"]).grid) == [(1, None), (2, None), (3, None)]
    for measure in ("RR", "Bpref"):
        with pytest.raises(TableError, match=r"bm25 → duo at \(4, None\) needs \d duel\(s\), e.g. qid 1, docno [ad] against [ad],"):
            sweep(table, qrels, [measure], grid=[(4, None)])


def test_losses_and_recall_follow_the_duels() -> None:
    """Golden, by hand: a, c, b in the order of the duels; cut at 2, b is lost to the pairwise stage."""
    qrels = pd.DataFrame({"qid": ["1", "1"], "docno": ["b", "c"], "label": [1, 1]})
    got = sweep(make_table(WINS, bm25=[3, 2, 1]), qrels, ["RR"], grid=[(3, 2)])
    assert got.loss((3, 2))[["at", "lost"]].to_numpy().tolist() == [
        ["judged", 0],
        ["not retrieved by bm25", 0],
        ["cut by bm25 → 3", 0],
        ["cut by duo → 2", 1],
        ["ordered by duo", 0],
    ]
    dcg, ideal = 1 / np.log2(3), 1 + 1 / np.log2(3)
    assert got.loss((3, 2))["lost_ndcg"].iloc[-1] == pytest.approx((1 - dcg) / ideal)
    assert got.recall("duo", (3,))["recall"].tolist() == [0.0, 0.5, 1.0]
    assert got.recall("duo", (2,))["recall"].tolist() == [0.0, 0.5]


def test_loss_breaks_ties_as_trec_eval_does() -> None:
    """All tied: the larger docno stands above, unless ranks are evaluated."""
    tied = np.full((3, 3), 0.5)
    tied[np.diag_indices(3)] = np.nan
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["c"], "label": [1]})
    for by_rank, lost in ((False, 0.0), (True, 0.5)):
        got = sweep(make_table(tied, bm25=[3, 2, 1]), qrels, ["nDCG@10"], grid=[(3, None)], by_rank=by_rank)
        assert got.loss((3, None))["lost_ndcg"].iloc[-1] == pytest.approx(lost)
        assert got.means[0, 0] == pytest.approx(1 - lost)


def test_a_query_whose_documents_have_no_duel() -> None:
    """Of a single document there is nothing to compare: it scores 0, and is measured."""
    table = make_table(np.array([[np.nan]]), bm25=[1.0])
    assert len(table.duels["duo"]) == 0
    got = sweep(table, pd.DataFrame({"qid": ["1"], "docno": ["a"], "label": [1]}), ["RR"])
    assert got.frame["RR"].tolist() == [1.0]


def test_a_grid_that_does_not_fit_is_refused() -> None:
    """A pairwise stage has its own cut-off in every vector."""
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    with pytest.raises(SweepError, match=r"1 cut-off\(s\) \(3,\) for 2 stage\(s\) bm25, duo"):
        sweep(make_table(WINS, bm25=[3, 2, 1]), qrels, ["RR"], grid=[(3,)])


def test_the_default_grid_of_another_path_reaches_as_deep_as_its_duels() -> None:
    """Golden, by hand: of a, b, c all met; d met a alone, so it is only handed on where the second stage cuts at 2."""
    wins = np.full((4, 4), np.nan)
    for one, other in ((0, 1), (0, 2), (1, 2), (0, 3)):
        wins[one, other] = wins[other, one] = 0.25
    table = make_table(wins, bm25=[4, 3, 2, 1], bi=[4, 1, 2, 3])
    table = replace(table, paths=(replace(table.paths[0], depths=(4, 2)),))
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    assert sweep(table, qrels, ["RR"]).grid.vectors[:, :2].max(axis=0).tolist() == [4, 2]
    assert [k1 for k1, _ in sweep(table, qrels, ["RR"], stages=("bm25", "duo")).grid] == [1, 2, 3]
    deeper = replace(table, paths=(replace(table.paths[0], depths=(4, 3)),))
    assert sweep(deeper, qrels, ["RR"]).grid.vectors[:, :2].max(axis=0).tolist() == [3, 3]
    wins[0, 2] = wins[2, 0] = np.nan  # now a and c are lacking, which the deepest vector does not hand on
    lacking = replace(make_table(wins, bm25=[4, 3, 2, 1], bi=[4, 1, 2, 3]), paths=table.paths)
    assert lacking.covers((4, 2, None))
    assert sweep(lacking, qrels, ["RR"]).grid.vectors[:, :2].max(axis=0).tolist() == [2, 2]


def test_what_a_table_works_out_it_works_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Duels are put in order once for a path and a way to evaluate, and how deep a table reaches is found once, whoever asks."""
    calls: list[str] = []

    def count(module: ModuleType, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **options: calls.append(name) or real(*given, **options))

    count(orders, "arrange")
    count(surfaces, "reach")
    table = make_table(WINS, bm25=[3, 2, 1])
    qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
    for cutoffs in ((3, None), (2, 1)):
        assert table.covers(cutoffs)
        assert len(table.replay(cutoffs))
    got = sweep(table, qrels, ["RR", "Bpref"])
    assert calls == ["arrange", "reach"]
    got.recall("duo")
    got.replayer.with_labels(got.replayer.labels).reach  # noqa: B018 - is it asked?
    assert calls == ["arrange", "reach"]
    sweep(table, qrels, ["RR"], grid=[(3, None)], by_rank=True)
    assert calls == ["arrange", "reach", "arrange"]
    assert replace(table, about={}).replay((3, None)).equals(table.replay((3, None)))
    assert calls[3:] == ["arrange"]  # another table is another
