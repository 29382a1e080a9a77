"""What an experiment's numbers depend on: its file, versions, commit, hardware, and the contents of all that it reads."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from pt_cascade.cascade.fingerprints import fingerprint, hash_frame
from pt_cascade.errors import ExperimentError, first_line
from pt_cascade.execution.machine import describe_source, find_cards, find_memory, find_processor
from pt_cascade.execution.versions import versions
from pt_cascade.experiments.cascade_file import find_path
from pt_cascade.experiments.systems import list_systems
from pt_cascade.files import read_file, rm_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pt_cascade.experiments.material import Material
    from pt_cascade.experiments.schema import ExperimentFile

Lock: TypeAlias = "dict[str, str | dict[str, str]]"
_WORDS = {"title", "note", "needs", "slow", "batch", "tolerance", "expected"}  # of a file, without effect on its numbers


def make_lock(material: Material) -> Lock:
    """Describe an experiment and its inputs; the stages' indexes and vectors are built where they are new."""
    lock: Lock = {
        "experiment": hash_settings(material.file),
        "commit": _read_commit(material.path.absolute().parent),
        "versions": versions(),
        "hardware": read_hardware(),
    }
    if material.file.script:
        return lock | {"script": _digest(read_file(find_path(material.file.script[0], material.path)))}
    lock["qrels"] = hash_frame(material.qrels)
    if material.collection is None or material.topics is None:
        files = {name: find_path(path, material.path) for name, path in (material.file.runs or {}).items()}
        return lock | {"runs": {name: _digest(read_file(path)) for name, path in files.items()}}
    lock |= {"collection": material.collection.fingerprint, "topics": hash_frame(material.topics)}
    stages = [stage for system in list_systems(material.file) for stage in material.cascade(system) or ()]
    return lock | {"stages": {repr(stage): fingerprint(stage) for stage in stages}}


def hash_settings(file: ExperimentFile) -> str:
    """Hash all of a file that has an effect on numbers."""
    return _digest(file.model_dump_json(exclude=_WORDS, exclude_defaults=True).encode())


def list_changes(old: Lock, new: Lock) -> Iterator[str]:
    """Yield what differs, as ``versions.torch: 2.14 → 2.15``."""
    before, after = _flatten(old), _flatten(new)
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield f"{key}: {before.get(key, 'none')} → {after.get(key, 'none')}"


@cache
def read_hardware() -> dict[str, str]:
    """Return processor, cores, memory and GPUs, without the machine's name."""
    cards = ", ".join(name for name, _ in find_cards())
    return {"processor": find_processor(), "cores": str(os.cpu_count()), "memory": find_memory(), "gpu": cards or "none"}


def _flatten(lock: Lock) -> dict[str, str]:
    parts = {key: value if isinstance(value, dict) else {"": value} for key, value in lock.items()}
    return {f"{key}.{name}".rstrip("."): value for key, inner in parts.items() for name, value in inner.items()}


def _read_commit(folder: Path) -> str:
    """Return the commit that a folder is at, with a + where files differ from it; empty outside a git repository."""
    source = describe_source(folder)
    return f"{source.get('commit', '')}{'+' * bool(source.get('dirty'))}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """Return what an earlier run wrote; empty without one."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        problem = f"it is not JSON: {first_line(error)}"
        raise ExperimentError(f"cannot read {path}", [problem], fix=rm_command(path)) from None
    return dict(found)
