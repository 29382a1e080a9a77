"""What late_interaction and bi_encoder take a query on one thread, beside torch's own threads, on an idle and on a busy machine.

    python experiments/benchmarks/busy.py [--repeats N]

pydocs, 100 candidates a query, all-MiniLM-L6-v2, one query at a time. Busy: two processes that compute all the time run beside.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING
from unittest.mock import patch

from report import Line, tell

import pt_cascade as ptc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import pyterrier as pt

USERS = ("pt_cascade.stages.late_interaction.one_thread", "pt_cascade.stages.vectors.encoder.short_text_threads")


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processors busy while the block runs.

    Args:
        processes: How many compute beside.
    """
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in beside:
            one.kill()
            one.wait()


def milliseconds(stage: pt.Transformer, queries: list[pd.DataFrame]) -> float:
    """Return the median time of a query.

    Args:
        stage: A re-ranker.
        queries: The candidates of each query.
    """
    times = []
    for frame in queries:
        start = time.perf_counter()
        stage.transform(frame)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Measure both in turn, so that what else runs on the machine meets both alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="queries")
    repeats = parser.parse_args().repeats
    collection = ptc.open_collection("pydocs")
    stored = ptc.store_collection(collection)
    found = (ptc.stages.bm25(stored.index) % 100).transform(collection.judged(repeats))
    queries = [frame for _, frame in found.groupby("qid", sort=False)]
    stages = {
        "late_interaction": ptc.stages.late_interaction(vectors=stored.vectors),
        "bi_encoder": ptc.stages.bi_encoder(stored.vectors),
    }
    for processes, state in ((0, "idle"), (2, "two busy processes beside")):
        for name, stage in stages.items():
            stage.transform(queries[0])
            with busy(processes):
                ours = milliseconds(stage, queries)
                with patch(USERS[0], nullcontext), patch(USERS[1], lambda _: nullcontext()):
                    theirs = milliseconds(stage, queries)
            tell(Line("busy", f"{name}, {state}", "torch's threads", ours, theirs, "ms a query"))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
