"""What was chosen, how sure that is, and both in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.analysis.choice.intervals import Estimate
from pt_cascade.analysis.grid.cutoffs import name_cascade

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.budget import Budget
    from pt_cascade.analysis.choice.curve_shape import Curve
    from pt_cascade.analysis.choice.plateaus import Plateau
    from pt_cascade.analysis.choice.selection import Method
    from pt_cascade.analysis.choice.stage_advice import Advice

_MANY = 100  # queries; the designer's procedure asks for 100 to 500


@dataclass(frozen=True, eq=False)
class Choice:
    """Which cut-offs, why, and how sure that is.

    Attributes:
        cutoffs: Chosen by all queries; what ``cascade.with_cutoffs`` takes.
        stages: The names of the stages.
        measure: What it was chosen by.
        method: ``plateau``, ``budget`` or ``cheapest``.
        queries: How many queries with a judgment.
        in_sample: The measure of the choice on the queries that it was chosen by, all of them.
        held_out: The measure on held-out queries: each query by the vector that was chosen without its fold. So it is of this way
            of choosing, with a fold fewer, and of these very cut-offs as far as the folds choose alike.
        optimism: In-sample minus held-out, both of the folds' choices, mean over the queries: what choosing overstates.
        versus: Frame[against, difference, low, high]: held-out, paired, against the deepest cascade of the grid (the largest
            product of cut-offs) and, if there are more stages, stage 1 alone as deep.
        folds: Frame[fold, queries, k1, ..., in_sample, held_out]: what each fold's other queries chose.
        runners_up: Frame[k1, ..., <measure>, <costs>, difference, low, high]: the next best that are no mere neighbours, in-sample.
        noise: Frame[exchanged, in_sample, held_out]: what choosing the best of these vectors "gains" over the deepest where there
            is nothing to gain, a row a repetition: ``signs`` of each query's differences drawn at random, or, with the same
            scores, each query's ``labels`` exchanged among its documents.
        cost: The choice's row of the sweep's costs, and the percentile of the budget; empty without costs.
        plateaus: Where the recall of each stage stops rising; for the method ``plateau``.
        curves: How the measure goes with each stage's cut-off: rises, levels off, or peaks and then falls.
        advice: Whether a further stage pays.
        over_budget: Whether the plateau lies beyond the budget.
        budget: What might be spent.
        margin: What might be lost.
        level: Of all intervals and one-sided bounds.
    """

    cutoffs: tuple[int | None, ...]
    stages: tuple[str, ...]
    measure: str
    method: Method
    queries: int
    in_sample: float
    held_out: Estimate
    optimism: float
    versus: pd.DataFrame
    folds: pd.DataFrame
    runners_up: pd.DataFrame
    noise: pd.DataFrame
    cost: pd.Series[float]
    plateaus: tuple[Plateau, ...]
    curves: tuple[Curve, ...]
    advice: Advice
    over_budget: bool
    budget: Budget
    margin: float
    level: float

    def explain(self) -> str:
        """Say in a few lines what was chosen, how good it is, how sure that is, and what to do next."""
        return explain(self)

    def __repr__(self) -> str:
        return f"Choice({name_cascade(self.stages, self.cutoffs)}; {self.measure} {self.held_out.mean:.4f} held out)"


def explain(choice: Choice) -> str:
    """Say what was chosen, how good it is, how sure that is, and what to do next."""
    held, seen = choice.held_out, choice.held_out.mean + choice.optimism
    overstates = f"choosing overstates by {choice.optimism:.4f}" if choice.optimism > 0 else "choosing does not overstate here"
    lines = [
        f"{name_cascade(choice.stages, choice.cutoffs)}",
        f"  chosen as {_say_method(choice)}, by {choice.queries:,} queries; intervals are of {100 * choice.level:g} %",
        f"  {choice.measure} {held.mean:.4f} [{held.low:.4f}, {held.high:.4f}] held out: each query by what others chose",
        f"  {seen:.4f} on the queries that chose: {overstates}",
        f"  {_say_stability(choice)}",
    ]
    lines += [f"  {_say_cost(choice)}"] if len(choice.cost) else []
    for against, difference, low, high in choice.versus.itertuples(index=False, name=None):
        found = f"{Estimate(difference, low, high, choice.queries)}, held out"
        lines.append(f"  against {against}: {'each fold chose that one' if low == high else found}")
    lines += [f"  recall of {plateau}" for plateau in choice.plateaus]
    lines += ["  that is beyond the budget: this is the best within it"] if choice.over_budget else []
    lines += [f"  {choice.measure} {shape}" for shape in choice.curves]
    lines += [f"  {_say_noise(choice)}", f"  {choice.advice.text}"]
    if choice.queries < _MANY:
        lines.append(f"  {choice.queries} queries are few: 100 to 500 would narrow the intervals")
    return "\n".join(lines)


def _say_method(choice: Choice) -> str:
    """Say what was looked for."""
    within = f" within {choice.budget}" if str(choice.budget) else ""
    best = f"the best {choice.measure}{within}"
    if choice.method == "budget":
        return best
    if choice.method == "plateau":
        return f"the smallest cut-offs whose recall is within {choice.margin:g} of the deepest's{within and f', and{within}'}"
    return f"the least cost whose {choice.measure} is within {choice.margin:g} of {best}"


def _say_cost(choice: Choice) -> str:
    """Say what the choice costs."""
    cost = choice.cost
    times = [f"{cost['ms']:.4g} ms a query on average"] if "ms" in cost else []
    late = [name for name in cost.index if name.startswith("p") and name.endswith("_ms")]
    times += [f"p{name[1:-3]} {cost[name]:.4g} ms" for name in late]
    times += [f"{cost['pairs']:.4g} model pairs"] if "pairs" in cost else []
    times += [f"{1000 * cost['usd']:.3g} usd per 1,000 queries"] if "usd" in cost else []
    hand = "; by costs given by hand, whose percentiles know no slow query" if choice.budget.by_hand and late else ""
    return ", ".join(times) + hand


def _say_stability(choice: Choice) -> str:
    """Say what the folds chose."""
    spans = []
    for n, (stage, cutoff) in enumerate(zip(choice.stages, choice.cutoffs, strict=True), 1):
        chosen = [None if pd.isna(k) else int(k) for k in choice.folds[f"k{n}"]]
        if set(chosen) != {cutoff}:
            cuts = sorted(k for k in set(chosen) if k is not None)
            ends = [f"{k}" for k in cuts] + ["no cut"] * (None in chosen)
            spans.append(f"{stage} {ends[0]}{f' to {ends[-1]}' if len(ends) > 1 else ''}")
    return f"chosen without one fold each: {', '.join(spans)}" if spans else f"all {len(choice.folds)} folds choose the same"


def _say_noise(choice: Choice) -> str:
    """Say what choosing would seem to gain from nothing."""
    found = choice.noise.groupby("exchanged")[["in_sample", "held_out"]].mean()
    said = {"signs": "if none were better", "labels": "if labels were exchanged between documents"}
    gains = [(found.in_sample[name], said[name], found.held_out[name]) for name in said if name in found.index]
    parts = ", ".join(f"{seen:+.4f} {what} (held out {held:+.4f})" for seen, what, held in gains)
    return f"from nothing, choosing the best would seem to gain over the deepest {parts}"
