"""The table of docs/fusion.md: does it help to fuse the stages of a cascade, or its first stage, on real collections and runs?

Run: python experiments/fusion.py [DATA]. DATA holds dl19, cranfield, scifact and vaswani; default: $PT_CASCADE_DATA, else
../shared/data. Weights are multiples of 0.1, chosen for each fold on the other four, ten partitions into folds; measures are of the
held-out folds. The intervals are paired over queries and do not count the spread of the choice of weights. Pairs are those of query
and document that the stages after the first score, a mean over queries.
"""

from __future__ import annotations

import os
import sys
import warnings
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ir_measures import nDCG

import pt_cascade as ptc
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.execution.defaults import score_collection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from pt_cascade.ranking import Floats

FOLDS, PARTITIONS = 5, 10
DEPTHS = (1000, 100, 20)
RUNS = {
    "doc2query BM25, ColBERT, BERT": {"bm25": "bm25-doct5q", "colbert": "bm25-doct5q.colbert", "vbert": "bm25-doct5q.vbert"},
    "BM25, BERT": {"bm25": "bm25-terrier", "vbert": "bm25-terrier.vbert"},
}
LINES = {
    "BM25, bi-encoder, MaxSim": "bm25 % 1000 >> bi_encoder % 100 >> late_interaction % 20",
    "BM25 + dense, MaxSim": "hybrid(bm25, dense, method='weighted') % 100 >> late_interaction % 20",
}
AGAINST = ("against stage 1", "against the last")
COLLECTIONS = ("pydocs", "cranfield", "scifact", "vaswani")


def main() -> None:
    """Print the table."""
    root = Path(__file__).parents[1]
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PT_CASCADE_DATA", root.parent / "shared" / "data"))
    warnings.simplefilter("ignore", ptc.errors.CascadeWarning)
    columns = ("collection", "stages", "pairs", "stage 1", "last stage", "fused, held out", *AGAINST, "weights")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for line in chain(show_runs(data / "dl19"), *(show_collection(name, data) for name in COLLECTIONS)):
        print(line, flush=True)


def show_runs(folder: Path) -> Iterator[str]:
    """Fuse published runs."""
    qrels = ptc.trec.read_qrels(folder / "qrels.txt")
    for stages, runs in RUNS.items():
        table = ptc.ScoreTable.from_runs({name: folder / f"runs/colbertprf.{run}.res.gz" for name, run in runs.items()})
        yield show_table("dl19, published runs", stages, table, qrels)


def show_collection(name: str, data: Path) -> Iterator[str]:
    """Score a collection with cascades from scratch, and fuse them."""
    collection = ptc.open_collection(name if name == "pydocs" else data / name)
    for stages, line in LINES.items():
        cascade = ptc.parse_cascade(line, collection)
        yield show_table(name, stages, score_collection(collection, cascade, collection.judged()), collection.qrels)


def show_table(collection: str, stages: str, table: ptc.ScoreTable, qrels: pd.DataFrame) -> str:
    """Measure the first stage, the last one, and the fusion on held-out queries; write a row."""
    cutoffs = (*DEPTHS[3 - len(table.stages) : -1], DEPTHS[-1]) if len(table.stages) > 2 else DEPTHS[1:]  # noqa: PLR2004
    counted = [ptc.StageCost(name) for name in table.stages]  # no times, which published runs do not have
    swept = ptc.sweep(table, qrels, [nDCG @ 10], counted, [cutoffs], fusion=[None, *ptc.fusions(table.stages)])
    values = np.stack([swept.per_query(cutoffs, fusion)["nDCG@10"].to_numpy() for fusion in swept.fusions], axis=1)
    first = ptc.sweep(table, qrels, [nDCG @ 10], grid=[cutoffs[:1]], stages=table.stages[:1]).per_query(cutoffs[:1])["nDCG@10"]
    last, fused = values[:, 0], hold_out(values[:, 1:])
    best = swept.fusions[1 + int(values[:, 1:].mean(axis=0).argmax())]
    weights = " ".join(f"{weight:g}" for weight in best.weigh(table.stages))
    differences = [f"{estimate(fused - other)}" for other in (first.to_numpy(), last)]
    numbers = [f"{one.mean():.3f}" for one in (first, last, fused)]
    pairs = f"{swept.frame['pairs'].iloc[0]:,.0f}"  # the same for all fusions
    return f"| {' | '.join([f'{collection} ({len(last)})', stages, pairs, *numbers, *differences, weights])} |"


def hold_out(values: Floats) -> Floats:
    """Measure each query at the weights that are best on the other folds, a mean over partitions."""
    found = np.zeros(len(values))
    for seed in range(PARTITIONS):
        fold = np.random.default_rng(seed).permutation(len(values)) % FOLDS
        for held in range(FOLDS):
            best = values[fold != held].mean(axis=0).argmax()
            found[fold == held] += values[fold == held, best] / PARTITIONS
    return found


if __name__ == "__main__":
    main()
