"""An honest choice of cut-offs: selected on some queries, reported on others, with what choosing alone would seem to gain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from pt_cascade.analysis.choice.budget import Budget, is_number, is_whole
from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.choice.cross_validation import compare_held_out, cross_validate, find_runners_up, permutation_control
from pt_cascade.analysis.choice.curve_shape import trace_curves
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.result import Choice
from pt_cascade.analysis.choice.selection import Method, Rules, pick
from pt_cascade.analysis.choice.stage_advice import advise
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.replay.measures import adds_up
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from ir_measures import Measure

    from pt_cascade.analysis.sweep.result import Sweep

_FEWEST = 2  # one to choose by, one to report on


def choose(  # noqa: PLR0913, PLR0917 - the names are public
    sweep: Sweep,
    measure: Measure | str,
    budget_ms: float | None = None,
    percentile: float | None = 95,
    budget_usd: float | None = None,
    margin: float = 0.02,
    folds: int = 5,
    method: Method | None = None,
    seed: int = 0,
    *,
    level: float = 0.95,
    rel: int = 1,
) -> Choice:
    """Choose cut-offs, by queries that they are not reported on.

    Args:
        sweep: Every vector's measures and costs.
        measure: One of the sweep's, to choose by.
        budget_ms: The most that a query may take, at the percentile; None: no such budget.
        percentile: Of the queries' times, above 0, at most 100; None: their mean.
        budget_usd: The most that a query may cost on average; None: no such budget.
        margin: How much recall (``plateau``) or measure (``cheapest``) may be lost, absolute, above 0; and, in the advice, the gain
            below which a further stage does not pay. With n queries, no loss below about 3/n can be ruled out.
        folds: How many parts the queries are split into, at random, 2 or more.
        method: ``plateau``: the smallest cut-off of stage 1 whose recall is not worse than the deepest's by more than the margin,
            then that of stage 2 given it, and so on; beyond the budget, the best vector no deeper. ``budget``: the best measure
            within the budget. ``cheapest``: the least cost whose measure is not worse than the best's by more than the margin, all
            vectors bounded at once; the best is that of these queries, and with few of them may not be the true one.
            None: ``budget`` if there is one, else ``plateau``.
        seed: For the folds and the resamples; the same seed gives the same choice.
        level: Of all intervals, and of the one-sided bounds, above 0.5, below 1.
        rel: The lowest label that counts as relevant in recall.

    Returns:
        The choice; print ``choice.explain()``.

    Raises:
        SweepError: An argument is out of range, all of them at once, or no vector is within the budget (which says the cheapest).

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.analysis.sweep.sweep import sweep
        >>> from pt_cascade.analysis.table.data import Column, Path, Scores
        >>> frame = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "rank": [0, 1] * 2, "bm25": 1.0, "t5": [0, 1] * 2})
        >>> topics = pd.DataFrame({"qid": ["1", "2"], "query": ["q", "r"]})
        >>> table = Scores(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, None)),))
        >>> qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]})
        >>> choose(sweep(table, qrels, ["RR"]), "RR", folds=2)
        Choice(bm25 → 2 · t5; RR 1.0000 held out)
    """
    name = str(measure)
    method = method or ("plateau" if budget_ms is None and budget_usd is None else "budget")
    budget = Budget.of(sweep, budget_ms, percentile, budget_usd)
    _check(sweep, name, budget, method, {"margin": margin, "folds": folds, "level": level, "seed": seed, "rel": rel})
    vectors = sweep.grid.vectors
    affordable, costs = budget.spend(sweep.stages, vectors)
    if not affordable.any():
        raise budget.refuse(sweep)
    replayer = replace(sweep.replayer, measures=(sweep.replayer.measures[sweep.measures.index(name)],))
    replayer.__dict__.update(rankings=sweep.replayer.rankings, judged=sweep.replayer.judged)
    fold = np.random.default_rng(seed).permutation(len(sweep.qids)) % folds
    candidates = Candidates(replayer, vectors, affordable, costs, fold)
    rules = Rules(candidates, method, margin, level, seed, rel)
    means = candidates.sums.sum(axis=0) / len(fold)
    every, validated = pick(rules, means, np.ones(len(fold), np.bool_)), cross_validate(rules)
    noise, more = permutation_control(rules, validated)
    return Choice(
        as_cutoffs(vectors[every.vector].tolist()),
        sweep.stages,
        name,
        method,
        len(fold),
        float(means[every.vector]),
        estimate(validated.measured, level=level, least=0.0, more=more),
        validated.optimism,
        compare_held_out(rules, validated, more),
        validated.frame(sweep),
        find_runners_up(sweep, rules, every.vector, means),
        noise,
        _price(sweep, budget, every.vector),
        every.plateaus,
        trace_curves(rules, every.vector),
        advise(candidates, budget, margin, level=level, seed=seed),
        every.over_budget,
        budget,
        margin,
        level,
    )


def _price(sweep: Sweep, budget: Budget, vector: int) -> pd.Series[float]:
    """Give the costs of one vector: those of the sweep, and the percentile of the budget."""
    row = sweep.frame.iloc[vector].drop([*(f"k{n}" for n in range(1, len(sweep.stages) + 1)), *sweep.measures])
    if budget.ms is not None and budget.column not in row:
        row[budget.column] = budget.frame(sweep.stages, sweep.grid.vectors[[vector]])[budget.column].iloc[0]
    return row.astype(float)


def _check(sweep: Sweep, name: str, budget: Budget, method: str, numbers: Mapping[str, float]) -> None:
    """Refuse what makes no sense, all at once."""
    problems = [] if name in sweep.measures else [f"measure {name} is not swept, but {', '.join(sweep.measures)}"]
    if any(str(measure) == name and adds_up(measure) for measure in sweep.replayer.measures):
        problems.append(f"measure {name} is a count, expected one that is averaged over queries")
    if method not in get_args(Method):
        problems.append(f"method is {method!r}, expected one of {', '.join(get_args(Method))}")
    if method == "budget" and budget.ms is None and budget.usd is None:
        problems.append("method 'budget' needs a budget: budget_ms or budget_usd")
    problems += [*budget.problems(sweep), *_check_numbers(len(sweep.qids), numbers)]
    if problems:
        fix = "sweep(table, qrels, measures, cost=timings.cost())" if any("has no cost" in problem for problem in problems) else ""
        raise SweepError("nothing can be chosen", problems, fix=fix)


def _check_numbers(queries: int, numbers: Mapping[str, float]) -> list[str]:
    """Say which numbers are out of range."""
    problems = []
    margin, folds, level = numbers["margin"], numbers["folds"], numbers["level"]
    if not (is_number(margin) and 0 < margin < 1):
        problems.append(f"margin is {margin!r}, expected above 0 and below 1")
    if not (is_number(level) and 0.5 < level < 1):  # noqa: PLR2004 - a bound on the wrong side is none
        problems.append(f"level is {level!r}, expected above 0.5 and below 1")
    for said, least in (("seed", 0), ("rel", 1)):
        if not (is_whole(numbers[said]) and numbers[said] >= least):
            problems.append(f"{said} is {numbers[said]!r}, expected a whole number from {least}")
    if queries < _FEWEST:
        problems.append(f"{queries} query has a judgment, expected 2 or more, better 100 to 500")
    elif not (is_whole(folds) and _FEWEST <= folds <= queries):
        problems.append(f"folds is {folds!r}, expected 2 to the number of queries, {queries}")
    return problems
