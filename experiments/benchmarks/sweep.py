"""Every cut-off vector's measures from one table of scores, beside what PyTerrier offers for the same. SYNTHETIC scores.

    python experiments/benchmarks/sweep.py [--repeats N] [--quick]

Scores and judgments are random numbers, no ranker's: what is measured is time. All ways are handed ready-made scores of three
stages, and give the same nDCG@10 and R@100, which is checked to 1e-12. They take turns; medians of the rounds are shown. GridScan
goes wrong over two cut-offs at once (it mixes them up where they are equal), so it scans the first one, once for each value of the
second. Compile time, and memory, are those of processes of their own.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path as File
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyterrier as pt
from ir_measures import R, nDCG
from report import Line, tell

from pt_cascade.analysis.grid.grids import default_grid
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.execution.score_table import ScoreTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.analysis.grid.cutoffs import Tail
    from pt_cascade.analysis.grid.grids import Grid

PACKAGES = ("pyterrier", "ir_measures", "pytrec_eval-terrier", "numba", "numpy", "pandas", "pyarrow")
STAGES = ("first", "second", "third")
DOCS, LAST, MEASURES = 1000, 20, [nDCG @ 10, R @ 100]
FIRST_CUTS, SECOND_CUTS = range(20, 1001, 35), (10, 20)
COLLECTION = 8_841_823  # docnos are drawn from as many as MS MARCO has passages
EXACT = 1e-12
EVALUATION = "pt.Experiment, evaluation alone"
JUDGED = 0.05


def make(queries: int, levels: int = 0, seed: int = 0, second: int = 100) -> tuple[ScoreTable, pd.DataFrame]:
    """Make a table of SYNTHETIC scores of three stages, each nearer to what the judgments say, and judgments of 5 % of the pairs.

    Args:
        queries: How many, each with 1000 documents.
        levels: How many values a unit of score has, for ties; 0: none tie.
        seed: For all of it.
        second: How many documents of a query the second stage passes on at most.

    Returns:
        The table and Frame[qid, docno, label].
    """
    random = np.random.default_rng(seed)
    truth = random.normal(size=(queries, DOCS))
    scores = [weight * truth + random.normal(size=truth.shape) for weight in (0.3, 0.6, 0.9)]
    scores = [np.round(score * levels) / levels for score in scores] if levels else scores
    ranked = np.argsort(-scores[0], axis=1, kind="stable")
    truth, *scores = (np.take_along_axis(values, ranked, axis=1).ravel() for values in (truth, *scores))
    start, step = random.integers(COLLECTION, size=(queries, 1)), random.integers(1, COLLECTION // DOCS, size=(queries, 1))
    docno = _text(((start + step * np.arange(DOCS)) % COLLECTION).ravel())
    qid = _text(np.repeat(np.arange(queries), DOCS))
    frame = pd.DataFrame({"qid": qid, "docno": docno, "rank": np.tile(np.arange(DOCS), queries)})
    frame = frame.assign(**dict(zip(STAGES, scores, strict=True)))
    topics = pd.DataFrame({"qid": _text(np.arange(queries)), "query": "-"})
    path = Path(STAGES, (DOCS, second, LAST), (DOCS, second))
    judged = np.flatnonzero(random.random(len(truth)) < JUDGED)
    label = np.clip(np.round(truth[judged] + 0.5), 0, 3).astype(np.int64)
    qrels = frame[["qid", "docno"]].iloc[judged].assign(label=label).reset_index(drop=True)
    return ScoreTable(frame, topics, tuple(map(Column, STAGES)), (path,)), qrels


def _text(numbers: np.ndarray) -> pd.Series:
    """Write numbers as text without a Python object for each."""
    return pd.Series(pd.array(pa.array(numbers).cast(pa.large_string()), dtype="str"))


def seconds(work: Callable[[], object]) -> float:
    """Give the wall time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- beside PyTerrier


def pipeline_stages(table: ScoreTable) -> list[pt.Transformer]:
    """Make stages of ready-made scores, as cheap as can be: the first hands all columns on, the others read theirs."""
    found = table.frame.merge(table.topics, on="qid").assign(score=table.frame["first"])

    class Read(pt.Transformer):
        """Scores by a column."""

        def __init__(self, column: str) -> None:
            self.column = column

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            return pt.model.add_ranks(inp.assign(score=inp[self.column]))

    class Find(pt.Transformer):
        """Returns what was found."""

        def transform(self, _: pd.DataFrame) -> pd.DataFrame:
            return found

    return [Find(), Read("second"), Read("third")]


def ways_of(table: ScoreTable, qrels: pd.DataFrame) -> dict[str, Callable[[], pd.DataFrame]]:
    """Give each way to measure all pairs of cut-offs; each returns a row a pair, in the order of the grid."""
    first, second, third = pipeline_stages(table)
    pairs = [(k1, k2) for k1 in FIRST_CUTS for k2 in SECOND_CUTS]
    systems = {f"{k1}, {k2}": first % k1 >> second % k2 >> third % LAST for k1, k2 in pairs}
    ready = {name: system.transform(table.topics) for name, system in systems.items()}

    def scan() -> pd.DataFrame:
        parts = []
        for k2 in SECOND_CUTS:
            cut = pt.RankCutoff(5000)
            scanned = first >> cut >> second % k2 >> third % LAST
            rows = pt.GridScan(scanned, {cut: {"k": [*FIRST_CUTS]}}, table.topics, qrels, MEASURES)
            parts.append(rows.assign(k1=[*FIRST_CUTS], k2=k2))
        return pd.concat(parts).sort_values(["k1", "k2"])

    def experiment(which: dict[str, object], **options: object) -> Callable[[], pd.DataFrame]:
        return lambda: pt.Experiment(which, table.topics, qrels, MEASURES, validate="ignore", **options)

    return {
        "pt_cascade.sweep, table and all": lambda: (
            sweep(_again(table), qrels, MEASURES, grid=[(*pair, LAST) for pair in pairs]).frame
        ),
        "pt.Experiment, linear": experiment(systems),
        "pt.Experiment, tree": experiment(systems, plan="tree", verbose=False),
        "pt.GridScan, one cut-off at a time": scan,
        EVALUATION: experiment(ready),
    }


def _sweep_anew(table: ScoreTable, qrels: pd.DataFrame, vectors: Grid, tail: Tail) -> None:
    sweep(_again(table), qrels, MEASURES, grid=vectors, tail=tail)


def _again(table: ScoreTable) -> ScoreTable:
    """Make the table anew, with all its checks and nothing remembered."""
    return ScoreTable(table.frame, table.topics, table.columns, table.paths)


def compare(repeats: int) -> float:
    """Print the ways over 58 pairs × 97 queries; return what evaluation alone takes PyTerrier a vector."""
    table, qrels = make(97)
    ways = ways_of(table, qrels)
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    answers = {name: ways[name]() for name in names}
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(seconds(ways[name]))
    ours = names[0]
    pairs = len(answers[ours])
    print(f"\n{pairs} pairs of cut-offs × 97 queries × {DOCS} documents, median of {repeats}:")
    for name in names:
        worst = max(np.abs(answers[name][str(m)].to_numpy() - answers[ours][str(m)].to_numpy()).max() for m in MEASURES)
        if not worst <= EXACT:
            raise SystemExit(f"{name} differs by {worst}")
        mine, middle = statistics.median(times[ours]), statistics.median(times[name])
        print(f"  {name:36} {middle:8.3f} s   largest difference {worst:.0e}")
        if name != ours:
            tell(Line("sweep", f"{pairs} cut-off pairs, SYNTHETIC scores", name, mine, middle, "s"))
    return statistics.median(times[names[-1]]) / pairs


# --- sweeps of their own


def sweep_all(repeats: int, evaluation: float) -> None:
    """Print what the sweep of all vectors takes, and its ratio, a vector, to PyTerrier's evaluation."""
    print("\nall 95,050 vectors of k1 ≤ 1000, k2 ≤ 100 × 200 queries, after compilation, median of", repeats)
    for what, levels, tail in (("no ties", 0, "drop"), ("heavy ties", 2, "drop"), ("tail kept", 0, "keep")):
        table, qrels = make(200, levels)
        vectors = default_grid((DOCS, 100), LAST, 200)
        sweep(table, qrels, MEASURES, grid=vectors, tail=tail)
        work = partial(_sweep_anew, table, qrels, vectors, tail)
        middle = statistics.median(seconds(work) for _ in range(repeats))
        each = middle / len(vectors) / 200
        print(f"  {what:12} {middle:6.3f} s, table, orders and all; a vector and query:")
        tell(Line("sweep", f"all vectors, {what}, SYNTHETIC scores", EVALUATION, 1e6 * each, 1e6 * evaluation / 97, "us"))


PROBE = """
import sys, time
sys.path.insert(0, {folder!r})
start = time.perf_counter()
import sweep
table, qrels = sweep.make({queries})
vectors = sweep.default_grid((1000, 100), 20, {queries})
print(time.perf_counter() - start, sweep.peak())
print(sweep.seconds(lambda: sweep.sweep(sweep._again(table), qrels, sweep.MEASURES, grid=vectors)), sweep.peak())
"""


def peak() -> float:
    """Give this process's peak memory so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def probe(queries: int, cache: str) -> list[list[float]]:
    """Sweep in a process of its own; return seconds and peak memory, of making the scores and of the sweep."""
    code = PROBE.format(folder=str(File(__file__).resolve().parent), queries=queries)
    known = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, text=True, check=True)  # noqa: S603
    return [[*map(float, line.split())] for line in done.stdout.splitlines()]


def start_up(*, quick: bool) -> None:
    """Print what the first sweep of a process takes, and what 6,980 queries take in time and memory."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (probe(2, cache)[1][0] for _ in range(2))
        print(f"\nthe first sweep of a process: {cold:.1f} s, compiling; {warm:.1f} s with what is cached on the disk")
        if not quick:
            (making, before), (took, after) = probe(6980, cache)
            print(f"6,980 queries × {DOCS} documents × 95,050 vectors: {took:.1f} s, table, checks and all")
            print(
                f"  peak memory {after:.2f} GB; {before:.2f} GB before the sweep, when the scores were made up (in {making:.0f} s)"
            )


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out the 6,980 queries")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("SYNTHETIC scores: random numbers, to measure time with.")
    sweep_all(arguments.repeats, compare(arguments.repeats))
    start_up(quick=arguments.quick)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    told = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, load {load}; {told}")


if __name__ == "__main__":
    main()
