"""Every cut-off vector of a cascade that ends in a pairwise stage, beside what PyTerrier offers for the same. SYNTHETIC scores.

    python experiments/benchmarks/pair_sweep.py [--repeats N] [--quick]

Scores, duels and judgments are random numbers, no ranker's: what is measured is time, and how many duels exactness needs. All ways
are handed ready-made scores and probabilities, so that no model's time is in them, and give the same measures, which is checked to
1e-12. They take turns; medians of the rounds are shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
from ir_measures import AP, R, nDCG
from pt_cascade.analysis.bouts import arrange
from pt_cascade.analysis.duels import Duels
from report import Line, tell

from pt_cascade.analysis.fusion.pair_aggregation import FIXED
from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.replay.rankings import order
from pt_cascade.analysis.replay.required_documents import meetings, needed
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.execution.score_table import ScoreTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("pyterrier", "ir_measures", "pytrec_eval-terrier", "numba", "numpy", "pandas")
STAGES = ("first", "second", "third")
DOCS, LAST, MEASURES = 1000, 10, [nDCG @ 10, R @ 20]
EXACT = 1e-12
EVALUATION = "pt.Experiment, evaluation alone"


def make(queries: int, depths: Sequence[int], seed: int = 0) -> tuple[ScoreTable, pd.DataFrame]:
    """Make a table of SYNTHETIC scores and duels, each nearer to what the judgments say, and judgments of 5 % of the documents.

    Args:
        queries: How many, each with 1000 documents.
        depths: Of each stage before the pairwise one.
        seed: For all of it.

    Returns:
        The table and Frame[qid, docno, label].
    """
    random = np.random.default_rng(seed)
    truth = random.normal(size=(queries, DOCS))
    scores = [weight * truth + random.normal(size=truth.shape) for weight in (0.3, 0.6, 0.9)[: len(depths)]]
    ranked = np.argsort(-scores[0], axis=1, kind="stable")
    truth, *scores = (np.take_along_axis(values, ranked, axis=1).ravel() for values in (truth, *scores))
    docno = [f"d{number:07}" for number in random.permutation(queries * DOCS)]
    qid = np.repeat([f"q{number}" for number in range(queries)], DOCS)
    frame = pd.DataFrame({"qid": qid, "docno": docno, "rank": np.tile(np.arange(DOCS), queries)})
    frame = frame.assign(**dict(zip(STAGES, scores, strict=False)))
    topics = pd.DataFrame({"qid": frame["qid"].unique(), "query": "-"})
    names = STAGES[: len(depths)]
    table = ScoreTable(frame, topics, tuple(map(Column, names)), (Path(names, tuple(depths), tuple(depths[:-1])),))
    orders = order(table, names)
    upper, lower = (orders.rows[side] for side in meetings(orders.offsets, orders.places, depths))
    first, second = np.concatenate([upper, lower]), np.concatenate([lower, upper])
    p = 1 / (1 + np.exp(truth[second] - truth[first] + random.normal(size=len(first))))
    path = Path((*names, "duo"), (*depths, LAST), tuple(depths))
    duels = {"duo": Duels.gather("sym-sum", first, second, p)}
    judged = np.flatnonzero(random.random(len(truth)) < 0.05)  # noqa: PLR2004 - see above
    label = np.clip(np.round(truth[judged] + 0.5), 0, 3).astype(np.int64)
    qrels = frame[["qid", "docno"]].iloc[judged].assign(label=label).reset_index(drop=True)
    return replace(table, columns=(*table.columns, Column("duo")), paths=(path,), duels=duels), qrels


def count(table: ScoreTable, depths: Sequence[int]) -> None:
    """Print how many duels exactness needs, beside those of all documents that reach the stage at some cut-offs."""
    orders = order(table, table.paths[0].stages)
    start = time.perf_counter()
    meetings(orders.offsets, orders.places[: len(depths)], depths)
    took = 1000 * (time.perf_counter() - start) / len(table.topics)
    marks = needed(orders.offsets, orders.places[: len(depths)], depths)
    each = np.add.reduceat(marks.astype(np.int64), orders.offsets[:-1]).astype(float)
    fought = len(table.duels["duo"]) / len(table.topics)
    print(
        f"  depths {tuple(depths)}: {fought:8,.0f} duels a query, found in {took:.1f} ms; "
        f"{(each * (each - 1)).mean():,.0f} among the {each.mean():.0f} documents that may reach it"
    )


def pipeline_stages(table: ScoreTable) -> list[pt.Transformer]:
    """Make stages of ready-made scores and duels, as cheap as can be: terms lie in a matrix a query."""
    found = table.frame.merge(table.topics, on="qid").assign(score=table.frame["first"], row=np.arange(len(table.frame)))
    rows = np.arange(len(found))
    bouts = arrange(table.duels["duo"], np.r_[0, np.cumsum(table.retrieved)], rows)
    terms = np.zeros((len(table.topics), DOCS, DOCS), np.int64)
    terms[bouts.first // DOCS, bouts.first % DOCS, bouts.second % DOCS] = bouts.terms

    class Find(pt.Transformer):
        """Returns what was found."""

        def transform(self, _: pd.DataFrame) -> pd.DataFrame:
            return found

    class Read(pt.Transformer):
        """Scores by a column."""

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            return pt.model.add_ranks(inp.assign(score=inp["second"]))

    class Add(pt.Transformer):
        """Adds up the duels of what it is given."""

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            row, score = inp["row"].to_numpy(), np.zeros(len(inp))
            for query in np.unique(row // DOCS):
                mine = np.flatnonzero(row // DOCS == query)
                team = row[mine] % DOCS
                score[mine] = terms[query][np.ix_(team, team)].sum(axis=1) * FIXED
            return pt.model.add_ranks(inp.assign(score=score))

    return [Find(), Read(), Add()]


def seconds(work: Callable[[], object]) -> float:
    """Give the wall time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def again(table: ScoreTable) -> ScoreTable:
    """Make the table anew, with all its checks and nothing remembered."""
    return replace(table)


def compare(table: ScoreTable, qrels: pd.DataFrame, repeats: int) -> float:
    """Print some vectors each way; return what evaluation alone takes PyTerrier a vector."""
    first, second, last = pipeline_stages(table)
    vectors = [(k1, k2, LAST) for k1 in (50, 200, 400, 600, 800, 1000) for k2 in (10, 50)]
    systems = {str(vector): first % vector[0] >> second % vector[1] >> last % vector[2] for vector in vectors}
    ready = {name: system.transform(table.topics) for name, system in systems.items()}

    def experiment(which: dict[str, object]) -> Callable[[], pd.DataFrame]:
        return lambda: pt.Experiment(which, table.topics, qrels, MEASURES, validate="ignore")

    ours = "pt_cascade.sweep, table and all"
    ways = {
        ours: lambda: sweep(again(table), qrels, MEASURES, grid=vectors).frame,
        "pt.Experiment": experiment(systems),
        EVALUATION: experiment(ready),
    }
    answers = {name: way() for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name in [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]:
            times[name].append(seconds(ways[name]))
    for name in [*ways][1:]:
        worst = max(np.abs(answers[name][str(m)].to_numpy() - answers[ours][str(m)].to_numpy()).max() for m in MEASURES)
        if not worst <= EXACT:
            raise SystemExit(f"{name} differs by {worst}")
        mine, middle = statistics.median(times[ours]), statistics.median(times[name])
        tell(Line("pair_sweep", f"{len(vectors)} vectors ending in duels, SYNTHETIC", name, mine, middle, "s"))
    return statistics.median(times[EVALUATION]) / len(vectors)


def sweep_all(queries: int, deepest: int, repeats: int, evaluation: float) -> None:
    """Print what the sweep of all vectors takes, and its ratio, a vector and query, to PyTerrier's evaluation."""
    for what, aggregation, measures in (("sum", "sym-sum", MEASURES), ("least", "min", MEASURES), ("AP", "sym-sum", [AP])):
        table, qrels = make(queries, (DOCS, 50))
        table = replace(table, duels={"duo": replace(table.duels["duo"], aggregation=aggregation)})
        vectors = grid(range(1, deepest + 1), range(1, 51), [LAST, None])
        sweep(table, qrels, measures, grid=vectors)
        times = [seconds(lambda: sweep(again(table), qrels, measures, grid=vectors)) for _ in range(repeats)]  # noqa: B023 - at once
        middle = statistics.median(times)
        print(f"  {len(vectors):,} vectors × {queries} queries, {what}: {middle:.3f} s; a vector and query:")
        each = middle / len(vectors) / queries
        tell(Line("pair_sweep", f"all vectors, {what}, SYNTHETIC", EVALUATION, 1e6 * each, 1e6 * evaluation / queries, "us"))


def main() -> None:
    """Measure and print, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="fewer queries and vectors")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    queries, deepest = (8, 100) if arguments.quick else (43, DOCS)
    print("SYNTHETIC scores and duels: random numbers, to measure time with.\n\nduels that exactness needs:")
    for depths in ((DOCS, 50), (DOCS, 100, 20)):
        count(make(queries, depths)[0], depths)
    print(f"\nbeside PyTerrier, {queries} queries × {DOCS} documents, medians of {arguments.repeats}:")
    evaluation = compare(*make(queries, (DOCS, 50)), arguments.repeats)
    print(f"\nall vectors of k1 ≤ {deepest}, k2 ≤ 50 before a pairwise stage, table, orders and all:")
    sweep_all(queries, deepest, arguments.repeats, evaluation)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    told = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores, load {load}; {told}")


if __name__ == "__main__":
    main()
