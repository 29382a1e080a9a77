"""What ``choose`` promises, each beside what it replaced: tables of calibration.py, on simulated and real pools with known truth.

A pool is a finite set of queries, drawn from with replacement, so that its own means are the truth, exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import simulated

import pt_cascade as ptc
from pt_cascade.analysis.certificates.order_statistics import upper_rank
from pt_cascade.analysis.choice.cross_validation import count_folds, cross_validate, estimate_gain, measure_noise
from pt_cascade.analysis.choice.selection import pick
from pt_cascade.analysis.choice.verdict import judge_gain
from pt_cascade.execution.defaults import score_collection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints

    Populations = dict[str, simulated.Population]

MARGINS = (0.02, 0.05)
FOLDS, SPLITS, SEEDS = 5, 20, 12
BUDGET = 250.0  # documents, those of the second stage count 20
LARGE = 500  # queries; of more, half as many samples are drawn
RUNS = {"bm25": "", "colbert": ".colbert", "vbert": ".vbert"}


class Pool(NamedTuple):
    """Each query's measure at each vector of a grid, shape (queries, vectors); and the margins that it is tried with."""

    vectors: Vectors
    values: Floats
    margins: tuple[float, ...] = MARGINS


def make_misleading(queries: int, seed: int) -> dict[str, Pool]:
    """Simulate pools that mislead a choice within each margin."""
    kinds = {"alike": 0.9, "unlike": 0.0}
    return {
        f"misleading by {margin:g}, {kind}": Pool(*simulated.mislead(queries, margin, alike, seed), (margin,))
        for margin in MARGINS
        for kind, alike in kinds.items()
    }


def open_real(data: Path | None) -> dict[str, Pool]:
    """Open the real pools: dl19's published runs and scifact from scratch, nDCG@10 at a logarithmic grid; none without data."""
    if data is None:
        return {}
    runs = {stage: data / f"dl19/runs/colbertprf.bm25-doct5q{part}.res.gz" for stage, part in RUNS.items()}
    tables = {"dl19, 43 queries": (ptc.ScoreTable.from_runs(runs), ptc.trec.read_qrels(data / "dl19/qrels.txt"))}
    collection = ptc.open_collection(data / "scifact")
    cascade, topics = ptc.default_cascade(collection), collection.judged(None)
    tables["scifact, 300 queries"] = (score_collection(collection, cascade, topics), collection.qrels)
    pools = {}
    for name, (table, qrels) in tables.items():
        swept = ptc.sweep(table, qrels, ["nDCG@10"], grid="log")
        values = swept.replayer.sums(swept.grid.vectors, np.arange(len(swept.qids)))[:, :, 0]
        pools[name] = Pool(swept.grid.vectors, values)
    return pools


def tabulate(pools: dict[str, Pool], samples: int, sizes: tuple[int, ...], seed: int) -> Iterator[str]:
    """Yield the lines of all tables but that of the certificates."""
    pools = {name: pool for name, pool in pools.items() if MARGINS[0] in pool.margins}
    yield from judge_best(pools, samples, sizes, seed)
    yield from count_certifying_folds(pools, samples, seed)
    yield from keep_budgets(samples, seed)
    yield from vary_seeds(pools, samples, sizes, seed)


def draw(pool: Pool, queries: int, rng: np.random.Generator, splits: int = 1, folds: int = FOLDS) -> Candidates:
    """Draw a sample of a pool, split into folds."""
    sample = pool.values[rng.integers(0, len(pool.values), queries)]
    split = np.stack([rng.permutation(queries) % folds for _ in range(splits)])
    return simulated.as_candidates(pool.vectors, sample, split)


def certify_cheaper(pools: dict[str, Pool], samples: int, sizes: tuple[int, ...], seed: int) -> Iterator[str]:
    """How often a certificate is wrong, and what it saves; beside it the cheapest within the margin of the best in the sample."""
    yield f"\n### Certificates: share of {samples:,} samples in which the choice truly loses more than the margin (5 % allowed)\n"
    yield "The reference is the deepest vector. Cost: mean, relative to the reference's; in brackets the share of samples that"
    yield "certify something. Uncertified: the cheapest vector whose mean is within the margin of the best of the sample, as tables"
    yield f"in-sample suggest it; its loss is against the best of the pool. Above {LARGE:,} queries, half as many samples.\n"
    yield "| pool | margin | n | dirichlet wrong | dirichlet cost | betting wrong | betting cost | uncertified wrong |"
    yield "|---" * 8 + "|"
    for name, pool in pools.items():
        truth = pool.values.mean(axis=0)
        for margin in pool.margins:
            for n in sizes:
                rng, times = np.random.default_rng(seed), samples if n <= LARGE else samples // 2
                rows = [_certify_once(draw(pool, n, rng), truth, margin) for _ in range(times)]
                wrong, cost, changed, other_wrong, other_cost, other_changed, naive = np.mean(rows, axis=0)
                yield (
                    f"| {name} | {margin:g} | {n} | {wrong:.1%} | {cost:.2f} ({changed:.0%}) "
                    f"| {other_wrong:.1%} | {other_cost:.2f} ({other_changed:.0%}) | {naive:.1%} |"
                )


def _certify_once(candidates: Candidates, truth: Floats, margin: float) -> list[float]:
    """Certify by both tests and by none; tell what is wrong, what it costs, and whether it changes anything."""
    found: list[float] = []
    queries = candidates.folds.shape[1]
    means = candidates.sums[0].sum(axis=0) / queries
    for test in ("dirichlet", "betting"):
        asked = replace(candidates, method="certified", margin=margin, test=test)
        at = pick(asked, means, np.ones(queries, np.bool_)).vector
        found += [
            truth[at] < truth[asked.reference] - margin,
            asked.costs[at] / asked.costs[asked.reference],
            at != asked.reference,
        ]
    near = np.flatnonzero(means >= means.max() - margin)
    cheapest = near[np.argmin(candidates.costs[near])]
    return [*found, truth[cheapest] < truth.max() - margin]


def judge_best(pools: dict[str, Pool], samples: int, sizes: tuple[int, ...], seed: int) -> Iterator[str]:
    """How often the best of the sample is truly worse than the reference, and how often the verdict ships such a one."""
    yield f"\n### Verdicts on the best vector: shares of {samples:,} samples, margin 0.02\n"
    yield "Shipped, wrong: what costs less truly loses more than the margin, or what costs more is truly no better. Without a"
    yield "verdict: the best of the sample, whatever it is. Covered: the held-out interval holds the true gain of that vector.\n"
    yield "| pool | n | ship | keep | cannot tell | shipped, wrong | without a verdict, wrong | covered |"
    yield "|---" * 8 + "|"
    for name, pool in pools.items():
        truth = pool.values.mean(axis=0)
        for n in sizes:
            rng = np.random.default_rng(seed)
            rows = [_judge_once(draw(pool, n, rng), truth, MARGINS[0]) for _ in range(samples)]
            yield f"| {name} | {n} | {' | '.join(f'{share:.1%}' for share in np.mean(rows, axis=0))} |"


def _judge_once(candidates: Candidates, truth: Floats, margin: float) -> tuple[bool, ...]:
    """Judge the best of one sample."""
    tried = cross_validate(candidates)
    costs, gain = candidates.costs, estimate_gain(candidates, tried, measure_noise(candidates, tried)[1])
    best = candidates.best(candidates.sums[0].sum(axis=0))
    cheaper = bool(costs[best] < costs[candidates.reference])
    said = "keep" if best == candidates.reference else judge_gain(gain, margin, cheaper=cheaper).decision
    true = truth[best] - truth[candidates.reference]
    wrong = bool(best != candidates.reference and (true < -margin if cheaper else true <= 0))
    decided = tuple(said == one for one in ("ship", "keep", "cannot tell"))
    return *decided, said == "ship" and wrong, wrong, bool(gain.low <= true <= gain.high)


def hold_out_plateaus(populations: Populations, samples: int, sizes: tuple[int, ...], seed: int) -> Iterator[str]:
    """How often the interval of a plateau beyond the budget, where the best vector within it is sought, holds the true gain."""
    yield f"\n### Plateaus beyond the budget: share of {samples:,} samples whose held-out interval covers the true gain\n"
    yield f"Margin {MARGINS[1]:g}, budget {BUDGET:g}: the best vector within it is taken, no deeper than the plateau.\n"
    yield "| relevant documents | n | as choose() gives it | as if independent |\n|---|---|---|---|"
    for name, population in populations.items():
        for n in sizes:
            rng = np.random.default_rng(seed)
            rows = [_hold_out_plateau(population, rng.integers(0, len(population.values), n), rng) for _ in range(samples)]
            yield f"| {name} | {n} | {' | '.join(f'{share:.1%}' for share in np.mean(rows, axis=0))} |"


def _hold_out_plateau(population: simulated.Population, sample: Ints, rng: np.random.Generator) -> list[bool]:
    """Cross-validate one sample; tell whether the interval, with and without what choosing adds, holds the truth."""
    split = np.stack([rng.permutation(len(sample)) % FOLDS for _ in range(4)])
    values, curves = population.values[sample], lambda *asked: population.recall(*asked)[sample]
    made = simulated.as_candidates(population.vectors, values, split, curves)
    asked = replace(made, method="plateau", margin=MARGINS[1], affordable=made.costs <= BUDGET)
    tried, truth = cross_validate(asked), population.values.mean(axis=0)
    true = np.mean([truth[one.vector] for picks in tried.picks for one in picks]) - truth[asked.reference]
    gains = [estimate_gain(asked, tried, more) for more in (measure_noise(asked, tried)[1], 0.0)]
    return [bool(gain.low <= true <= gain.high) for gain in gains]


def count_certifying_folds(
    pools: dict[str, Pool], samples: int, seed: int, sizes: tuple[int, ...] = (160, 186, 240)
) -> Iterator[str]:
    """Whether folds can certify what all queries can, with as few folds as were asked for and with as many as it takes."""
    yield f"\n### Folds: share of the folds of {samples:,} samples that certify something, where all queries do; margin 0.02\n"
    yield "| pool | n | five folds | as many as it takes | how many |"
    yield "|---|---|---|---|---|"
    for name, pool in list(pools.items())[:2]:
        for n in sizes:
            many = count_folds(n, FOLDS, "certified", MARGINS[0], 0.05, "dirichlet")
            shares: list[list[float]] = []
            for folds in (FOLDS, many):
                rng, found = np.random.default_rng(seed), []
                for _ in range(max(samples // 4, 1)):
                    asked = replace(draw(pool, n, rng, folds=folds), method="certified", margin=MARGINS[0])
                    if pick(asked, np.zeros(len(pool.vectors)), np.ones(n, np.bool_)).vector != asked.reference:
                        found.append(np.mean([one.vector != asked.reference for one in cross_validate(asked).picks[0]]))
                shares.append(found)
            told = " | ".join(f"{np.mean(found):.0%}" if found else "-" for found in shares)
            yield f"| {name} | {n} | {told} | {many} |"


def keep_budgets(samples: int, seed: int) -> Iterator[str]:
    """How often the vector within a budget at p95 is truly over it, by the plug-in percentile and by order statistics."""
    yield f"\n### Budgets: share of {10 * samples:,} profiles whose choice is truly over the budget at p95 (5 % allowed)\n"
    yield "Log-normal times, sd of the logarithm 0.3; the deepest of 100 cut-offs within the budget is chosen, each 1 % slower than"
    yield "the one before. True p95: of the choice, as a share of the budget, mean.\n"
    yield "| timed queries | plug-in, over | true p95 | order statistics, over | true p95 | none can be chosen |"
    yield "|---|---|---|---|---|---|"
    factors = 1.01 ** np.arange(100)
    true = np.exp(0.3 * 1.6448536)
    for n in (20, 50, 59, 100, 300):
        rng = np.random.default_rng(seed)
        budget, rank = true * factors[60], upper_rank(n, 95)
        sorted_times = np.sort(np.exp(0.3 * rng.normal(size=(10 * samples, n))), axis=1)
        plugged = _deepest_within(sorted_times[:, int(np.ceil(0.95 * n)) - 1], factors, budget) * true / budget
        told = f"{np.mean(plugged > 1 + 1e-9):.1%} | {plugged.mean():.2f}"
        if rank is None:
            yield f"| {n} | {told} | - | - | 100% |"
            continue
        bounded = _deepest_within(sorted_times[:, rank - 1], factors, budget) * true / budget
        yield f"| {n} | {told} | {np.mean(bounded > 1 + 1e-9):.1%} | {bounded.mean():.2f} | {np.mean(bounded == 0):.1%} |"


def _deepest_within(times: Floats, factors: Floats, budget: float) -> Floats:
    """Give the factor of the deepest cut-off whose time, so many times the given one, is within the budget; 0 for none."""
    inside = np.searchsorted(factors, budget / times, side="right")
    return np.r_[0.0, factors][inside]


def vary_seeds(pools: dict[str, Pool], samples: int, sizes: tuple[int, ...], seed: int) -> Iterator[str]:
    """How much the seed that splits the queries changes the held-out gain and the verdict, with one split and with twenty."""
    count = max(samples // 20, 1)
    yield f"\n### Seeds: {SEEDS} seeds on each of {count} samples; the best vector, margin 0.02\n"
    yield "Range: of the held-out gain over the seeds, mean over the samples. Same: samples in which all seeds give one verdict.\n"
    yield "| pool | n | range, one split | same | range, twenty splits | same |"
    yield "|---|---|---|---|---|---|"
    for name, pool in pools.items():
        n, rng = min(sizes[1], len(pool.values)), np.random.default_rng(seed)
        rows = []
        for _ in range(count):
            sample = rng.integers(0, len(pool.values), n)
            rows.append([value for splits in (1, SPLITS) for value in _vary_once(pool.vectors, pool.values[sample], splits)])
        one, same, twenty, all_same = np.mean(rows, axis=0)
        yield f"| {name} | {n} | {one:.4f} | {same:.0%} | {twenty:.4f} | {all_same:.0%} |"


def _vary_once(vectors: Vectors, values: Floats, splits: int) -> tuple[float, bool]:
    """Give the range of the held-out gain over the seeds, and whether all give one verdict."""
    gains, said = [], set()
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        split: Ints = np.stack([rng.permutation(len(values)) % FOLDS for _ in range(splits)])
        candidates = simulated.as_candidates(vectors, values, split)
        tried = cross_validate(candidates)
        gain = estimate_gain(candidates, tried, measure_noise(candidates, tried)[1])
        best = candidates.best(candidates.sums[0].sum(axis=0))
        cheaper = bool(candidates.costs[best] < candidates.costs[candidates.reference])
        gains.append(gain.mean)
        said.add(judge_gain(gain, MARGINS[0], cheaper=cheaper).decision)
    return max(gains) - min(gains), len(said) == 1
