"""The kernel for fused stages: the documents that reach the last stage at each cut-off vector, and their measures at each weight.

A set of documents serves all vectors that pass on the same ones: the second stage's list changes rarely as the first is cut deeper,
so a tail (the cut-offs after the first) keeps its set until a document enters above its second cut-off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.compiling import compiled
from pt_cascade.analysis.replay.kernel_measures import measure_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.replay.kernel_types import Numbers
    from pt_cascade.ranking import Floats, Ints

_RANK = 2  # an order of evaluation: that of the ranking
_TWO = 2


@compiled
def _narrow(places: Numbers, stage: int, given: Numbers, size: int, cutoff: int, kept: Numbers) -> int:
    """Write the best documents of a stage among some, in its order; return how many, or ~(the document not scored)."""
    count = 0
    for i in range(size):
        doc: int = given[i]
        place: int = places[stage, doc]
        if place < 0:
            return ~doc
        at = count
        while at > 0 and places[stage, kept[at - 1]] > place:
            if at < len(kept):
                kept[at] = kept[at - 1]
            at -= 1
        if at < cutoff:
            kept[at] = doc
        count = min(count + 1, cutoff)
    return count


@compiled
def _enter(places: Numbers, kept: Numbers, size: int, doc: int) -> int:
    """Insert a document into the second stage's list, of the length of ``kept`` at most; return its position."""
    at = size
    while at > 0 and places[1, kept[at - 1]] > places[1, doc]:
        if at < len(kept):
            kept[at] = kept[at - 1]
        at -= 1
    if at < len(kept):
        kept[at] = doc
    return at


@compiled
def _write(order: Numbers, inside: NDArray[np.bool_], given: Numbers, count: int, docs: Numbers, begin: int) -> None:
    """Write some documents in the order of each stage; ``inside`` is false before and after."""
    for i in range(count):
        inside[given[i]] = True
    for stage in range(len(order)):
        i, at = 0, begin
        while at < begin + count:
            doc = order[stage, i]
            if inside[doc]:
                docs[stage, at] = doc
                at += 1
            i += 1
    for i in range(count):
        inside[given[i]] = False


@compiled
def _order_places(places: Numbers) -> Numbers:
    """List each stage's documents in its order: shape (stages, documents), -1 at the end."""
    order = np.full(places.shape, -1, np.int32)
    for stage in range(len(places)):
        for doc in range(places.shape[1]):
            if places[stage, doc] >= 0:
                order[stage, places[stage, doc]] = doc
    return order


@compiled
def list_sets(  # noqa: C901, PLR0912 - one pass over the lists
    places: Numbers, heads: Vectors, tails: Ints, seconds: Ints
) -> tuple[Ints, Ints, Numbers, int]:
    """List the different sets of documents that reach the last stage.

    Args:
        places: Shape (stages, documents) of one query, as in ``Rankings``; two stages or more.
        heads: Shape (heads, stages - 1): the cut-offs of all stages but the last, in lexicographic order, each once.
        tails: Shape (heads,): the number of the cut-offs after the first.
        seconds: Shape (tails,): the second of all cut-offs; of two stages any number.

    Returns:
        The set of each head, shape (heads,); where each set begins, shape (sets + 1,); its documents in the order of each stage,
        shape (stages, all sets); and -1, or stage * documents + document of a pair that is required and was not scored.
    """
    stages, n = places.shape
    order = _order_places(places)
    latest = np.full(len(seconds), -1, np.int64)
    set_of, offsets = np.empty(len(heads), np.int64), np.zeros(len(heads) + 1, np.int64)
    docs = np.empty((stages, max(64, 4 * n)), np.int32)
    second = np.empty(min(n, seconds.max()) if stages > _TWO else 1, np.int32)
    given, kept, inside = np.empty(n, np.int32), np.empty(n, np.int32), np.zeros(n, np.bool_)
    entered, sets, size = 0, 0, 0
    for h in range(len(heads)):
        first = min(heads[h, 0], n)
        changed = n
        while entered < first:
            if stages > _TWO:
                if places[1, entered] < 0:
                    return set_of, offsets, docs, n + entered
                changed = min(changed, _enter(places, second, size, entered))
                size = min(size + 1, len(second))
            entered += 1
            if stages == _TWO:
                changed = 0
        for tail in range(len(seconds) if changed < n else 0):
            if stages == _TWO or changed < seconds[tail]:
                latest[tail] = -1
        if latest[tails[h]] < 0:
            count = first if stages == _TWO else min(heads[h, 1], size)
            for i in range(count):
                given[i] = i if stages == _TWO else second[i]
            for stage in range(2, stages - 1):
                count = _narrow(places, stage, given, count, heads[h, stage], kept)
                if count < 0:
                    return set_of, offsets, docs, stage * n + ~count
                given[:count] = kept[:count]
            begin = offsets[sets]
            if begin + count > docs.shape[1]:
                more = np.empty((stages, 2 * docs.shape[1] + count), np.int32)
                more[:, :begin] = docs[:, :begin]
                docs = more
            for i in range(count):
                if places[stages - 1, given[i]] < 0:
                    return set_of, offsets, docs, (stages - 1) * n + given[i]
            _write(order, inside, given, count, docs, begin)
            latest[tails[h]] = sets
            sets += 1
            offsets[sets] = begin + count
        set_of[h] = latest[tails[h]]
    return set_of, offsets[: sets + 1], docs[:, : offsets[sets]], -1


@compiled
def _select(value: Floats, tie: Ints, among: Numbers, size: int, most: int, best: Numbers) -> int:
    """Write the positions of the highest values, ties by the lowest ``tie``, in order; return how many."""
    count = 0
    for i in range(size):
        one = among[i]
        if count == most and (
            value[one] < value[best[count - 1]] or (value[one] == value[best[count - 1]] and tie[one] > tie[best[count - 1]])
        ):
            continue
        at = count if count < most else count - 1
        while at > 0 and (value[best[at - 1]] < value[one] or (value[best[at - 1]] == value[one] and tie[best[at - 1]] > tie[one])):
            best[at] = best[at - 1]
            at -= 1
        best[at] = one
        count = min(count + 1, most)
    return count


@compiled
def sum_sets(  # noqa: C901, PLR0912, PLR0913, PLR0917 - the work of one query, in one pass
    docs: Numbers,
    worth: Floats,
    offsets: Ints,
    weights: Floats,
    starts: Ints,
    members: Ints,
    cutoffs: Vectors,
    wanted: NDArray[np.bool_],
    names: Ints,
    labels: Numbers,
    codes: Numbers,
    norms: Floats,
    by_rank: bool,  # noqa: FBT001 - a flag among arrays
    discounts: Floats,
    sums: Floats,
) -> None:
    """Add one query's measures for every vector and weight.

    Args:
        docs: As ``list_sets`` returns them.
        worth: The same shape: what each document's score adds with weight 1.
        offsets: As ``list_sets`` returns them.
        weights: Shape (weights, stages).
        starts: Shape (sets + 1,): where the vectors of each set begin in ``members``, there by their last cut-off.
        members: Shape (vectors,): the number of each vector.
        cutoffs: Shape (vectors,): the last cut-off of each vector.
        wanted: Shape (vectors, weights): what to measure.
        names: Shape (documents,): the place of each document's docno among all docnos.
        labels: Shape (documents,).
        codes: The measures, see ``MeasureSpec``.
        norms: Shape (measures,): their divisors.
        by_rank: Evaluate in rank order, not as trec_eval breaks ties.
        discounts: See ``KernelBuffers``.
        sums: Shape (vectors, weights, measures).
    """
    stages, n = docs.shape[0], len(names)
    most = int(codes[:, 1].max())
    terms, term = np.empty((stages, n)), np.empty(stages)
    value = np.empty((3, n))
    tie = np.empty((3, n), np.int64)
    whole, best, shown, values = np.empty(n, np.int32), np.empty(n, np.int32), np.empty((1, n), np.int32), np.empty(len(codes))
    for number in range(len(offsets) - 1):
        begin, end = offsets[number], offsets[number + 1]
        size = end - begin
        for stage in range(stages):
            for at in range(begin, end):
                terms[stage, docs[stage, at]] = worth[stage, at]
        for i in range(size):
            whole[i] = i
            name = names[docs[stages - 1, begin + i]]
            tie[0, i], tie[1, i], tie[_RANK, i] = -name, name, i
        for w in range(len(weights)):
            latest = -1
            for member in range(starts[number], starts[number + 1]):
                vector = members[member]
                if not wanted[vector, w]:
                    continue
                if latest < 0:
                    for i in range(size):
                        doc = docs[stages - 1, begin + i]
                        for stage in range(stages):
                            one, at = terms[stage, doc] * weights[w, stage], stage
                            while at > 0 and term[at - 1] > one:
                                term[at] = term[at - 1]
                                at -= 1
                            term[at] = one
                        total = term[0]
                        for stage in range(1, stages):
                            total += term[stage]
                        value[0, i], value[1, i], value[_RANK, i] = np.float32(total), total, total
                cutoff = min(cutoffs[vector], size)
                if cutoff != latest:
                    latest = cutoff
                    among, kept = whole, size
                    if cutoff < size:
                        among, kept = best, _select(value[_RANK], tie[_RANK], whole, size, cutoff, best)
                    collected = -1
                    for m in range(len(codes)):
                        order = _RANK if by_rank else codes[m, 3]
                        if order != collected:
                            collected = order
                            count = _select(value[order], tie[order], among, kept, min(most, kept), shown[0])
                            for i in range(count):
                                shown[0, i] = docs[stages - 1, begin + shown[0, i]]
                        depth = min(codes[m, 1], count)
                        values[m] = measure_list(codes[m, 0], depth, codes[m, 2], norms[m], shown, 0, labels, discounts)
                for m in range(len(codes)):
                    sums[vector, w, m] += values[m]
