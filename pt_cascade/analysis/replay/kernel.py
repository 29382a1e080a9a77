"""The kernel: every cut-off vector's measures from one pass over each query's documents.

Documents enter in the first stage's order. The second stage's list changes rarely, and then only from the insert position on, so
what was computed for a cut-off above that position stands; for the others, the lists after it grow as their cut-offs do. A list is
in the order of places (``rankings``), so ties cost nothing until they are evaluated.

The inner functions take arrays, not tuples of them, and leave their loops in one place: else numba counts references to the arrays
at every call, which takes longer than the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay import candidate_lists as lists
from pt_cascade.analysis.replay.candidate_lists import BOUND, FAR, SIZE, TAKEN, TIED, extend, insert, open_head, unsettle
from pt_cascade.analysis.replay.compiling import compiled, forget_older
from pt_cascade.analysis.replay.kernel_types import GridIndex, KernelBuffers, MeasureSpec, QueryOptions, Ranked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints

    Numbers = NDArray[np.int32]

DONE, UNJUDGED = -1, int(np.iinfo(np.int32).min)
NDCG, RR, RECALL, PRECISION, AP, JUDGED, SUCCESS = range(7)
_TWO = 2


@compiled
def _enter_ties(docs: Numbers, keys: Numbers, state: Ints, places: Numbers) -> None:
    """Let all that the last list was handed enter the two rankings of evaluation."""
    stages = state.shape[1]
    for at in range(state[TIED, 0], state[TAKEN, stages - 2]):
        doc = docs[stages - 2, at]
        for row in range(stages, stages + 2):
            insert(docs, keys, row, at, doc, places[row, doc])
    state[TIED, 0] = state[TAKEN, stages - 2]


@compiled
def _lay_out(
    docs: Numbers, keys: Numbers, state: Ints, places: Numbers, options: QueryOptions, vectors: Vectors, vector: int, kind: int
) -> int:
    """Lay out the top of what is evaluated: the last list's head, and, if it is kept, what each stage cut, the last first."""
    stages = state.shape[1]
    last, shown, count = stages - 1, stages + 2, 0
    head = min(vectors[vector, last], state[SIZE, last])
    need = min(head, options.most)
    row = stages + kind if options.ties else last
    lowest, i = keys[last, head - 1], 0
    while count < need:
        doc = docs[row, i]
        i += 1
        if places[last, doc] <= lowest:
            docs[shown, count] = doc
            count += 1
    if options.keep:
        for level in range(last, -1, -1):
            cutoff = vectors[vector, level]
            for i in range(cutoff, cutoff + min(state[SIZE, level] - cutoff, options.most - count)):
                docs[shown, count] = docs[level, i]
                count += 1
    return count


@compiled
def measure(  # noqa: C901 - a branch a measure
    kind: int, depth: int, rel: int, norm: float, docs: Numbers, shown: int, labels: Numbers, discounts: Floats
) -> float:
    """Compute one measure of the first documents in a row, as trec_eval defines it."""
    found, total = 0, 0.0
    for i in range(depth):
        label = labels[docs[shown, i]]
        if kind == NDCG:
            if label > 0:
                total += label / discounts[i]
        elif kind == JUDGED:
            found += label != UNJUDGED
        elif label >= rel:
            found += 1
            if kind == AP:
                total += found / (i + 1.0)
            elif kind == RR:
                return 1.0 / (i + 1.0)
    if kind == JUDGED:
        return found / depth if depth else 0.0
    if kind in (RECALL, PRECISION):
        total = float(found)
    elif kind == SUCCESS:
        total = float(min(found, 1))
    return total / norm if norm > 0 else 0.0


@compiled
def _replay(  # noqa: C901 - cut up, a call a vector with all its arrays takes longer than the work
    buffers: KernelBuffers,
    places: Numbers,
    labels: Numbers,
    norms: Floats,
    options: QueryOptions,
    index: GridIndex,
    codes: Numbers,
    sums: Floats,
) -> int:
    """Add one query's measures for every vector; return as ``sum_measures``, of the query's own documents."""
    docs, keys, state, values, sound, discounts = buffers
    vectors, heads, tails, seconds, keep = index
    stages = state.shape[1]
    for head in range(len(heads) - 1):
        changed = open_head(docs, keys, state, places, vectors[heads[head], 0])
        if changed < 0:
            return ~changed
        above = 0 if stages > _TWO or options.ties else changed  # without a third list, the second is what is shown
        unsettle(sound, seconds, -1 if stages == 1 else changed, above, keep)
        latest, cut = -1, 0
        for vector in range(heads[head], heads[head + 1]):
            tail, cutoff = tails[vector], vectors[vector, stages - 1]
            if sound[tail] < options.most:
                changed = extend(docs, keys, state, places, vectors, vector)
                if changed < 0:
                    return ~changed
                if options.ties and stages > 1:
                    _enter_ties(docs, keys, state, places)
                same = changed if cutoff == cut and (changed >= cutoff or not options.ties) else 0
                laid, count = -1, 0
                for n in range(len(codes)):
                    reach = codes[n, 1] if keep else min(codes[n, 1], cutoff)
                    if sound[tail] >= reach:
                        continue
                    if same >= reach:
                        values[tail, n] = values[latest, n]
                        continue
                    if laid != codes[n, 3]:
                        laid = codes[n, 3]
                        count = _lay_out(docs, keys, state, places, options, vectors, vector, laid)
                    depth = min(codes[n, 1], count)
                    values[tail, n] = measure(codes[n, 0], depth, codes[n, 2], norms[n], docs, stages + 2, labels, discounts)
                sound[tail], latest, cut = FAR, tail, cutoff
            for n in range(len(codes)):
                sums[vector, n] += values[tail, n]
    return DONE


@compiled
def _sum_up(
    queries: Ints, ranked: Ranked, index: GridIndex, wanted: MeasureSpec, buffers: KernelBuffers, groups: Ints, sums: Floats
) -> int:
    """Go through the queries; see ``sum_measures``."""
    stages, documents, missing = buffers.state.shape[1], ranked.places.shape[1], DONE
    for number in queries:
        begin, end = ranked.offsets[number], ranked.offsets[number + 1]
        places, labels = ranked.places[:, begin:end], ranked.labels[begin:end]
        for i in range(end - begin):
            buffers.docs[0, i], buffers.keys[0, i] = i, i
            if stages == 1:
                buffers.docs[1, places[1, i]], buffers.docs[2, places[2, i]] = i, i
        for stage in range(stages):
            buffers.state[SIZE, stage] = end - begin if stage == 0 else 0
            buffers.state[TAKEN, stage], buffers.state[TIED, stage] = 0, 0
        if begin < end:
            options = QueryOptions(not ranked.agree[number], index.keep, wanted.most)
            missing = _replay(buffers, places, labels, wanted.norms[:, number], options, index, wanted.codes, sums[groups[number]])
        if missing != DONE:
            stage, document = missing // (end - begin), missing % (end - begin)
            missing = stage * documents + begin + document
            break
    return missing


def sum_measures(queries: Ints, ranked: Ranked, index: GridIndex, wanted: MeasureSpec, groups: Ints, sums: Floats) -> int:
    """Add every query's measures for every cut-off vector to the sums of its group."""
    stages, longest = index.vectors.shape[1], int(np.diff(ranked.offsets)[queries].max(initial=1))
    docs, keys = np.empty((stages + 3, longest + 1), np.int32), np.empty((stages + 3, longest + 1), np.int32)
    state = np.zeros((5, stages), np.int64)
    state[BOUND] = longest if index.keep else np.minimum(longest, index.vectors.max(axis=0))
    values, sound = np.zeros((len(index.seconds), len(wanted.codes))), np.zeros(len(index.seconds), np.int64)
    buffers = KernelBuffers(docs, keys, state, values, sound, np.log2(np.arange(longest + 1) + 2.0))
    missing: int = _sum_up(queries, ranked, index, wanted, buffers, groups, sums)
    return missing


forget_older(_sum_up, lists)
