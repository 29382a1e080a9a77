"""Cut-offs chosen on some queries and reported on others."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, get_args

import numpy as np

from pt_cascade.analysis.certificates.fixed_sequence import TESTS
from pt_cascade.analysis.choice.budget import Budget
from pt_cascade.analysis.choice.candidates import Candidates, Method
from pt_cascade.analysis.choice.cross_validation import (
    compare_first_stage,
    count_folds,
    cross_validate,
    draw_folds,
    estimate_gain,
    find_runners_up,
    measure_noise,
)
from pt_cascade.analysis.choice.curve_shape import trace_curves
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.choice.result import Choice
from pt_cascade.analysis.choice.selection import find_reference, pick
from pt_cascade.analysis.choice.stage_advice import advise, describe_unused
from pt_cascade.analysis.choice.verdict import judge
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.replay.measures import adds_up, find_rel
from pt_cascade.analysis.sweep.rows import list_cutoffs
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_number, is_whole, is_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from ir_measures import Measure

    from pt_cascade.analysis.certificates.fixed_sequence import Test
    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.analysis.sweep.pruned import PrunedSweep
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
    reference: Sequence[Cutoff] | None = None,
    alpha: float = 0.05,
    test: Test = "dirichlet",
    level: float = 0.95,
    rel: int | None = None,
) -> Choice:
    """Choose cut-offs, or say that nothing shows them to be better than a reference, which is then kept.

    Args:
        sweep: Measures and costs of every vector.
        measure: The measure to choose by, one of the sweep's.
        budget_ms: The most milliseconds that a query may take, at the percentile; None: no limit.
        percentile: Percentile of the queries' times, from 1 to 100; None: their mean. What counts is its upper bound, with a chance
            of 95 %, by order statistics of the timed queries: p95 takes 59 of them. Costs given by hand know no slow queries: there
            the query that retrieves the most counts.
        budget_usd: The most US dollars that a query may cost on average; None: no limit.
        margin: How much recall (``plateau``) or measure may be lost, absolute, above 0, below 1; in the advice, the gain below
            which a further stage does not pay. With n queries, no loss below about 3/n can be ruled out.
        folds: The least number of random parts that the queries are split into, 2 or more; more are made where else too few queries
            were left for the margin.
        method: ``certified``: the least cost whose measure is below the reference's by at most the margin, with a chance of error
            of at most ``alpha``: vectors within the budget, from the reference down, are tested one after the other, K1 · s, K2 ·
            √s, ..., up to the first that fails. ``budget``: the best measure within the budget. ``plateau``: the smallest cut-off
            of stage 1 whose recall is below the reference's by at most the margin, then that of stage 2 given it, and so on; if
            that exceeds the budget, the best vector that is no deeper. None: ``budget`` if there is one, else ``plateau``.
        seed: Seed of folds and resamples; the same seed gives the same choice.
        reference: Cut-offs to keep where no others are shown to be better or, at less cost, within the margin: those in use, or
            others that no judgment has chosen. None: the deepest of the grid; if they exceed the budget, the first within it on
            the way down from there. Of a sweep with fusions, with the first of these.
        alpha: The chance that a certificate is wrong, above 0, below 0.5.
        test: Of certificates: ``dirichlet`` is exact for losses of 0 and 1, and conjectured, by simulation, for others; ``betting``
            is proven, and needs some more queries; ``anytime`` is proven even where you look at the choice again and again, and
            stop asking queries when it is certain; it takes the queries in the table's order, which is to be random.
        level: Level of all intervals and one-sided bounds, above 0.5, below 1.
        rel: The lowest label that counts as relevant in recall; None: that of the measure, as 2 for R(rel=2)@100, else 1.

    Returns:
        The choice; print ``choice.explain()``.

    Raises:
        SweepError: Arguments are out of range (all are listed), too few queries were timed for the budget's percentile, or no
            vector is within the budget (the cheapest is named).

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.analysis.sweep.sweep import sweep
        >>> from pt_cascade.analysis.table.data import Column, Path, Scores
        >>> frame = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "rank": [0, 1] * 2, "bm25": 1.0, "t5": [0, 1] * 2})
        >>> topics = pd.DataFrame({"qid": ["1", "2"], "query": ["q", "r"]})
        >>> table = Scores(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, None)),))
        >>> qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]})
        >>> choose(sweep(table, qrels, ["RR"]), "RR", folds=2)
        Choice(cannot tell: bm25 → 2 · t5; RR 1.0000)
    """
    given = {name: one.item() if isinstance(one, np.generic) else one for name, one in locals().items()}
    if not hasattr(sweep, "grid"):
        problem = f"it is a {type(sweep).__name__}, expected what sweep returns; choose_rules takes what sweep_rules returns"
        raise SweepError("this is not a sweep", [problem], fix='choose(sweep(table, qrels, ["nDCG@10"]), "nDCG@10")')
    name = str(measure)
    method = ("plateau" if budget_ms is None and budget_usd is None else "budget") if method is None else method
    wanted = tuple(one for one in sweep.replayer.measures if str(one) == name)
    rel = find_rel(wanted, rel)
    docs = sweep.table.retrieved[sweep.replayer.judged.queries]
    untimed = "" if sweep.cost is None or sweep.cost.live else sweep.replayer.path.live
    budget = Budget(sweep.cost, budget_ms, percentile, budget_usd, docs, untimed)
    numbers = {"margin": margin, "folds": folds, "level": level, "alpha": alpha, "seed": seed, "rel": rel}
    check_arguments(sweep, name, budget, {"method": (method, get_args(Method)), "test": (test, TESTS)}, numbers)
    vectors = sweep.rows
    affordable, costs = budget.check(sweep.stages, sweep.grid.vectors, len(sweep.fusions))
    if not affordable.any():
        raise budget.unmet_error(sweep)
    split = draw_folds(len(sweep.qids), count_folds(len(sweep.qids), folds, method, margin, alpha, test), seed)
    replayer = replace(sweep.replayer, measures=wanted)
    candidates = Candidates(replayer, vectors, affordable, costs, split, -1, method, margin, alpha, test, level, seed, rel)
    candidates = replace(candidates, reference=find_reference(candidates, sweep.stages, reference))
    defaults = {one.name: one.default for one in signature(choose).parameters.values() if one.default is not one.empty}
    changed = {name: given[name] for name, default in defaults.items() if repr(given[name]) != repr(default)}
    return replace(_choose(sweep, candidates, budget), options=changed)


def _choose(sweep: Sweep, candidates: Candidates, budget: Budget) -> Choice:
    """Pick, cross-validate, judge, and put all of it together."""
    level, queries = candidates.level, candidates.folds.shape[1]
    means = candidates.sums[0].sum(axis=0) / queries
    picked, validated = pick(candidates, means, np.ones(queries, np.bool_)), cross_validate(candidates)
    noise, more = measure_noise(candidates, validated)
    gain = estimate_gain(candidates, validated, more)
    verdict = judge(candidates, picked, gain)
    use = picked.vector if verdict.decision == "ship" else candidates.reference
    three = (use, candidates.reference, picked.vector)
    used, reference, best = (as_cutoffs(candidates.cutoffs[at].tolist()) for at in three)
    return Choice(
        cutoffs=used,
        verdict=verdict,
        reference=reference,
        picked=best,
        stages=sweep.stages,
        measure=str(candidates.replayer.measures[0]),
        method=candidates.method,
        queries=queries,
        in_sample=float(means[picked.vector]),
        kept=estimate(candidates.per_query(candidates.reference), level=level, least=0.0),
        used=estimate(candidates.per_query(use), level=level, least=0.0),
        held_out=estimate(validated.per_query, level=level, least=0.0, more=more),
        gain=gain,
        first_stage=compare_first_stage(candidates, validated, more),
        folds=validated.frame(sweep),
        runners_up=find_runners_up(sweep, candidates, picked.vector, means),
        noise=noise,
        cost=_price(sweep, use),
        times=budget.time(used),
        plateaus=picked.plateaus,
        curves=trace_curves(candidates, picked.vector),
        advice=advise(candidates, budget),
        over_budget=not bool(candidates.affordable[use]),
        budget=budget,
        margin=candidates.margin,
        level=level,
        rel=candidates.rel,
        test=candidates.test,
        unused=describe_unused(candidates, use),
        fusion=candidates.fusion(use),
        reference_fusion=candidates.fusion(candidates.reference),
        picked_fusion=candidates.fusion(picked.vector),
    )


def _price(sweep: Sweep, vector: int) -> pd.Series[float]:
    """Give the costs of one vector."""
    settings = list_cutoffs(sweep.rows[:1], sweep.stages, sweep.fusions).columns
    return sweep.frame.iloc[vector].drop([*settings, *sweep.measures]).astype(float)


def check_arguments(
    sweep: Sweep | PrunedSweep,
    name: str,
    budget: Budget,
    words: Mapping[str, tuple[str, tuple[str, ...]]],
    numbers: Mapping[str, float],
) -> None:
    """Refuse arguments out of range, all at once."""
    problems = [] if name in sweep.measures else [f"the sweep has no measure {name}; it has {', '.join(sweep.measures)}"]
    if any(str(measure) == name and adds_up(measure) for measure in sweep.replayer.measures):
        problems.append(f"measure {name} is a count, expected a measure that is averaged over queries")
    for key, (value, known) in words.items():
        problems += [] if is_word(value, known) else [f"{key} is {value!r}, expected one of {', '.join(known)}"]
    if is_word(words["method"][0], ("budget",)) and budget.ms is None and budget.usd is None:
        problems.append("method 'budget' needs budget_ms or budget_usd")
    rel = numbers["rel"]
    labels = sweep.replayer.judged.relevant
    if is_word(words["method"][0], ("plateau",)) and is_whole(rel, 1) and not any((one >= rel).any() for one in labels):
        problems.append(f"no judged document has a label of {rel} or more, so there is no recall to keep")
    problems += [*budget.find_problems(sweep), *list_number_problems(len(sweep.qids), numbers)]
    if problems:
        fix = "sweep(table, qrels, measures, cost=timings.cost())" if any("has no cost" in problem for problem in problems) else ""
        raise SweepError("cannot choose cut-offs", problems, fix=fix)


def list_number_problems(queries: int, numbers: Mapping[str, float]) -> list[str]:
    """List the numbers that are out of range."""
    problems = []
    margin, folds, level, alpha = (numbers[name] for name in ("margin", "folds", "level", "alpha"))
    if not (is_number(margin) and 0 < margin < 1):
        problems.append(f"margin is {margin!r}, expected a number above 0 and below 1")
    if not (is_number(level) and 0.5 < level < 1):  # noqa: PLR2004 - a bound on the wrong side is none
        problems.append(f"level is {level!r}, expected a number above 0.5 and below 1")
    if not (is_number(alpha) and 0 < alpha < 0.5):  # noqa: PLR2004 - likewise
        problems.append(f"alpha is {alpha!r}, expected a number above 0 and below 0.5")
    for name, least in (("seed", 0), ("rel", 1)):
        if not is_whole(numbers[name], least):
            problems.append(f"{name} is {numbers[name]!r}, expected a whole number, {least} or more")
    if queries < _FEWEST:
        problems.append(f"{queries} query has a judgment, expected at least 2, better 100 to 500")
    elif not (is_whole(folds, _FEWEST) and folds <= queries):
        problems.append(f"folds is {folds!r}, expected a whole number from 2 to {queries}, the number of judged queries")
    return problems
