"""The table of docs/choosing.md: cut-offs chosen within 100, 400 and 1250 ms, on dl19's runs; and the same on scifact from scratch.

Run: python experiments/choices.py [DATA]. DATA holds dl19 and scifact; default: $PT_CASCADE_DATA, else ../shared/data.
The scores are of real rankers. The costs are the textbook's, by hand: they are not what these rankers take.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ir_measures import R, nDCG

import pt_cascade as ptc
from pt_cascade.analysis.choice.verdict import round_up
from pt_cascade.analysis.grid.cutoffs import name_cascade
from pt_cascade.execution.defaults import score_collection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

BUDGETS = (100, 400, 1250)
RUNS = {"bm25": "", "colbert": ".colbert", "vbert": ".vbert"}


def main() -> None:
    """Print both tables."""
    root = Path(__file__).parents[1]
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PT_CASCADE_DATA", root.parent / "shared" / "data"))
    for line in (*show_dl19(data / "dl19"), "", *show_scifact(data / "scifact")):
        print(line)


def show_dl19(folder: Path) -> Iterator[str]:
    """Replay three published runs as a cascade."""
    start = time.perf_counter()
    table = ptc.ScoreTable.from_runs({stage: folder / f"runs/colbertprf.bm25-doct5q{part}.res.gz" for stage, part in RUNS.items()})
    yield f"dl19, {table!r}, read in {time.perf_counter() - start:.1f} s"
    yield from tabulate(table, ptc.trec.read_qrels(folder / "qrels.txt"))


def show_scifact(folder: Path) -> Iterator[str]:
    """Index, encode and score a collection, then choose."""
    start = time.perf_counter()
    collection = ptc.open_collection(folder)
    table = score_collection(collection, ptc.default_cascade(collection), collection.judged(None))
    yield f"scifact, {table!r}, made or found in {time.perf_counter() - start:.1f} s"
    yield from tabulate(table, collection.qrels)


def tabulate(table: ptc.ScoreTable, qrels: pd.DataFrame) -> Iterator[str]:
    """Choose within each budget, for two sets of costs, and write Markdown."""
    columns = (
        "ms a document",
        "budget, ms",
        "verdict",
        "best seen",
        "ms",
        "in-sample",
        "its gain over the reference, held out",
        "reference",
    )
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    grid = ptc.grid(range(1, 1001), range(1, 101), None)
    start = time.perf_counter()
    for costs in ((0.05, 2.0), (2.0, 50.0)):
        first, second, third = table.stages
        cost = [ptc.StageCost(first), ptc.StageCost(second, per_pair_ms=costs[0]), ptc.StageCost(third, per_pair_ms=costs[1])]
        sweep = ptc.sweep(table, qrels, [nDCG @ 10, R @ 100], cost, grid)
        for budget in BUDGETS:
            choice = ptc.choose(sweep, nDCG @ 10, budget_ms=budget)
            gain, verdict = choice.gain, choice.verdict
            said = f"{verdict.decision}: about {round_up(verdict.needed):,} would" if verdict.needed else verdict.decision
            picked, reference = (name_cascade(choice.stages, one) for one in (choice.picked, choice.reference))
            late = sweep.cost.latency(choice.picked, (), sweep.table.retrieved).ms
            yield (
                f"| {costs[0]:g}, {costs[1]:g} | {budget} | {said} | {picked} | {late:.0f} | {choice.in_sample:.3f} "
                f"| {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] | {reference}, {choice.kept.mean:.3f} |"
            )
    yield f"{len(grid):,} vectors swept twice and six choices in {time.perf_counter() - start:.1f} s"


if __name__ == "__main__":
    main()
