"""The held-out effectiveness of a way of choosing, and its apparent gain where all vectors are equally good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.choice.candidates import best_of
from pt_cascade.analysis.choice.intervals import Estimate, estimate
from pt_cascade.analysis.choice.selection import Pick, pick
from pt_cascade.analysis.choice.selection_noise import excess_variance, wild_bootstrap
from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_cutoffs, name_cascade
from pt_cascade.analysis.replay.measures import in_kernel
from pt_cascade.analysis.table.data import Path

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.ranking import Floats, Ints

_PERMUTATIONS = 3
_RUNNERS_UP = 4
_APART = 0.2


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The vector that was picked for each fold on the other folds, and its measure on the fold."""

    picks: tuple[Pick, ...]  # one a fold
    trained: Floats  # (folds,): the measure of each pick on the queries it was picked by
    measured: Floats  # (judged queries,): the measure of each query at the pick of its fold
    fold: Ints  # (judged queries,)

    @property
    def optimism(self) -> float:
        """In-sample minus held-out, mean over the queries."""
        return float((self.trained[self.fold] - self.measured).mean())

    def frame(self, sweep: Sweep) -> pd.DataFrame:
        """Return Frame[fold, queries, k1, ..., in_sample, held_out], a row a fold."""
        chosen = np.stack([sweep.grid.vectors[one.vector] for one in self.picks])
        sizes = np.bincount(self.fold)
        cutoffs = {f"k{n}": pd.Series(k, dtype="Int64").mask(k == NO_CUT, pd.NA) for n, k in enumerate(chosen.T, 1)}
        numbers = {"in_sample": self.trained, "held_out": np.bincount(self.fold, self.measured) / sizes}
        return pd.DataFrame({"fold": np.arange(len(sizes)), "queries": sizes} | cutoffs | numbers)


def cross_validate(candidates: Candidates) -> CrossValidation:
    """Pick a vector for each fold by the other folds, and measure it on the fold."""
    fold, sums = candidates.fold, candidates.sums
    picks, trained, values = [], [], np.zeros(len(fold))
    for held, own in enumerate(sums):
        others = fold != held
        means = (sums.sum(axis=0) - own) / others.sum()
        picks.append(pick(candidates, means, others))
        trained.append(means[picks[-1].vector])
        values[~others] = candidates.per_query(picks[-1].vector)[~others]
    return CrossValidation(tuple(picks), np.array(trained), values, fold)


def compare_held_out(candidates: Candidates, validated: CrossValidation, more: float) -> pd.DataFrame:
    """Compare the picks, held out and paired, with the deepest cascade and with stage 1 alone.

    Returns Frame[against, difference, low, high]. ``more`` is the variance that choosing adds. Where each fold picked the deepest
    vector, the first row is 0 without width.
    """
    replayer, deepest = candidates.replayer, candidates.vectors[candidates.deepest]
    difference = validated.measured - candidates.per_query(candidates.deepest)
    found = estimate(difference, level=candidates.level, more=more)
    if all(one.vector == candidates.deepest for one in validated.picks):
        found = Estimate(0.0, 0.0, 0.0, len(difference))
    rows = [(name_cascade(replayer.path.stages, as_cutoffs(deepest.tolist())), found.mean, found.low, found.high)]
    if len(deepest) > 1:
        first = Path(replayer.path.stages[:1], (None,))
        found = estimate(
            validated.measured - replace(replayer, path=first).per_query(deepest[:1])[:, 0], level=candidates.level, more=more
        )
        rows.append((name_cascade(first.stages, as_cutoffs(deepest[:1].tolist())), found.mean, found.low, found.high))
    return pd.DataFrame(rows, columns=["against", "difference", "low", "high"])


def permutation_control(candidates: Candidates, validated: CrossValidation) -> tuple[pd.DataFrame, float]:
    """Choose the best vector where all are equally good: with random signs, and with permuted labels.

    Returns Frame[exchanged, in_sample, held_out], a row a repetition: the gain over the deepest vector on the queries that chose
    and on others; and the variance that choosing adds to a held-out mean, 0 for ``plateau``, which does not look for the best.
    """
    last = candidates.per_query(candidates.deepest)
    errors, gains = wild_bootstrap(candidates.representatives[1] - last[:, None], candidates.fold, seed=candidates.seed)
    rows = [("signs", *both) for both in zip(gains.tolist(), errors.tolist(), strict=True)]
    rows += [("labels", *both) for both in _permute_labels(candidates)]
    more = 0.0 if candidates.method == "plateau" else excess_variance(errors, validated.measured - last)
    return pd.DataFrame(rows, columns=["exchanged", "in_sample", "held_out"]), more


def _permute_labels(candidates: Candidates) -> list[tuple[float, float]]:
    """Choose with each query's labels permuted among its documents (measures of the kernel only); return the gains as above."""
    rng, found = np.random.default_rng(candidates.seed), []
    replayer, fold, rankings = candidates.replayer, candidates.fold, candidates.replayer.rankings
    for _ in range(_PERMUTATIONS if in_kernel(replayer.measures[0]) else 0):
        labels = replayer.judged.labels.copy()
        for query in replayer.judged.queries:
            rows = rankings.rows[rankings.offsets[query] : rankings.offsets[query + 1]]
            labels[rows] = rng.permutation(labels[rows])
        permuted = replace(replayer, judged=replace(replayer.judged, labels=labels))
        sums = permuted.sums(candidates.vectors, fold)[:, :, 0]
        gains = sums - sums[:, [candidates.deepest]]
        every = gains.sum(axis=0)
        held = sum(one[candidates.best(every - one)] for one in gains)
        found.append((float(every[candidates.best(every)] / len(fold)), float(held / len(fold))))
    return found


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
