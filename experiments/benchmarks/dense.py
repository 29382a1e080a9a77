"""Exact dense retrieval beside each of pyterrier_dr's own retrievers, on the same stored vectors: 1000 results a query.

    python experiments/benchmarks/dense.py [--documents N] [--dimension D] [--queries Q] [--repeats N] [--quick]

The vectors are RANDOM, of length 1: times and the sameness of lists are real, rankings mean nothing. Queries are encoded before.
One query at a time, and all at once; ours and theirs take turns. Ours scores again what a matrix product proposes; theirs returns
the product itself, so that its last digits change with the batch.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from report import Line, tell

from pt_cascade.stages.dense import dense

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("pyterrier", "pyterrier-dr", "pandas", "numpy", "torch")
DEPTH = 1000


@dataclass(frozen=True)
class Known:
    """A bi-encoder whose queries are encoded already.

    Attributes:
        vectors: Each query's vector.
    """

    vectors: dict[str, np.ndarray] = field(repr=False)

    def encode_queries(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        """Look them up."""
        del batch_size
        return np.stack([self.vectors[text] for text in texts])

    encode_docs = encode_queries


def store(folder: str, documents: int, dimension: int) -> str:
    """Write random vectors of length 1 as a FlexIndex.

    Args:
        folder: A new one.
        documents: How many.
        dimension: Values of each.

    Returns:
        The folder.
    """
    from pyterrier_dr import FlexIndex  # noqa: PLC0415 - slow to import

    random = np.random.default_rng(0)
    vectors = (random.standard_normal(dimension).astype(np.float32) for _ in range(documents))
    docs = ({"docno": f"d{n}", "doc_vec": vector / np.linalg.norm(vector)} for n, vector in enumerate(vectors))
    FlexIndex(folder, verbose=False).index(docs)
    return folder


def in_turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Give the median wall time of each way in seconds, one round before them not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            ways[name]()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def measure(folder: str, dimension: int, queries: int, repeats: int) -> None:
    """Time ours beside each peer, and check that the lists are the same.

    Args:
        folder: A FlexIndex.
        dimension: Values of a vector.
        queries: How many.
        repeats: Rounds, 1 or more.
    """
    from pyterrier_dr import FlexIndex  # noqa: PLC0415 - slow to import

    random = np.random.default_rng(1)
    known = Known({f"query {n}": random.standard_normal(dimension).astype(np.float32) for n in range(queries)})
    topics = pd.DataFrame({"qid": [str(n) for n in range(queries)], "query": list(known.vectors)})
    encoded = topics.assign(query_vec=list(known.vectors.values()))
    index = FlexIndex(folder, verbose=False)
    peers = {"numpy": index.np_retriever, "torch": lambda **kw: index.torch_retriever(device="cpu", **kw)}
    if find_spec("faiss"):
        peers["faiss"] = lambda **_: index.faiss_flat_retriever()  # always 1000 results
    for engine, peer in peers.items():
        ours, theirs = dense(folder, model=known, num_results=DEPTH, device="cpu"), peer(num_results=DEPTH)
        mine, upstream = ours.transform(topics), theirs.transform(encoded)
        same = (mine["docno"].to_numpy(object) == upstream["docno"].to_numpy(object)).mean()
        apart = np.abs(mine["score"].to_numpy() - upstream["score"].to_numpy(np.float64)).max()
        print(f"{engine}: {100 * same:.2f} % of places hold the same document, scores differ by {apart:.1e} at most")
        singles = [(topics.iloc[[n]], encoded.iloc[[n]]) for n in range(queries)]
        one = {
            "ours": lambda ours=ours, singles=singles: [ours.transform(topic) for topic, _ in singles],
            "theirs": lambda theirs=theirs, singles=singles: [theirs.transform(topic) for _, topic in singles],
        }
        whole = {
            "ours": lambda ours=ours: ours.transform(topics),
            "theirs": lambda theirs=theirs: theirs.transform(encoded),
        }
        for title, ways in (("one query at a time", one), ("all at once", whole)):
            taken = in_turns(ways, repeats)
            a_query = 1000 / queries
            tell(Line("dense", title, f"pyterrier_dr {engine}", a_query * taken["ours"], a_query * taken["theirs"], "ms a query"))


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="20,000 documents, 10 queries, 3 rounds")
    arguments = parser.parse_args()
    documents, queries, repeats = arguments.documents, arguments.queries, arguments.repeats
    if arguments.quick:
        documents, queries, repeats = 20_000, 10, 3
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        measure(store(str(Path(folder) / "v"), documents, arguments.dimension), arguments.dimension, queries, repeats)
    packages = [*PACKAGES, *(["faiss-cpu"] if find_spec("faiss") else [])]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    cores = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    print(f"{documents:,} random vectors of {arguments.dimension}; {cores}; {versions}")


if __name__ == "__main__":
    main()
