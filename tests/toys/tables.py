"""Score tables of toys, made without ``score``: each stage scores all documents, in any batch; and PyTerrier's answers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
from ir_measures import parse_measure

from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.execution.score_table import ScoreTable
from toys.judges import Judge, number
from toys.rankers import topics, toss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.sweep.result import Sweep

TOPICS = pd.concat([topics(4), pd.DataFrame({"qid": ["q9", "q10"], "query": ["nothing", "more"]})], ignore_index=True)
KERNEL = (
    *("nDCG@10", "nDCG", "nDCG@3", "RR", "RR@10", "RR@2", "RR(rel=2)", "R@100", "R@3", "R(rel=2)@5", "P@5", "P(rel=2)@1"),
    *("AP", "AP@4", "AP(rel=2)", "Judged@10", "Judged", "Success@1", "Success(rel=2)@3"),
)


class Fine(Judge):
    """Scores that float64 tells apart and float32 does not, some of them below 0."""

    stage_name = "fine"

    def judge(self, query: str, docno: str) -> float:
        """Score a pair."""
        return super().judge(query, docno) - 1 + 1e-9 * toss("fine", self.seed, query, docno, sides=3)


def chain(retriever: pt.Transformer, judges: Sequence[Judge], cutoffs: Sequence[int | None]) -> pt.Transformer:
    """Write the plain PyTerrier pipeline at some cut-offs."""
    stages = [stage if k is None else stage % k for stage, k in zip((retriever, *judges), cutoffs, strict=True)]
    pipeline = stages[0]
    for stage in stages[1:]:
        pipeline = pipeline >> stage
    return pipeline


def tabulate(retriever: pt.Transformer, judges: Sequence[Judge], asked: pd.DataFrame) -> ScoreTable:
    """Make the table of a chain, in which every stage has scored all that the first one found."""
    found = retriever.transform(asked)
    place = pd.Index(asked["qid"]).get_indexer(pd.Index(found["qid"]))
    found = found.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    frame = found[["qid", "docno", "rank"]].assign(first=found["score"]).astype({"qid": str, "docno": str, "rank": np.int64})
    for n, judge in enumerate(judges, 2):
        frame[f"stage{n}"] = [judge.judge(row.query, row.docno) for row in found.itertuples()]
        frame[f"stage{n}"] = frame[f"stage{n}"].astype(float)
    frame["docid"] = frame["docno"].map(number).astype(float)
    columns = (Column("first"), *(Column(f"stage{n}", TieRule(judge.rows, judge.ties)) for n, judge in enumerate(judges, 2)))
    names = tuple(column.stage for column in columns)
    return ScoreTable(frame, asked, columns, (Path(names, (None,) * len(names), (None,) * (len(names) - 1)),))


def make_qrels(seed: int, *, docs: int = 16) -> pd.DataFrame:
    """Judge some documents from 0 to 3: retrieved or not, for queries asked or not, the last of them with nothing relevant.

    No label is below 0: where all of a query's are, pytrec_eval, our oracle, may never return.
    """
    qids = [*TOPICS["qid"], "not asked"]
    rows = [
        (qid, f"d{doc}", min(max(toss(seed, qid, doc, sides=5) - 1, 0), 0 if qid == "q3" else 3))
        for qid in qids
        for doc in range(docs)
        if qid != "q2" and toss("judged", seed, qid, doc, sides=2)
    ]
    return pd.DataFrame([*rows, ("q0", "d1000", 2)], columns=["qid", "docno", "label"])


def experiment(
    pipelines: Sequence[pt.Transformer | pd.DataFrame], asked: pd.DataFrame, qrels: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """Let PyTerrier evaluate; a row a pipeline."""
    systems = {str(n): pipeline for n, pipeline in enumerate(pipelines)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pt.Experiment(systems, asked, qrels, [parse_measure(name) for name in names], validate="ignore")


def assert_equal(got: Sweep, pipelines: Sequence[pt.Transformer | pd.DataFrame], asked: pd.DataFrame, qrels: pd.DataFrame) -> None:
    """Compare all measures of all vectors, to 1e-12."""
    wanted = experiment(pipelines, asked, qrels, got.measures)
    for name in got.measures:
        np.testing.assert_allclose(got.frame[name], wanted[name], rtol=0, atol=1e-12, err_msg=f"{name} of {list(got.grid)}")
