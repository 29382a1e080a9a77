"""What a pair costs our bi-encoder beyond encoding the query, beside pyterrier_dr's own scorer: vaswani, 93 x 1000, MiniLM vectors.

    python experiments/benchmarks/bi_encoder.py [--data FOLDER] [--repeats N]

Both score the same candidates from the same stored vectors, with the queries encoded beforehand; what encoding a query takes is
measured in the same run and printed beside it. One query at a time, and all at once.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from report import Line, tell

import pt_cascade as ptc

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

DATA = Path(os.environ.get("PT_CASCADE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "vaswani"
PACKAGES = ("pyterrier", "pyterrier-dr", "pandas", "numpy", "torch", "sentence-transformers")


@dataclass(frozen=True)
class Known:
    """An encoder that has seen its queries.

    Attributes:
        vectors: Each query's vector.
    """

    vectors: dict[str, np.ndarray]

    def queries(self, texts: list[str]) -> np.ndarray:
        """Look them up."""
        return np.stack([self.vectors[text] for text in texts])


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Give the median wall time of some work, one run before it not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def measure(data: Path, repeats: int) -> None:
    """Time both and print microseconds a pair and the ratio.

    Args:
        data: The folder of the collection.
        repeats: Runs of each, 1 or more.
    """
    from pyterrier_dr import FlexIndex  # noqa: PLC0415 - slow to import, and only here

    collection = ptc.open_collection(data)
    stored = ptc.store_collection(collection, engine="pisa", verbose=True)
    ours = ptc.stages.bi_encoder(stored.vectors)
    candidates = ptc.stages.bm25(stored.index).transform(collection.judged())
    queries = list(dict.fromkeys(candidates["query"]))
    known = Known(dict(zip(queries, ours.encoder.queries(queries), strict=True)))
    encoded = candidates.assign(query_vec=candidates["query"].map(known.vectors))
    theirs = FlexIndex(str(stored.vectors), verbose=False).np_scorer()
    both = ours.transform(candidates).merge(theirs.transform(encoded), on=["qid", "docno"])
    print(f"largest difference of a score: {np.abs(both['score_x'] - both['score_y']).max():.1e}")

    def in_turn(frames: list[pd.DataFrame], work: Callable[[pd.DataFrame], object]) -> Callable[[], object]:
        return lambda: [work(frame) for frame in frames]

    for title, split in (
        ("one query at a time", [part for _, part in encoded.groupby("qid", sort=False)]),
        ("all at once", [encoded]),
    ):
        texts = [list(dict.fromkeys(frame["query"])) for frame in split]
        encoding = seconds(lambda texts=texts: [ours.encoder.queries(some) for some in texts], repeats)
        mine = seconds(in_turn(split, replace(ours, encoder=known).transform), repeats)
        upstream = seconds(in_turn(split, theirs.transform), repeats)
        a_pair = 1e6 / len(candidates)
        print(f"{title}: encoding a query takes {1000 * encoding / len(queries):.2f} ms; beyond it")
        tell(Line("bi_encoder", title, "pyterrier_dr np_scorer", a_pair * mine, a_pair * upstream, "us a pair"))


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.setdefault("TQDM_DISABLE", "1")  # pyterrier_dr's scorer always shows a bar
    measure(arguments.data, arguments.repeats)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    )


if __name__ == "__main__":
    main()
