"""What the kernel reads and writes, as tuples of arrays.

``docs`` and ``keys`` have a row for each stage's list: documents, and their places in its stage's order, ascending. ``state``
holds, for each list, its length (``SIZE``), the length needed (``BOUND``), how many of its documents were passed on (``PASSED``)
and for which cut-off (``LAST``); and, once, how many documents have entered the two orders of evaluation (``TIED``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.ranking import Floats, Ints

    Numbers = NDArray[np.int32]
    Flags = NDArray[np.bool_]


class Ranked(NamedTuple):
    """One path of a table under some labels; documents and queries as in ``Rankings``."""

    offsets: Ints  # (queries + 1,)
    places: Numbers  # (stages + 2, documents): places at each stage, then in the two orders of evaluation
    agree: Flags  # (queries,)
    labels: Numbers  # (documents,): judgments, ``UNJUDGED`` for none


class GridIndex(NamedTuple):
    """The vectors by heads and tails: a head is a first cut-off, a tail the cut-offs after it."""

    vectors: Vectors  # (vectors, stages), in lexicographic order; the largest int32 is no cut
    heads: Ints  # (heads + 1,): where the vectors of each head begin
    tails: Ints  # (vectors,): the number of its tail, equal for equal tails
    seconds: Ints  # (tails,): the second cut-off of each tail; of a single stage 0
    keep: bool  # whether documents that are cut follow below


class MeasureSpec(NamedTuple):
    """The measures."""

    codes: Numbers  # (measures, 4): kind, cut-off, lowest relevant label, order of evaluation
    norms: Floats  # (measures, queries): the divisor; 0 where the query has nothing relevant
    most: int  # the largest of the cut-offs


class KernelBuffers(NamedTuple):
    """Memory that the kernel writes to for each query; see the module."""

    # (stages + 3, longest + 1): each stage's list; if the query has ties, what the last stage received in each order of evaluation;
    # the top of what is evaluated
    docs: Numbers
    keys: Numbers  # the same shape
    state: Ints  # (5, stages)
    values: Floats  # (tails, measures), as last computed
    valid: Ints  # (tails,): how many documents at the top of what is evaluated are still those of the values
    discounts: Floats  # (longest + 1,): log2(rank + 1), ranks from 1


class QueryOptions(NamedTuple):
    """Numbers that hold for a query."""

    ties: bool
    keep: bool
    most: int
