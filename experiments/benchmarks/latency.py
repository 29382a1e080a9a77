"""What a profile predicts for other cut-offs, beside real runs at them: pydocs' default cascade, one query at a time.

    python experiments/benchmarks/latency.py [--queries N] [--repeats N] [--threads N] [--cpu]

In turns, the cascade is profiled once and run for real at five vectors of cut-offs, none of which is profiled. Beside the error of
each prediction stands what the real runs of the first and the second half differ by: a prediction cannot be better than that. The
load before and after is printed; on a busy machine both are large, and less so with --cpu, which reads the process's own time,
summed over its threads, instead of the clock on the wall.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

import pt_cascade as ptc
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.execution.profiling import profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from pt_cascade.analysis.cost.cost import Cost

VECTORS = ((1000, 50, 20), (700, 70, 20), (500, 20, 10), (200, 50, 10), (60, 6, 5))
PACKAGES = ("pyterrier", "pyterrier_pisa", "pandas", "numpy", "torch", "sentence-transformers")


def measure(cascade: ptc.Cascade, topics: pd.DataFrame, turn: int, clock: Callable[[], float]) -> pd.DataFrame:
    """Run the cascade once for each query at each vector, neighbours at different ones, so that a disturbance falls on all.

    Args:
        cascade: What to run.
        topics: Frame[qid, query].
        turn: Which round it is.
        clock: Seconds.

    Returns:
        Frame[vector, round, qid, ms], milliseconds of all stages for one query.
    """
    rows = []
    for n in range(len(VECTORS)):
        for number in range(len(topics)):
            vector = VECTORS[(n + number) % len(VECTORS)]
            trace = ptc.run(cascade.with_cutoffs(*vector), topics.iloc[[number]], clock=clock).trace
            rows.append((vector, turn, trace["qid"].iloc[0], trace["ms"].sum()))
    return pd.DataFrame(rows, columns=["vector", "round", "qid", "ms"])


def figures(ms: pd.Series[float]) -> np.ndarray:
    """Give mean, p50 and p95, percentiles as the package defines them."""
    return np.array([ms.mean(), *take_percentiles(ms.to_numpy(), (50, 95))])


def show(cost: Cost, real: pd.DataFrame) -> None:
    """Print predicted over measured for each vector, and the mean of the first half of the real runs over that of the second.

    Args:
        cost: Of the profile.
        real: Frame[vector, round, qid, ms].
    """
    print("\n| latency | predicted ms | measured ms | mean | p50 | p95 | real runs |\n|---|---|---|---|---|---|---|")
    worst = np.zeros(3)
    for vector in VECTORS:
        mine = real[real["vector"] == vector]
        late = cost.latency(vector, (50, 95))
        predicted, measured = np.array([late.ms, *late.joint_ms]), figures(mine["ms"])
        late_half = mine["round"] > real["round"].max() / 2
        again = mine.loc[~late_half, "ms"].mean() / mine.loc[late_half, "ms"].mean()
        worst = np.maximum(worst, 100 * np.abs(predicted / measured - 1))
        ratios = " | ".join(f"{one:.3f}" for one in (*(predicted / measured), again))
        print(f"| {' → '.join(map(str, vector))} | {predicted[0]:.2f} | {measured[0]:.2f} | {ratios} |")
    print()
    print(f"largest error: mean {worst[0]:.1f} %, p50 {worst[1]:.1f} %, p95 {worst[2]:.1f} %")


def main() -> None:
    """Profile, run, compare and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, help="of torch; fewer than cores where others use the machine too")
    parser.add_argument("--cpu", action="store_true", help="time of the process, not of the clock on the wall")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu else time.perf_counter
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", DeprecationWarning)
    collection = ptc.open_collection("pydocs")
    cascade, topics = ptc.default_cascade(collection, verbose=True), collection.judged(arguments.queries)
    load = os.getloadavg()[0]
    frames, rounds = [], []
    for turn in range(arguments.repeats + 1):
        if turn:  # the first round loads models, and is not counted
            timings = profile(cascade, topics, repeats=1, clock=clock, verbose=True)
            frames.append(timings.frame.assign(repeat=turn))
        rounds.append(measure(cascade, topics, turn, clock))
    timings = Timings(pd.concat(frames, ignore_index=True))
    print(f"{len(topics)} queries, profiled at {', '.join(f'{share:g}' for share in timings.shares)} of {cascade!r}")
    print(timings.summary().round(4).to_string(index=False, na_rep="-"))
    show(timings.cost(), pd.concat(rounds[1:], ignore_index=True))
    now, threads = os.getloadavg()[0], torch.get_num_threads()
    print(f"load {load:.2f} before, {now:.2f} after, of {os.cpu_count()} cores; torch on {threads} thread(s)")
    print(f"Python {platform.python_version()}; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))


if __name__ == "__main__":
    main()
