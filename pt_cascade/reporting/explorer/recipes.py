"""The lines of Python and the command that make a choice again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.fusion.stage_fusion import fusions
from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.analysis.grid.grids import default_grid, grid
from pt_cascade.analysis.replay.measures import in_kernel
from pt_cascade.analysis.replay.required_documents import find_ends

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.grid.grids import Form
    from pt_cascade.analysis.sweep.result import Sweep

_FEW = 4


def write_python(sweep: Sweep, choice: Choice) -> str:
    """Write the Python that sweeps and chooses; what the page cannot know stands as a name."""
    cost = ", timings.cost()" if sweep.cost is not None else ""
    more = _write_grid(sweep) + _write_fusions(sweep)
    budget = choice.budget
    limits: dict[str, object] = {"budget_ms": budget.ms, "percentile": budget.percentile} if budget.ms else {}
    limits |= {"budget_usd": budget.usd} if budget.usd else {}
    given = {**limits, "method": choice.method, "margin": choice.margin}
    options = "".join(f", {name}={value!r}" for name, value in given.items())
    lines = [
        "import pt_cascade as ptc",
        "",
        f"table = ptc.ScoreTable.load({_find_folder(sweep)!r})",
        *(['timings = ptc.Timings.load("timings")'] if cost else []),
        f"sweep = ptc.sweep(table, qrels, {list(sweep.measures)!r}{cost}{more})",
        f"choice = ptc.choose(sweep, {choice.measure!r}{options})",
    ]
    return "\n".join(lines)


def _write_fusions(sweep: Sweep) -> str:
    """Write the fusions as an argument, nothing where there are none."""
    if not sweep.fusions:
        return ""
    return f", fusion={'ptc.fusions(cascade)' if sweep.fusions == fusions(sweep.stages) else 'fusions'}"


def _write_grid(sweep: Sweep) -> str:
    """Write the grid as an argument, nothing where it is the default; a grid that is no product of cut-offs stands as a name."""
    if _is_default(sweep):
        return ""
    axes = [np.unique(column).tolist() for column in sweep.grid.vectors.T]
    same = np.array_equal(grid(*axes).vectors, sweep.grid.vectors)
    return f", grid=ptc.grid({', '.join(map(_write_axis, axes))})" if same else ", grid=vectors"


def _is_default(sweep: Sweep) -> bool:
    """Tell whether a sweep without a grid would take these vectors."""
    replayer = sweep.replayer
    form: Form | None = None if all(map(in_kernel, replayer.measures)) and not sweep.fusions else "log"
    last = replayer.path.cutoffs[len(sweep.stages) - 1]
    alone = len(sweep.stages) == 1
    usual = default_grid(
        replayer.reach, last, len(sweep.qids), form=form, alone=alone, ends=find_ends(replayer.table, replayer.path, replayer.reach)
    )
    return np.array_equal(usual.vectors, sweep.grid.vectors)


def _write_axis(values: list[int]) -> str:
    """Write the cut-offs of a stage."""
    if len(values) > _FEW and values == list(range(values[0], values[-1] + 1)):
        return f"range({values[0]}, {values[-1] + 1})"
    shown = ["None" if k == NO_CUT else str(k) for k in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def write_command(sweep: Sweep, choice: Choice) -> str:
    """Write the command that makes this page."""
    words = ["pt-cascade", "report", _find_folder(sweep), "--qrels", "qrels.txt", "--measure", choice.measure]
    words += ["--timings", "timings"] if sweep.cost is not None else []
    level = f"{choice.budget.percentile or 0:g}"
    words += ["--budget-ms", f"{choice.budget.ms:g}", "--percentile", level] if choice.budget.ms else []
    words += ["--budget-usd", f"{choice.budget.usd:g}"] if choice.budget.usd else []
    return shlex.join([*words, "--method", choice.method, "--margin", f"{choice.margin:g}", "--out", "report.html"])


def _find_folder(sweep: Sweep) -> str:
    """Return the folder of the table, or a name for it."""
    path = getattr(sweep.table, "path", None)
    return str(path) if isinstance(path, Path) else "scores"
