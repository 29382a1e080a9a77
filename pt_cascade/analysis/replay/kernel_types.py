"""What the kernel reads and writes, as tuples of arrays."""

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
    places: Numbers  # (stages + 2, documents): Places at each stage, then in the two rankings of evaluation
    agree: Flags  # (queries,)
    labels: Numbers  # (documents,): The judgment of each, ``UNJUDGED`` for none


class GridIndex(NamedTuple):
    """The vectors, as they are walked through: all of one first cut-off, a head, then those of the next."""

    vectors: Vectors  # (vectors, stages): in lexicographic order; the largest int32 is no cut
    heads: Ints  # (distinct first cut-offs + 1,): Where the vectors of each begin
    tails: Ints  # (vectors,): Number of what follows the first cut-off: equal for equal rests
    seconds: Ints  # (tails,): The second cut-off of each tail; of a single stage: 0
    keep: bool  # Whether what is cut follows below


class MeasureSpec(NamedTuple):
    """The measures."""

    codes: Numbers  # (measures, 4): kind, cut-off, lowest label that is relevant, which order of evaluation
    norms: Floats  # (measures, queries): What the sum is divided by; 0 where the query has nothing relevant
    most: int  # The largest of the cut-offs


class KernelBuffers(NamedTuple):
    """What is written on while a query is walked through."""

    # (stages + 3, longest + 1): Each stage's list, in its order; then, if the query has ties, all that the last stage was
    # handed, in each order of evaluation; then the head of what is evaluated
    docs: Numbers
    keys: Numbers  # The same: their places in those rankings
    # (5, stages): Of each list how long it is, how long it need be, how many of it were handed on, and for which cut-off;
    # then, once, how many have entered the rankings of evaluation
    state: Ints
    values: Floats  # (tails, measures): As last computed
    # (tails,): How many documents at the top of what is evaluated are still those of the values; a query's first document
    # unsettles all
    sound: Ints
    discounts: Floats  # (longest + 1,): log2(rank + 1), ranks from 1


class QueryOptions(NamedTuple):
    """Numbers that hold for a query."""

    ties: bool
    keep: bool
    most: int
