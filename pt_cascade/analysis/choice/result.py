"""The chosen cut-offs, how sure the choice is, and a report on both."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.choice.verdict import round_up
from pt_cascade.analysis.grid.cutoffs import name_cascade
from pt_cascade.markup import Shown, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pt_cascade.analysis.certificates.fixed_sequence import Test
    from pt_cascade.analysis.choice.budget import Budget
    from pt_cascade.analysis.choice.candidates import Method
    from pt_cascade.analysis.choice.curve_shape import Curve
    from pt_cascade.analysis.choice.intervals import Estimate
    from pt_cascade.analysis.choice.plateaus import Plateau
    from pt_cascade.analysis.choice.stage_advice import Advice
    from pt_cascade.analysis.choice.verdict import Verdict
    from pt_cascade.analysis.cost.latency import Latency
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion

_ROWS = 8


@dataclass(frozen=True, eq=False)
class Choice(Shown):
    """The cut-offs to use, and how sure that is.

    Attributes:
        cutoffs: What to use: ``picked`` if the verdict is to ship it, else ``reference``; the argument of ``cascade.with_cutoffs``.
        verdict: ``ship``, ``keep`` or ``cannot tell``, why, and about how many queries would tell.
        reference: What the choice is compared with, fixed before any judgment was seen.
        picked: What the method picks by all queries, shown to hold or not.
        stages: The names of the stages.
        measure: The measure it was chosen by.
        method: ``plateau``, ``budget`` or ``certified``.
        queries: The number of queries with a judgment.
        in_sample: The measure of ``picked`` on all queries, which picked it: too high where the method looks for the best.
        kept: The measure of ``reference``, which no query chose.
        used: The measure of ``cutoffs`` on all queries: they have certified it, or had no part in it, or else it is in-sample.
        held_out: The measure of picking so, on queries that had no part in it: each query at what was picked without its fold, mean
            over several ways to split the queries. It is of ``picked`` itself only as far as the folds pick the same.
        gain: ``held_out`` less the reference, paired.
        first_stage: Likewise less stage 1 alone, as deep as in the reference; None for a single stage.
        folds: Frame[repeat, fold, queries, k1, ..., held_out]: what was picked without each fold.
        runners_up: Frame[k1, ..., <measure>, <costs>, difference, low, high]: the next best vectors that differ from ``picked`` by
            a fifth or more, in-sample.
        noise: Frame[in_sample, held_out]: what picking the best vector appears to gain over the reference where there is nothing to
            gain: each query's differences with a random sign, a row a repetition.
        cost: The costs of ``cutoffs``; empty without costs.
        times: The percentiles of its time with their intervals; None where single queries' times are not known.
        plateaus: Where the recall of each stage stops rising; for the method ``plateau``.
        curves: The shape of the measure over each stage's cut-off: increasing, on a plateau, or peaked.
        advice: Whether a further stage pays.
        over_budget: Whether ``cutoffs`` exceed the budget: a reference that was given may.
        budget: The budget.
        margin: How much may be lost.
        level: Level of all intervals and one-sided bounds.
        rel: The lowest label that counts as relevant in recall.
        test: Of a certificate.
        unused: Which last stages of ``cutoffs`` have weight 0 in the fusion, and what the cascade without them has; else empty.
        fusion: Of the stages' scores, for ``cutoffs``; the argument of ``cascade.fused``; None: the last stage's own ranking.
        reference_fusion: Likewise for ``reference``.
        picked_fusion: Likewise for ``picked``.
        options: The arguments of ``choose`` that are not its defaults.
    """

    cutoffs: tuple[int | None, ...]
    verdict: Verdict
    reference: tuple[int | None, ...]
    picked: tuple[int | None, ...]
    stages: tuple[str, ...]
    measure: str
    method: Method
    queries: int
    in_sample: float
    kept: Estimate
    used: Estimate
    held_out: Estimate
    gain: Estimate
    first_stage: Estimate | None
    folds: pd.DataFrame
    runners_up: pd.DataFrame
    noise: pd.DataFrame
    cost: pd.Series[float]
    times: Latency | None
    plateaus: tuple[Plateau, ...]
    curves: tuple[Curve, ...]
    advice: Advice
    over_budget: bool
    budget: Budget
    margin: float
    level: float
    rel: int = 1
    test: Test = "dirichlet"
    unused: str = ""
    fusion: StageFusion | None = None
    reference_fusion: StageFusion | None = None
    picked_fusion: StageFusion | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    def explain(self, *, details: bool = False, width: int = 80) -> str:
        """Report what to do and how sure that is: the verdict, then about ten lines, which continue on indented ones.

        Args:
            details: Append the evidence: stage 1 alone, recall, curves, selection noise, and what each fold picked.
            width: The columns of a line.

        Returns:
            Lines of text.
        """
        name = name_cascade(self.stages, self.cutoffs, self.fusion)
        lines = [head_line(self.verdict, name, self.queries), *lay_out(_report(self), width)]
        return "\n".join([*lines, *(_details(self) if details else ())])

    def tabulate(self) -> Table:
        """Return the pick, held out, and what it is compared with, for a notebook or a paper."""
        names = [name_cascade(self.stages, self.picked, self.picked_fusion)]
        names += [name_cascade(self.stages, self.reference, self.reference_fusion), *self.stages[:1]]
        losses = [-one for one in (self.gain, self.first_stage) if one is not None]
        means = [self.held_out.mean, self.kept.mean, *(self.held_out.mean + one.mean for one in losses[1:])]
        less, rows = f"less the pick, {100 * self.level:g} % interval", len(means)
        times = {name: column[:rows] for name, column in self.budget.list_times(self.picked, self.reference).items()}
        columns = {"": ["picked", "reference", "stage 1 alone"][:rows], "cascade": names[:rows], self.measure: means}
        frame = pd.DataFrame({**columns, less: [math.nan, *map(str, losses)], **times})
        formats = dict.fromkeys(frame.columns[4:], "{:,.1f}".format) | {self.measure: "{:.4f}".format}
        caption = f"{self.queries:,} queries; the pick is held out; † marks paired differences whose interval excludes 0"
        return Table(frame, caption, formats, [self.measure], {less: [False, *(not one.low <= 0 <= one.high for one in losses)]})

    def __repr__(self) -> str:
        name = name_cascade(self.stages, self.cutoffs, self.fusion)
        return f"Choice({self.verdict.decision}: {name}; {self.measure} {self._shown.mean:.4f})"

    @property
    def _shown(self) -> Estimate:
        """The measure of what is to be used: held out, or of the reference."""
        return self.held_out if self.verdict.decision == "ship" and not self.verdict.guaranteed else self.used


def head_line(verdict: Verdict, name: str, queries: int) -> str:
    """Say what to do with what has this name, after so many queries."""
    if verdict.decision == "cannot tell":
        return f"Cannot tell: about {round_up(verdict.needed or queries):,} queries would. Keep {name}"
    return f"{verdict.decision.capitalize()} {name}"


def lay_out(lines: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Indent labelled lines, and continue those that are too long."""
    for label, text in lines:
        yield from wrap(f"{label}: {text}", width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _report(choice: Choice) -> Iterator[tuple[str, str]]:
    """Yield the labelled lines."""
    shown, ship = choice._shown, choice.verdict.decision == "ship"  # noqa: SLF001 - of this module
    yield "Why", choice.verdict.reason
    certified = "whose recall it keeps" if choice.plateaus else "which certify it"
    how = certified if choice.verdict.guaranteed else "held out" if ship else "not chosen by them"
    yield choice.measure, f"{shown.mean:.4f} [{shown.low:.4f}, {shown.high:.4f}] on {choice.queries:,} queries, {how}"
    if ship:
        yield "Instead of", f"{name_cascade(choice.stages, choice.reference, choice.reference_fusion)}, {choice.kept.mean:.4f}"
    elif (choice.picked, choice.picked_fusion) != (choice.reference, choice.reference_fusion):
        yield "Best seen", f"{name_cascade(choice.stages, choice.picked, choice.picked_fusion)}, {choice.in_sample:.4f} in-sample"
    if choice.first_stage is not None:
        worse = f"{choice.stages[0]} alone is better: " if choice.first_stage.high < 0 else ""
        yield f"Against {choice.stages[0]} alone", f"{worse}{choice.first_stage} held out"
    yield "Asked", _describe_method(choice)
    yield "Folds", _describe_folds(choice)
    if len(choice.cost):
        yield "Costs", _describe_cost(choice)
    yield "Stages", choice.advice.text
    if choice.unused:
        yield "Unused", choice.unused


def _details(choice: Choice) -> Iterator[str]:
    """Yield the evidence."""
    yield "Details"
    picked = name_cascade(choice.stages, choice.picked, choice.picked_fusion)
    yield f"  Picked on all queries: {picked}, in-sample {choice.in_sample:.4f}"
    yield f"  Picking so, held out: {str(choice.held_out).replace('+', '')}; less the reference: {choice.gain}"
    if choice.method == "certified":
        proven = {"dirichlet": "proven for losses of 0 and 1, conjectured for others", "betting": "proven for any losses"}
        proven["anytime"] = "proven for any losses, after any number of queries"
        yield f"  Certified by the {choice.test} test, {proven[choice.test]}"
    relevant = f"; relevant are labels of {choice.rel} and more" * (choice.rel > 1)
    yield from (f"  Plateau of {plateau}{relevant}" for plateau in choice.plateaus)
    yield from (f"  {choice.measure} {curve}" for curve in choice.curves)
    gain = choice.noise["in_sample"].mean()
    yield f"  Selection noise: if all cut-offs were equally good, the best would still appear to gain {gain:.4f} in-sample"
    if choice.advice.shorter:
        yield f"  Stages: compared {choice.advice.longer} with {choice.advice.shorter}"
    yield "  Picked without each fold, most often:"
    counts = choice.folds.groupby([name for name in map(str, choice.folds) if name[0] in "kw"], dropna=False).size()
    table = counts.sort_values(ascending=False).reset_index(name="times").head(_ROWS)
    yield from (f"    {line}" for line in table.to_string(index=False, na_rep="-").splitlines())


def _describe_method(choice: Choice) -> str:
    within = f" within {choice.budget}" if str(choice.budget) else ""
    within += ", which they exceed" * choice.over_budget
    if choice.method == "budget":
        return f"the best {choice.measure}{within}"
    if choice.method == "certified":
        return f"the cheapest that loses at most {choice.margin:g} {choice.measure}, tested in a fixed order{within}"
    return f"the smallest cut-offs with recall at most {choice.margin:g} below the reference's{within}"


def _describe_cost(choice: Choice) -> str:
    cost, times = choice.cost, choice.times
    parts = [f"{show_digits(cost['ms'], 3)} ms a query"] if "ms" in cost else []
    if times is not None:
        for level, ms, low, high in times.frame[["percentile", "joint_ms", "low_ms", "high_ms"]].to_numpy():
            end = f"to {show_digits(high)}" if np.isfinite(high) else "or more"
            parts.append(f"p{level:g} {show_digits(ms)} ms ({show_digits(low)} {end}, {times.queries} queries)")
    parts += [f"{show_digits(cost['pairs'], 3)} model pairs"] if "pairs" in cost else []
    parts += [f"{show_digits(1000 * cost['usd'], 3)} usd per 1,000 queries"] if "usd" in cost else []
    by_hand = " (by hand: no slow queries)" * (choice.budget.cost is not None and choice.budget.cost.sample is None)
    untimed = f"; without {choice.budget.untimed!r}, which runs live and has no cost" if choice.budget.untimed else ""
    return ", ".join(parts) + by_hand + untimed


def _describe_folds(choice: Choice) -> str:
    """Say how stable the pick is, and how much the way to split the queries matters."""
    cutoffs = choice.folds[[f"k{n}" for n in range(1, len(choice.stages) + 1)]]
    weights = choice.folds[[name for name in map(str, choice.folds) if name.startswith("w")]].to_numpy(np.float64)
    wanted = np.full(weights.shape[1], np.nan) if choice.picked_fusion is None else choice.picked_fusion.weigh(choice.stages)
    alike = [np.array_equal(row, wanted[: len(row)], equal_nan=True) for row in weights]
    chosen = [tuple(None if pd.isna(k) else int(k) for k in row) for row in cutoffs.to_numpy(object)]
    same = sum(one == choice.picked and also for one, also in zip(chosen, alike, strict=True))
    spans = []
    for stage, column in zip(choice.stages, cutoffs, strict=True):
        found = sorted({int(k) for k in cutoffs[column].dropna()})
        ends = [f"{found[0]} to {found[-1]}"] if len(found) > 1 else []
        ends += ["no cut"] * bool(found and cutoffs[column].isna().any())
        spans += [f"{stage} → {' or '.join(ends)}"] if ends else []
    means = choice.folds["held_out"].mul(choice.folds["queries"]).groupby(choice.folds["repeat"]).sum() / choice.queries
    stable = f"{same} of {len(choice.folds)} pick the same" + f", others {' · '.join(spans)}" * bool(spans)
    spread = f"{means.min():.4f} to {means.max():.4f} held out over {len(means)} splits" * (len(means) > 1)
    return "; ".join(filter(None, (stable, spread)))


def show_digits(value: float, digits: int = 2) -> str:
    """Show no more digits than are known.

    Example:
        >>> show_digits(1234.5), show_digits(33.49), show_digits(0.0461, 3)
        ('1,200', '33', '0.0461')
    """
    return f"{float(f'{value:.{digits}g}'):,.15g}"
