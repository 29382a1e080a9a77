"""The numbers of an experiment, and what they were computed from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.choice.intervals import estimate
from pt_cascade.analysis.cost.cost import Cost, StageCost
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.grid.grids import default_grid
from pt_cascade.analysis.pruning import Margin
from pt_cascade.analysis.sweep.pruned import sweep_rules
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.errors import naming
from pt_cascade.execution.profiling import profile
from pt_cascade.experiments.scripts import run_script
from pt_cascade.experiments.systems import list_systems, longest, name_file, normalise_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep
    from pt_cascade.experiments import schema
    from pt_cascade.experiments.material import Material
    from pt_cascade.experiments.schema import Numbers
    from pt_cascade.experiments.systems import System

_TIMES = ("ms", "p95_ms", "usd")
_CUT = 2  # the row of ``Sweep.loss`` after the first stage's cut-off


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of an experiment.

    Attributes:
        numbers: By part, row and column, see ``PARTS``.
        sweeps: By the name of a system, its listed cut-offs.
        choices: By the row of the part ``choices``, the sweep and the choice.
        timings: By the name of a system.
        per_query: Frame[system, qid, <measure>...].
    """

    numbers: Numbers = field(default_factory=dict)
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    choices: dict[str, tuple[Sweep, Choice]] = field(default_factory=dict)
    timings: dict[str, Timings] = field(default_factory=dict)
    per_query: dict[str, pd.DataFrame] = field(default_factory=dict)

    def add(self, part: str, row: str, columns: Mapping[str, float | str]) -> None:
        """Add a row of numbers."""
        rounded = {name: value if isinstance(value, str) else float(value) for name, value in columns.items()}
        self.numbers.setdefault(part, {})[row] = rounded


def measure(material: Material, timed: Path | None = None) -> Outcome:
    """Score and measure all systems of an experiment; times that ``timed``, a folder, holds are not measured again."""
    file, outcome = material.file, Outcome()
    if file.script:
        return Outcome(run_script(file.script, material.path))
    systems = list_systems(file)
    for system in systems:
        with naming(system.name):
            cost = _find_cost(material, system, outcome, timed)
            _measure_system(material, system, cost, outcome)
    if file.baseline is not None:
        _compare(file.baseline, file.measures[0], outcome)
    for system in longest(systems):
        prefix = f"{system.name}, " if len(longest(systems)) > 1 else ""
        with naming(system.name):
            for name, settings in file.choose.items():
                _choose(material, system, f"{prefix}{name}", settings, outcome)
            if file.prune is not None:
                _prune(material, system, prefix, file.prune, outcome)
    return outcome


def _find_cost(material: Material, system: System, outcome: Outcome, timed: Path | None) -> Cost | None:
    """Return the cost of a system, by hand or timed; None: unknown."""
    file, stages = material.file, material.stages(system)
    if file.cost is not None:
        entries = {name: file.cost[name].model_dump() if name in file.cost else {} for name in stages}
        return Cost.of(*(StageCost(name, **entry) for name, entry in entries.items()))
    cascade = material.cascade(system)
    if file.profile is None or cascade is None or material.topics is None:
        return None
    if timed is not None and (kept := timed / f"{name_file(system.name)}.parquet").exists():
        timings = Timings.load(kept)
    else:
        topics = material.topics.head(file.profile.queries)
        timings = profile(cascade, topics, repeats=file.profile.repeats, verbose=material.verbose)
    outcome.timings[system.name] = timings
    return timings.cost()


def _measure_system(material: Material, system: System, cost: Cost | None, outcome: Outcome) -> None:
    """Measure the listed cut-offs and fusions of a system, and what its first stage passes on."""
    table, file = material.table(system), material.file
    fusion = None if system.fusions == (None,) else system.fusions
    tail = file.options.tail or "drop"
    stages = material.stages(system)
    swept = sweep(table, material.qrels, file.measures, cost, system.vectors, tail, fusion=fusion, stages=stages)
    passed = {k: swept.loss((k, *system.deepest[1:])).iloc[_CUT] for k in system.axes[0]}
    outcome.sweeps[system.name] = swept
    columns = [*swept.measures, *(name for name in _TIMES if name in swept.frame)]
    rows = ((as_cutoffs(vector), fused) for vector in swept.grid.vectors.tolist() for fused in system.fusions)
    for (cutoffs, fused), values in zip(rows, swept.frame[columns].to_dict("records"), strict=True):
        row = system.row(cutoffs, fused)
        known = {str(name): float(value) for name, value in values.items() if not np.isnan(value)}
        left = passed[cutoffs[0]]
        outcome.add("systems", row, known | {"recall": left["recall"], "ceiling": left["ndcg"]})
        outcome.per_query[row] = swept.per_query(cutoffs, fused)


def _compare(baseline: str, measure: str, outcome: Outcome) -> None:
    """Subtract the baseline, query by query."""
    row, rows = normalise_row(baseline), outcome.per_query
    base = rows[row].set_index("qid")[measure]
    for name, frame in rows.items():
        if name != row:
            found = estimate((frame.set_index("qid")[measure] - base.reindex(frame["qid"])).to_numpy())
            outcome.add("differences", name, {"gain": found.mean, "low": found.low, "high": found.high})


def _choose(material: Material, system: System, name: str, settings: schema.Choice, outcome: Outcome) -> None:
    """Choose cut-offs, once for each budget."""
    file, swept = material.file, outcome.sweeps[system.name]
    if file.grid != "listed":
        depths = [min(k or most, most) for k, most in zip(system.deepest, swept.replayer.reach, strict=False)]
        alone = len(swept.stages) == 1
        grid = default_grid(depths, system.deepest[-1], len(swept.qids), form=file.grid, alone=alone)
        fusion = swept.fusions or None
        swept = sweep(swept.table, material.qrels, file.measures, swept.cost, grid, swept.replayer.tail, fusion=fusion)
    options = settings.model_dump(exclude={"measure", "budget_ms"})
    for budget in settings.budget_ms:
        choice = choose(swept, settings.measure or file.measures[0], budget_ms=budget, seed=file.seed, **options)
        row = f"{name}, {budget:g} ms" if len(settings.budget_ms) > 1 else name
        outcome.choices[row] = (swept, choice)
        gain = {"gain": choice.gain.mean, "low": choice.gain.low, "high": choice.gain.high}
        means = {"used": choice.used.mean, "reference": choice.kept.mean, "in-sample": choice.in_sample}
        cutoffs = system.row(choice.cutoffs, choice.fusion)
        picked = system.row(choice.picked, choice.picked_fusion)
        texts = {"verdict": choice.verdict.decision, "cutoffs": cutoffs, "picked": picked}
        costs = {key: float(choice.cost[key]) for key in _TIMES if key in choice.cost and not np.isnan(choice.cost[key])}
        outcome.add("choices", row, {**texts, **means, **gain, **costs})


def _prune(material: Material, system: System, prefix: str, settings: schema.Pruning, outcome: Outcome) -> None:
    """Measure a path of margins, and certify its rows."""
    swept = outcome.sweeps[system.name]
    steps = zip(*settings.margins.values(), strict=True)
    rules = [
        {
            name: Margin(tau, relative=settings.relative, floor=settings.floor)
            for name, tau in zip(settings.margins, step, strict=True)
        }
        for step in steps
    ]
    fusion = system.fusions[0]
    pruned = sweep_rules(
        swept.table, material.qrels, swept.measures, system.deepest, rules, cost=swept.cost, rel=swept.rel, fusion=fusion
    )
    rows = [{str(key): value for key, value in row.items()} for row in pruned.frame.to_dict("records")]
    for row in rows:
        named = str(row["rules"]) or "none"
        outcome.add("pruning", f"{prefix}{named}", {key: value for key, value in row.items() if key != "rules"})
    found = pruned.certify(alpha=settings.alpha, delta=settings.delta).row
    outcome.add("pruning", f"{prefix}certified", rows[found or 0] | {"rules": str(rows[found or 0]["rules"]) or "none"})
