"""The tables of docs/pruning.md: whether the guarantees of pruning hold, and what it saves beside one cut-off for all queries.

Run: python experiments/pruning.py [DATA]. DATA holds dl19; default: $PT_CASCADE_DATA, else ../shared/data. The scores are of real
rankers. The costs are by hand: 0.1 ms a document of the second stage, 10 ms of the third, so 1100 ms a query without pruning.
Costs and percentiles are shares of those of the cascade without rules, (1000, 100, 20).
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from ir_measures import nDCG

import pt_cascade as ptc
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.pruning import Margin, Threshold
from pt_cascade.analysis.pruning.guarantee import control_expectation, control_probability
from pt_cascade.execution.defaults import score_collection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.analysis.pruning import Rule
    from pt_cascade.analysis.sweep.pruned import PrunedSweep
    from pt_cascade.ranking import Floats, Ints

DELTA, DRAWS, FLOOR, CEILINGS = 0.1, 1000, 10, (1000, 100, 20)
STEPS = np.linspace(1, 0.1, 31)
DL19 = {"dl19 doct5q": ("bm25-doct5q", ".colbert", ".vbert"), "dl19 rm3": ("bm25rm3-terrier", ".vbert", ".colbert.bertqe")}
SHARES = (0.7, 0.5, 0.3)


@dataclass(frozen=True)
class Pool:
    """Queries whose means are the truth."""

    name: str
    table: ptc.ScoreTable
    qrels: pd.DataFrame
    rel: int

    def sweep(self, path: list[dict[str, Rule]], qrels: pd.DataFrame | None = None) -> PrunedSweep:
        """Measure rules."""
        cost = [ptc.StageCost(name, per_pair_ms=ms) for name, ms in zip(self.table.stages, (0, 0.1, 10), strict=True)]
        known, rel = (self.qrels, self.rel) if qrels is None else (qrels, 1)
        return ptc.sweep_rules(self.table, known, [nDCG @ 10], CEILINGS, path, cost=cost, rel=rel)

    @cached_property
    def wide(self) -> list[float]:
        """The median range of the scores of the first two stages, in their lists down to the ceilings."""
        runs = [self.table.replay(CEILINGS[: n + 1], stages=self.table.stages[: n + 1]) for n in range(2)]
        return [float(np.median([np.ptp(one) for _, one in run.groupby("qid")["score"]])) for run in runs]

    def margins(self, *shares: float) -> dict[str, Rule]:
        """Prune the first two stages by margins, each a share of the median range; infinity: not."""
        stages = zip(self.table.stages, shares, self.wide, strict=False)
        return {name: Margin(t * wide, floor=FLOOR) for name, t, wide in stages if np.isfinite(t)}

    def cuts(self, share: float) -> dict[str, Rule]:
        """Cut the first two stages at a share of their ceilings, the same for all queries."""
        names = self.table.stages[:2]
        return {name: Threshold(-1e30, ceiling=max(FLOOR, round(k * share))) for name, k in zip(names, CEILINGS, strict=False)}

    def ranges(self, share: float) -> dict[str, Rule]:
        """Prune the second stage by a margin of the range, and the first by one of its root, since its documents are cheaper."""
        shares = zip(self.table.stages, (np.sqrt(share), share), strict=False)
        return {name: Margin(float(t), relative=True, floor=FLOOR) for name, t in shares}

    def paths(self) -> dict[str, PrunedSweep]:
        """Sweep three paths, none of which reads a judgment."""
        rules = {
            "one cut-off for all": self.cuts,
            "margin": lambda t: self.margins(2 * t, 2 * t),
            "margin of the range": self.ranges,
        }
        return {name: self.sweep([rule(float(t)) for t in STEPS]) for name, rule in rules.items()}

    def exchange(self, rng: np.random.Generator) -> pd.DataFrame:
        """Judge, of the plain cascade's result, as many documents of each query at random as were relevant."""
        found = self.table.replay(CEILINGS).merge(self.qrels, on=["qid", "docno"], how="left")
        chosen = [one.iloc[rng.permutation(len(one))[: int((one["label"] >= self.rel).sum())]] for _, one in found.groupby("qid")]
        return pd.concat(chosen)[["qid", "docno"]].assign(label=1)


def main() -> None:
    """Print the tables."""
    root = Path(__file__).parents[1]
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PT_CASCADE_DATA", root.parent / "shared" / "data"))
    warnings.simplefilter("ignore", ptc.errors.CascadeWarning)
    start, rng = time.perf_counter(), np.random.default_rng(0)
    collection = ptc.open_collection("pydocs")
    table = score_collection(collection, ptc.default_cascade(collection), collection.judged(None))
    pools = [Pool("pydocs", table, collection.qrels, 1)]
    for name, (base, *parts) in DL19.items():
        runs = {part.strip(".") or "bm25": data / "dl19" / "runs" / f"colbertprf.{base}{part}.res.gz" for part in ("", *parts)}
        pools.append(
            Pool(name, ptc.ScoreTable.from_runs(runs, missing="last"), ptc.trec.read_qrels(data / "dl19" / "qrels.txt"), 2)
        )
    for pool in pools:
        paths = pool.paths()
        for line in (*show_violations(pool, paths["margin"], rng), "", *show_trade(pool, paths, rng), ""):
            print(line, flush=True)
        if pool is pools[0]:
            print(*show_held_out(paths, rng), "", sep="\n", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


def show_violations(pool: Pool, joint: PrunedSweep, rng: np.random.Generator) -> Iterator[str]:
    """Draw samples of the pool, choose, and compare with the pool's own means."""
    grid = (np.inf, *(1.5 * STEPS[::2]))
    apart, wide = pool.sweep([pool.margins(one, other) for one in grid for other in grid][1:]), len(grid)
    loss, queries = joint.loss("nDCG@10"), joint.dropped.shape[1]
    yield f"| {pool.name}: {queries} queries | n | alpha | truly above | mean loss | cost |"
    yield "|---|---|---|---|---|---|"
    for n, alpha in ((50, 0.05), (100, 0.05), (300, 0.05), (300, 0.02)):
        draws = [rng.integers(queries, size=n) for _ in range(DRAWS)]
        tested = {"dropped, Learn-then-Test": joint.dropped, "nDCG@10, Learn-then-Test": loss}
        chosen = {
            name: (joint, losses, [control_probability(losses[:, at], alpha, DELTA).row for at in draws])
            for name, losses in tested.items()
        }
        bounded = [control_expectation(joint.dropped[:, at], alpha).row for at in draws]
        stages = [choose_apart(apart.dropped[:, at], alpha, wide) for at in draws]
        chosen["dropped, conformal"] = (joint, joint.dropped, bounded)
        chosen["dropped, stage by stage"] = (apart, apart.dropped, stages)
        for name, (sweep, losses, found) in chosen.items():
            rows = [row or 0 for row in found]
            truth, cost = losses.mean(axis=1)[rows], sweep.ms.mean(axis=1)[rows].mean() / sweep.ms[0].mean()
            yield f"| {name} | {n} | {alpha:g} | {(truth > alpha).mean():.1%} | {truth.mean():.4f} | {cost:.2f} |"


def choose_apart(dropped: Floats, alpha: float, wide: int) -> int:
    """Certify each stage alone, as if the other were not pruned, and use both rules."""
    first, second = (control_probability(losses, alpha, DELTA).row or 0 for losses in (dropped[::wide], dropped[:wide]))
    return first * wide + second


def show_trade(pool: Pool, paths: dict[str, PrunedSweep], rng: np.random.Generator) -> Iterator[str]:
    """Compare the paths at equal mean cost and at equal p95, with what knowing the judgments would allow."""
    heads = [f"{what} {share:g}" for what in ("mean cost", "p95") for share in SHARES]
    yield f"| {pool.name} | {' | '.join(heads)} |"
    yield "|---" * (1 + 2 * len(SHARES)) + "|"
    for name, sweep in paths.items():
        dropped = sweep.dropped.mean(axis=1)
        mean, tail = sweep.ms.mean(axis=1), sweep.frame["p95_ms"].to_numpy()
        at = [np.interp(-share, -cost / cost[0], dropped) for cost in (mean, tail) for share in SHARES]
        yield f"| {name} | {' | '.join(f'{one:.3f}' for one in at)} |"
    rules = [pool.ranges(float(t)) for t in STEPS]
    found = [
        oracle(paths["margin of the range"]),
        np.mean([oracle(pool.sweep(rules, pool.exchange(rng))) for _ in range(3)], axis=0),
    ]
    for name, (mean, tail) in zip(("", " on exchanged judgments"), found, strict=True):
        yield f"\nOracle{name}, each query's cheapest row of the last path without a loss: mean cost {mean:.2f}, p95 {tail:.2f}."


def oracle(sweep: PrunedSweep) -> tuple[float, float]:
    """Give the mean cost and the p95 of each query's cheapest row that drops nothing."""
    best = np.where(sweep.dropped == 0, sweep.ms, np.inf).min(axis=0)
    return best.mean() / sweep.ms[0].mean(), take_percentiles(best, [95])[0] / take_percentiles(sweep.ms[0], [95])[0]


def show_held_out(paths: dict[str, PrunedSweep], rng: np.random.Generator) -> Iterator[str]:
    """Certify each path on one half of the queries, and measure on the other."""
    queries = paths["margin"].dropped.shape[1]
    halves = [np.split(rng.permutation(queries), 2) for _ in range(DRAWS)]
    half = queries // 2
    yield f"| pydocs, {half} queries to certify, {half} held out | alpha | mean cost | p95 | dropped | nDCG@10 lost | not pruned |"
    yield "|---|---|---|---|---|---|---|"
    for alpha in (0.05, 0.1):
        for name, sweep in paths.items():
            rows: Ints = np.array([control_probability(sweep.dropped[:, one], alpha, DELTA).row or 0 for one, _ in halves])
            parts = [measure(sweep, row, at) for row, (_, at) in zip(rows, halves, strict=True)]
            mean = np.mean(parts, axis=0)
            shown = f"{mean[0]:.2f} | {mean[1]:.2f} | {mean[2]:.3f} | {mean[3]:.4f}"
            yield f"| {name} | {alpha:g} | {shown} | {(rows == 0).mean():.0%} |"


def measure(sweep: PrunedSweep, row: int, at: Ints) -> tuple[float, ...]:
    """Give the mean cost and p95 of a row on some queries, and its losses."""
    ms, plain = sweep.ms[row, at], sweep.ms[0, at]
    tail = take_percentiles(ms, [95])[0] / take_percentiles(plain, [95])[0]
    return ms.mean() / plain.mean(), tail, sweep.dropped[row, at].mean(), sweep.loss("nDCG@10")[row, at].mean()


if __name__ == "__main__":
    main()
