"""What running a cascade through our guards and trace costs over the plain PyTerrier pipeline: real stages, vaswani, 93 x 1000.

    python experiments/benchmarks/executor.py [--data FOLDER] [--repeats N]

BM25 (PISA) → 1000 · bi-encoder (MiniLM, stored vectors) → 100 · MaxSim (stored token vectors) → 20. Encoding the collection takes
minutes the first time and is kept. The ways take turns, in a new order each time; times are wall clock of the whole run. As two
runs of one pipeline differ by more than the guards cost, that is measured within one run as well: its wall clock less the time
that the stages' own transformers took, as a share of the latter.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from report import Line, tell

import pt_cascade as ptc

DATA = Path(os.environ.get("PT_CASCADE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "vaswani"
PACKAGES = ("pyterrier", "pyterrier_pisa", "pandas", "numpy", "torch", "sentence-transformers")


def measure(data: Path, repeats: int) -> pd.DataFrame:
    """Time the plain pipeline, the Cascade and run(), in turns.

    Args:
        data: The folder of the collection.
        repeats: Rounds, 2 or more, after one that is not counted.

    Returns:
        Frame[way, seconds, round].
    """
    collection = ptc.open_collection(data)
    cascade = ptc.default_cascade(collection, engine="pisa", verbose=True)
    pipeline, topics = cascade.pipeline(), collection.judged()
    ways = {
        "plain pipeline": lambda: pipeline.transform(topics),
        "Cascade": lambda: cascade.transform(topics),
        "run, chunks of 100": lambda: ptc.run(cascade, topics).results,
        "plain, one query at a time": lambda: pd.concat([pipeline.transform(topics.iloc[[n]]) for n in range(len(topics))]),
        "run, one query at a time": lambda: ptc.run(cascade, topics, query_batch_size=1).results,
    }
    rows, answers = [], {}
    for turn in range(repeats + 1):
        names = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for name in names:
            start = time.perf_counter()
            answers[name] = ways[name]()
            rows.append((name, time.perf_counter() - start, turn))
    columns = ["qid", "docno", "score", "rank"]
    for name, answer in answers.items():
        pd.testing.assert_frame_equal(
            answer[columns].reset_index(drop=True), answers["plain pipeline"][columns].reset_index(drop=True)
        )
        print(f"same ranking and scores as the plain pipeline: {name}")
    frame = pd.DataFrame(rows, columns=["way", "seconds", "round"])
    return frame[frame["round"] > 0]


def measure_guards(data: Path, repeats: int) -> None:
    """Print what is not the stages' own time, within one run.

    Args:
        data: The folder of the collection.
        repeats: Runs, 1 or more.
    """
    collection = ptc.open_collection(data)
    cascade, topics = ptc.default_cascade(collection, engine="pisa"), collection.judged()
    for chunk in (100, 1):
        shares = []
        for _ in range(repeats):
            start = time.perf_counter()
            trace = ptc.run(cascade, topics, query_batch_size=chunk).trace
            own = trace["ms"].sum() / 1000
            shares.append(100 * (time.perf_counter() - start - own) / own)
        middle = statistics.median(shares)
        print(f"guards, trace, chunks of {chunk:3}: {middle:.1f} % of the stages' own time (median of {repeats} runs)")


def show(times: pd.DataFrame) -> None:
    """Print medians and, round by round, the ratio to the plain pipeline that goes through the topics in the same way."""
    wide = times.pivot_table(index="round", columns="way", values="seconds")
    for way in wide:
        base = "plain, one query at a time" if "one query" in way else "plain pipeline"
        ratios = sorted(wide[way] / wide[base])
        middle, low, high = statistics.median(ratios), ratios[0], ratios[-1]
        print(f"{way:26} {wide[way].median():6.2f} s   x {middle:.3f} of plain ({low:.3f} to {high:.3f} over {len(ratios)} rounds)")
        if way != base:
            tell(Line("executor", way, base, middle * wide[base].median(), wide[base].median(), "s"))


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    show(measure(arguments.data, arguments.repeats))
    measure_guards(arguments.data, arguments.repeats)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )


if __name__ == "__main__":
    main()
