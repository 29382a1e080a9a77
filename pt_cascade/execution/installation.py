"""What is installed, and what the stages and extras lack: for ``pt-cascade doctor``."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from pt_cascade.caches import cache_root, export_command, find_danger
from pt_cascade.execution.machine import find_cards, find_memory, find_processor, find_system
from pt_cascade.execution.versions import versions
from pt_cascade.numbers import count_of
from pt_cascade.stages.catalogue import CATALOGUE
from pt_cascade.stages.llm.connection import OPENAI_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_DEVELOPMENT = ("dev", "docs")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        found: What was found, and what to do where something is optional.
        problem: What stops pt_cascade from working; empty: nothing.
    """

    name: str
    found: str
    problem: str = ""


def check_installation() -> Iterator[Finding]:
    """Look at Python, the machine, the engines, the cache, the packages and the stages."""
    import torch  # noqa: PLC0415 - heavy

    known = versions()
    yield Finding("Python", f"{known.pop('python')}, {', '.join(f'{name} {one}' for name, one in known.items())}")
    yield Finding("system", ", ".join(reversed(find_system())))
    processors, threads = len(os.sched_getaffinity(0)), torch.get_num_threads()
    yield Finding("processor", f"{find_processor()}, {processors} to use; torch computes on {count_of(threads, 'thread')}")
    yield Finding("memory", find_memory())
    cards = [f"{name}, {memory / 1e9:.0f} GB" for name, memory in find_cards()]
    yield Finding("GPU", "; ".join(cards) or "none that torch can use: models run on the processor")
    yield from _check_engines()
    yield check_cache(cache_root())
    yield from check_packages(map(Requirement, requires("pt_cascade") or ()))
    ready = [name for name, entry in CATALOGUE.items() if not entry.lacks]
    lacking = [f"{name} lacks {entry.lacks}: pip install {entry.lacks}" for name, entry in CATALOGUE.items() if entry.lacks]
    yield Finding("stages", "; ".join([f"{', '.join(ready)} ready", *lacking]))
    state = "set (its value is not shown)" if os.environ.get(OPENAI_KEY) else "not set: llm_judge needs it, or a server of its own"
    yield Finding("keys", f"{OPENAI_KEY} is {state}")


def _check_engines() -> Iterator[Finding]:
    java = shutil.which("java") or os.environ.get("JAVA_HOME", "")
    pisa = _find_version("pyterrier-pisa")
    yield Finding("Java", java or "none, which only Terrier needs")
    problem = "" if java or pisa else "bm25 has no engine: pip install pyterrier-pisa, or install Java 11 or later"
    yield Finding("PISA", pisa or "not installed: pip install pyterrier-pisa", problem)


def check_cache(root: Path) -> Finding:
    """Look whether the cache folder, or the first folder above it that exists, can be written, by this user only."""
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return Finding("cache", str(root), f"{there} cannot be written: {export_command('/a/folder/of/yours')}")
    if danger := find_danger(root, export_command):
        return Finding("cache", str(root), f"{root} {danger[0]}: {danger[1]}")
    return Finding("cache", f"{root}, which can be written")


def check_packages(required: Iterable[Requirement]) -> Iterator[Finding]:
    """Compare what is installed with what pt_cascade and its extras need."""
    lacking: dict[str, list[str]] = defaultdict(list)
    extras = dict[str, None]()
    for one in required:
        extra = _find_extra(one)
        extras[extra] = None
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        found = _find_version(one.name)
        if not found or not one.specifier.contains(found, prereleases=True):
            lacking[extra].append(f"{one.name}{one.specifier} ({found or 'not'} installed)")
    base = ", ".join(lacking.pop("", []))
    yield Finding("packages", base or "all that pt_cascade needs", base and f"{base}: pip install --upgrade pt_cascade")
    optional = [extra for extra in extras if extra and extra not in _DEVELOPMENT]
    ready = [extra for extra in optional if extra not in lacking]
    told = [
        f"{extra} lacks {', '.join(lacking[extra])}: pip install 'pt_cascade[{extra}]'" for extra in lacking if extra in optional
    ]
    yield Finding("extras", "; ".join([f"{', '.join(ready) or 'none'} ready", *told]))


def _find_extra(requirement: Requirement) -> str:
    """Return the extra of a requirement; empty if it has none."""
    _, _, after = str(requirement.marker or "").partition('extra == "')
    return after.partition('"')[0]


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
