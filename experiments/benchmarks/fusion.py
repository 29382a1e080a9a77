"""Fusing three runs beside pyterrier_alpha and ranx: 97 queries x 1000 documents a run, synthetic scores.

    python experiments/benchmarks/fusion.py [--quick] [--queries N] [--documents N] [--repeats N]

The runs share about a third of their documents; their scores mean nothing, only the time counts. All fuse the same runs, checked to
give the same scores to 1e-12 (pyterrier_alpha's with its k one smaller, since it counts ranks from 0), and take turns; medians.
Ours and pyterrier_alpha's begin and end with DataFrames, and our time holds the guards and the sorted output. Ranx is given its own
Runs, made beforehand, and is compiled and warm; what making them takes is told beside it.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import time
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from report import Line, tell

from pt_cascade.analysis.fusion.fuse import fuse

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS, K = 3, 60
WEIGHTS = (0.5, 0.3, 0.2)
PACKAGES = ("pyterrier", "pyterrier-alpha", "ranx", "pandas", "numpy", "numba")


def make_run(queries: int, documents: int, seed: int) -> pd.DataFrame:
    """Draw a run: each query's documents from three times as many, scores that differ, best first.

    Args:
        queries: How many queries.
        documents: Documents a query.
        seed: Of the generator.
    """
    rng = np.random.default_rng(seed)
    docids = np.concatenate([rng.permutation(3 * documents)[:documents] for _ in range(queries)])
    scores = -np.sort(-rng.random((queries, documents)), axis=1)
    frame = pd.DataFrame({"qid": np.repeat([f"q{n}" for n in range(queries)], documents), "docno": [f"d{n}" for n in docids]})
    return frame.assign(query=frame["qid"], score=scores.ravel(), rank=np.tile(np.arange(documents), queries))


def take_turns(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Give each work's median wall time, the first round not counted.

    Args:
        works: What to time, by name.
        repeats: Rounds, 1 or more.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            gc.collect()  # what the one before left behind is not for this one to clear away
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def check_equal(ours: pd.DataFrame, theirs: dict[tuple[str, str], float], peer: str) -> None:
    """Stop where a score differs by more than 1e-12, or a pair is missing.

    Args:
        ours: Our fused run.
        theirs: The peer's scores.
        peer: Who.
    """
    mine = dict(zip(zip(ours["qid"], ours["docno"], strict=True), ours["score"], strict=True))
    worst = max(abs(theirs[pair] - score) for pair, score in mine.items()) if mine.keys() == theirs.keys() else float("inf")
    if worst > 1e-12:  # noqa: PLR2004 - rounding
        raise SystemExit(f"{peer} gives other scores, by up to {worst:.1e}")
    print(f"  {peer}: the same {len(mine):,} pairs, largest difference of a score {worst:.1e}")


def measure(queries: int, documents: int, repeats: int) -> None:
    """Check that all agree, time them in turn and print a table.

    Args:
        queries: How many queries.
        documents: Documents a query.
        repeats: Rounds, 1 or more.
    """
    import ranx  # noqa: PLC0415 - an extra, compiled when first used
    from pyterrier_alpha.fusion import rr_fusion  # noqa: PLC0415 - slow to import

    runs = [make_run(queries, documents, seed) for seed in range(RUNS)]
    plain = [run.astype({"qid": object, "docno": object}) for run in runs]  # all that ranx reads

    def make() -> list[ranx.Run]:
        return [ranx.Run.from_df(run, q_id_col="qid", doc_id_col="docno", score_col="score") for run in plain]

    peers = make()

    def alpha(k: int = K) -> pd.DataFrame:
        return rr_fusion(*[run.copy(deep=False) for run in runs], k=k, num_results=RUNS * documents)  # it writes into its frames

    def ranx_rrf() -> ranx.Run:
        return ranx.fuse(peers, method="rrf", params={"k": K})

    def ranx_sum() -> ranx.Run:
        return ranx.fuse(peers, norm="min-max", method="wsum", params={"weights": WEIGHTS})

    def weighted() -> pd.DataFrame:
        return fuse(runs, "weighted", weights=WEIGHTS)

    rows = alpha(K + 1)
    pairs = zip(rows["qid"], rows["docno"], strict=True)
    check_equal(fuse(runs), dict(zip(pairs, rows["score"], strict=True)), "pyterrier_alpha, RRF")
    for name, mine, theirs in (("ranx, RRF", fuse(runs), ranx_rrf()), ("ranx, weighted sum", weighted(), ranx_sum())):
        check_equal(mine, {(qid, docno): score for qid, docs in theirs.run.items() for docno, score in docs.items()}, name)
    works = {"rrf": lambda: fuse(runs), "alpha": alpha, "ranx": ranx_rrf, "sum": weighted, "ranx sum": ranx_sum, "make": make}
    taken = take_turns(works, repeats)
    size = f"{RUNS} x {queries} x {documents}"
    for what, mine, peer, theirs, aim in (
        (f"RRF, {size}", "rrf", "pyterrier_alpha", "alpha", 10),
        (f"RRF, {size}", "rrf", "ranx, warm", "ranx", 1),
        (f"weighted sum, min-max, {size}", "sum", "ranx, warm", "ranx sum", 1),
    ):
        tell(Line("fusion", what, peer, 1000 * taken[mine], 1000 * taken[theirs], "ms", aim))
    print(f"  ranx beside it needs {1000 * taken['make']:.0f} ms to make its Runs of the frames")


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 queries x 200 documents, 3 rounds")
    parser.add_argument("--queries", type=int, default=97)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("synthetic runs and scores")
    measure(*((20, 200, 3) if arguments.quick else (arguments.queries, arguments.documents, arguments.repeats)))
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )


if __name__ == "__main__":
    main()
