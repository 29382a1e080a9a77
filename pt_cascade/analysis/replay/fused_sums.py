"""Sums of measures over queries for every cut-off vector at every weight of its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.fused_kernel import list_sets, sum_sets
from pt_cascade.analysis.replay.kernel import DONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.analysis.fusion.fuse import Fusion
    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.replay.kernel_types import MeasureSpec
    from pt_cascade.analysis.replay.rankings import Rankings
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True, eq=False)
class FusedGrid:
    """Cut-off vectors and weights under one rule of fusion; documents as in ``Rankings``."""

    vectors: Vectors  # (vectors, stages), in lexicographic order, each once
    weights: Floats  # (weights, stages)
    wanted: NDArray[np.bool_]  # (vectors, weights): what to measure
    rule: Fusion
    scores: Floats  # (stages, documents): finite where scored
    names: Ints  # (documents,): the place of each docno among all docnos
    labels: NDArray[np.int32]  # (documents,)
    by_rank: bool


def sum_fused(queries: Ints, rankings: Rankings, grid: FusedGrid, spec: MeasureSpec, groups: Ints, sums: Floats) -> int:
    """Add every query's measures to ``sums[groups[query]]``, of shape (groups, vectors, weights, measures).

    Returns ``DONE``, or stage * documents + document of a pair that is required and was not scored.
    """
    heads, head_of = np.unique(grid.vectors[:, :-1], axis=0, return_inverse=True)
    rest = heads[:, 1:] if heads.shape[1] > 1 else np.zeros((len(heads), 1), np.int32)
    different, tails = np.unique(rest, axis=0, return_inverse=True)
    last = np.ascontiguousarray(grid.vectors[:, -1])
    longest = int(np.diff(rankings.offsets)[queries].max(initial=1))
    discounts = np.log2(np.arange(longest + 1) + 2.0)
    for query in queries.tolist():
        begin, end = rankings.offsets[query], rankings.offsets[query + 1]
        if begin == end:
            continue
        of_query = slice(int(begin), int(end))
        places = rankings.places[:, of_query]
        set_of, offsets, docs, missing = list_sets(places, heads, tails.astype(np.int64), different[:, 0].astype(np.int64))
        if missing != DONE:
            stage, document = divmod(missing, int(end - begin))
            return stage * len(rankings.rows) + int(begin) + document
        sizes = np.diff(offsets)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        scores = zip(grid.scores[:, of_query], docs, strict=True)
        worth = np.stack([grid.rule.normalise_lists(within, score[order], sizes) for score, order in scores])
        own = set_of[head_of]
        members = np.lexsort((last, own))
        starts = np.searchsorted(own[members], np.arange(len(sizes) + 1))
        sum_sets(
            docs,
            worth,
            offsets,
            grid.weights,
            starts,
            members,
            last,
            grid.wanted,
            grid.names[of_query],
            grid.labels[of_query],
            spec.codes,
            np.ascontiguousarray(spec.norms[:, query]),
            grid.by_rank,
            discounts,
            sums[groups[query]],
        )
    return DONE
