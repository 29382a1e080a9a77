"""The folder of an experiment's results: numbers, lock, tables, times, runs, choices and pages."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.execution.batch.batch_run import run_batch
from pt_cascade.execution.batch.source import find_source
from pt_cascade.experiments.cascade_file import find_collection
from pt_cascade.experiments.lock import list_changes, make_lock, read_json
from pt_cascade.experiments.outcome import measure
from pt_cascade.experiments.systems import list_systems, longest, name_file
from pt_cascade.files import naming_refusals, write_file
from pt_cascade.reporting.explorer.page import report
from pt_cascade.trec import write_run

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.experiments.lock import Lock
    from pt_cascade.experiments.material import Material
    from pt_cascade.experiments.outcome import Outcome
    from pt_cascade.experiments.schema import Numbers

RESULTS, LOCK = "results.json", "lock.json"


@dataclass(frozen=True)
class Results:
    """What ``results.json`` holds.

    Attributes:
        numbers: By part, row and column.
        lock: What they depend on.
        seconds: How long the run took, with what was kept.
        date: When it ended.
        changes: What differs from the run before in the same folder.
    """

    numbers: Numbers
    lock: Lock
    seconds: float
    date: str
    changes: tuple[str, ...] = ()


def write_results(material: Material, folder: Path) -> Results:
    """Run an experiment and write its folder."""
    start = time.perf_counter()
    with naming_refusals(folder):
        for part in ("tables", "sweeps", "timings", "runs", "choices", "pages"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    before, lock = read_json(folder / LOCK), make_lock(material)
    changes = tuple(list_changes(before, lock)) if before else ()
    _write_json(folder / LOCK, lock)
    outcome = measure(material, None if changes or not before else folder / "timings")
    _write_parts(material, outcome, folder)
    _run_batches(material, folder)
    results = Results(outcome.numbers, lock, round(time.perf_counter() - start, 1), time.strftime("%Y-%m-%d"), changes)
    _write_json(folder / RESULTS, {key: value for key, value in asdict(results).items() if key != "changes"})
    return results


def read_results(folder: Path) -> Results | None:
    """Return the results in a folder; None without any."""
    found = read_json(folder / RESULTS)
    return Results(**found) if found else None


def _write_parts(material: Material, outcome: Outcome, folder: Path) -> None:
    """Write tables, sweeps, times, runs, values of queries, choices and pages."""
    for system in list_systems(material.file):
        table, stages = material.table(system), material.stages(system)
        saved = folder / "tables" / name_file(material.chain(system).name)
        if not saved.exists():
            table.save(saved)
        measured = outcome.sweeps[system.name].frame
        write_file(folder / "sweeps" / f"{name_file(system.name)}.csv", measured.to_csv(index=False).encode())
        for fusion in system.fusions:
            run = table.replay(system.deepest, fusion=fusion, stages=stages)
            write_run(run, folder / "runs" / f"{name_file(system.row(system.deepest, fusion))}.res.gz")
    for name, timings in outcome.timings.items():
        timings.save(folder / "timings" / f"{name_file(name)}.parquet")
    if outcome.per_query:
        values = pd.concat([frame.assign(system=row) for row, frame in outcome.per_query.items()])
        write_file(folder / "per_query.csv", values.to_csv(index=False).encode())
    for row, (swept, choice) in outcome.choices.items():
        write_file(folder / "choices" / f"{name_file(row)}.txt", choice.explain(details=True).encode())
        if find_spec("bokeh"):
            report(swept, choice, folder / "pages" / f"{name_file(row)}.html")


def _run_batches(material: Material, folder: Path) -> None:
    """Run systems live over all queries, or go on where a run was stopped."""
    file = material.file
    if file.batch is None or file.collection is None or material.topics is None:
        return
    options = file.options.model_dump(exclude_defaults=True)
    for system in longest(list_systems(file)):
        for fusion in system.fusions:
            line = system.line(fusion)
            source = find_source(line, find_collection(file.collection, material.path), options, engine=file.engine)
            out = folder / "batches" / name_file(line)
            run_batch(source, material.topics, out, verbose=material.verbose, **file.batch.model_dump())


def _write_json(path: Path, values: object) -> None:
    write_file(path, json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n")
