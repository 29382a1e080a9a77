"""The kernel: every cut-off vector's measures from one pass over each query's documents.

Documents enter in the first stage's order. The second stage's list changes rarely, and only from the insert position on, so the
measures of a cut-off above that position stay valid; for the others, the lists after it grow as their cut-offs do. Lists are sorted
by places (``Rankings``), so ties matter only when a list is evaluated.

numba's cache does not see a change in another file: after one in ``kernel_measures``, delete ``__pycache__``. The inner functions
take arrays, not tuples of arrays, and return from one place: otherwise numba counts references at every call, which takes longer
than the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.compiling import compiled
from pt_cascade.analysis.replay.kernel_measures import measure_list
from pt_cascade.analysis.replay.kernel_types import GridIndex, KernelBuffers, MeasureSpec, QueryOptions, Ranked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints

    Numbers = NDArray[np.int32]

DONE = -1
FAR = 2**40  # beyond every position
SIZE, BOUND, PASSED, LAST, TIED = range(5)
_TWO = 2


@compiled
def _insert(docs: Numbers, keys: Numbers, row: int, size: int, doc: int, key: int) -> int:
    """Insert a document into the list of a row, sorted by key; return its position. A spare place takes what drops off the end."""
    at = size
    while at > 0 and keys[row, at - 1] > key:
        docs[row, at] = docs[row, at - 1]
        keys[row, at] = keys[row, at - 1]
        at -= 1
    docs[row, at] = doc
    keys[row, at] = key
    return at


@compiled
def _pass_on(docs: Numbers, keys: Numbers, state: Ints, places: Numbers, level: int, cutoff: int) -> int:
    """Pass on documents up to the cut-off; return the first position that changed in the next list, or ~(the pair not scored)."""
    below, changed = level + 1, FAR
    target = min(cutoff, state[SIZE, level])
    while state[PASSED, level] < target:
        doc: int = docs[level, state[PASSED, level]]
        key = places[below, doc]
        if key < 0:
            return ~(below * int(places.shape[1]) + doc)
        changed = min(changed, _insert(docs, keys, below, state[SIZE, below], doc, key))
        state[SIZE, below] = min(state[SIZE, below] + 1, state[BOUND, below])
        state[PASSED, level] += 1
    return changed


@compiled
def _start_head(docs: Numbers, keys: Numbers, state: Ints, places: Numbers, cutoff: int) -> int:
    """Extend the first list and empty the lists after the second; return as ``_pass_on`` (of one stage, its length before)."""
    stages = state.shape[1]
    before: int = state[PASSED, 0]
    if stages == 1:
        state[PASSED, 0] = min(cutoff, state[SIZE, 0])
        return before
    for level in range(1, stages - 1):
        state[PASSED, level], state[SIZE, level + 1], state[TIED, 0] = 0, 0, 0
    return _pass_on(docs, keys, state, places, 0, cutoff)


@compiled
def _invalidate(valid: Ints, seconds: Ints, changed: int, above: int, keep: bool) -> None:  # noqa: FBT001 - a flag among arrays
    """Reduce what is valid of each tail after the second list changed; ``above`` is what stays where it is cut below the change."""
    for tail in range(len(valid)):
        if seconds[tail] > changed:
            valid[tail] = min(valid[tail], above)
        elif keep:
            valid[tail] = min(valid[tail], changed)


@compiled
def _extend(docs: Numbers, keys: Numbers, state: Ints, places: Numbers, vectors: Vectors, vector: int) -> int:
    """Bring the lists after the second to a vector of this head; return as ``_pass_on``, of the last list."""
    changed, anew = FAR, False
    for level in range(1, state.shape[1] - 1):
        if anew:
            state[PASSED, level], state[SIZE, level + 1], state[TIED, 0] = 0, 0, 0
        cutoff = vectors[vector, level]
        changed = _pass_on(docs, keys, state, places, level, cutoff)
        if changed < 0:
            return changed
        anew |= cutoff != state[LAST, level]
        state[LAST, level] = cutoff
    return changed


@compiled
def _enter_ties(docs: Numbers, keys: Numbers, state: Ints, places: Numbers) -> None:
    """Insert what the last list received into the two orders of evaluation."""
    stages = state.shape[1]
    for at in range(state[TIED, 0], state[PASSED, stages - 2]):
        doc = docs[stages - 2, at]
        for row in range(stages, stages + 2):
            _insert(docs, keys, row, at, doc, places[row, doc])
    state[TIED, 0] = state[PASSED, stages - 2]


@compiled
def _collect(
    docs: Numbers, keys: Numbers, state: Ints, places: Numbers, options: QueryOptions, vectors: Vectors, vector: int, kind: int
) -> int:
    """Collect the top of what is evaluated: the last list's head and, if the tail is kept, what each stage cut, the last first."""
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
    docs, keys, state, values, valid, discounts = buffers
    vectors, heads, tails, seconds, keep = index
    stages = state.shape[1]
    for head in range(len(heads) - 1):
        changed = _start_head(docs, keys, state, places, vectors[heads[head], 0])
        if changed < 0:
            return ~changed
        above = 0 if stages > _TWO or options.ties else changed  # without a third list, the second is what is evaluated
        _invalidate(valid, seconds, -1 if stages == 1 else changed, above, keep)
        latest, cut = -1, 0
        for vector in range(heads[head], heads[head + 1]):
            tail, cutoff = tails[vector], vectors[vector, stages - 1]
            if valid[tail] < options.most:
                changed = _extend(docs, keys, state, places, vectors, vector)
                if changed < 0:
                    return ~changed
                if options.ties and stages > 1:
                    _enter_ties(docs, keys, state, places)
                same = changed if cutoff == cut and (changed >= cutoff or not options.ties) else 0
                collected, count = -1, 0
                for n in range(len(codes)):
                    reach = codes[n, 1] if keep else min(codes[n, 1], cutoff)
                    if valid[tail] >= reach:
                        continue
                    if same >= reach:
                        values[tail, n] = values[latest, n]
                        continue
                    if collected != codes[n, 3]:
                        collected = codes[n, 3]
                        count = _collect(docs, keys, state, places, options, vectors, vector, collected)
                    depth = min(codes[n, 1], count)
                    values[tail, n] = measure_list(codes[n, 0], depth, codes[n, 2], norms[n], docs, stages + 2, labels, discounts)
                valid[tail], latest, cut = FAR, tail, cutoff
            for n in range(len(codes)):
                sums[vector, n] += values[tail, n]
    return DONE


@compiled
def _sum_up(
    queries: Ints, ranked: Ranked, index: GridIndex, spec: MeasureSpec, buffers: KernelBuffers, groups: Ints, sums: Floats
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
            buffers.state[PASSED, stage], buffers.state[TIED, stage] = 0, 0
        if begin < end:
            options = QueryOptions(not ranked.agree[number], index.keep, spec.most)
            missing = _replay(buffers, places, labels, spec.norms[:, number], options, index, spec.codes, sums[groups[number]])
        if missing != DONE:
            stage, document = missing // (end - begin), missing % (end - begin)
            missing = stage * documents + begin + document
            break
    return missing


def sum_measures(queries: Ints, ranked: Ranked, index: GridIndex, spec: MeasureSpec, groups: Ints, sums: Floats) -> int:
    """Add every query's measures for every vector to ``sums[groups[query]]``, of shape (groups, vectors, measures).

    Returns ``DONE``, or stage * documents + document of a pair that is required and was not scored.
    """
    stages, longest = index.vectors.shape[1], int(np.diff(ranked.offsets)[queries].max(initial=1))
    docs, keys = np.empty((stages + 3, longest + 1), np.int32), np.empty((stages + 3, longest + 1), np.int32)
    state = np.zeros((5, stages), np.int64)
    state[BOUND] = longest if index.keep else np.minimum(longest, index.vectors.max(axis=0))
    values, valid = np.zeros((len(index.seconds), len(spec.codes))), np.zeros(len(index.seconds), np.int64)
    buffers = KernelBuffers(docs, keys, state, values, valid, np.log2(np.arange(longest + 1) + 2.0))
    missing: int = _sum_up(queries, ranked, index, spec, buffers, groups, sums)
    return missing
