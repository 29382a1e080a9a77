"""A record of each call that runs shards of a run, in a file of its own in the run's folder."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.execution.batch.provenance.energy import measure_energy
from pt_cascade.execution.batch.secrets import hide_secrets, hide_words
from pt_cascade.execution.batch.storage.locks import now
from pt_cascade.execution.machine import describe_machine, describe_source
from pt_cascade.files import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FOLDER = "calls"


@contextmanager
def note_call(
    run: Path, options: Mapping[str, object], stages: list[dict[str, object]], collection: str | None, *, energy: bool
) -> Iterator[None]:
    """Note what runs while the block runs: once as it begins, and again with its times when it ends, also by an error."""
    folder = run / _FOLDER
    folder.mkdir(exist_ok=True)
    file = folder / f"{time.time_ns()}-{os.getpid()}.json"
    command = _find_command()
    record: dict[str, dict[str, object]] = {
        "implementation": {"executable": {"cmd": command, "folder": str(Path.cwd())}, "source": describe_source(Path.cwd())},
        "method": {"retrieval": stages},
        "data": {"name": collection},
        "resources": {"cmd": command, **options, "runtime": {"start time": now(), "stop time": None, "wallclock": None}},
    }
    _write(file, record)
    start, begun = time.perf_counter(), now()
    joules: dict[str, float | None] = {}
    try:
        with measure_energy(joules) if energy else nullcontext():
            yield
    finally:
        times = {"start time": begun, "stop time": now(), "wallclock": f"{1000 * (time.perf_counter() - start):.0f} ms"}
        used = {part: {"energy used system": None if one is None else f"{one:g} J"} for part, one in joules.items()}
        record["resources"] |= {"runtime": times, **used}
        record["platform"] = describe_machine()  # models are loaded by now, so graphics cards are known
        _write(file, record)


def read_calls(run: Path) -> list[dict[str, dict[str, object]]]:
    """Return the records of a run, the oldest first."""
    return [json.loads(file.read_bytes()) for file in sorted((run / _FOLDER).glob("*.json"))]


def _write(file: Path, record: Mapping[str, Mapping[str, object]]) -> None:
    write_file(file, f"{json.dumps(hide_secrets(dict(record)), indent=1)}\n".encode())


def _find_command() -> str:
    """Return the command of this process, without the folders of Python and of ``pt-cascade``."""
    python, *words = sys.orig_argv
    own = bool(words) and Path(words[0]).name == "pt-cascade"
    return shlex.join(hide_words(["pt-cascade", *words[1:]] if own else [Path(python).name, *words]))
