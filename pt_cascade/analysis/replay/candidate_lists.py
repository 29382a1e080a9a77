"""The lists of a cascade's stages for one query, each in its stage's order, as documents enter one by one.

``docs`` and ``keys`` have a row for each list: documents, and their places in its stage's order, which rise. ``state`` says of each
list how long it is (``SIZE``), how long it need be (``BOUND``), how many of it were handed on (``TAKEN``), and for which cut-off
(``LAST``); and, once, how many documents have entered the rankings of evaluation (``TIED``). See ``records.KernelBuffers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.analysis.replay.compiling import compiled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Ints

    Numbers = NDArray[np.int32]

FAR = 2**40  # beyond every position
SIZE, BOUND, TAKEN, LAST, TIED = range(5)


@compiled
def insert(docs: Numbers, keys: Numbers, row: int, size: int, doc: int, key: int) -> int:
    """Insert a document into a list sorted by key; what drops off the end stands in a place to spare."""
    at = size
    while at > 0 and keys[row, at - 1] > key:
        docs[row, at] = docs[row, at - 1]
        keys[row, at] = keys[row, at - 1]
        at -= 1
    docs[row, at] = doc
    keys[row, at] = key
    return at


@compiled
def _hand_on(docs: Numbers, keys: Numbers, state: Ints, places: Numbers, level: int, cutoff: int) -> int:
    """Let a list hand on what its cut-off allows; return the first position that changed in the next, or ~(what was not scored)."""
    below, changed = level + 1, FAR
    target = min(cutoff, state[SIZE, level])
    while state[TAKEN, level] < target:
        doc: int = docs[level, state[TAKEN, level]]
        key = places[below, doc]
        if key < 0:
            return ~(below * int(places.shape[1]) + doc)
        changed = min(changed, insert(docs, keys, below, state[SIZE, below], doc, key))
        state[SIZE, below] = min(state[SIZE, below] + 1, state[BOUND, below])
        state[TAKEN, level] += 1
    return changed


@compiled
def open_head(docs: Numbers, keys: Numbers, state: Ints, places: Numbers, cutoff: int) -> int:
    """Let the first list hand on more, and empty the lists after the second."""
    stages = state.shape[1]
    before: int = state[TAKEN, 0]
    if stages == 1:
        state[TAKEN, 0] = min(cutoff, state[SIZE, 0])
        return before
    for level in range(1, stages - 1):
        state[TAKEN, level], state[SIZE, level + 1], state[TIED, 0] = 0, 0, 0
    return _hand_on(docs, keys, state, places, 0, cutoff)


@compiled
def unsettle(sound: Ints, seconds: Ints, changed: int, above: int, keep: bool) -> None:  # noqa: FBT001 - a flag among arrays
    """Note what a change of the second list unsettles."""
    for tail in range(len(sound)):
        if seconds[tail] > changed:
            sound[tail] = min(sound[tail], above)
        elif keep:
            sound[tail] = min(sound[tail], changed)


@compiled
def extend(docs: Numbers, keys: Numbers, state: Ints, places: Numbers, vectors: Vectors, vector: int) -> int:
    """Bring the lists after the second to a vector of this head."""
    changed, anew = FAR, False
    for level in range(1, state.shape[1] - 1):
        if anew:
            state[TAKEN, level], state[SIZE, level + 1], state[TIED, 0] = 0, 0, 0
        cutoff = vectors[vector, level]
        changed = _hand_on(docs, keys, state, places, level, cutoff)
        if changed < 0:
            return changed
        anew |= cutoff != state[LAST, level]
        state[LAST, level] = cutoff
    return changed
