"""Rules that prune a cascade, chosen on some queries and reported on others; the plain cut-offs are the reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.certificates.fixed_sequence import TESTS
from pt_cascade.analysis.choice.budget import Budget
from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.choice.choose import check_arguments
from pt_cascade.analysis.choice.cross_validation import count_folds, cross_validate, draw_folds, estimate_gain, measure_noise
from pt_cascade.analysis.choice.intervals import Estimate, estimate
from pt_cascade.analysis.choice.result import head_line, lay_out
from pt_cascade.analysis.choice.selection import pick
from pt_cascade.analysis.choice.verdict import judge
from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ir_measures import Measure

    from pt_cascade.analysis.certificates.fixed_sequence import Test
    from pt_cascade.analysis.choice.verdict import Verdict
    from pt_cascade.analysis.pruning.rules import Rule
    from pt_cascade.analysis.sweep.pruned import PrunedSweep
    from pt_cascade.ranking import Floats, Ints

RuleMethod: TypeAlias = Literal["certified", "budget"]


@dataclass(frozen=True, eq=False)
class RuleChoice:
    """The rules to use, and how sure that is.

    Attributes:
        sweep: What was chosen from.
        row: The row to use: ``picked`` if the verdict is to ship it, else ``reference``.
        verdict: ``ship``, ``keep`` or ``cannot tell``, why, and about how many queries would tell.
        picked: The row that the method picks by all queries, shown to hold or not.
        reference: The row that it is compared with: the first within the budget, without one 0, the plain cut-offs.
        measure: The measure it was chosen by.
        used: The measure of ``row`` on all queries.
        held_out: The measure of picking so, on queries that had no part in it, mean over several ways to split the queries.
        gain: ``held_out`` less the reference, paired.
    """

    sweep: PrunedSweep
    row: int
    verdict: Verdict
    picked: int
    reference: int
    measure: str
    used: Estimate
    held_out: Estimate
    gain: Estimate

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules to use by stage; none: the plain cut-offs."""
        return self.sweep.rules[self.row]

    def explain(self, *, width: int = 80) -> str:
        """Report what to do and how sure that is, in lines of some columns."""
        names = [name or "the plain cut-offs" for name in self.sweep.frame["rules"]]
        used, queries = self.used, len(self.sweep.qids)
        lines = [("Why", self.verdict.reason), ("Picked on all queries", names[self.picked]), ("Instead of", names[self.reference])]
        lines += [(self.measure, f"{used.mean:.4f} [{used.low:.4f}, {used.high:.4f}] on {queries:,} queries")]
        lines += [("Picking so, held out", f"{self.held_out.mean:.4f}; less the reference {self.gain}")]
        return "\n".join([head_line(self.verdict, names[self.row], queries), *lay_out(lines, width)])


def choose_rules(  # noqa: PLR0913 - the names are public
    sweep: PrunedSweep,
    measure: Measure | str,
    budget_ms: float | None = None,
    percentile: float | None = 95,
    margin: float = 0.02,
    folds: int = 5,
    method: RuleMethod | None = None,
    seed: int = 0,
    *,
    alpha: float = 0.05,
    test: Test = "dirichlet",
    level: float = 0.95,
) -> RuleChoice:
    """Choose one row of a path of rules, as ``choose`` chooses cut-offs.

    Args:
        sweep: What ``sweep_rules`` returned.
        measure: The measure to choose by, one of the sweep's.
        budget_ms: As for ``choose``; every judged query counts at every profiled pace, as if the two were independent.
        percentile: As for ``choose``.
        margin: How much of the measure may be lost, absolute, above 0, below 1.
        folds: As for ``choose``.
        method: ``certified``: the least mean cost of the rows that are tested one after the other along the path, up to the first
            that is not shown to lose at most the margin. ``budget``: the best measure within the budget. None: ``budget`` if there
            is one, else ``certified``.
        seed: As for ``choose``.
        alpha: As for ``choose``.
        test: As for ``choose``.
        level: As for ``choose``.

    Returns:
        The choice; print ``choice.explain()``.

    Raises:
        SweepError: Arguments are out of range (all are listed), or no row is within the budget.

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.analysis.pruning import Margin
        >>> from pt_cascade.analysis.sweep.pruned import sweep_rules
        >>> from pt_cascade.analysis.table.data import Column, Path, Scores
        >>> frame = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "rank": [0, 1] * 2, "bm25": [2, 1.0] * 2, "t5": [0, 1] * 2})
        >>> topics = pd.DataFrame({"qid": ["1", "2"], "query": ["q", "r"]})
        >>> table = Scores(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, None)),))
        >>> qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]})
        >>> rules = sweep_rules(table, qrels, ["RR"], (2, None), [{"bm25": Margin(1.0)}])
        >>> print(choose_rules(rules, "RR", folds=2).explain().splitlines()[0])
        Cannot tell: about 150 queries would. Keep the plain cut-offs
    """
    name, queries = str(measure), len(sweep.qids)
    how = method or ("certified" if budget_ms is None else "budget")
    budget = Budget(sweep.cost, budget_ms, percentile, None, sweep.replayer.table.retrieved[sweep.replayer.judged.queries])
    numbers = {"margin": margin, "folds": folds, "level": level, "alpha": alpha, "seed": seed, "rel": 1}
    check_arguments(sweep, name, budget, {"method": (how, ("certified", "budget")), "test": (test, TESTS)}, numbers)
    costs, limited = _price(sweep, budget)
    affordable = limited <= (np.inf if budget.ms is None else budget.ms)
    if not affordable.any():
        nearest = sweep.frame["rules"][int(limited.argmin())] or "the plain cut-offs"
        problem = f"the limit is {budget}; the nearest, {nearest}, takes {limited.min():.4g} ms"
        raise SweepError("no rules are within the budget", [problem], fix="raise it, or sweep tighter rules or smaller cut-offs")
    split = draw_folds(queries, count_folds(queries, folds, how, margin, alpha, test), seed)
    wanted, first = sweep.measures.index(name), int(affordable.argmax())
    replayer = replace(sweep.replayer, measures=sweep.replayer.measures[wanted : wanted + 1])
    rows, values = np.arange(len(sweep.rules), dtype=np.int32)[:, None], sweep.values[:, :, wanted].T
    candidates = _Rows(replayer, rows, affordable, costs, split, first, how, margin, alpha, test, level, seed, measured=values)
    picked, validated = pick(candidates, values.mean(axis=0), np.ones(queries, np.bool_)), cross_validate(candidates)
    more = measure_noise(candidates, validated)[1]
    gain = estimate_gain(candidates, validated, more)
    verdict = judge(candidates, picked, gain)
    use = picked.vector if verdict.decision == "ship" else first
    used = estimate(values[:, use], level=level, least=0.0)
    held_out = estimate(validated.per_query, level=level, least=0.0, more=more)
    return RuleChoice(sweep, use, verdict, picked.vector, first, name, used, held_out, gain)


@dataclass(frozen=True, eq=False)
class _Rows(Candidates):
    """The rows of a sweep of rules, each a vector of one number."""

    measured: Floats = field(kw_only=True)  # (queries, rows)

    def values(self, vectors: Ints) -> Floats:
        """Give each query's measure at some rows: shape (queries, rows)."""
        return self.measured[:, vectors]

    @cached_property
    def sequence(self) -> Ints:
        """The rows within the budget that are tighter than the reference."""
        return np.flatnonzero(self.affordable[self.reference + 1 :]) + self.reference + 1


def _price(sweep: PrunedSweep, budget: Budget) -> tuple[Floats, Floats]:
    """Return each row's mean cost, in milliseconds or documents that stages score, and what the budget limits."""
    if sweep.cost is None:
        documents = sweep.kept[:, :, :-1].sum(axis=2).mean(axis=1)
        return documents, documents
    costs = sweep.ms.mean(axis=1)
    if budget.level is None:
        return costs, costs
    times = [take_percentiles(sweep.cost.times_at(documents).ravel(), [budget.level])[0] for documents in sweep.kept]
    return costs, np.array(times)
