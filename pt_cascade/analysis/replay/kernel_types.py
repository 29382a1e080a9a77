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
    """One path of a table under some labels; documents and queries as in ``Orders``.

    Attributes:
        offsets: Shape (queries + 1,).
        places: Shape (stages + 2, documents). Places at each stage, then in the two orders of evaluation.
        agree: Shape (queries,).
        labels: Shape (documents,). The judgment of each, ``UNJUDGED`` for none.
    """

    offsets: Ints
    places: Numbers
    agree: Flags
    labels: Numbers


class Steps(NamedTuple):
    """The vectors, as they are walked through: all of one first cut-off, a head, then those of the next.

    Attributes:
        vectors: Shape (vectors, stages), in lexicographic order; the largest int32 is no cut.
        heads: Shape (distinct first cut-offs + 1,). Where the vectors of each begin.
        tails: Shape (vectors,). Number of what follows the first cut-off: equal for equal rests.
        seconds: Shape (tails,). The second cut-off of each tail; of a single stage: 0.
        keep: Whether what is cut follows below.
    """

    vectors: Vectors
    heads: Ints
    tails: Ints
    seconds: Ints
    keep: bool


class Wanted(NamedTuple):
    """The measures.

    Attributes:
        codes: Shape (measures, 4): kind, cut-off, lowest label that is relevant, which order of evaluation.
        norms: Shape (measures, queries). What the sum is divided by; 0 where the query has nothing relevant.
        most: The largest of the cut-offs.
    """

    codes: Numbers
    norms: Floats
    most: int


class Desk(NamedTuple):
    """What is written on while a query is walked through.

    Attributes:
        docs: Shape (stages + 3, longest + 1). Each stage's list, in its order; then, if the query has ties, all that the last stage
            was handed, in each order of evaluation; then the head of what is evaluated.
        keys: The same: their places in those orders.
        state: Shape (5, stages). Of each list how long it is, how long it need be, how many of it were handed on, and for which
            cut-off; then, once, how many have entered the orders of evaluation.
        values: Shape (tails, measures). As last computed.
        sound: Shape (tails,). How many documents at the top of what is evaluated are still those of the values; a query's first
            document unsettles all.
        discounts: Shape (longest + 1,). log2(rank + 1), ranks from 1.
    """

    docs: Numbers
    keys: Numbers
    state: Ints
    values: Floats
    sound: Ints
    discounts: Floats


class Terms(NamedTuple):
    """Numbers that hold for a query."""

    ties: bool
    keep: bool
    most: int
