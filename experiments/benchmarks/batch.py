"""Runs into a folder: memory at 1, 4 and 16 times as many queries, what shards cost, and executors beside each other.

    python experiments/benchmarks/batch.py [--queries N] [--collection NAME] [--skip-memory] [--rounds N]

The index and vectors are real, the queries are random words of the documents. Memory is the largest resident size of a process of
its own for each number of queries, what it was with the first shard, how much of it is index and vectors, and how much is of no
file: pages of files the system drops where memory is short, and reads again. What shards cost is CPU time beside ``run`` on the
same batches, and beside ``pt.Experiment(save_dir=...)`` on the same pipeline. Executors are measured by the clock, so only a quiet
machine shows what a second worker gives; Ray starts a cluster of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
from ir_measures import nDCG
from report import Line, tell

import pt_cascade as ptc
from pt_cascade.caches import cache_root

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = "bm25 % 1000 >> bi_encoder % 100"
SHARD = 100
FACTORS = (1, 4, 16)
DOCS = 2000  # from which words are drawn
MB = 1024  # kB


def make_topics(collection: str, queries: int) -> pd.DataFrame:
    """Make queries of 3 to 8 random words.

    Args:
        collection: Whose words they are.
        queries: How many.

    Returns:
        Frame[qid, query].
    """
    texts = [document["text"] for document in islice(ptc.open_collection(collection).docs(), DOCS)]
    words = sorted({word for text in texts for word in text.lower().split() if word.isalpha()})
    rng = np.random.default_rng(0)
    asked = [" ".join(rng.choice(words, rng.integers(3, 9))) for _ in range(queries)]
    return pd.DataFrame({"qid": [f"q{n}" for n in range(queries)], "query": asked})


def peak() -> float:
    """Give the largest resident size so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MB


def anonymous() -> float:
    """Give how much memory is of no file, in MB: the system cannot drop it."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / MB


def mapped() -> float:
    """Give how much of the files in the cache, index and vectors, is in memory now, in MB."""
    size, ours = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(" ")
        if name[-1] != ":":
            ours = str(cache_root()) in rest
        elif name == "Rss:" and ours:
            size += int(rest.split()[0])
    return size / MB


def run_alone(collection: str, queries: int) -> None:
    """Run so many queries in this process; print its size with index, vectors and model loaded, and its largest size."""
    topics = make_topics(collection, queries)
    cascade = ptc.parse_cascade(LINE, collection)
    ptc.run(cascade, topics.head(SHARD))
    loaded = peak()
    with tempfile.TemporaryDirectory() as folder:
        ptc.run_batch(cascade, topics, Path(folder, "run"), shard_queries=SHARD, prefixes=["all"], verbose=True)
    print(f"{queries:,} queries: {loaded:,.0f} MB with {SHARD} queries before, {peak():,.0f} MB at most, of which")
    print(f"  index and vectors {mapped():,.0f} MB, of no file {anonymous():,.0f} MB", flush=True)


def measure_shards(collection: str, queries: int, rounds: int) -> None:
    """Compare the CPU time of run_batch, of run and of pt.Experiment, in turns."""
    topics = make_topics(collection, queries)
    cascade = ptc.parse_cascade(LINE, collection)
    pipeline, qrels = cascade.pipeline(), pd.DataFrame({"qid": topics["qid"], "docno": "none", "label": 1})
    ptc.run(cascade, topics.head(SHARD))
    times: dict[str, list[float]] = defaultdict(list)
    peers: dict[str, Callable[[Path], object]] = {
        "run_batch": lambda folder: ptc.run_batch(cascade, topics, folder, shard_queries=SHARD),
        "run": lambda folder: ptc.trec.write_run(
            ptc.run(cascade, topics, query_batch_size=SHARD).results, folder.with_suffix(".res.gz")
        ),
        "pt.Experiment": lambda folder: pt.Experiment(
            [pipeline], topics, qrels, [nDCG @ 10], ["it"], batch_size=SHARD, save_dir=str(folder)
        ),
    }
    for turn in range(rounds):
        for name in [*peers][:: 1 - turn % 2 * 2]:  # forwards and backwards in turns
            with tempfile.TemporaryDirectory() as folder:
                (place := Path(folder, "run")).mkdir()
                start = time.process_time()
                peers[name](place)
                times[name].append(time.process_time() - start)
        print(f"round {turn}: " + ", ".join(f"{name} {each[-1]:.1f} s" for name, each in times.items()), flush=True)
    middle = {name: median(each) for name, each in times.items()}
    for peer in ("run", "pt.Experiment"):
        tell(Line("batch", f"{queries:,} queries, CPU, median of {rounds}", peer, middle["run_batch"], middle[peer], "s"))


def measure_executors(collection: str, queries: int) -> None:
    """Compare executors by the clock, from the call to the merged results, and ``pt.Experiment(save_dir=...)``."""
    topics, seconds = make_topics(collection, queries), {}
    qrels = pd.DataFrame({"qid": topics["qid"], "docno": "none", "label": 1})
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        pipeline = ptc.parse_cascade(LINE, collection).pipeline()
        pt.Experiment([pipeline], topics, qrels, [nDCG @ 10], ["it"], batch_size=SHARD, save_dir=folder)
        seconds["pt.Experiment"] = time.perf_counter() - start
    for executor, workers in (("serial", 1), ("processes", 1), ("processes", 2), ("ray", 1), ("ray", 2)):
        given = {"collection": collection, "executor": executor, "workers": workers, "shard_queries": SHARD}
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            ptc.run_batch(LINE, topics, Path(folder, "run"), **given)
            seconds[f"{executor}, {workers}"] = time.perf_counter() - start
        print(f"{executor}, {workers}: {seconds[f'{executor}, {workers}']:.1f} s", flush=True)
    for name in [name for name in seconds if name != "serial, 1"]:
        tell(Line("batch", f"{queries:,} queries, {name}", "serial", seconds[name], seconds["serial, 1"], "s"))
    aim = Line("batch", f"{queries:,} queries, processes, 2", "1", seconds["processes, 2"], seconds["processes, 1"], "s", aim=1.7)
    tell(aim)
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=436, help="of the smallest run (default: 436; 16 × 436 = 6,976)")
    parser.add_argument("--collection", default="pydocs")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--skip-memory", action="store_true")
    arguments = parser.parse_args()
    if arguments.alone:
        run_alone(arguments.collection, arguments.queries)
        return
    if not arguments.skip_memory:
        for factor in FACTORS:
            words = ["--alone", "--collection", arguments.collection, "--queries", str(factor * arguments.queries)]
            subprocess.run([sys.executable, __file__, *words], check=True)  # noqa: S603 - this file
    measure_shards(arguments.collection, FACTORS[1] * arguments.queries, arguments.rounds)
    measure_executors(arguments.collection, FACTORS[-1] * arguments.queries)


if __name__ == "__main__":
    main()
