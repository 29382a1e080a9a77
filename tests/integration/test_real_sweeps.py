"""Sweeps over real collections, against ``pt.Experiment`` on the same plain pipeline."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from toys.judges import Judge
from toys.tables import KERNEL, Fine, assert_equal, chain

from pt_cascade import open_collection
from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.cost.cost import StageCost
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.score import score
from pt_cascade.stages import bm25, build_index
from pt_cascade.trec import read_qrels, read_run

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too


class LookUp(pt.Transformer):
    """Scores pairs by a run, and keeps its rows."""

    documents = "reranks"
    depends = "pointwise"

    def __init__(self, run: pd.DataFrame) -> None:
        """Remember the scores."""
        self._scores = run.set_index(["qid", "docno"])["score"]

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Look each pair up."""
        pt.validate.result_frame(inp, context=self)
        pairs = pd.MultiIndex.from_frame(inp[["qid", "docno"]])
        return pt.model.add_ranks(inp.assign(score=self._scores.reindex(pairs).to_numpy()))


def test_three_real_rankers_on_dl19(dl19_folder: Path) -> None:
    """Golden: pt.Experiment on the plain pipeline over the runs of BM25, ColBERT and vBERT, ERR among the measures."""
    runs = {
        name: read_run(dl19_folder / f"runs/colbertprf.bm25-doct5q{end}.res.gz")
        for name, end in (("bm25", ""), ("colbert", ".colbert"), ("vbert", ".vbert"))
    }
    qrels = read_qrels(dl19_folder / "qrels.txt")
    asked = runs["bm25"][["qid"]].drop_duplicates().assign(query="-")
    found = runs["bm25"].sort_values(["qid", "rank"])
    stages = [
        pt.Transformer.from_df(found.assign(query="-"), uniform=False),
        *(LookUp(runs[name]) for name in ("colbert", "vbert")),
    ]
    measures = ["nDCG@10", "nDCG", "RR", "RR(rel=2)@10", "R@100", "P@5", "AP(rel=2)", "Judged@10", "Success@1", "ERR@10"]
    vectors = [(1, 1, 1), (200, 20, None), (1000, 100, 20), (None, None, None)]
    got = sweep(ScoreTable.from_runs(runs), qrels, measures, grid=vectors)
    assert_equal(got, [chain(stages[0], stages[1:], vector) for vector in vectors], asked, qrels)
    assert got.frame["nDCG@10"].iloc[-1] > got.frame["nDCG@10"].iloc[0] + 0.4


@pytest.mark.parametrize("name", ["vaswani", "scifact"])
def test_bm25_of_a_real_collection(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Golden: pt.Experiment on BM25 and two toy scorers with heavy ties, one that keeps its rows and one that sorts them."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    collection = open_collection(request.getfixturevalue(f"{name}_folder"))
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    first, asked = bm25(build_index(collection.docs(), tmp_path / "index", engine="pisa")), collection.judged(15)
    judges = [Judge(1, 9), Judge(2, 4, "rank", "rank"), Fine(3, 5)]
    table = score(chain(first, judges, (400, 60, 30, None)), asked)
    vectors = [(1, 1, 1, 1), (60, 60, 9, 9), (117, 31, 12, 5), (400, 60, 30, None)]
    got = sweep(table, collection.qrels, KERNEL, grid=vectors)
    assert_equal(got, [chain(first, judges, vector) for vector in vectors], asked, collection.qrels)


def test_six_seeds_give_one_verdict_on_dl19(dl19_folder: Path) -> None:
    """43 queries cannot tell, whatever the seed, and the report shows the spread, which is that of single splits."""
    runs = {
        name: dl19_folder / f"runs/colbertprf.bm25-doct5q{end}.res.gz"
        for name, end in (("bm25", ""), ("colbert", ".colbert"), ("vbert", ".vbert"))
    }
    cost = [StageCost("bm25"), StageCost("colbert", per_pair_ms=0.05), StageCost("vbert", per_pair_ms=2)]
    table = sweep(ScoreTable.from_runs(runs), read_qrels(dl19_folder / "qrels.txt"), ["nDCG@10"], cost, "log")
    choices = [choose(table, "nDCG@10", budget_ms=100, seed=seed) for seed in range(6)]
    assert {one.verdict.decision for one in choices} == {"cannot tell"}
    assert len({(one.cutoffs, one.picked) for one in choices}) == 1
    held = [one.held_out.mean for one in choices]
    weighted = [one.folds["held_out"] * one.folds["queries"] / 43 for one in choices]
    splits = [values.groupby(one.folds["repeat"]).sum() for values, one in zip(weighted, choices, strict=True)]
    assert max(held) - min(held) < 0.01
    assert max(split.max() for split in splits) - min(split.min() for split in splits) > 2 * (max(held) - min(held))
    assert all("held out over 20 splits" in one.explain() for one in choices)
    assert {choose(table, "nDCG@10", method="certified", margin=0.05, seed=seed).verdict.needed for seed in range(3)} == {59}
