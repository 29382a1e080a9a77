"""The tables of docs/calibration.md: how well the report's intervals hold, and probabilities beside min-max as an input of fusion.

Run: python experiments/probabilities.py [DATA]. DATA holds dl19; default: $PT_CASCADE_DATA, else ../shared/data.
"""

from __future__ import annotations

import os
import sys
import warnings
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ir_measures import iter_calc, nDCG
from scipy.special import expit

import pt_cascade as ptc
from pt_cascade.analysis.calibration import fit_scores, report_calibration
from pt_cascade.analysis.calibration.pairs import Pairs
from pt_cascade.analysis.calibration.quality import MEASURES, add_up, bound_measures, draw_counts
from pt_cascade.analysis.choice.intervals import estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

SAMPLES, RESAMPLES, PAIRS_A_QUERY, LARGE = 250, 499, 30, 20_000
SHOWN = ("ECE", "Brier", "log loss")
SETTINGS = ((1.0, 0.0), (1.0, 0.7), (2.0, 0.7))  # how much too large the log-odds are, and how much queries differ
FUSED = (
    ("colbertprf.bm25-doct5q", "colbertprf.bm25-doct5q.colbert"),
    ("colbertprf.bm25-doct5q", "colbertprf.bm25-doct5q.vbert"),
    ("colbertprf.bm25-doct5q.colbert", "colbertprf.bm25-doct5q.vbert"),
    ("rankllm.bm25-pyserini", "rankllm.tasb"),
    ("rankllm.spladepp-ed", "rankllm.repllama"),
    ("colbertprf.bm25-terrier", "colbertprf.ance"),
)
FOLDS, REL, DEPTH, CUTOFF, WEIGHTS = 5, 2, 100, 10, np.linspace(0, 1, 11)


def main() -> None:
    """Print all tables."""
    warnings.simplefilter("ignore")
    root = Path(__file__).parents[1]
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PT_CASCADE_DATA", root.parent / "shared" / "data"))
    for line in chain(show_coverage(SAMPLES), [""], show_reports(data / "dl19"), [""], show_fusion(data / "dl19")):
        print(line, flush=True)


def simulate(queries: int, factor: float, spread: float, rng: np.random.Generator) -> tuple[Pairs, np.ndarray]:
    """Draw pairs whose log-odds are known, and state them ``factor`` times too large."""
    qid = np.repeat(np.arange(queries).astype(str), PAIRS_A_QUERY).astype(object)
    logits = rng.normal(-0.5, 1.5, len(qid))
    true = expit(logits + np.repeat(rng.normal(0, spread, queries), PAIRS_A_QUERY))
    return Pairs(qid, logits, rng.random(len(qid)) < true, np.ones(len(qid))), expit(factor * logits)


def show_coverage(samples: int) -> Iterator[str]:
    """Count how often the intervals, and plain quantiles of the resamples, hold what a large sample measures."""
    rng, places = np.random.default_rng(1), [MEASURES.index(name) for name in SHOWN]
    yield f"| log-odds times | queries differ by | queries | true ECE | {' | '.join(SHOWN)} | ECE, plain quantiles |"
    yield "|---" * (5 + len(SHOWN)) + "|"
    for factor, spread in SETTINGS:
        truth = add_up(*simulate(LARGE, factor, spread, rng), 10).reweight(np.ones((1, LARGE))).measure()[0]
        for queries in (43, 200):
            held, plain = np.zeros(len(MEASURES)), np.zeros(len(MEASURES))
            for seed in range(samples):
                counts = np.vstack([np.ones(queries), draw_counts(queries, RESAMPLES, seed)])
                found = add_up(*simulate(queries, factor, spread, rng), 10).reweight(counts).measure()
                held += is_between(truth, *bound_measures(found[0], found[1:]))
                plain += is_between(truth, *np.quantile(found[1:], [0.025, 0.975], axis=0))
            shares = [f"{100 * share / samples:.0f} %" for share in (*held[places], plain[0])]
            yield f"| {factor:g} | {spread:g} | {queries} | {truth[0]:.3f} | {' | '.join(shares)} |"


def is_between(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mark the values within their interval."""
    return (low <= truth) & (truth <= high)


def show_reports(folder: Path) -> Iterator[str]:
    """Report on a cross-encoder's probabilities."""
    table = ptc.ScoreTable.from_runs({"vbert": folder / "runs/colbertprf.bm25-doct5q.vbert.res.gz"})
    yield repr(report_calibration(table, "vbert", ptc.trec.read_qrels(folder / "qrels.txt"), rel=REL))


def show_fusion(folder: Path) -> Iterator[str]:
    """Fuse the tops of two runs by min-max, or by probabilities of the other folds; with equal weights, and with their best."""
    qrels = ptc.trec.read_qrels(folder / "qrels.txt")
    qids = np.array(sorted(qrels["qid"].unique()))
    fold = np.random.default_rng(0).permutation(len(qids)) % FOLDS
    yield "| runs | weights | min-max | platt, difference | beta, difference |"
    yield "|---|---|---|---|---|"
    for names in FUSED:
        runs = [ptc.trec.read_run(folder / f"runs/{name}.res.gz") for name in names]
        runs = [run[run["qid"].isin(qids) & (run["rank"] < DEPTH)] for run in runs]
        tuned, equal = np.moveaxis(np.array([fuse_held_out(runs, qrels, qids, fold, how) for how in ("", "platt", "beta")]), 1, 0)
        for words, one in (("equal", equal), ("of the other folds", tuned)):
            differences = [str(estimate(other - one[0])) for other in one[1:]]
            pair = " + ".join(name.partition(".")[2] for name in names)
            yield f"| {pair} | {words} | {one[0].mean():.4f} | {' | '.join(differences)} |"


def fuse_held_out(runs: list[pd.DataFrame], qrels: pd.DataFrame, qids: np.ndarray, fold: np.ndarray, method: str) -> np.ndarray:
    """Measure nDCG@10 of each query by what the other folds fitted: with their best weights, and with equal ones."""
    found = np.empty((2, len(qids)))
    for held in range(FOLDS):
        own, known = fold == held, qrels[qrels["qid"].isin(qids[fold != held])]
        given = [calibrate_run(run, known, method) for run in runs] if method else runs
        norm = "none" if method else "min-max"
        fused = [ptc.fuse(given, method="weighted", weights=[1 - weight, weight], normalise=norm) for weight in WEIGHTS]
        measured = np.array([measure(run, qrels, qids) for run in fused])
        best = int(np.argmax(measured[:, ~own].mean(axis=1)))
        found[:, own] = measured[best, own], measured[len(WEIGHTS) // 2, own]
    return found


def calibrate_run(run: pd.DataFrame, qrels: pd.DataFrame, method: str) -> pd.DataFrame:
    """Replace the scores of a run by probabilities; the order stays."""
    fitted = fit_scores(ptc.ScoreTable.from_runs({"run": run}), "run", qrels, method, rel=REL)
    return run.assign(score=fitted.predict(run["score"]))


def measure(run: pd.DataFrame, qrels: pd.DataFrame, qids: np.ndarray) -> np.ndarray:
    """Give nDCG@10 of each query, in rank order."""
    top = run[run["rank"] < CUTOFF].assign(score=lambda rows: -rows["rank"])
    names = {"qid": "query_id", "docno": "doc_id", "label": "relevance"}
    values = {one.query_id: one.value for one in iter_calc([nDCG @ CUTOFF], qrels.rename(columns=names), top.rename(columns=names))}
    return np.array([values[qid] for qid in qids])


if __name__ == "__main__":
    main()
