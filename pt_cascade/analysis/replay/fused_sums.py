"""Sums of measures over queries for every cut-off vector at every weight of its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.fused_kernel import list_sets, sum_sets
from pt_cascade.analysis.replay.kernel import DONE
from pt_cascade.ranking import score_below

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
    scores: Floats  # (stages, documents): finite where scored, -inf where the stage failed
    apart: NDArray[np.bool_]  # (documents,): what is not fused under any of the weights, as a stage with a weight failed
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
        scores, apart, weights = grid.scores[:, of_query], grid.apart[of_query], grid.weights
        worth = _normalise(grid.rule, scores, docs, sizes, apart)
        if apart.any():  # a stage of weight 1 before the others that moves what is not fused
            docs, weights = np.concatenate([docs[-1:], docs]), np.insert(weights, 0, 1.0, axis=1)
            worth = np.insert(worth, 0, _move_apart(worth, scores[-1], docs[-1], sizes, apart), axis=0)
        own = set_of[head_of]
        members = np.lexsort((last, own))
        starts = np.searchsorted(own[members], np.arange(len(sizes) + 1))
        sum_sets(
            docs,
            worth,
            offsets,
            weights,
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


def _normalise(rule: Fusion, scores: Floats, docs: NDArray[np.int32], sizes: Ints, apart: NDArray[np.bool_]) -> Floats:
    """Give what each stage's scores add with weight 1, 0 for what is ``apart``: shape (stages, documents of all sets)."""
    worth, numbers = np.zeros(docs.shape), np.repeat(np.arange(len(sizes)), sizes)
    for stage, (score, order) in enumerate(zip(scores, docs, strict=True)):
        fused = ~apart[order]
        some = np.bincount(numbers[fused], minlength=len(sizes))
        some = some[some > 0]
        within = np.arange(some.sum()) - np.repeat(np.cumsum(some) - some, some)
        known = np.where(np.isneginf(score), 0.0, score)  # of a stage without a weight
        worth[stage, fused] = rule.normalise_lists(within, known[order[fused]], some)
    return worth


def _move_apart(worth: Floats, last: Floats, order: NDArray[np.int32], sizes: Ints, apart: NDArray[np.bool_]) -> Floats:
    """Give what moves documents ``apart`` below the fused ones of their set, shape (documents of all sets,); 0 for the others.

    In a set without fused documents it is the last stage's score.
    """
    numbers, aside = np.repeat(np.arange(len(sizes)), sizes), apart[order]
    lowest = np.where(aside, np.nan, -np.abs(worth).max(initial=0.0) - 1)
    score = np.where(np.isin(numbers, numbers[~aside]), lowest, last[order])
    return np.where(aside, score_below(numbers, score, np.arange(len(order))), 0.0)
