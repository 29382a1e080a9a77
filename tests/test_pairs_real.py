"""A sweep that ends in a pairwise stage, over real rankers, against ``pt.Experiment`` on the same plain pipeline.

The rankings and judgments are real; what is said of two documents is synthetic: the logistic of the difference of their vBERT
scores and of noise from a hash, rounded, so that scores tie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from tabling import assert_equal, chain
from test_real_sweeps import LookUp
from toys import toss

from pt_cascade.analysis.grids import grid
from pt_cascade.analysis.sweeps import sweep
from pt_cascade.execution.scoring import score
from pt_cascade.stages.pairwise import PairReranker
from pt_cascade.trec import read_qrels, read_run

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.ranking import Floats, Ints

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # cut-offs that cannot cut are tried, too


@dataclass(frozen=True)
class Synthetic(PairReranker):
    """Says of two documents what their scores in a run, and noise, suggest."""

    aggregation: str = "sym-sum"
    run: dict[tuple[str, str], float] = field(default_factory=dict, compare=False, repr=False)
    stage_name: ClassVar[str] = "synthetic"

    def needs(self) -> list[str]:
        """Nothing: the answers are made up."""
        return []

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Make the answers up."""
        pairs = list(zip(results["qid"], results["docno"], strict=True))
        score = np.array([self.run[pair] for pair in pairs])
        noise = np.array([toss(*pairs[i], pairs[j][1], sides=100) for i, j in zip(first, second, strict=True)]) / 50 - 1
        return np.round(1 / (1 + np.exp(score[second] - score[first] - noise)), 1)


def test_three_real_rankers_and_synthetic_duels_on_dl19(dl19_folder: Path) -> None:
    """Golden: pt.Experiment on the plain pipeline over the runs of BM25, ColBERT and vBERT, ERR among the measures."""
    runs = {
        name: read_run(dl19_folder / f"runs/colbertprf.bm25-doct5q{end}.res.gz")
        for name, end in (("bm25", ""), ("colbert", ".colbert"), ("vbert", ".vbert"))
    }
    qrels = read_qrels(dl19_folder / "qrels.txt")
    asked = runs["bm25"][["qid"]].drop_duplicates().head(8).assign(query="-")
    found = runs["bm25"].sort_values(["qid", "rank"]).assign(query="-")
    pairs = runs["vbert"][["qid", "docno", "score"]].itertuples(index=False)
    later = [
        LookUp(runs["colbert"]),
        LookUp(runs["vbert"]),
        Synthetic("sym-sum", {(row.qid, row.docno): row.score for row in pairs}),
    ]
    first = pt.Transformer.from_df(found, uniform=False)
    table = score(chain(first, later, (200, 30, 10, None)), asked)
    measures = ["nDCG@10", "RR(rel=2)@10", "R@100", "P@5", "AP(rel=2)", "Judged@10", "ERR@10"]
    vectors = [(1, 1, 1, 1), (37, 30, 9, 4), (200, 30, 3, None), (200, 30, 10, None)]
    got = sweep(table, qrels, measures, grid=vectors)
    assert_equal(got, [chain(first, later, vector) for vector in vectors], asked, qrels)
    assert got.frame["nDCG@10"].iloc[-1] > got.frame["nDCG@10"].iloc[0] + 0.2
    needed = len(table.duels["synthetic"]) / len(asked)
    documents = np.mean(
        [np.count_nonzero(table.queries[np.unique(table.duels["synthetic"].first)] == n) for n in range(len(asked))]
    )
    assert 10 * 9 <= needed < documents * (documents - 1)
    every = sweep(table, qrels, ["nDCG@10"], grid=grid(range(1, 201), [1, 10, 30], [2, 10], [5]))
    alone = [sweep(table, qrels, ["nDCG@10"], grid=[vector]).means[0] for vector in list(every.grid)[::45]]
    np.testing.assert_array_equal(every.means[::45], alone)


def test_numbers_of_duels_by_another_path(dl19_folder: Path) -> None:
    """After BM25 alone, at depth 15, each two of 15 documents meet: 210 duels a query, in both orders."""
    run = read_run(dl19_folder / "runs/colbertprf.bm25-doct5q.res.gz")
    asked = run[["qid"]].drop_duplicates().head(3).assign(query="-")
    pairs = {(row.qid, row.docno): row.score for row in run[["qid", "docno", "score"]].itertuples(index=False)}
    first = pt.Transformer.from_df(run.sort_values(["qid", "rank"]).assign(query="-"), uniform=False)
    assert len(score(first % 15 >> Synthetic("sum", pairs), asked).duels["synthetic"]) == 3 * 15 * 14
