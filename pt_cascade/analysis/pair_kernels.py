"""The kernel of a pairwise last stage: every cut-off vector's measures from one pass over each query's documents.

The stages before it are walked through as in ``kernels`` (``lists``). What they hand on is a set that changes by a document or two
from one vector to the next, and is kept in order as it does (``teams``). As in ``kernels``, the innermost functions take arrays,
not tuples of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.compiling import compiled
from pt_cascade.analysis.kernels import DONE, measure
from pt_cascade.analysis.lists import BOUND, FAR, SIZE, TAKEN, TIED, extend, open_head, unsettle
from pt_cascade.analysis.records import Desk, Ranked, Ring, Steps, Wanted
from pt_cascade.analysis.teams import gather, line_up, sit_down

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.bouts import Bouts
    from pt_cascade.ranking import Floats, Ints

    Numbers = NDArray[np.int32]


@compiled
def _show_head(shown: Numbers, team: Numbers, head: int, need: int, scores: Floats, ties: Numbers, single: bool) -> None:  # noqa: FBT001 - a flag among arrays
    """Lay out the top of what is kept as it is evaluated: equal scores, in float32 or float64, in an order of their own."""
    begin = 0
    while begin < need:
        score, end = scores[team[begin]], begin
        while end < head and (np.float32(scores[team[end]]) == np.float32(score) if single else scores[team[end]] == score):
            at = end
            while at > begin and ties[shown[at - 1]] > ties[team[end]]:
                shown[at] = shown[at - 1]
                at -= 1
            shown[at] = team[end]
            end += 1
        begin = end


@compiled
def _show_tail(docs: Numbers, state: Ints, team: Numbers, size: int, cutoffs: Numbers, count: int, most: int) -> int:
    """Lay out below it what each stage cut, the last first; return how many there are."""
    stages = state.shape[1]
    for i in range(count, min(size, most)):
        docs[stages, count] = team[i]
        count += 1
    for level in range(stages - 1, -1, -1):
        cutoff = cutoffs[level]
        for i in range(cutoff, cutoff + min(state[SIZE, level] - cutoff, most - count)):
            docs[stages, count] = docs[level, i]
            count += 1
    return count


@compiled
def _replay(  # noqa: C901 - as in ``kernels``
    bench: tuple[Desk, Ring], places: Numbers, labels: Numbers, number: int, steps: Steps, wanted: Wanted, kind: int, sums: Floats
) -> int:
    """Add one query's measures for every vector; return as ``sum_pair_measures``, of the query's own documents."""
    (docs, keys, state, values, sound, discounts), (seats, gains, team, stamps, totals, scores) = bench
    vectors, heads, tails, seconds, keep = steps
    codes, norms, most, exact = wanted
    size: int = 0
    stages, width = int(state.shape[1]), int(places.shape[1])
    for head in range(len(heads) - 1):
        changed = open_head(docs, keys, state, places, vectors[heads[head], 0])
        if changed < 0:
            return ~changed
        unsettle(sound, seconds, -1 if stages == 1 else changed, 0, keep)
        for vector in range(heads[head], heads[head + 1]):
            tail, cutoff = tails[vector], vectors[vector, stages]
            if sound[tail] < most:
                changed = extend(docs, keys, state, places, vectors, vector)
                if changed < 0:
                    return ~changed
                listed = docs[stages - 1, : min(vectors[vector, stages - 1], state[SIZE, stages - 1])]
                size = gather(listed, team, size, seats, gains, totals, stamps, kind)
                if size < 0:
                    return (stages + ~size // len(team)) * width + ~size % len(team)
                line_up(team, size, totals, scores, places[stages], kind)
                laid, count = -1, 0
                for n in range(len(codes)):
                    if sound[tail] >= (codes[n, 1] if keep else min(codes[n, 1], cutoff)):
                        continue
                    if laid != codes[n, 3]:
                        laid = codes[n, 3]
                        count = min(cutoff, size, most)
                        single = laid == 0 and not exact
                        _show_head(docs[stages], team, min(cutoff, size), count, scores, places[stages + 1 + laid], single)
                        if keep:
                            count = _show_tail(docs, state, team, size, vectors[vector], count, most)
                    depth = min(codes[n, 1], count)
                    values[tail, n] = measure(codes[n, 0], depth, codes[n, 2], norms[n, number], docs, stages, labels, discounts)
                sound[tail] = FAR
            for n in range(len(codes)):
                sums[vector, n] += values[tail, n]
    return DONE


@compiled
def _sum_up(
    queries: Ints,
    ranked: Ranked,
    bouts: Bouts,
    steps: Steps,
    wanted: Wanted,
    bench: tuple[Desk, Ring],
    groups: Ints,
    sums: Floats,
) -> int:
    """Go through the queries; see ``sum_pair_measures``."""
    desk, ring = bench
    stages, documents, missing = desk.state.shape[1], int(ranked.places.shape[1]), DONE
    for number in queries:
        begin, end = ranked.offsets[number], ranked.offsets[number + 1]
        low, high = bouts.offsets[number], bouts.offsets[number + 1]
        for i in range(end - begin):
            desk.docs[0, i], desk.keys[0, i] = i, i
        for stage in range(stages):
            desk.state[SIZE, stage] = end - begin if stage == 0 else 0
            desk.state[TAKEN, stage], desk.state[TIED, stage] = 0, 0
        if begin < end:
            sit_down(bouts.first[low:high], bouts.second[low:high], bouts.terms[low:high], begin, ring.seats, ring.gains)
            places, labels = ranked.places[:, begin:end], ranked.labels[begin:end]
            missing = _replay(bench, places, labels, number, steps, wanted, bouts.kind, sums[groups[number]])
        if missing != DONE:
            stage, document = missing // (end - begin), missing % (end - begin)
            missing = (stage if stage < stages else stage + begin) * documents + begin + document
            break
    return missing


def sum_pair_measures(
    queries: Ints,
    ranked: Ranked,
    bouts: Bouts,
    steps: Steps,
    wanted: Wanted,
    groups: Ints,
    sums: Floats,
) -> int:
    """Add every query's measures for every cut-off vector to the sums of its group, a pairwise stage being the last.

    Args:
        queries: Which queries to take.
        ranked: Their documents. Shape of ``places`` (stages + 2, documents): those of the pairwise stage say how it breaks ties.
        bouts: What it said of every two of them.
        steps: The vectors.
        wanted: The measures.
        groups: Shape (all queries,). Which sums a query adds to.
        sums: Shape (groups, vectors, measures), added to.

    Returns:
        ``DONE``, or, where a pair is needed that was not scored, its stage * documents + document; where a duel is, (the pairwise
        stage + one document) * documents + the other.
    """
    stages, longest = steps.vectors.shape[1] - 1, int(np.diff(ranked.offsets)[queries].max(initial=1))
    docs, keys = np.empty((stages + 1, longest + 1), np.int32), np.empty((stages + 1, longest + 1), np.int32)
    state = np.zeros((5, stages), np.int64)
    state[BOUND] = longest if steps.keep else np.minimum(longest, steps.vectors[:, :-1].max(axis=0))
    values, sound = np.zeros((len(steps.seconds), len(wanted.codes))), np.zeros(len(steps.seconds), np.int64)
    desk = Desk(docs, keys, state, values, sound, np.log2(np.arange(longest + 1) + 2.0))
    bench = (desk, _open_ring(queries, bouts, longest))
    missing: int = _sum_up(queries, ranked, bouts, steps, wanted, bench, groups, sums)
    return missing


def _open_ring(queries: Ints, bouts: Bouts, longest: int) -> Ring:
    """Make room for the largest of the queries' sets."""
    duellists = np.r_[0, np.cumsum(np.diff(bouts.first, prepend=-1) != 0)]
    seats = int(np.diff(duellists[bouts.offsets])[queries].max(initial=0))
    return Ring(
        np.full(longest + 1, -1, np.int32),
        np.empty((seats, seats), np.int64),
        np.empty(longest + 1, np.int32),
        np.zeros(longest + 2, np.int64),
        np.zeros(longest + 1, np.int64),
        np.zeros(longest + 1),
    )
