"""The cost of a score cache beside pyterrier_caching's ScorerCache: the same pairs, written and read back. Scores are synthetic.

    python experiments/benchmarks/store.py [--quick] [--queries N] [--documents N] [--repeats N]

Both cache the same scorer, which only looks its scores up. ScorerCache commits all scores of a call at its end; ours commits each
batch, here of the default size and of a whole call. Ours hashes each different text once, so the same is also measured where no two
rows have the same text: queries of a thousand documents of their own, and one query of all.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
from report import Line, tell

from pt_cascade.stages.cached import BATCH_SIZE, cached
from pt_cascade.stages.scorecache.keys import point_keys
from pt_cascade.stages.scorecache.score_cache import ScoreCache

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("pyterrier", "pyterrier-caching", "pandas", "numpy")
PEER = "pyterrier_caching ScorerCache"


@dataclass(frozen=True)
class Known(pt.Transformer):  # type: ignore[misc]
    """A re-ranker whose scores stand in a column of what it is given."""

    documents = "reranks"
    depends = "pointwise"
    stage_name = "known"

    def identify(self) -> dict[str, str]:
        """Say what it is."""
        return {"class": "known"}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Take the scores."""
        return pt.model.add_ranks(inp.assign(score=inp["true"].astype(float)))


def candidates(queries: int, documents: int, words: int = 60, *, distinct: bool = False) -> pd.DataFrame:
    """Make results: for each query some documents of a collection five times as large.

    Args:
        queries: How many.
        documents: Of each query.
        words: Of a document; a passage of MS MARCO has about 60.
        distinct: Whether each query has documents of its own.
    """
    random = np.random.default_rng(0)
    size = documents * (queries if distinct else 5)
    texts = np.array([f"{n} " + "passage " * words for n in range(size)], object)
    some = [np.arange(size)] if distinct else [random.permutation(size)[:documents] for _ in range(queries)]
    found = np.concatenate(some)
    number = np.repeat(np.arange(queries), documents)
    return pd.DataFrame(
        {
            "qid": number.astype(str).astype(object),
            "query": np.char.add("what is ", number.astype(str)).astype(object),
            "docno": np.char.add("d", found.astype(str)).astype(object),
            "text": texts[found],
            "score": 0.0,
            "rank": np.tile(np.arange(documents), queries),
            "true": random.normal(size=queries * documents),
        }
    )


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Give the wall and the processor time of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def run_round(results: pd.DataFrame, folder: Path) -> dict[str, tuple[float, float]]:
    """Let each write all scores into a new file, and read them back.

    Args:
        results: What is to be scored.
        folder: An empty folder.

    Returns:
        Wall and processor time of each.
    """
    from pyterrier_caching import ScorerCache  # noqa: PLC0415 - only here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reads = ("text", "docno")
        small = cached(Known(), folder / "small", reads=reads)
        large = cached(Known(), folder / "large", reads=reads, batch_size=len(results))
        theirs = ScorerCache(str(folder / "theirs"), Known())
        stages = {"micro-batches": small, "one batch": large, "theirs": theirs}
        times = {f"write {name}": seconds(lambda stage=stage: stage.transform(results)) for name, stage in stages.items()}
        times |= {f"read {name}": seconds(lambda stage=stage: stage.transform(results)) for name, stage in stages.items()}
        theirs.close()
    keys, store = point_keys(results, reads, ""), ScoreCache(str(folder / "bare"), {"class": "known"})
    bare = (keys.groups, keys.group, keys.item)
    times["put"] = seconds(lambda: store.put(*bare, results["true"].to_numpy()))
    times["get"] = seconds(lambda: store.get(*bare))
    return times


def measure(queries: int, documents: int, repeats: int, *, distinct: bool = False) -> None:
    """Take turns, and print medians."""
    results = candidates(queries, documents, distinct=distinct)
    rounds, sizes = [], {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rounds.append(run_round(results, folder))
            sizes = {"ours": (folder / "small").stat().st_size, "theirs": (folder / "theirs" / "db.sqlite3").stat().st_size}
    took = {name: [statistics.median(one[name][kind] for one in rounds) for kind in (0, 1)] for name in rounds[0]}
    rate = {name: [len(results) / one for one in both] for name, both in took.items()}
    texts = f"{results['text'].nunique()} different texts"
    print(f"{queries} queries x {documents} documents, {texts}, {len(results)} synthetic scores; medians of {repeats}, a second:")
    for name, (wall, cpu) in rate.items():
        print(f"  {name:20} {wall:12,.0f} by the clock {cpu:12,.0f} of processor time")
    micro = 1e6 / len(results)
    for what, ours, peer, aim in (
        (f"write, batches of {BATCH_SIZE}", "write micro-batches", "write theirs", 0.0),
        ("write, one commit", "write one batch", "write theirs", 0.0),
        ("read", "read micro-batches", "read theirs", 0.0),
    ):
        tell(Line("store", f"{what}, {texts}", PEER, micro * took[ours][0], micro * took[peer][0], "us a score", aim))
    tell(Line("store", "size on the disk", PEER, sizes["ours"] / len(results), sizes["theirs"] / len(results), "bytes a score"))


def show_differences() -> None:
    """Say what becomes of hard cases on either side."""
    from pyterrier_caching import ScorerCache  # noqa: PLC0415 - only here

    one = candidates(1, 3).assign(query="one text")
    cases = {
        "two topics of one text": pd.concat([one, one.assign(qid="second")], ignore_index=True),
        "a score that is NaN": one.assign(true=[1.0, np.nan, 0.5]),
        "another scorer at the same path": one,
    }
    for case, results in cases.items():
        said = []
        for name in ("ours", "theirs"):
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    for scorer in (Known(), pt.apply.doc_score(lambda _: 7.0))[: 1 + case.startswith("another")]:
                        path = f"{folder}/kept"
                        stage = (
                            cached(scorer, path, identity=f"{scorer!r}", depends="pointwise")
                            if name == "ours"
                            else ScorerCache(path, scorer)
                        )
                        out = stage.transform(results)
                    right = (out["score"] == (7.0 if case.startswith("another") else results["true"])).all()
                    said.append(f"{name}: {'right' if right else 'WRONG scores'}")
                except Exception as error:  # noqa: BLE001 - whatever it raises is what is told
                    said.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:90]}")
        print(f"  {case}: " + "; ".join(said))


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer queries and rounds")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    queries, repeats = (30, 1) if arguments.quick else (arguments.queries, arguments.repeats)
    measure(queries, arguments.documents, repeats)
    measure(16, 1000, repeats, distinct=True)
    measure(1, 100_000 // (10 if arguments.quick else 1), repeats, distinct=True)
    show_differences()
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )


if __name__ == "__main__":
    main()
