"""A report on probabilities before and after calibration, on queries that the calibration was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.calibration.calibrators import CALIBRATORS, sigmoid
from pt_cascade.analysis.calibration.fitting import check_method
from pt_cascade.analysis.calibration.pairs import judged_pairs, scored_rows
from pt_cascade.analysis.calibration.quality import MEASURES, add_up, bound, bound_measures, curve, draw_counts
from pt_cascade.analysis.calibration.scales import to_log_odds
from pt_cascade.analysis.grid.cutoffs import as_tuple
from pt_cascade.errors import FrameError, naming
from pt_cascade.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.calibration.calibrators import Method
    from pt_cascade.analysis.calibration.pairs import Pairs
    from pt_cascade.analysis.calibration.quality import Sums
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.ranking import Floats, Ints

BEFORE = "none"
RESAMPLES = 1999
_BINS = 10
_WITH_INTERVALS = ("ECE", "Brier", "log loss")
_SHOWN = (*_WITH_INTERVALS, "reliability", "resolution")


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationReport:
    """Measures of probabilities before and after calibration.

    Attributes:
        frame: Frame[method, measure, value, low, high, change, change_low, change_high]: ``none`` is before calibration, ``change``
            the difference to it; intervals are a bootstrap over queries.
        curve: Frame[method, bin, weight, probability, relevant, low, high]: the reliability curve, a row a bin that is not empty:
            the weight of its pairs, their mean probability, and the share of relevant ones with its interval.
        about: What was measured, in words.
    """

    frame: pd.DataFrame
    curve: pd.DataFrame
    about: str = ""

    def __repr__(self) -> str:
        rows = self.frame[self.frame["measure"].isin(_SHOWN)].copy()
        bounds = zip(rows["measure"], rows["value"], rows["low"], rows["high"], strict=True)
        rows["text"] = [f"{at:.3f}" + f" [{low:.3f}, {high:.3f}]" * (name in _WITH_INTERVALS) for name, at, low, high in bounds]
        table = rows.pivot_table("text", "method", "measure", aggfunc="first").reindex(rows["method"].unique())[list(_SHOWN)]
        return f"{self.about}\n{table.reset_index().rename_axis(columns=None).to_string(index=False)}"


def report_calibration(  # noqa: PLR0913 - options, each with a default
    table: Scores,
    stage: str,
    qrels: pd.DataFrame,
    methods: Sequence[Method] = ("platt", "isotonic", "beta", "temperature"),
    *,
    rel: int = 1,
    unjudged: float = 0.0,
    folds: int = 5,
    bins: int = _BINS,
    seed: int = 0,
) -> CalibrationReport:
    """Measure probabilities before and after calibration, held out by query: each fold by a calibration of the other folds.

    Before: a probability as it is, other scores by a sigmoid of their log-odds. ``ECE`` is the expected calibration error, the mean
    of abs(share of relevant pairs - mean probability) over bins that hold equally many pairs; ``Brier`` the mean of
    (probability - relevance)², which is reliability - resolution + uncertainty + within; ``log loss`` is natural, with
    probabilities cut at 2e-16 from 0 and 1. With ``unjudged`` all are weighted.

    Args:
        table: A ``ScoreTable``.
        stage: The name of one of its stages.
        qrels: Frame[qid, docno, label].
        methods: Of ``fit_scores``.
        rel: The lowest label that is relevant, 1 or more.
        unjudged: The weight of an unjudged pair of a judged query, in [0, 1]; 0 leaves it out.
        folds: 2 or more.
        bins: Of the ECE, the reliability curve and the parts of the Brier score, 2 or more.
        seed: Of the folds and of the bootstrap.

    Raises:
        FrameError: The judged pairs of a fold cannot be fitted, or a number is out of range.
        TableError: The table has no such stage.
        PipelineError: There is no such method.

    Example:
        >>> from pt_cascade import ScoreTable
        >>> rows = [(f"{q}", f"d{n}", 10.0 - n, int(n * (q + 2) % 10 < 9 - n)) for q in range(20) for n in range(10)]
        >>> run = pd.DataFrame(rows, columns=["qid", "docno", "score", "label"])
        >>> report = report_calibration(ScoreTable.from_runs({"bm25": run}), "bm25", run, ["platt"])
        >>> report.frame.query("measure == 'Brier'")[["method", "value"]].round(2).values.tolist()
        [['none', 0.42], ['platt', 0.17]]
    """
    pairs = judged_pairs(scored_rows(table, stage), qrels, rel, unjudged)
    methods = as_tuple(methods)
    for method in methods:
        check_method(method)
    names, query = np.unique(pairs.qid, return_inverse=True)
    _check_numbers(len(names), folds, bins, seed)
    fold = (np.random.default_rng(seed).permutation(len(names)) % folds)[query]
    found = {BEFORE: sigmoid(to_log_odds(pairs.score, pairs.scale))} | {one: _predict(pairs, one, fold, stage) for one in methods}
    counts = np.vstack([np.ones(len(names)), draw_counts(len(names), RESAMPLES, seed)])
    sums = {name: add_up(pairs, p, bins).reweight(counts) for name, p in found.items()}
    share = np.average(pairs.relevant, weights=pairs.weight)
    about = (
        f"{stage}: {len(pairs.score):,} pairs of {len(names)} queries, a share of {share:.3f} relevant (label {rel} or more); "
        f"scores are {pairs.scale}; {folds} folds by query, {bins} bins of equally many pairs, 95 % intervals"
    )
    return CalibrationReport(_measures(sums), _curves(sums), about)


def _check_numbers(queries: int, folds: int, bins: int, seed: int) -> None:
    problems = []
    if not is_whole(folds, least=2) or folds > queries:
        problems.append(f"folds is {folds!r}, expected 2 or more, and at most as many as the {queries} judged queries")
    if not is_whole(bins, least=2):
        problems.append(f"bins is {bins!r}, expected 2 or more")
    if not is_whole(seed, least=0):
        problems.append(f"seed is {seed!r}, expected 0 or more")
    if problems:
        raise FrameError("the calibration cannot be measured", problems, fix="folds=5, bins=10")


def _predict(pairs: Pairs, method: Method, fold: Ints, stage: str) -> Floats:
    """Give each pair the probability by the calibration of the other folds."""
    p = np.empty(len(fold))
    for held in np.unique(fold):
        other, own = fold != held, fold == held
        with naming(f"{stage}, {method}, fold {held}"):
            fitted = CALIBRATORS[method].fit(pairs.score[other], pairs.relevant[other], pairs.weight[other], scale=pairs.scale)
            p[own] = fitted.predict(pairs.score[own])
    return p


def _measures(sums: dict[str, Sums]) -> pd.DataFrame:
    """Lay out each measure and its change: the first row of the sums is the sample, the others its resamples."""
    values, frames = {name: one.measure() for name, one in sums.items()}, []
    for name, all_values in values.items():
        changes = all_values - values[BEFORE]
        low, high = bound_measures(all_values[0], all_values[1:])
        change_low, change_high = bound(changes[0], changes[1:])
        columns = {"value": all_values[0], "low": low, "high": high}
        changed = {"change": changes[0], "change_low": change_low, "change_high": change_high}
        frames.append(pd.DataFrame({"method": name, "measure": MEASURES, **columns, **changed}))
    return pd.concat(frames, ignore_index=True)


def _curves(sums: dict[str, Sums]) -> pd.DataFrame:
    frames = []
    for name, one in sums.items():
        p, y = curve(one)
        kept = one.weight[0] > 0
        low, high = (np.clip(end, 0, 1) for end in bound(y[0, kept], y[1:, kept]))
        columns = {"weight": one.weight[0, kept], "probability": p[0, kept], "relevant": y[0, kept]}
        frames.append(pd.DataFrame({"method": name, "bin": np.flatnonzero(kept), **columns, "low": low, "high": high}))
    return pd.concat(frames, ignore_index=True)
