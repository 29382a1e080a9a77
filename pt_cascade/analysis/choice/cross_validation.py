"""The held-out effectiveness of a way of choosing, and its apparent gain where all vectors are equally good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.certificates.fixed_sequence import fewest_queries
from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.choice.intervals import Estimate, estimate
from pt_cascade.analysis.choice.selection import Pick, pick
from pt_cascade.analysis.sweep.rows import list_cutoffs
from pt_cascade.analysis.table.data import Path

if TYPE_CHECKING:
    from pt_cascade.analysis.certificates.fixed_sequence import Test
    from pt_cascade.analysis.choice.candidates import Candidates, Method
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints

TIMES = 100  # of the wild bootstrap
_CLEAR = 2.0  # standard errors
_MOST_FOLDS = 20
REPEATS = 20  # of the folds
_RUNNERS_UP = 4
_APART = 0.2
_ERRORS = 2.0


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The vector that was picked for each fold on the other folds, and its measure on the fold; several times, with other folds."""

    picks: tuple[tuple[Pick, ...], ...]  # (repeats, folds)
    measured: Floats  # (repeats, judged queries): the measure of each query at the pick of its fold
    folds: Ints  # (repeats, judged queries)

    @property
    def per_query(self) -> Floats:
        """Shape (judged queries,): the mean over the repeats."""
        mean: Floats = self.measured.mean(axis=0)
        return mean

    @property
    def split_error(self) -> float:
        """The standard error of the mean over the repeats, of the ways to split the queries alone."""
        means = self.measured.mean(axis=1)
        return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0

    @property
    def searched(self) -> bool:
        """Whether some fold looked for the best vector by the measure itself."""
        return any(one.searched for picks in self.picks for one in picks)

    def frame(self, sweep: Sweep) -> pd.DataFrame:
        """Return Frame[repeat, fold, queries, k1, ..., w1, ..., held_out], a row a fold."""
        rows = np.array([one.vector for picks in self.picks for one in picks])
        sizes = np.concatenate([np.bincount(fold) for fold in self.folds])
        held = np.concatenate([np.bincount(*both) for both in zip(self.folds, self.measured, strict=True)])
        repeat, fold = np.divmod(np.arange(len(rows)), len(self.picks[0]))
        numbers = pd.DataFrame({"repeat": repeat, "fold": fold, "queries": sizes})
        picked = list_cutoffs(sweep.rows[rows], sweep.stages, sweep.fusions)
        return pd.concat([numbers, picked], axis=1).assign(held_out=held / sizes)


def count_folds(queries: int, folds: int, method: Method, margin: float, alpha: float, test: Test) -> int:
    """Return how many folds leave enough queries to show what all of them can show, if up to 20 do."""
    if method == "budget":
        return folds
    least = fewest_queries(margin, alpha, test)
    enough = [k for k in range(folds, min(_MOST_FOLDS, queries) + 1) if queries - -(-queries // k) >= least]
    return enough[0] if enough else folds


def draw_folds(queries: int, folds: int, seed: int) -> Ints:
    """Split the queries at random, several times: shape (repeats, queries); once where each fold is one query."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(queries) % folds for _ in range(REPEATS if folds < queries else 1)])


def cross_validate(candidates: Candidates) -> CrossValidation:
    """Pick a vector for each fold by the other folds, and measure it on the fold; for each way to split the queries."""
    picks = []
    for fold, sums in zip(candidates.folds, candidates.sums, strict=True):
        total = sums.sum(axis=0)
        others = [fold != held for held in range(len(sums))]
        picks.append(tuple(pick(candidates, (total - own) / train.sum(), train) for own, train in zip(sums, others, strict=True)))
    chosen = np.array([[one.vector for one in row] for row in picks])
    distinct, place = np.unique(chosen, return_inverse=True)
    values, queries = candidates.values(distinct), np.arange(candidates.folds.shape[1])
    measured = [values[queries, row[fold]] for row, fold in zip(place.reshape(chosen.shape), candidates.folds, strict=True)]
    return CrossValidation(tuple(picks), np.stack(measured), candidates.folds)


def estimate_gain(candidates: Candidates, validated: CrossValidation, more: float) -> Estimate:
    """Compare the picks, held out and paired, with the reference; where each fold picked it, that is 0 without width.

    ``more`` is the variance that choosing adds. The interval is widened by what the ways to split the queries leave open, so that
    another seed seldom gives another verdict.
    """
    if all(one.vector == candidates.reference for picks in validated.picks for one in picks):
        return Estimate(0.0, 0.0, 0.0, candidates.folds.shape[1])
    found = estimate(validated.per_query - candidates.per_query(candidates.reference), level=candidates.level, more=more)
    left = _ERRORS * validated.split_error
    return replace(found, low=found.low - left, high=found.high + left)


def compare_first_stage(candidates: Candidates, validated: CrossValidation, more: float) -> Estimate | None:
    """Compare the picks, held out and paired, with stage 1 alone, as deep as in the reference; None if it is the only stage."""
    start = candidates.cutoffs[candidates.reference]
    if len(start) == 1:
        return None
    first = replace(candidates.replayer, path=Path(candidates.replayer.path.stages[:1], (None,)), fusions=())
    return estimate(validated.per_query - first.per_query(start[:1])[:, 0], level=candidates.level, more=more)


def measure_noise(candidates: Candidates, validated: CrossValidation) -> tuple[pd.DataFrame, float]:
    """Choose the best vector where all are equally good, each query's differences given random signs.

    Returns Frame[in_sample, held_out], a row a repetition: the gain over the reference on the queries that chose and on others; and
    the variance that choosing adds to a held-out mean, 0 where nothing looked for the best.
    """
    last = candidates.per_query(candidates.reference)
    errors, gains = wild_bootstrap(candidates.representatives[1] - last[:, None], candidates.folds[0])
    more = excess_variance(errors, validated.per_query - last) if validated.searched else 0.0
    return pd.DataFrame({"in_sample": gains, "held_out": errors}), more


def find_runners_up(sweep: Sweep, candidates: Candidates, chosen: int, means: Floats) -> pd.DataFrame:
    """List the next best affordable vectors that differ from those listed by a fifth or more in some cut-off.

    Returns rows of ``sweep.frame``, best first, with difference, low and high: paired against the choice, in-sample.
    """
    size = np.log(candidates.depths.astype(np.float64))
    far = candidates.affordable & (np.abs(size - size[chosen]).max(axis=1) >= np.log1p(_APART))
    listed: list[int] = []
    while len(listed) < _RUNNERS_UP and far.any():
        listed.append(best_of(means, far, candidates.costs))
        far &= np.abs(size - size[listed[-1]]).max(axis=1) >= np.log1p(_APART)
    values = candidates.per_query(chosen)
    found = [estimate(candidates.per_query(at) - values, level=candidates.level) for at in listed]
    rows = sweep.frame.iloc[listed].reset_index(drop=True)
    return rows.assign(difference=[f.mean for f in found], low=[f.low for f in found], high=[f.high for f in found])


def wild_bootstrap(values: Floats, fold: Ints, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Choose the best vector where all that may be the best are equally good, and differ from query to query as much as they do.

    Each vector's values, less their mean, get a random sign for each query (Liu 1988, "Bootstrap procedures under some non-iid
    models"). Vectors that are worse than the best by two standard errors stay as much worse (Hansen 2005, "A test for superior
    predictive ability").

    Args:
        values: Shape (queries, vectors). The measure less that of a reference.
        fold: Shape (queries,). The fold of each query, from 0.
        seed: For the signs, which depend on it and on the number of queries only.

    Returns:
        Shape (times,) each: the error of the held-out mean, and the in-sample lead of the best vector over the reference.
    """
    order = np.argsort(fold, kind="stable")
    sizes = np.bincount(fold)
    means = values.mean(axis=0)
    lead = values[:, [int(means.argmax())]] - values
    deviations = lead.std(axis=0, ddof=1) / np.sqrt(len(fold))
    worse = np.where(lead.mean(axis=0) > _CLEAR * deviations, lead.mean(axis=0), 0.0)
    centred, starts = values[order] - means, np.r_[0, np.cumsum(sizes)[:-1]]
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (TIMES, len(fold)))[:, order]
    errors, gains, folds = np.empty(TIMES), np.empty(TIMES), np.arange(len(sizes))
    for n, sign in enumerate(signs):
        sums = np.add.reduceat(sign[:, None] * centred, starts, axis=0)
        shown = sums - sizes[:, None] * worse
        total = shown.sum(axis=0)
        chosen = (total - shown).argmax(axis=1)
        errors[n], gains[n] = sums[folds, chosen].sum() / len(fold), total.max() / len(fold)
    return errors, gains


def excess_variance(errors: Floats, values: Floats) -> float:
    """Return how much more a held-out mean varies than a mean of independent queries, 0 or more.

    Choices for different folds share most of their queries, so their held-out means err together (Bates, Hastie and Tibshirani
    2023, "Cross-validation: what does it estimate and how well does it do it?"). ``errors`` are those of ``wild_bootstrap`` (of two
    choices their difference, with one seed), ``values`` what each query gave held out.
    """
    return max(float(np.mean(errors**2) - np.var(values, ddof=1) / len(values)), 0.0)
