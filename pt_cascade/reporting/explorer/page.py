"""The page: a template around a sweep, a choice, their figures and a script, in one file that opens offline."""

from __future__ import annotations

import json
from importlib.resources import files
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from pt_cascade.errors import SweepError, require
from pt_cascade.files import check_writable, write_file
from pt_cascade.numbers import count_of
from pt_cascade.reporting.explorer.content import collect_content
from pt_cascade.reporting.explorer.glossary import explain_measures, explain_percentile
from pt_cascade.reporting.explorer.recipes import write_command, write_python
from pt_cascade.reporting.rows import check_calibration, check_sweep

if TYPE_CHECKING:
    import os

    from pt_cascade.analysis.calibration.report import CalibrationReport
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.sweep.result import Sweep

_MOST_ROWS = 1_000_000  # of which a page has about 20 MB
_SCRIPTS = ("fusion.js", "replay.js", "rows.js", "elements.js", "plots.js", "tables.js", "explorer.js")


def report(sweep: Sweep, choice: Choice, path: str | os.PathLike[str], *, calibration: CalibrationReport | None = None) -> None:
    """Write one HTML page that shows a sweep and a choice, opens from disk and loads nothing else.

    It has the verdict in words; the measure against the cost of all vectors with their Pareto front; the measure over two cut-offs;
    each stage's recall; the times of queries against the budget; where relevant documents are lost, down to single queries; and
    sliders for the cut-offs, the weights of a fusion and the budget, which move all of it.

    Args:
        sweep: Measures and costs of every vector, at most a million.
        choice: Made from this sweep.
        path: The file, such as ``report.html``; one that exists is replaced.
        calibration: What ``report_calibration`` measured of a stage: the page shows its reliability curves; None: none.

    Raises:
        SweepError: The choice is of another sweep, the sweep has too many rows, or an argument is something else.
        MissingError: bokeh is not installed, or there is no folder for the file.

    Example:
        >>> import pt_cascade as ptc, pandas as pd, tempfile
        >>> from pathlib import Path
        >>> run = pd.DataFrame({"qid": [*"1122"], "docno": [*"abab"], "score": [2.0, 1.0] * 2})
        >>> table = ptc.ScoreTable.from_runs({"bm25": run, "t5": run.assign(score=[1.0, 2.0] * 2)})
        >>> qrels = pd.DataFrame({"qid": ["1", "2"], "docno": ["b", "b"], "label": [1, 1]})
        >>> sweep = ptc.sweep(table, qrels, ["RR"])
        >>> page = Path(tempfile.mkdtemp()) / "report.html"
        >>> ptc.report(sweep, ptc.choose(sweep, "RR", folds=2), page)
        >>> page.read_text(encoding="utf-8")[:15]
        '<!doctype html>'
    """
    check_writable(path)
    write_file(path, build_page(sweep, choice, calibration=calibration).encode())


def build_page(sweep: Sweep, choice: Choice, command: str = "", *, calibration: CalibrationReport | None = None) -> str:
    """Return the page; ``command`` is the command that makes it."""
    require("bokeh", why="report", install="'pt_cascade[report]'")
    import jinja2  # noqa: PLC0415 - comes with bokeh

    from pt_cascade.reporting.explorer.figures import load_bokeh, make_figures  # noqa: PLC0415 - an extra

    check_sweep(sweep)
    if calibration is not None:
        check_calibration(calibration)
    if (rows := len(sweep.means)) > _MOST_ROWS:
        problem = f"the sweep has {rows:,} rows, expected at most {_MOST_ROWS:,}"
        raise SweepError("the page would be too large", [problem], fix='sweep(table, qrels, measures, grid="log")')
    content = collect_content(sweep, choice, calibration)
    content |= {"python": write_python(sweep, choice), "command": command or write_command(sweep, choice)}
    methods = 0 if calibration is None else len(content["calibration"]["methods"])
    headline, _, evidence = choice.explain().partition("\n")
    assets = files(__package__) / "assets"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string((assets / "page.html").read_text(encoding="utf-8")).render(
        headline=headline,
        evidence=dedent(evidence),
        about=_describe(sweep),
        style=(assets / "explorer.css").read_text(encoding="utf-8"),
        content=_as_json(content),
        measures=explain_measures(sweep),
        graded=any("rel=" in name for name in sweep.measures),
        percentile=explain_percentile(content["cost"]["column"], (content["latency"] or {}).get("level")),
        calibrated="" if calibration is None else calibration.about,
        figures=_as_json(make_figures(len(sweep.stages), methods, log_cost=content["cost"]["log"])),
        bokeh=load_bokeh(),
        script="\n".join((assets / name).read_text(encoding="utf-8") for name in _SCRIPTS),
    )


def _describe(sweep: Sweep) -> str:
    """Say what was measured."""
    rows = f"{count_of(len(sweep.grid), 'vector')} of cut-offs" + (
        f" × {len(sweep.fusions):,} fusions" if len(sweep.fusions) > 1 else ""
    )
    collection = sweep.table.about.get("collection", "")
    return f"{' → '.join(sweep.stages)}: {rows}, {count_of(len(sweep.qids), 'query')}{f' of {collection}' if collection else ''}"


def _as_json(value: dict[str, Any]) -> str:
    """Return JSON that no text in it can end or change as part of a page."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
