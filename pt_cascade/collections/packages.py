"""Installed packages by name and version, and their members, listed by a new interpreter with a fixed hash seed.

In this process docstrings may have changed: SciPy, once imported, adds to that of ``numpy.sinc``, and tqdm adds methods to pandas.
The list is cached by package version and file stamps.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pt_cascade.caches import cache_folder
from pt_cascade.checksums import build_once, check_sealed, stamp
from pt_cascade.collections import members
from pt_cascade.collections.members import Member
from pt_cascade.errors import MissingError, closest, did_you_mean
from pt_cascade.files import rm_command

if TYPE_CHECKING:
    from collections.abc import Sequence

_FILE = "members.json"
_CHILD = """
import json, sys
path, package, file = json.loads(sys.argv[1])
sys.path[:] = path
from pt_cascade.collections.members import public_members
with open(file, "w", encoding="utf-8") as out:
    json.dump([[member.names, member.docstring] for member in public_members(package)], out)
"""


@dataclass(frozen=True, order=True)
class Package:
    """An installed package by its import name, with the version of its distribution, or of Python; empty if it has none."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" if self.version else self.name


def installed_packages(names: Sequence[str]) -> list[Package]:
    """Look up packages such as ``numpy`` or ``numpy==2.4.6`` without importing them; refuse all that are missing."""
    asked = [name.partition("==")[::2] for name in names]
    found = {Package(name, _version(name)) for name, _ in asked if _is_there(name)}
    versions = {package.name: package.version for package in found}
    lacking = [name for name, _ in asked if name not in versions]
    known = importlib.metadata.packages_distributions() if lacking else ()
    problems = [f"there is no package {name!r}{did_you_mean(name, known)}" for name in lacking]
    for name, wanted in asked:
        if wanted and versions.get(name, wanted) != wanted:
            problems.append(f"{name} has version {versions[name] or '(none)'}, expected {wanted}")
    if problems or not found:
        fix = f"pip install {' '.join(names)}" if names else 'open_collection("pydocs:numpy,scipy")'
        meant = [closest(name, known) if name in lacking else name for name, _ in asked]
        if len(problems) == len(lacking) and lacking and all(meant):  # nobody should install a misspelt name
            fix = f'open_collection("pydocs:{",".join(meant)}")'
        raise MissingError("cannot read the documentation of packages", problems or ["the name lists no package"], fix=fix)
    return sorted(found)


def package_members(package: Package) -> list[Member]:
    """List the members of a package, from the cache if its files have not changed."""
    folder = build_once(_place(package), lambda new: _list(package, new / _FILE))
    check_sealed(folder, fix=rm_command(folder))
    rows = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    return [Member(tuple(names), docstring) for names, docstring in rows]


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except ValueError:  # an empty name, or __main__
        return False


def _version(name: str) -> str:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return platform.python_version()
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:  # a distribution of another name, as scikit-learn for sklearn
        distributions = importlib.metadata.packages_distributions().get(top, [])
        return next(map(importlib.metadata.version, distributions), "")


def _place(package: Package) -> Path:
    """Return the cache folder for this package, its files, this Python and the rules of ``members``."""
    spec = importlib.util.find_spec(package.name.partition(".")[0])
    places = [Path(place) for place in (spec.submodule_search_locations or [spec.origin or ""] if spec else [])]
    files = sorted(stamp(file) for place in places for file in (place, *place.rglob("*.*")) if file.suffix in (".py", ".so"))
    rules = [files, platform.python_version(), sys.platform, platform.machine(), Path(members.__file__).read_text(encoding="utf-8")]
    return cache_folder("pydocs", str(package), hashlib.sha256(json.dumps(rules).encode()).hexdigest()[:16])


def _list(package: Package, file: Path) -> None:
    """Write the members to a file in a new interpreter with the same import path."""
    command = [sys.executable, "-c", _CHILD, json.dumps([sys.path, package.name, str(file)])]
    fresh = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=fresh, capture_output=True, text=True, check=False)  # noqa: S603 - our own interpreter and code
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise MissingError(f"cannot read the documentation of {package}", [last], fix=f'python -c "import {package.name}"')
