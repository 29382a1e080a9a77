"""Several runs fused into one: by reciprocal ranks, or by a weighted sum of normalised scores.

Who answers for what, in the fused run:

- **rank** of a document in a run: by its score, descending, ties by row order (the tie rule); a rank column is not read;
- **score**: the sum of what each run's answer is worth, the same to the last bit in whatever order the runs are given;
- **ties** of fused scores: in the order of the first run; what it has not found follows, in the order of the second; and so on;
- **query**, and every column whose name begins with ``query``: one value a qid, from the topics, else from the first run with one;
  where the topics have the query, ``query_0`` and the like, a run's own record of its rewriting, are left out;
- **docid**, the number of a document in one index, is left out where more than one run is fused: in another index it is another
  document's, and loaders look it up before the docno;
- **other columns**: one value a (qid, docno), from the first run with one; where runs disagree, the first wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pt_cascade.analysis.fusion.columns import merge_columns
from pt_cascade.analysis.fusion.normalization import Normalise, normalise_lists, worth_missing
from pt_cascade.analysis.fusion.pooling import check_runs, pool_runs
from pt_cascade.errors import CascadeError, FrameError

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
    """Fuse several runs into one, in which each (qid, docno) that any of them found stands once.

    ``rrf`` gives a document the sum of weight / (k + rank) over the runs that found it, ranks from 1. ``weighted`` gives it the sum
    of weight * normalised score over all runs; where a run answered the query but did not find the document, its score is worth
    what ``missing`` says. A run that found nothing for a query adds nothing to it.

    ranx orders the equal scores of a run otherwise than by row, so that tied documents have other ranks there, and from ``rrf``
    other scores; with ``run.assign(score=-run["rank"])`` nothing is tied, and the scores are ranx's.

    Args:
        runs: Frame[qid, docno, score, ...] each, in any order of rows; a mapping gives them names, for errors.
        method: ``rrf`` or ``weighted``.
        weights: One a run, 0 or more, not all 0; used as they are. None: 1 each.
        k: For ``rrf``: how much less the top ranks count, 0 or more.
        normalise: For ``weighted``, list by list: ``min-max``, ``z-score``, ``max``, ``sum``, ``rank`` or ``none``; see
            ``pt_cascade.analysis.fusion.normalization``.
        missing: For ``weighted``: ``worst``: a document that a run did not find is worth that run's lowest normalised score for the
            query, and less than a lone hit or hits of equal scores (the rule is in ``normalization``); ``zero``: 0, which for
            log-probabilities is the best score there is.
        topics: Frame[qid, query, ...]: the order of the queries, and the columns that every row is given. None: queries in the
            order in which the runs have them.

    Returns:
        Frame[qid, (query), docno, score: float64, rank: int64, ...], queries in order, each by rank.

    Raises:
        CascadeError: An option is none of these, or does not go with the method, or the runs are one frame.
        FrameError: A run is not usable (see ``canonical_results``), or has a qid that the topics have not; or scores overflow.

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
    """How runs are fused; its fields are the options of ``fuse``."""

    method: Method = "rrf"
    weights: Sequence[float] | None = None
    k: float = K
    normalise: Normalise = "min-max"
    missing: Missing = "worst"

    def find_problems(self, runs: int) -> list[str]:
        """Say which options make no sense for so many runs, a sentence for each."""
        problems = [] if runs else ["there is nothing to fuse, expected 1 or more"]
        for name, kind in (("method", Method), ("normalise", Normalise), ("missing", Missing)):
            if (value := getattr(self, name)) not in get_args(kind):
                problems.append(f"{name} is {value!r}, expected one of {', '.join(get_args(kind))}")
        if not _is_number(self.k):
            problems.append(f"k is {self.k!r}, expected a number from 0")
        if self.weights is not None and not _are_weights(self.weights, runs):
            problems.append(f"weights is {self.weights!r}, expected {runs} number(s) from 0, not all 0")
        if self.method == "rrf" and (self.normalise, self.missing) != (Fusion.normalise, Fusion.missing):
            given = f"normalise={self.normalise!r}, missing={self.missing!r}"
            problems.append(f"{given}: expected neither, rrf reads ranks, not scores")
        if self.method == "weighted" and self.k != Fusion.k:
            problems.append(f"k={self.k!r}: expected none, weighted reads scores, not ranks")
        return problems

    def apply(self, runs: Mapping[str, pd.DataFrame], topics: pd.DataFrame | None = None) -> pd.DataFrame:
        """Fuse runs; see ``fuse``."""
        checked = check_runs(runs)
        pool = pool_runs(checked, topics)
        with np.errstate(over="ignore", invalid="ignore"):
            score = _add_up(pool, *self._judge(pool, len(checked)))
        if not np.isfinite(score).all():
            raise FrameError("the runs cannot be fused", ["their scores are too large to be added"], fix="divide them")
        order, rank = _rank(pool, score)
        return merge_columns(pool, list(checked.values()), order, score[order], rank)

    def _judge(self, pool: Pool, runs: int) -> tuple[Floats, Floats]:
        """Say what each row is worth, shape (n,), and in each list what is missing from it, shape (lists,)."""
        weights = np.ones(runs) if self.weights is None else np.asarray(self.weights, np.float64)
        rrf = self.method == "rrf"
        worth = 1 / (self.k + 1 + pool.rank) if rrf else normalise_lists(pool.score, pool.sizes, self.normalise)
        zero = rrf or self.missing == "zero"
        missing = np.zeros(len(pool.sizes)) if zero else worth_missing(worth, pool.sizes, self.normalise)
        return worth * weights[np.repeat(pool.run, pool.sizes)], missing * weights[pool.run]


def _name(runs: object) -> Mapping[str, pd.DataFrame]:
    if isinstance(runs, pd.DataFrame | str) or not isinstance(runs, Iterable):
        problem = f"runs is one {type(runs).__name__}, expected several DataFrames"
        raise CascadeError("the runs cannot be fused", [problem], fix="fuse([one, two])")
    return runs if isinstance(runs, Mapping) else {f"run {n}": run for n, run in enumerate(runs, start=1)}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and 0 <= float(value) < math.inf


def _are_weights(weights: Sequence[float], runs: int) -> bool:
    listed = list(weights) if isinstance(weights, (list, tuple, np.ndarray, pd.Series)) else []
    return len(listed) == runs and all(map(_is_number, listed)) and any(listed)


def _add_up(pool: Pool, worth: Floats, lowest: Floats) -> Floats:
    """Sum what each pair is worth to each run."""
    runs, queries = int(pool.run.max(initial=0)) + 1, len(pool.topics)
    missing = np.zeros((runs, queries))
    missing[pool.run, pool.query] = lowest
    terms = missing[:, pool.query_of]
    terms[np.repeat(pool.run, pool.sizes), pool.pair] = worth
    score: Floats = reduce(np.add, np.sort(terms, axis=0))
    return score


def _rank(pool: Pool, score: Floats) -> tuple[Ints, Ints]:
    """Order the pairs by query, then score, ties in the order of the pool; and give the ranks."""
    query = pool.query_of.astype(np.min_scalar_type(len(pool.topics)))  # up to 16 bits are sorted in linear time
    by_score = np.argsort(-score, kind="stable")
    order = by_score[np.argsort(query[by_score], kind="stable")]
    sizes = np.bincount(pool.query_of)
    return order, np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
