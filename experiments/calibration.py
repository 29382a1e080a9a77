"""Whether the statistics of choosing keep what they promise: simulated data with known truth, printed as Markdown tables.

Run: python experiments/calibration.py [--quick] [--seed N] [--only certificates [--samples N] [--sizes N ...]]. --quick, for the
tests, tells little.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import promises
import simulated

from pt_cascade.analysis.choice.cross_validation import cross_validate, excess_variance, wild_bootstrap
from pt_cascade.analysis.choice.curve_shape import classify_curve
from pt_cascade.analysis.choice.intervals import Estimate, bounds_above, estimate
from pt_cascade.analysis.choice.plateaus import find_plateaus
from pt_cascade.analysis.choice.stage_advice import compare, decide
from pt_cascade.analysis.grid.grids import grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints

FOLDS, SPLITS = 5, 4  # choose splits the queries 20 times, which changes the figures little and takes five times as long
MARGINS = (0.02, 0.05)
EVERY = grid(range(1, simulated.DEPTH + 1), range(1, max(simulated.SECOND) + 1), None).vectors


class Effort(NamedTuple):
    """How much to simulate."""

    population: int
    intervals: int
    bounds: int
    plateaus: int
    choices: int
    certificates: int
    sizes: tuple[int, ...] = (50, 100, 200, 500)
    certified: tuple[int, ...] = (50, 100, 200, 300, 500, 1000)


FULL = Effort(10_000, 4000, 10_000, 600, 200, 200)
QUICK = Effort(500, 20, 100, 3, 2, 2, (30, 60), (30, 60))


def main() -> None:
    """Print all tables, with the versions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="the folder that holds dl19 and scifact; without it no real tables")
    parser.add_argument("--only", choices=["certificates"], help="that table alone")
    parser.add_argument("--samples", type=int, help="of each certificate")
    parser.add_argument("--sizes", type=int, nargs="+", help="queries of a sample that is certified")
    arguments = parser.parse_args()
    effort, start = QUICK if arguments.quick else FULL, time.perf_counter()
    asked = {"certificates": arguments.samples, "certified": arguments.sizes}
    effort = effort._replace(**{name: value for name, value in asked.items() if value is not None})
    for line in (tabulate if arguments.only is None else certify)(effort, arguments.seed, arguments.data):
        print(line, flush=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pandas", "numba", "ir-measures"))
    print(f"\nseed {arguments.seed}; Python {platform.python_version()}, {packages}; {time.perf_counter() - start:.0f} s")


def tabulate(effort: Effort, seed: int, data: Path | None = None) -> Iterator[str]:
    """Yield the lines of all tables; ``data`` holds the real ones."""
    yield from cover_means(effort, seed)
    yield from bound_losses(effort, seed)
    populations = simulate(effort, seed)
    yield from find_false_plateaus(populations, effort, seed)
    yield from choose_and_hold_out(populations, effort, seed)
    yield from promises.hold_out_plateaus(populations, effort.choices, effort.sizes[1:], seed)
    pools = open_pools(populations, seed, data)
    yield from promises.certify_cheaper(pools, effort.certificates, effort.certified, seed)
    yield from promises.tabulate(pools, effort.certificates, effort.sizes, seed)
    twins = {name: simulated.cascade(effort.population, name, seed, twin=1) for name in populations}
    yield from advise_and_name(populations, twins, effort, seed)


def certify(effort: Effort, seed: int, data: Path | None = None) -> Iterator[str]:
    """Yield the lines of the table of certificates."""
    pools = open_pools(simulate(effort, seed), seed, data)
    yield from promises.certify_cheaper(pools, effort.certificates, effort.certified, seed)


def simulate(effort: Effort, seed: int) -> dict[str, simulated.Population]:
    """Simulate the populations."""
    return {name: simulated.cascade(effort.population, name, seed) for name in ("one relevant", "1 to 12 relevant")}


def open_pools(populations: dict[str, simulated.Population], seed: int, data: Path | None) -> dict[str, promises.Pool]:
    """Return the populations, those that mislead, and the real ones, as pools."""
    pools = {name: promises.Pool(one.vectors, one.values) for name, one in populations.items()}
    size = max(len(one.values) for one in populations.values())
    return {**pools, **promises.make_misleading(size, seed), **promises.open_real(data)}


def draw(rng: np.random.Generator, population: int, queries: int) -> Ints:
    """Draw a sample of queries, with replacement."""
    return rng.integers(0, population, queries)


def cover_means(effort: Effort, seed: int) -> Iterator[str]:
    """How often the interval of ``estimate`` holds the true mean."""
    rng = np.random.default_rng(seed)
    yield f"### Intervals: share of {effort.intervals:,} samples whose 95 % interval holds the true mean (of Student's t alone)\n"
    yield f"| differences | {' | '.join(f'n = {n}' for n in effort.sizes)} |"
    yield "|---" * (len(effort.sizes) + 1) + "|"
    for kind, values in simulated.differences(10 * effort.population, seed).items():
        cells, truth = [], values.mean()
        for n in effort.sizes:
            samples = values[rng.integers(0, len(values), (effort.intervals, n))]
            found = [estimate(sample) for sample in samples]
            error = samples.std(axis=1, ddof=1) / np.sqrt(n) * float(t_quantile(n))
            plain = np.mean(np.abs(samples.mean(axis=1) - truth) <= error)
            cells.append(f"{np.mean([one.low <= truth <= one.high for one in found]):.3f} ({plain:.3f})")
        yield f"| {kind} | {' | '.join(cells)} |"


def t_quantile(n: int) -> float:
    """Give the 97.5 % quantile of Student's t for n queries."""
    from scipy import stats  # noqa: PLC0415 - for this one number

    return float(stats.t.ppf(0.975, n - 1))


def bound_losses(effort: Effort, seed: int) -> Iterator[str]:
    """How often ``bounds_above`` is below the true mean loss."""
    rng = np.random.default_rng(seed)
    yield f"\n### One-sided bounds: share of {effort.bounds:,} samples whose 95 % bound is below the true mean loss (5 % allowed)\n"
    yield f"| losses | {' | '.join(f'n = {n}' for n in effort.sizes)} |"
    yield "|---" * (len(effort.sizes) + 1) + "|"
    for kind, values in simulated.losses(10 * effort.population, seed).items():
        below = [
            np.mean(bounds_above(values[rng.integers(0, len(values), (n, effort.bounds))]) < values.mean()) for n in effort.sizes
        ]
        yield f"| {kind} | {' | '.join(f'{100 * share:.1f} %' for share in below)} |"


def find_false_plateaus(populations: dict[str, simulated.Population], effort: Effort, seed: int) -> Iterator[str]:
    """How often a chosen cut-off truly loses more than the margin, and how much deeper than needed it is."""
    yield f"\n### Plateaus: share of {effort.plateaus:,} samples whose cut-off truly loses more than the margin (5 % allowed)\n"
    yield "Stage 2 is at the stage 1 cut-off that the same sample chose. Depth: the median cut-off, over the smallest one truly"
    yield "enough. 0.02 takes 149 queries or more.\n"
    yield "| relevant documents | margin | n | stage 1 | stage 2 | either | depth, stage 1 | depth, stage 2 |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, population in populations.items():
        for margin in MARGINS:
            for n in effort.sizes[1:]:
                rng = np.random.default_rng(seed)
                found = [_find_two(population, margin, draw(rng, effort.population, n)) for _ in range(effort.plateaus)]
                wrong, deeper = np.array([one[0] for one in found]), np.array([one[1] for one in found])
                shares = [*wrong.mean(axis=0), wrong.any(axis=1).mean()]
                depths = " | ".join(f"{ratio:.2f}" for ratio in np.median(deeper, axis=0))
                yield f"| {name} | {margin:g} | {n} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} | {depths} |"


def _find_two(population: simulated.Population, margin: float, sample: Ints) -> tuple[tuple[bool, ...], tuple[float, ...]]:
    """Find both plateaus on a sample; tell whether each is wrong, and how much deeper than the true one."""
    found = find_plateaus(lambda stage, given: population.recall(stage, given)[sample], simulated.STAGES, EVERY, margin)
    wrong, deeper = [], []
    for stage, plateau in enumerate(found):
        given = tuple(one.k for one in found[:stage])
        truth = population.recall(stage, given).mean(axis=0)[: plateau.deepest]
        enough = 1 + int(np.argmax(truth >= truth[-1] - margin))
        wrong.append(bool(plateau.k < enough))
        deeper.append(plateau.k / enough)
    return tuple(wrong), tuple(deeper)


def make_candidates(vectors: Vectors, values: Floats, folds: int = FOLDS) -> Candidates:
    """Make the candidates of a sample, split into folds."""
    split = np.stack([np.random.default_rng(n).permutation(len(values)) % folds for n in range(SPLITS)])
    return simulated.as_candidates(vectors, values, split)


def choose_and_hold_out(populations: dict[str, simulated.Population], effort: Effort, seed: int) -> Iterator[str]:
    """What choosing the best overstates, what held-out intervals cover, and what the noise control says."""
    yield f"\n### Choosing the best of 210 vectors: {effort.choices:,} samples each\n"
    yield "Gains are in nDCG@10 over the deepest. Equal: each vector's values less their true mean, so that none is better. True"
    yield "gain: of what the folds chose, which the held-out interval is to cover, as choose() gives it and as if queries were"
    yield "independent. In-sample: whether an interval by the queries that chose covers the true gain of their choice.\n"
    heads = ("truth", "n", "folds", "in-sample gain", "noise control", "held-out gain", "true gain")
    yield f"| {' | '.join(heads)} | held out covers | as if independent | in-sample |"
    yield "|---" * 10 + "|"
    for name, population in populations.items():
        equal = population.values - population.values.mean(axis=0)
        for said, values in ((name, population.values), (f"{name}, equal", equal)):
            for n, folds in ((effort.sizes[1], effort.sizes[1] // 2), *((n, FOLDS) for n in effort.sizes[1:])):
                rng = np.random.default_rng(seed)
                rows = [_hold_out(population.vectors, values, draw(rng, len(values), n), folds) for _ in range(effort.choices)]
                *gains, covers, alone, naive = np.mean(rows, axis=0)
                shown = " | ".join(f"{gain:+.4f}" for gain in gains)
                yield f"| {said} | {n} | {folds} | {shown} | {covers:.3f} | {alone:.3f} | {naive:.3f} |"


def _hold_out(vectors: Vectors, values: Floats, sample: Ints, folds: int) -> tuple[float, ...]:
    """Choose and cross-validate once."""
    truth, candidates = values.mean(axis=0), make_candidates(vectors, values[sample], folds)
    gains, last = truth - truth[candidates.deepest], candidates.per_query(candidates.deepest)
    tried = cross_validate(replace(candidates, margin=0.05))
    best = candidates.best(candidates.sums[0].sum(axis=0))
    off, noise = wild_bootstrap(candidates.representatives[1] - last[:, None], candidates.folds[0])
    more = excess_variance(off, tried.per_query - last)
    held, alone = (estimate(tried.per_query - last, more=one) for one in (more, 0.0))
    naive, true = (
        estimate(candidates.per_query(best) - last),
        float(np.mean([gains[one.vector] for picks in tried.picks for one in picks])),
    )
    covered = [holds(held, true), holds(alone, true), holds(naive, gains[best])]
    return naive.mean, float(noise.mean()), held.mean, true, *covered


def holds(found: Estimate, truth: float) -> bool:
    """Tell whether an interval holds the truth."""
    return bool(found.low <= truth <= found.high)


def advise_and_name(
    populations: dict[str, simulated.Population], twins: dict[str, simulated.Population], effort: Effort, seed: int
) -> Iterator[str]:
    """How often the advice and the names of curves are wrong."""
    yield f"\n### Advice and shapes: shares of {effort.choices:,} samples (2.5 % allowed for each error)\n"
    yield "No gain: two cascades that are equally good, exactly; margin: one gains 0.02, the margin, exactly; power: 0.06.\n"
    yield "| truth | n | yes, no gain | no, margin | yes, power | peaked, where flat | increasing, where flat |"
    yield "|---|---|---|---|---|---|---|"
    for name, population in populations.items():
        for n in effort.sizes[1:]:
            rng = np.random.default_rng(seed)
            rows = [_advise(population, twins[name].values, draw(rng, effort.population, n), rng) for _ in range(effort.choices)]
            yield f"| {name} | {n} | {' | '.join(f'{100 * share:.1f} %' for share in np.mean(rows, axis=0))} |"


def _advise(population: simulated.Population, twin: Floats, sample: Ints, rng: np.random.Generator) -> tuple[bool, ...]:
    """Judge three true gains and one flat curve on a sample."""
    swap = rng.integers(0, 2, (len(sample), 1)).astype(np.bool_)  # which of the two is the longer one, query by query
    one, two = population.values[sample], twin[sample]
    long, short = np.where(swap, one, two), np.where(swap, two, one)
    other = make_candidates(population.vectors, short)
    gains = [compare([make_candidates(population.vectors, long + shift)], [other]) for shift in (0.0, 0.02, 0.06)]
    verdicts = [decide(gain, 0.02) for gain in gains]
    line = np.flatnonzero(population.vectors[:, 1] == simulated.SECOND[5])
    flat = (population.values - population.values.mean(axis=0))[sample][:, line]
    kind = classify_curve("bm25", population.vectors[line, 0], flat, other.folds).kind
    return verdicts[0] == "yes", verdicts[1] == "no", verdicts[2] == "yes", kind == "peaked", kind == "increasing"


if __name__ == "__main__":
    main()
