"""Whether a further stage pays: the whole cascade against the best shorter cascade, at the same budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from pt_cascade.analysis.choice.cross_validation import excess_variance, wild_bootstrap
from pt_cascade.analysis.choice.intervals import Estimate, estimate, settle
from pt_cascade.analysis.choice.verdict import round_up
from pt_cascade.analysis.fusion.stage_fusion import rename_stages
from pt_cascade.analysis.grid.cutoffs import as_cutoffs, name_cascade
from pt_cascade.analysis.grid.grids import default_grid
from pt_cascade.analysis.replay.measures import in_kernel
from pt_cascade.analysis.replay.required_documents import find_ends
from pt_cascade.analysis.sweep.rows import list_rows
from pt_cascade.errors import SweepError, TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.analysis.choice.budget import Budget
    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.grid.grids import Form
    from pt_cascade.ranking import Floats

_COMPARABLE = 3  # the shorter cascade has at least two stages

Verdict: TypeAlias = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True)
class Advice:
    """Whether the whole cascade is worth its number of stages."""

    text: str  # the verdict in a sentence
    verdict: Verdict | Literal[""] = ""  # empty: there is no shorter cascade to compare with
    gain: Estimate | None = None  # of the whole cascade over the shorter one, held out, both chosen on the other folds
    longer: str = ""  # the whole cascade with the cut-offs chosen on all queries
    shorter: str = ""  # likewise the best cascade with one stage fewer
    needed: int | None = None  # at most about so many queries would tell


def advise(whole: Candidates, budget: Budget) -> Advice:
    """Compare the best of the whole cascade with the best without one of its later stages, each chosen on the other folds.

    Without a budget the longer cascade may cost more.
    """
    stages = whole.replayer.path.stages
    count = len(stages)
    if count < _COMPARABLE:
        number = f"{count} stage{'s' * (count > 1)}"
        return Advice(f"The cascade has {number}. To see whether a further stage pays, score a cascade with one more stage.")
    paths = [stages[:n] + stages[n + 1 :] for n in range(1, count)]
    shorter = [found for path in paths if (found := _open_shorter(whole, path, budget)) is not None]
    if not shorter:
        return Advice(f"The table covers no cascade of {count - 1} stages within the budget.")
    gain, margin = compare([whole], shorter), whole.margin
    verdict, needed = decide(gain, margin), settle(gain, (0.0, margin))
    longer, best = _name_best([whole], budget.unit), _name_best(shorter, budget.unit)
    stage = "a third stage" if count == _COMPARABLE else f"stage {count}"
    change = f"{whole.replayer.measures[0]} changes by {gain} on held-out queries"
    text = {
        "yes": f"{stage.capitalize()} pays: {change}",
        "no": f"{stage.capitalize()} does not pay: {change}, less than the margin of {margin:g}",
        "cannot tell": f"{gain.queries:,} queries do not show whether {stage} pays: {change}; "
        f"at most about {round_up(needed):,} would",
    }
    return Advice(f"{text[verdict]}.", verdict, gain, longer, best, needed)


def describe_unused(whole: Candidates, vector: int) -> str:
    """Name the last stages without weight in the fusion of a vector, and what the cascade without them has; else nothing."""
    fusion, stages, cutoffs = whole.fusion(vector), whole.replayer.path.stages, whole.cutoffs[vector]
    weights = () if fusion is None else [name for name in stages if name in dict(fusion.weights)]
    if not weights or weights[-1] == stages[-1]:
        return ""
    count = stages.index(weights[-1]) + 1
    kept, unused = stages[:count], stages[count:]
    shorter = rename_stages(fusion, {name: name for name in kept})
    row = np.array([*cutoffs[: count - 1], cutoffs[count - 1 :].min(), *([] if shorter is None else [0])], np.int32)
    said = f"{' and '.join(unused)} {'have' if len(unused) > 1 else 'has'} weight 0 and can go"
    try:
        path = whole.replayer.table.find_path(kept)
        mean = replace(whole.replayer, path=path, fusions=() if shorter is None else (shorter,)).per_query(row).mean()
    except (SweepError, TableError):
        return said
    name = name_cascade(kept, as_cutoffs(row[:count].tolist()), shorter)
    return f"{said}: {name} has {whole.replayer.measures[0]} {mean:.4f}"


def compare(long: Sequence[Candidates], short: Sequence[Candidates]) -> Estimate:
    """Estimate how much better the best of some cascades is than the best of others, each chosen on the other folds."""
    difference = measure_held_out(long) - measure_held_out(short)
    one, other = (np.hstack([cascade.representatives[1] for cascade in side]) for side in (long, short))
    common = one[:, [int(one.mean(axis=0).argmax())]]
    errors = [wild_bootstrap(side - common, long[0].folds[0])[0] for side in (one, other)]
    return estimate(difference, level=long[0].level, more=excess_variance(errors[0] - errors[1], difference))


def decide(gain: Estimate, margin: float) -> Verdict:
    """Return ``no`` if the whole interval lies below the margin, even if above 0; else ``yes`` if all of it lies above 0.

    Example:
        >>> decide(Estimate(0.05, 0.01, 0.09, 100), 0.02), decide(Estimate(0.0, -0.01, 0.01, 100), 0.02)
        ('yes', 'no')
    """
    return "no" if gain.high < margin else "yes" if gain.low > 0 else "cannot tell"


def measure_held_out(cascades: Sequence[Candidates]) -> Floats:
    """Measure each query with the vector that is best on the other folds, of whichever cascade: shape (judged queries,)."""
    folds = cascades[0].folds
    values = np.zeros(folds.shape[1])
    totals = [one.sums[0].sum(axis=0) for one in cascades]
    chosen: dict[tuple[int, int], Floats] = {}
    for repeat, fold in enumerate(folds):
        for held in range(int(fold.max()) + 1):
            at = _best(cascades, [total - one.sums[repeat, held] for total, one in zip(totals, cascades, strict=True)])
            if at not in chosen:
                chosen[at] = cascades[at[0]].per_query(at[1])
            values[fold == held] += chosen[at][fold == held] / len(folds)
    return values


def _open_shorter(whole: Candidates, stages: tuple[str, ...], budget: Budget) -> Candidates | None:
    """Open a shorter path as deep as the table covers it; None where nothing of it is covered and affordable."""
    names = {name: name for name in stages}
    fusions = dict.fromkeys(rename_stages(one, names) for one in whole.replayer.fusions)
    replayer = replace(whole.replayer, path=whole.replayer.table.find_path(stages), fusions=tuple(fusions))
    last = as_cutoffs([int(whole.cutoffs[:, -1].max())])[0]
    try:
        depths = replayer.reach
    except SweepError:
        return None
    form: Form | None = None if in_kernel(replayer.measures[0]) and not fusions else "log"
    grid = default_grid(
        depths, last, whole.folds.shape[1], form=form, ends=find_ends(replayer.table, replayer.path, replayer.reach)
    )
    affordable, costs = budget.check(stages, grid.vectors, len(fusions))
    shorter = replace(whole, replayer=replayer, vectors=list_rows(grid, replayer.fusions), affordable=affordable, costs=costs)
    return shorter if affordable.any() else None


def _best(cascades: Sequence[Candidates], sums: Sequence[Floats]) -> tuple[int, int]:
    """Return which cascade has the best vector by sums over queries, the first of equal ones, and that vector."""
    best = [one.best(own) for one, own in zip(cascades, sums, strict=True)]
    first = int(np.argmax([own[at] for own, at in zip(sums, best, strict=True)]))
    return first, best[first]


def _name_best(cascades: Sequence[Candidates], unit: str) -> str:
    """Name the best cascade by all queries, with its cost."""
    which, at = _best(cascades, [one.sums[0].sum(axis=0) for one in cascades])
    return f"{cascades[which].name(at)} ({cascades[which].costs[at]:.3g} {unit} a query)"
