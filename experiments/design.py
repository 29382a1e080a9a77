"""How many queries it takes until a certified choice is certain: queries of finished tables in random order, as a Markdown table.

Run: python experiments/design.py [--quick] [--seed N] [--data FOLDER]. About three minutes on one core; no model runs, but
pydocs and scifact are encoded first if they are not in the cache.

After each chunk of queries the test of ``analysis/certificates/betting.py`` is read, which is valid at any time. Scoring stops when
every vector of the path is certified, when the first that is not is shown to lose more than the margin, or when queries run out.
It does so with all vectors of the path, and with few: each at most half as expensive as the one before.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import promises
import simulated

import pt_cascade as ptc
from pt_cascade.analysis.certificates.betting import Evidence
from pt_cascade.analysis.certificates.fixed_sequence import certify
from pt_cascade.execution.defaults import score_collection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.ranking import Floats, Ints

MARGINS, ALPHA, CHUNK = (0.02, 0.05), 0.05, 10
SIZES = (50, 200, 500, 2000)
HEAD = "| pool | margin | n | all: wrong | cost | stopping: scored | wrong | cost | few vectors, stopping: scored | wrong | cost |"


class Sequence(NamedTuple):
    """The vectors that are tested, the reference first."""

    losses: Floats  # (vectors, queries): of the reference less that of each; 0 for the reference
    costs: Floats  # (vectors,): as shares of the reference's


class Outcome(NamedTuple):
    """What came of some samples, each of shape (samples,)."""

    scored: Ints  # queries
    picked: Ints  # vectors of the sequence


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="the folder that holds dl19 and scifact; without it no tables of them")
    arguments = parser.parse_args()
    start = time.perf_counter()
    samples, size, sizes = (4, 500, (60, 100)) if arguments.quick else (100, 10_000, SIZES)
    pools = simulate(size, arguments.seed)
    pools |= {} if arguments.quick else {"pydocs, 200 queries": open_pydocs(), **promises.open_real(arguments.data)}
    for line in tabulate({name: follow(pool) for name, pool in pools.items()}, samples, sizes, arguments.seed):
        print(line, flush=True)
    print(f"\nseed {arguments.seed}, {samples} samples; {time.perf_counter() - start:.0f} s")


def simulate(size: int, seed: int) -> dict[str, promises.Pool]:
    """Simulate pools of queries."""
    drawn = {name: simulated.cascade(size, name, seed) for name in ("one relevant", "1 to 12 relevant")}
    pools = {name: promises.Pool(one.vectors, one.values) for name, one in drawn.items()}
    return pools | {"misleading": promises.Pool(*simulated.mislead(size, MARGINS[0], 0.9, seed))}


def open_pydocs() -> promises.Pool:
    """Score the default cascade of pydocs, without its fusion, at a logarithmic grid."""
    collection = ptc.open_collection("pydocs")
    table = score_collection(collection, ptc.default_cascade(collection), collection.judged(None))
    swept = ptc.sweep(table, collection.qrels, ["nDCG@10"], grid="log")
    values = swept.replayer.sums(swept.grid.vectors, np.arange(len(swept.qids)))[:, :, 0]
    return promises.Pool(swept.grid.vectors, values)


def follow(pool: promises.Pool) -> Sequence:
    """Order the vectors of a pool as ``choose(method="certified")`` does, from the deepest down."""
    made = simulated.as_candidates(pool.vectors, pool.values, np.zeros((1, len(pool.values)), np.int64))
    costs = made.costs[np.r_[made.reference, made.sequence]]
    return Sequence(np.vstack([np.zeros(len(pool.values)), made.losses]), costs / costs[0])


def tabulate(pools: dict[str, Sequence], samples: int, sizes: tuple[int, ...], seed: int) -> Iterator[str]:
    """Yield the lines of the table: a row for each pool, margin and number of queries."""
    yield f"{HEAD}\n{'|---' * 11}|"
    for name, pool in pools.items():
        held = pool.losses.shape[1]
        for margin in MARGINS:
            for n in sizes if held > max(sizes) else sorted({held, 500, 2000}):
                rng = np.random.default_rng(seed)
                drawn = np.stack([rng.permutation(held) if n == held else rng.integers(0, held, n) for _ in range(samples)])
                yield f"| {name} | {margin:g} | {n:,} | {compare(pool, margin, drawn)} |"


def compare(pool: Sequence, margin: float, drawn: Ints) -> str:
    """Stop when the answer is certain, beside scoring everything; ``drawn`` are the queries of each sample, in order."""
    every = np.array([_cheapest(pool, certify(pool.losses[1:, rows], margin, ALPHA)) for rows in drawn])
    told = [_tell(pool, margin, every)]
    for path in (pool, halve(pool)):
        stopped = stop_early(path, margin, drawn)
        told += [f"{stopped.scored.mean() / drawn.shape[1]:.0%}", _tell(path, margin, stopped.picked)]
    return " | ".join(told)


def halve(pool: Sequence) -> Sequence:
    """Keep vectors that are at most half as expensive as the one before."""
    kept = [0]
    for at, cost in enumerate(pool.costs):
        if cost <= pool.costs[kept[-1]] / 2:
            kept.append(at)
    return Sequence(pool.losses[kept], pool.costs[kept])


def _tell(pool: Sequence, margin: float, picked: Ints) -> str:
    """Tell how often what was picked truly loses more than the margin, and what it costs."""
    return f"{np.mean(pool.losses.mean(axis=1)[picked] > margin):.1%} | {pool.costs[picked].mean():.2f}"


def stop_early(pool: Sequence, margin: float, drawn: Ints) -> Outcome:
    """Read the evidence after each chunk of all samples together."""
    samples, n = drawn.shape
    vectors = len(pool.losses) - 1
    within = Evidence.start(samples * vectors, margin, ALPHA)
    beyond = Evidence.start(samples * vectors, -margin, ALPHA)
    scored, count = np.full(samples, n), np.zeros(samples, np.int64)
    running = np.ones(samples, np.bool_)
    for at in range(0, n, CHUNK):
        losses = np.swapaxes(pool.losses[1:, drawn[:, at : at + CHUNK]], 0, 1).reshape(samples * vectors, -1)
        within, beyond = within.update(losses), beyond.update(-losses)
        certified = np.cumprod(within.p_values.reshape(samples, -1) <= ALPHA, axis=1).sum(axis=1)
        count[running] = certified[running]
        lost = np.c_[beyond.p_values.reshape(samples, -1) <= ALPHA, np.ones(samples, np.bool_)]
        certain = running & lost[np.arange(samples), count]
        scored[certain] = min(at + CHUNK, n)
        running &= ~certain
        if not running.any():
            break
    return Outcome(scored, np.array([_cheapest(pool, one) for one in count.tolist()]))


def _cheapest(pool: Sequence, certified: int) -> int:
    """Return the cheapest of the reference and the certified vectors."""
    return int(np.argmin(pool.costs[: certified + 1]))


if __name__ == "__main__":
    main()
