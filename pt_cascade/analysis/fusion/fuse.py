"""Several runs fused into one: by reciprocal ranks, or by a weighted sum of normalised scores.

In the fused run:

- **rank** of a document in a run is by score, descending, ties by row order (the tie rule); a rank column is not read;
- **score** is the sum over runs, the same to the last bit in any order of the runs;
- **ties** of fused scores are in the order of the first run, then the second, and so on;
- **columns**: see ``columns``; where runs disagree, the first one with a value wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.fusion.columns import merge_columns
from pt_cascade.analysis.fusion.normalization import Normalise, normalise_lists, score_missing
from pt_cascade.analysis.fusion.pooling import check_runs, pool_runs
from pt_cascade.errors import CascadeError, FrameError
from pt_cascade.numbers import count_of, is_amount, is_several, is_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.fusion.pooling import Pool
    from pt_cascade.ranking import Floats, Ints

Method: TypeAlias = Literal["rrf", "weighted"]
Missing: TypeAlias = Literal["worst", "zero"]
Runs: TypeAlias = "Sequence[pd.DataFrame] | Mapping[str, pd.DataFrame]"

K = 60


def fuse(
    runs: Runs,
    method: Method = "rrf",
    *,
    weights: Sequence[float] | None = None,
    k: float = K,
    normalise: Normalise = "min-max",
    missing: Missing = "worst",
    topics: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Fuse several runs into one that has each (qid, docno) of any of them once.

    ``rrf`` gives a document the sum of weight / (k + rank) over the runs that have it, ranks from 1. ``weighted`` gives it the sum
    of weight * normalised score over all runs; ``missing`` gives the score of a document that a run with results for the query
    lacks. A run without results for a query adds nothing.

    The scores equal those of ranx, but for ties within a run, which ranx does not order by row.

    Args:
        runs: Frame[qid, docno, score, ...] each, in any order of rows; a mapping gives them names, for errors.
        method: ``rrf`` or ``weighted``.
        weights: One a run, 0 or more, not all 0; not rescaled. None: 1 each.
        k: The constant of ``rrf``, 0 or more; a larger one reduces the weight of the top ranks.
        normalise: For ``weighted``, list by list: ``min-max``, ``z-score``, ``max``, ``sum``, ``rank`` or ``none``; see
            ``pt_cascade.analysis.fusion.normalization``.
        missing: For ``weighted``: ``worst``: a document that a run lacks gets the run's lowest normalised score for the query, or
        less
            where the run has a single score (the rule is in ``normalization``); ``zero``: 0, which for log-probabilities is the
            best score possible.
        topics: Frame[qid, query, ...]: the order of the queries, and columns for every row. None: queries in the order of the runs.

    Returns:
        Frame[qid, (query), docno, score: float64, rank: int64, ...], queries in order, each by rank.

    Raises:
        CascadeError: An option is unknown, out of range or of the other method, or ``runs`` is one frame.
        FrameError: A run is not usable (see ``canonical_results``) or has a qid that the topics lack; or scores overflow.

    References:
        Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009.
        Bruch, Gai & Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 42(1), 2023: the convex combination.

    Example:
        >>> import pandas as pd
        >>> one = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "score": [9.0, 5.0]})
        >>> two = pd.DataFrame({"qid": "1", "docno": ["b", "c"], "score": [-1.0, -2.0]})
        >>> fused = fuse([one, two])
        >>> fused["docno"].tolist(), fused["score"].tolist() == [1 / 62 + 1 / 61, 1 / 61, 1 / 62]
        (['b', 'a', 'c'], True)
        >>> fuse([one, two], "weighted", weights=(0.3, 0.7))[["docno", "score"]].to_numpy().tolist()
        [['b', 0.7], ['a', 0.3], ['c', 0.0]]
    """
    named = _name(runs)
    fusion = Fusion(method, weights, k, normalise, missing)
    if problems := fusion.find_problems(len(named)):
        raise CascadeError("the runs cannot be fused", problems, fix='fuse([one, two], "weighted", weights=(0.3, 0.7))')
    return fusion.apply(named, topics)


@dataclass(frozen=True)
class Fusion:
    """The options of ``fuse``."""

    method: Method = "rrf"
    weights: Sequence[float] | None = None
    k: float = K
    normalise: Normalise = "min-max"
    missing: Missing = "worst"

    def find_problems(self, runs: int) -> list[str]:
        """List the options that are unknown, out of range, or of the other method, for so many runs."""
        words = {"method": get_args(Method), "normalise": get_args(Normalise), "missing": get_args(Missing)}
        odd = {name: known for name, known in words.items() if not is_word(getattr(self, name), known)}
        problems = [] if runs else ["there is no run to fuse, expected 1 or more"]
        problems += [f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}" for name, known in odd.items()]
        if not is_amount(self.k):
            problems.append(f"k is {self.k!r}, expected a finite number, 0 or more")
        if self.weights is not None and not _are_weights(self.weights, runs):
            problems.append(f"weights is {self.weights!r}, expected {count_of(runs, 'number')}, 0 or more, not all 0")
        if not odd and self.method == "rrf" and (self.normalise, self.missing) != (Fusion.normalise, Fusion.missing):
            given = f"normalise={self.normalise!r}, missing={self.missing!r}"
            problems.append(f"{given}: leave them out, method 'rrf' uses ranks, not scores")
        if not odd and self.method == "weighted" and self.k != Fusion.k:
            problems.append(f"k={self.k!r}: leave it out, method 'weighted' uses scores, not ranks")
        return problems

    def apply(self, runs: Mapping[str, pd.DataFrame], topics: pd.DataFrame | None = None) -> pd.DataFrame:
        """Fuse named runs; see ``fuse``."""
        checked = check_runs(runs)
        pool = pool_runs(checked, topics)
        with np.errstate(over="ignore", invalid="ignore"):
            score = _add_up(pool, *self._weigh(pool, len(checked)))
        if not np.isfinite(score).all():
            raise FrameError(
                "the runs cannot be fused", ["the sums of their scores are not finite"], fix="divide the scores of the runs"
            )
        order, rank = _rank(pool, score)
        return merge_columns(pool, list(checked.values()), order, score[order], rank)

    def normalise_lists(self, rank: Ints, score: Floats, sizes: Ints) -> Floats:
        """Give what each row adds with weight 1, shape (n,): lists one after the other, each by rank from 0, and their sizes."""
        return 1 / (float(self.k) + 1 + rank) if self.method == "rrf" else normalise_lists(score, sizes, self.normalise)

    def _weigh(self, pool: Pool, runs: int) -> tuple[Floats, Floats]:
        """Give the weighted score of each row, shape (n,), and of a missing document in each list, shape (lists,)."""
        weights = np.ones(runs) if self.weights is None else np.asarray(self.weights, np.float64)
        worth = self.normalise_lists(pool.rank, pool.score, pool.sizes)
        zero = self.method == "rrf" or self.missing == "zero"
        missing = np.zeros(len(pool.sizes)) if zero else score_missing(worth, pool.sizes, self.normalise)
        return worth * weights[np.repeat(pool.run, pool.sizes)], missing * weights[pool.run]


def _name(runs: object) -> Mapping[str, pd.DataFrame]:
    if isinstance(runs, pd.DataFrame | str) or not (is_several(runs) and isinstance(runs, Iterable)):
        problem = f"runs is one {type(runs).__name__}, expected several DataFrames"
        raise CascadeError("the runs cannot be fused", [problem], fix="fuse([one, two])")
    return runs if isinstance(runs, Mapping) else {f"run {n}": run for n, run in enumerate(runs, start=1)}


def _are_weights(weights: Sequence[float], runs: int) -> bool:
    listed = list(weights) if is_several(weights) else []
    return len(listed) == runs and all(map(is_amount, listed)) and any(listed)


def _add_up(pool: Pool, worth: Floats, lowest: Floats) -> Floats:
    """Sum the weighted scores of each pair: shape (pairs,). ``lowest`` is the score of a missing document in each list."""
    runs, queries = int(pool.run.max(initial=0)) + 1, len(pool.topics)
    missing = np.zeros((runs, queries))
    missing[pool.run, pool.query] = lowest
    terms = missing[:, pool.query_of]
    terms[np.repeat(pool.run, pool.sizes), pool.pair] = worth
    return add_terms(terms)


def add_terms(terms: Floats) -> Floats:
    """Sum what each run adds to each document: shape (runs, documents) to (documents,).

    Terms are added from the smallest to the largest, so that the order of the runs makes no difference, and documents that two runs
    rank in opposite order are tied.
    """
    score: Floats = reduce(np.add, np.sort(terms, axis=0))
    return score


def _rank(pool: Pool, score: Floats) -> tuple[Ints, Ints]:
    """Return the order of the pairs by query and score, ties in the order of the pool, and their ranks."""
    query = pool.query_of.astype(np.min_scalar_type(len(pool.topics)))  # up to 16 bits are sorted in linear time
    by_score = np.argsort(-score, kind="stable")
    order = by_score[np.argsort(query[by_score], kind="stable")]
    sizes = np.bincount(pool.query_of)
    return order, np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
