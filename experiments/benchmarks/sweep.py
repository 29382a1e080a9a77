"""Every cut-off vector from one table, beside PyTerrier's Experiment (linear and tree) and GridScan over ready-made scores.

Run: python experiments/benchmarks/sweep.py [--quick]. Scores are synthetic: random, with ties; times are real. Peers get scores
that are ready-made: only the work of PyTerrier and of us is timed; what a model costs again for each cut-off would come on top.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path as File
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
from ir_measures import R, nDCG

import pt_cascade as ptc
from pt_cascade.analysis.tables import Column, Path, ScoreTable

if TYPE_CHECKING:
    from collections.abc import Callable

MEASURES = [nDCG @ 10, R @ 100]
RELEVANT = 0.01
STAGES = ("first", "second", "third")
SIZES = ((97, "the peers' queries"), (200, "200 queries"), (6980, "MS MARCO dev's number of queries"))


@dataclass(frozen=True)
class Ready(pt.Transformer):  # type: ignore[misc]
    """A stage that looks its scores up."""

    column: str
    documents = "same"
    depends = "point"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rank by the column of this stage."""
        return pt.model.add_ranks(inp.assign(score=inp[self.column]))


def main() -> None:
    """Time and print."""
    warnings.simplefilter("ignore")
    print(
        f"synthetic scores; {os.cpu_count()} cores; " + ", ".join(f"{n} {version(n)}" for n in ("numpy", "numba", "pandas")),
        end=", ",
    )
    print(f"python-terrier {version('python-terrier')}, Python {platform.python_version()}")
    compile_times()
    beside_peers()
    for queries, name in SIZES[1:2] if "--quick" in sys.argv else SIZES[1:]:
        large(queries, name)


def make(queries: int, documents: int = 1000) -> tuple[ScoreTable, pd.DataFrame]:
    """Make a table whose later stages see relevance better, one score in five tied, and its judgments."""
    rng = np.random.default_rng(0)
    n = queries * documents
    relevant = rng.random(n) < RELEVANT
    scores = {
        stage: np.round(relevant + noise * rng.standard_normal(n), 3) for stage, noise in zip(STAGES, (1, 0.7, 0.4), strict=True)
    }
    qid = np.repeat([f"q{i}" for i in range(queries)], documents)
    docno = np.tile([f"d{i}" for i in range(documents)], queries)
    order = np.lexsort((-scores["first"], np.repeat(np.arange(queries), documents)))
    frame = pd.DataFrame({"qid": qid, "docno": docno, "rank": np.tile(np.arange(documents), queries)})
    frame = frame.assign(docno=docno[order], **{stage: score[order] for stage, score in scores.items()})
    topics = pd.DataFrame({"qid": [f"q{i}" for i in range(queries)], "query": "-"})
    table = ScoreTable(frame, topics, tuple(map(Column, STAGES)), (Path(STAGES, (documents, 100, 20), (documents, 100)),))
    return table, frame.loc[relevant[order], ["qid", "docno"]].assign(label=1)


def clock(work: Callable[[], object], repeats: int = 1) -> tuple[float, object]:
    """Return the least seconds of some repeats, and the result."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def compile_times() -> None:
    """Time the first sweep of a process, with nothing compiled and with the compiled code on the disk."""
    script = "import sweep as b; t, q = b.make(2); print(b.clock(lambda: b.ptc.sweep(t, q, b.MEASURES))[0])"
    command, place = [sys.executable, "-W", "ignore", "-c", script], File(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        known = os.environ | {"NUMBA_CACHE_DIR": folder}
        runs = [subprocess.run(command, capture_output=True, check=True, cwd=place, env=known).stdout for _ in range(2)]  # noqa: S603
    cold, warm = map(float, runs)
    print(f"first sweep of a process: {cold:.1f} s compiling, {warm:.2f} s with the compiled code on the disk")


def beside_peers() -> None:
    """Sweep 58 cut-off pairs with us and with PyTerrier, and compare the numbers."""
    table, qrels = make(97)
    pairs = [
        (k1, k2) for k1, k2 in product((20, 50, 100, 150, 200, 300, 500, 700, 1000), (5, 10, 15, 20, 30, 50, 70, 100)) if k2 <= k1
    ][-58:]
    table = ScoreTable(table.frame, table.topics, table.columns, (Path(STAGES, (None, None, 20), (None, None)),))
    vectors = [(k1, k2, min(k2, 20)) for k1, k2 in pairs]
    first = pt.Transformer.from_df(table.frame.assign(query="-", score=table.frame["first"]))
    second, third = Ready("second"), Ready("third")
    systems = [first % k1 >> second % k2 >> third % 20 for k1, k2 in pairs]
    run = {"eval_metrics": MEASURES, "names": list(map(str, pairs)), "verbose": False, "validate": "ignore"}
    ptc.sweep(table, qrels, MEASURES, grid=vectors[:1])  # compiled
    ours, swept = clock(lambda: ptc.sweep(table, qrels, MEASURES, grid=vectors), 3)
    prepared, _ = clock(lambda: swept.replayer.sums(swept.grid.vectors), 3)
    linear, told = clock(lambda: pt.Experiment(systems, table.topics, qrels, **run))
    tree, _ = clock(lambda: pt.Experiment(systems, table.topics, qrels, plan="tree", **run))
    cut, depths = pt.RankCutoff(1000), sorted({k1 for k1, _ in pairs})
    one_axis = first >> cut >> second % 100 >> third % 20
    scan, _ = clock(lambda: pt.GridScan(one_axis, {cut: {"k": depths}}, table.topics, qrels, ["ndcg_cut_10"], verbose=False))
    frame = swept.frame.set_index(["k1", "k2"])
    wrong = max(abs(frame.loc[pair, str(m)] - value) for m in MEASURES for pair, value in zip(pairs, told[str(m)], strict=True))
    print(f"\n{len(pairs)} pairs of cut-offs x 97 queries x 1000 documents; largest difference from pt.Experiment {wrong:.0e}")
    rows = [
        ("pt_cascade.sweep, once the table is prepared", len(pairs), prepared),
        ("pt_cascade.sweep, a new table", len(pairs), ours),
    ]
    rows += [("pt.Experiment", len(pairs), linear), ("pt.Experiment(plan='tree')", len(pairs), tree)]
    rows.append((f"pt.GridScan, {len(depths)} k1 only: two axes go wrong in silence", len(depths), scan))
    for name, count, seconds in rows:
        ratio = seconds / count / (prepared / len(pairs))
        print(f"  {name:58} {seconds:8.3f} s  {1000 * seconds / count:8.3f} ms a vector  {ratio:7,.0f} x")
    every = ptc.grid(range(1, 1001), range(1, 101), 20)
    dense, _ = clock(lambda: swept.replayer.sums(every.vectors), 3)
    one = dense / len(every)
    slower = linear / len(pairs) / one
    print(f"  all {len(every):,} vectors: {dense:.2f} s, {1e6 * one:.1f} µs a vector; pt.Experiment takes {slower:,.0f} x as long")


def large(queries: int, name: str) -> None:
    """Sweep all vectors of k1 <= 1000, k2 <= 100."""
    made, (table, qrels) = clock(lambda: make(queries))
    first, swept = clock(lambda: ptc.sweep(table, qrels, MEASURES))
    again, _ = clock(lambda: swept.replayer.sums(swept.grid.vectors))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"\n{name}: {len(swept.grid):,} vectors x {queries:,} queries x 1000 documents: {first:.2f} s, {again:.2f} s once prepared"
    )
    print(f"  (making the synthetic table {made:.1f} s; peak memory of the process so far {peak:.2f} GB)")


if __name__ == "__main__":
    main()
