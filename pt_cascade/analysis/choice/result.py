"""The chosen cut-offs, how sure the choice is, and a report on both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.analysis.choice.intervals import Estimate
from pt_cascade.analysis.grid.cutoffs import name_cascade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.analysis.choice.budget import Budget
    from pt_cascade.analysis.choice.candidates import Method
    from pt_cascade.analysis.choice.curve_shape import Curve
    from pt_cascade.analysis.choice.plateaus import Plateau
    from pt_cascade.analysis.choice.stage_advice import Advice

_MANY = 100  # queries
_CONTROLS = {"signs": "if all cut-offs were equally good", "labels": "if labels were permuted among each query's documents"}


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen cut-offs, and how sure the choice is.

    Attributes:
        cutoffs: Chosen by all queries; the argument of ``cascade.with_cutoffs``.
        stages: The names of the stages.
        measure: The measure it was chosen by.
        method: ``plateau``, ``budget`` or ``cheapest``.
        queries: The number of queries with a judgment.
        in_sample: The measure of the choice on all queries, which it was chosen by.
        held_out: The measure on held-out queries: each query at the vector that was chosen without its fold. It is an estimate for
            this way of choosing, and for these very cut-offs as far as the folds choose alike.
        optimism: In-sample minus held-out, both of the folds' choices, mean over the queries.
        versus: Frame[against, difference, low, high]: held out, paired, against the deepest cascade of the grid (the largest
            product of cut-offs) and, if there are more stages, stage 1 alone as deep.
        folds: Frame[fold, queries, k1, ..., in_sample, held_out]: what was chosen without each fold.
        runners_up: Frame[k1, ..., <measure>, <costs>, difference, low, high]: the next best vectors that differ by a fifth or more,
            in-sample.
        noise: Frame[exchanged, in_sample, held_out]: what choosing the best vector appears to gain over the deepest one where there
            is nothing to gain, a row a repetition: ``signs`` of each query's differences drawn at random, or each query's
            ``labels`` permuted among its documents.
        cost: The costs of the choice, with the budget's percentile; empty without costs.
        plateaus: Where the recall of each stage stops rising; for the method ``plateau``.
        curves: The shape of the measure over each stage's cut-off: increasing, on a plateau, or peaked.
        advice: Whether a further stage pays.
        over_budget: Whether the plateau exceeds the budget.
        budget: The budget.
        margin: How much may be lost.
        level: Level of all intervals and one-sided bounds.
        rel: The lowest label that counts as relevant in recall.
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
    rel: int = 1

    def explain(self, *, details: bool = False) -> str:
        """Report what to ship and how sure that is: a headline, then at most ten labelled lines.

        Args:
            details: Append the evidence: each plateau and curve in full, the label permutation, and what each fold chose.

        Returns:
            Lines of text.
        """
        lines = [_headline(self), *(f"  {label}: {text}" for label, text in _report(self))]
        return "\n".join([*lines, *(_details(self) if details else ())])

    def __repr__(self) -> str:
        return f"Choice({name_cascade(self.stages, self.cutoffs)}; {self.measure} {self.held_out.mean:.4f} held out)"


def _headline(choice: Choice) -> str:
    """What to ship, its quality with interval, and its time."""
    held, cost = choice.held_out, choice.cost
    parts = [f"{choice.measure} {held.mean:.4f} [{held.low:.4f}, {held.high:.4f}] held out"]
    column = next((name for name in (choice.budget.column, "p95_ms", "ms") if name in cost), "")
    parts += [f"{'mean' if column == 'ms' else column[:-3]} {cost[column]:.4g} ms"] if column else []
    return f"Ship {name_cascade(choice.stages, choice.cutoffs)}: {', '.join(parts)}"


def _report(choice: Choice) -> Iterator[tuple[str, str]]:
    """Yield the labelled lines."""
    few = "; 100 to 500 would give narrower intervals" if choice.queries < _MANY else ""
    yield "Method", f"{_describe_method(choice)}, on {choice.queries:,} queries ({100 * choice.level:g} % intervals{few})"
    seen = choice.held_out.mean + choice.optimism
    off = f"{choice.optimism:.4f} too high" if choice.optimism > 0 else "not higher than on held-out queries"
    yield "In-sample", f"{seen:.4f} on the queries used for choosing, {off}"
    yield "Stability", _describe_stability(choice)
    if len(choice.cost):
        yield "Cost", _describe_cost(choice)
    for against, difference, low, high in choice.versus.itertuples(index=False, name=None):
        found = f"{Estimate(difference, low, high, choice.queries)}, held out"
        yield f"Against {against}", "every fold chose it" if low == high else found
    if choice.plateaus:
        kept = ", ".join(f"{one.stage} → {one.k} keeps {one.recall:.3f} of {one.most:.3f}" for one in choice.plateaus)
        yield "Recall", kept + f"; relevant are labels of {choice.rel} and more" * (choice.rel > 1)
    if choice.curves:
        shaped = [str(curve) for curve in choice.curves if curve.kind != "plateau"]
        yield "Curves", f"{choice.measure} {'; '.join(shaped) or 'levels off over every cut-off'}"
    yield "Selection noise", _describe_noise(choice, "signs")
    yield "Stages", choice.advice.text


def _details(choice: Choice) -> Iterator[str]:
    """Yield the evidence."""
    yield "Details"
    yield from (f"  Plateau of {plateau}" for plateau in choice.plateaus)
    yield from (f"  {choice.measure} {curve}" for curve in choice.curves)
    if "labels" in choice.noise["exchanged"].to_numpy():
        yield f"  Selection noise: {_describe_noise(choice, 'labels')}"
    if choice.advice.shorter:
        yield f"  Stages: compared {choice.advice.longer} with {choice.advice.shorter}"
    yield "  Chosen without each fold:"
    yield from (f"    {line}" for line in choice.folds.to_string(index=False, float_format="{:.4f}".format).splitlines())


def _describe_method(choice: Choice) -> str:
    within = f" within {choice.budget}" if str(choice.budget) else ""
    best = f"the best {choice.measure}{within}"
    if choice.method == "budget":
        return best
    if choice.method == "cheapest":
        return f"the least cost with {choice.measure} at most {choice.margin:g} below {best}"
    if choice.over_budget:
        return f"{best}, because the smallest cut-offs with recall at most {choice.margin:g} below the deepest's exceed it"
    return f"the smallest cut-offs with recall at most {choice.margin:g} below the deepest's{within and ',' + within}"


def _describe_cost(choice: Choice) -> str:
    cost = choice.cost
    late = [name for name in cost.index if name.startswith("p") and name.endswith("_ms")]
    parts = [f"{cost['ms']:.4g} ms a query on average"] if "ms" in cost else []
    parts += [f"{name[:-3]} {cost[name]:.4g} ms" for name in late]
    parts += [f"{cost['pairs']:.4g} model pairs"] if "pairs" in cost else []
    parts += [f"{1000 * cost['usd']:.3g} usd per 1,000 queries"] if "usd" in cost else []
    by_hand = choice.budget.cost is not None and choice.budget.cost.sample is None
    untimed = f"; without {choice.budget.untimed!r}, which runs live and has no cost" if choice.budget.untimed else ""
    return ", ".join(parts) + "; costs given by hand have no slow queries" * bool(by_hand and late) + untimed


def _describe_stability(choice: Choice) -> str:
    spans = []
    for n, (stage, cutoff) in enumerate(zip(choice.stages, choice.cutoffs, strict=True), 1):
        chosen = [None if pd.isna(k) else int(k) for k in choice.folds[f"k{n}"]]
        if set(chosen) != {cutoff}:
            ends = [f"{k}" for k in sorted(k for k in set(chosen) if k is not None)] + ["no cut"] * (None in chosen)
            spans.append(f"{stage} → {ends[0]}{f' to {ends[-1]}' if len(ends) > 1 else ''}")
    return f"without one fold each, {', '.join(spans)}" if spans else f"all {len(choice.folds)} folds choose the same"


def _describe_noise(choice: Choice, control: str) -> str:
    gains = choice.noise.loc[choice.noise["exchanged"] == control, ["in_sample", "held_out"]].mean()
    seen, held = (round(float(gain), 4) + 0.0 for gain in gains)  # no -0.0000
    return f"{_CONTROLS[control]}, picking the best would still appear to gain {seen:.4f} in-sample ({held:.4f} held out)"
