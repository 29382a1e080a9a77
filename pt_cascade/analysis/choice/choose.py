"""Cut-offs chosen on some queries and reported on others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from pt_cascade.analysis.choice.budget import Budget
from pt_cascade.analysis.choice.candidates import Candidates, Method
from pt_cascade.analysis.choice.cross_validation import compare_held_out, cross_validate, find_runners_up, permutation_control
from pt_cascade.analysis.choice.curve_shape import trace_curves
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.result import Choice
from pt_cascade.analysis.choice.selection import pick
from pt_cascade.analysis.choice.stage_advice import advise
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.replay.measures import adds_up, find_rel
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_number, is_whole, is_word

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from ir_measures import Measure

    from pt_cascade.analysis.sweep.result import Sweep

_FEWEST = 2  # one query to choose by, one to report on


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
    rel: int | None = None,
) -> Choice:
    """Choose cut-offs on some queries and report their quality on others.

    Args:
        sweep: Measures and costs of every vector.
        measure: The measure to choose by, one of the sweep's.
        budget_ms: The most milliseconds that a query may take, at the percentile; None: no limit.
        percentile: Percentile of the queries' times, above 0, at most 100; None: their mean.
        budget_usd: The most US dollars that a query may cost on average; None: no limit.
        margin: How much recall (``plateau``) or measure (``cheapest``) may be lost, absolute, above 0, below 1; in the advice, the
            gain below which a further stage does not pay. With n queries, no loss below about 3/n can be ruled out.
        folds: The number of random parts that the queries are split into, 2 or more.
        method: ``plateau``: the smallest cut-off of stage 1 whose recall is below the deepest's by at most the margin, then that of
            stage 2 given it, and so on; if that exceeds the budget, the best vector that is no deeper. ``budget``: the best measure
            within the budget. ``cheapest``: the least cost whose measure is below the best's by at most the margin, with
            simultaneous bounds for all vectors. None: ``budget`` if there is one, else ``plateau``.
        seed: Seed of folds and resamples; the same seed gives the same choice.
        level: Level of all intervals and one-sided bounds, above 0.5, below 1.
        rel: The lowest label that counts as relevant in recall; None: that of the measure, as 2 for R(rel=2)@100, else 1.

    Returns:
        The choice; print ``choice.explain()``.

    Raises:
        SweepError: Arguments are out of range (all are listed), or no vector is within the budget (the cheapest is named).

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
    if not hasattr(sweep, "replayer"):
        problem = f"it is a {type(sweep).__name__}, expected what sweep returns"
        raise SweepError("this is not a sweep", [problem], fix='choose(sweep(table, qrels, ["nDCG@10"]), "nDCG@10")')
    name = str(measure)
    method = ("plateau" if budget_ms is None and budget_usd is None else "budget") if method is None else method
    wanted = tuple(one for one in sweep.replayer.measures if str(one) == name)
    rel = find_rel(wanted, rel)
    docs = sweep.table.retrieved[sweep.replayer.judged.queries]
    untimed = "" if sweep.cost is None or sweep.cost.live else sweep.replayer.path.live
    budget = Budget(sweep.cost, budget_ms, percentile, budget_usd, docs, untimed)
    _check(sweep, name, budget, method, {"margin": margin, "folds": folds, "level": level, "seed": seed, "rel": rel})
    vectors = sweep.grid.vectors
    affordable, costs = budget.check(sweep.stages, vectors)
    if not affordable.any():
        raise budget.unmet_error(sweep)
    fold = np.random.default_rng(seed).permutation(len(sweep.qids)) % folds
    candidates = Candidates(
        replace(sweep.replayer, measures=wanted), vectors, affordable, costs, fold, method, margin, level, seed, rel
    )
    means = candidates.sums.sum(axis=0) / len(fold)
    every, validated = pick(candidates, means, np.ones(len(fold), np.bool_)), cross_validate(candidates)
    noise, more = permutation_control(candidates, validated)
    return Choice(
        as_cutoffs(vectors[every.vector].tolist()),
        sweep.stages,
        name,
        method,
        len(fold),
        float(means[every.vector]),
        estimate(validated.measured, level=level, least=0.0, more=more),
        validated.optimism,
        compare_held_out(candidates, validated, more),
        validated.frame(sweep),
        find_runners_up(sweep, candidates, every.vector, means),
        noise,
        _price(sweep, budget, every.vector),
        every.plateaus,
        trace_curves(candidates, every.vector),
        advise(candidates, budget),
        every.over_budget,
        budget,
        margin,
        level,
        rel,
    )


def _price(sweep: Sweep, budget: Budget, vector: int) -> pd.Series[float]:
    """Give the costs of one vector: those of the sweep, and the budget's percentile."""
    row = sweep.frame.iloc[vector].drop([*(f"k{n}" for n in range(1, len(sweep.stages) + 1)), *sweep.measures])
    if budget.ms is not None and budget.column not in row:
        row[budget.column] = budget.frame(sweep.stages, sweep.grid.vectors[[vector]])[budget.column].iloc[0]
    return row.astype(float)


def _check(sweep: Sweep, name: str, budget: Budget, method: str, numbers: Mapping[str, float]) -> None:
    """Refuse arguments out of range, all at once."""
    problems = [] if name in sweep.measures else [f"the sweep has no measure {name}; it has {', '.join(sweep.measures)}"]
    if any(str(measure) == name and adds_up(measure) for measure in sweep.replayer.measures):
        problems.append(f"measure {name} is a count, expected a measure that is averaged over queries")
    if not is_word(method, get_args(Method)):
        problems.append(f"method is {method!r}, expected one of {', '.join(get_args(Method))}")
    if is_word(method, ("budget",)) and budget.ms is None and budget.usd is None:
        problems.append("method 'budget' needs budget_ms or budget_usd")
    problems += [*budget.find_problems(sweep), *_check_numbers(len(sweep.qids), numbers)]
    if problems:
        fix = "sweep(table, qrels, measures, cost=timings.cost())" if any("has no cost" in problem for problem in problems) else ""
        raise SweepError("cannot choose cut-offs", problems, fix=fix)


def _check_numbers(queries: int, numbers: Mapping[str, float]) -> list[str]:
    """List the numbers that are out of range."""
    problems = []
    margin, folds, level = numbers["margin"], numbers["folds"], numbers["level"]
    if not (is_number(margin) and 0 < margin < 1):
        problems.append(f"margin is {margin!r}, expected a number above 0 and below 1")
    if not (is_number(level) and 0.5 < level < 1):  # noqa: PLR2004 - a bound on the wrong side is none
        problems.append(f"level is {level!r}, expected a number above 0.5 and below 1")
    for name, least in (("seed", 0), ("rel", 1)):
        if not is_whole(numbers[name], least):
            problems.append(f"{name} is {numbers[name]!r}, expected a whole number, {least} or more")
    if queries < _FEWEST:
        problems.append(f"{queries} query has a judgment, expected at least 2, better 100 to 500")
    elif not (is_whole(folds, _FEWEST) and folds <= queries):
        problems.append(f"folds is {folds!r}, expected a whole number from 2 to {queries}, the number of judged queries")
    return problems
