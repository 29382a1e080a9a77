"""The lines of Python and the command that make a choice again."""

from __future__ import annotations

import math
import shlex
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pt_cascade.analysis.cost.stage_cost import StageCost
from pt_cascade.analysis.fusion.stage_fusion import fusions
from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.grid.grids import default_grid, grid
from pt_cascade.analysis.replay.measures import in_kernel
from pt_cascade.analysis.replay.required_documents import find_ends

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.grids import Form
    from pt_cascade.analysis.sweep.result import Sweep

_FEW = 4
_MOST = 100  # vectors and fusions that are written out
_IN_PYTHON_ONLY = ("level",)  # options of choose


def write_python(sweep: Sweep, choice: Choice) -> str:
    """Write the Python that sweeps and chooses; a file that the page cannot know has a name to replace."""
    collection = sweep.table.about.get("collection")
    qrels = 'ptc.trec.read_qrels("qrels.txt")' if collection is None else f"ptc.open_collection({collection!r}).qrels"
    options = {"fusion": _write_fusions(sweep), "grid": _write_grid(sweep), **_list_options(sweep)}
    swept = ["table", "qrels", repr(list(sweep.measures)), *["cost"] * (sweep.cost is not None)]
    swept += [f"{name}={value}" for name, value in options.items() if value]
    asked = {**choice.options, **({"reference": choice.reference} if "reference" in choice.options else {})}
    chosen = ["sweep", repr(choice.measure), *(f"{name}={_write_value(value)}" for name, value in asked.items())]
    lines = [
        "import pt_cascade as ptc",
        "",
        f"table = ptc.ScoreTable.load({_find_folder(sweep)!r})",
        f"qrels = {qrels}",
        *_write_cost(sweep),
        f"sweep = ptc.sweep({', '.join(swept)})",
        f"choice = ptc.choose({', '.join(chosen)})",
    ]
    return "\n".join(lines)


def _write_value(value: object) -> str:
    return "float('inf')" if value == math.inf else repr(value)


def _list_options(sweep: Sweep) -> dict[str, str]:
    """Write the further arguments of ``sweep``, empty where they are the defaults."""
    replayer = sweep.replayer
    stages = "" if sweep.stages == sweep.table.paths[0].stages else repr(list(sweep.stages))
    return {"tail": repr("keep") * (replayer.tail == "keep"), "stages": stages, "by_rank": "True" * replayer.by_rank}


def _write_cost(sweep: Sweep) -> list[str]:
    """Write the line that makes the cost, from a file of timings or by hand; none without costs."""
    if sweep.cost is None:
        return []
    if sweep.cost.sample is not None:
        return ['cost = ptc.Timings.load("timings").cost()']
    return [f"cost = [{', '.join(f'ptc.StageCost({_write_fields(one)})' for one in sweep.cost.stages)}]"]


def _write_fields(stage: StageCost) -> str:
    """Write the values of a stage's cost that are not the defaults."""
    given = {one.name: getattr(stage, one.name) for one in fields(stage)}
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value != getattr(StageCost, name))


def _find_step(sweep: Sweep) -> float | Literal["subsets"] | None:
    """Return the step that gives the fusions of the sweep, all with one rule; None: no step does."""
    found = tuple(one for one in sweep.fusions if one is not None)
    if not found or None in sweep.fusions[1:]:
        return None
    parts = next((n for n in range(1, len(found)) if math.comb(n + len(sweep.stages) - 1, n) == len(found)), 1)
    same = partial(fusions, sweep.stages, method=found[0].method, normalise=found[0].normalise, k=found[0].k)
    steps: tuple[float | Literal["subsets"], ...] = (1 / parts, "subsets")
    return next((step for step in steps if found == same(step)), None)


def _write_fusions(sweep: Sweep) -> str:
    """Write the fusions as an argument, nothing where there are none; too many stand as a name."""
    found = [one for one in sweep.fusions if one is not None]
    if not found:
        return ""
    if (step := _find_step(sweep)) is not None:
        swept = f"ptc.fusions({list(sweep.stages)!r}, {step!r}{_write_rule(found[0])})"
        return f"[None, *{swept}]" if None in sweep.fusions else swept
    written = [str(None) if one is None else write_fusion(one, "ptc.StageFusion") for one in sweep.fusions]
    return f"[{', '.join(written)}]" if len(written) <= _MOST else "fusions"


def write_fusion(fusion: StageFusion, function: str) -> str:
    """Write the call of a function that makes a fusion."""
    return f"{function}({dict(fusion.weights)!r}{_write_rule(fusion)})"


def _write_rule(fusion: StageFusion) -> str:
    """Write the options of a fusion that are not the defaults."""
    return "".join(f", {name}={value!r}" for name, value in fusion.options.items())


def _write_grid(sweep: Sweep) -> str:
    """Write the grid as an argument, nothing where it is the default; too many vectors that are no product stand as a name."""
    if (form := _find_form(sweep)) is not None:
        return form and repr(form)
    if (axes := _find_axes(sweep)) is None:
        return repr(list(sweep.grid)) if len(sweep.grid) <= _MOST else "vectors"
    written = {name: _write_axis(axis) for name, axis in axes.items()}
    if len(axes) == len(sweep.stages):
        return f"ptc.grid({', '.join(written.values())})"
    return f"{{{', '.join(f'{name!r}: {axis}' for name, axis in written.items())}}}"


def _find_form(sweep: Sweep) -> str | None:
    """Return the form of the grid, empty for the default; None: it has none."""
    usual: Form | None = None if all(map(in_kernel, sweep.replayer.measures)) and not sweep.fusions else "log"
    return next((name for name, form in (("", usual), ("log", "log")) if _has_grid(sweep, form, {})), None)


def _has_grid(sweep: Sweep, form: Form | None, axes: dict[str, list[int]]) -> bool:
    """Whether the sweep has the grid of a form, with the cut-offs of some stages instead."""
    replayer, alone = sweep.replayer, len(sweep.stages) == 1
    last = replayer.path.cutoffs[len(sweep.stages) - 1]
    ends = find_ends(replayer.table, replayer.path, replayer.reach)
    made = default_grid(replayer.reach, last, len(sweep.qids), form=form, axes=axes, alone=alone, ends=ends)
    return np.array_equal(made.vectors, sweep.grid.vectors)


def _find_axes(sweep: Sweep) -> dict[str, list[int]] | None:
    """Return the cut-offs of all stages, or of all but the last, which keeps its own, that give the grid; None: none do."""
    axes = {f"k{n}": np.unique(column).tolist() for n, column in enumerate(sweep.grid.vectors.T, 1)}
    if np.array_equal(grid(*axes.values()).vectors, sweep.grid.vectors):
        return axes
    axes.popitem()
    return axes if axes and _has_grid(sweep, None, axes) else None


def _write_axis(values: list[int]) -> str:
    """Write the cut-offs of a stage."""
    if len(values) > _FEW and values[-1] - values[0] == len(values) - 1:  # they ascend, each once
        return f"range({values[0]}, {values[-1] + 1})"
    shown = ["None" if k == NO_CUT else str(k) for k in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def write_command(sweep: Sweep, choice: Choice) -> str:
    """Write the command that makes this page, or what of it has no option."""
    collection = sweep.table.about.get("collection")
    judged = ["--qrels", "qrels.txt"] if collection is None else ["--collection", str(collection)]
    others = [name for name in sweep.measures if name != choice.measure]
    parts = {"cost": _name_costs(sweep), "grid": _name_grid(sweep), "fusion": _name_fusions(sweep)}
    parts["by_rank"] = None if sweep.replayer.by_rank else []
    missing = [name for name, words in parts.items() if words is None] + [one for one in _IN_PYTHON_ONLY if one in choice.options]
    if missing:
        return f"# without an option at the command line: {', '.join(missing)}"
    words = ["pt-cascade", "report", _find_folder(sweep), *judged, "--measure", choice.measure]
    words += ["--measures", *others] if others not in ([], ["R@100"]) else []
    words += ["--stages", *sweep.stages] if sweep.stages != sweep.table.paths[0].stages else []
    words += ["--tail", "keep"] if sweep.replayer.tail == "keep" else []
    words += [word for found in parts.values() for word in found or ()]
    for name, value in choice.options.items():
        shown = _join(choice.reference) if name == "reference" else "0" if value is None else str(value)
        words += [f"--{name.replace('_', '-')}", shown]
    return shlex.join([*words, "--out", "report.html"])


def _name_costs(sweep: Sweep) -> list[str] | None:
    """Return the option of the costs; None: none has them."""
    if sweep.cost is None:
        return []
    if sweep.cost.sample is not None:
        return ["--timings", "timings"]
    first, *later = sweep.cost.stages
    plain = [StageCost(first.stage, fixed_ms=first.fixed_ms), *(StageCost(one.stage, per_pair_ms=one.per_pair_ms) for one in later)]
    if plain != [first, *later]:
        return None
    return ["--costs", f"{first.stage}={first.fixed_ms}", *(f"{one.stage}={one.per_pair_ms}" for one in later)]


def _name_grid(sweep: Sweep) -> list[str] | None:
    """Return the options of the grid; None: none has it."""
    if (form := _find_form(sweep)) is not None:
        return ["--grid", form] if form else []
    axes = _find_axes(sweep)
    return None if axes is None else [word for name, axis in axes.items() for word in (f"--{name}", _join(axis))]


def _join(cutoffs: Iterable[int | None]) -> str:
    """Write cut-offs as an option takes them."""
    return ",".join("none" if k in (None, NO_CUT) else str(k) for k in cutoffs)


def _name_fusions(sweep: Sweep) -> list[str] | None:
    """Return the option of the fusions; None: none has them."""
    found = [one for one in sweep.fusions if one is not None]
    if not found:
        return []
    if found[0].options:
        return None
    if sweep.fusions[0] is None and (step := _find_step(sweep)) is not None:
        return ["--weights", str(step)]
    only = len(sweep.fusions) == 1
    return ["--fused", *(f"{name}={weight}" for name, weight in dict(found[0].weights).items())] if only else None


def _find_folder(sweep: Sweep) -> str:
    """Return the folder of the table, or a name for it."""
    path = getattr(sweep.table, "path", None)
    return str(path) if isinstance(path, Path) else "scores"
