"""The lines of Python and the command that make a choice again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep


def write_python(sweep: Sweep, choice: Choice) -> str:
    """Write the Python that sweeps and chooses; what the page cannot know stands as a name."""
    cost = ", timings.cost()" if sweep.cost is not None else ""
    fusion = ", fusion=ptc.fusions(cascade)" if sweep.fusions else ""
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
        f"sweep = ptc.sweep(table, qrels, {list(sweep.measures)!r}{cost}{fusion})",
        f"choice = ptc.choose(sweep, {choice.measure!r}{options})",
    ]
    return "\n".join(lines)


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
