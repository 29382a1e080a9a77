"""Identifies the model of a name: by the content of the files in a folder, or by the revision of a name on the hub."""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, runtime_checkable

from pt_cascade.checksums import hash_file
from pt_cascade.errors import MissingError
from pt_cascade.files import to_path
from pt_cascade.stages.inference.loading import find_cached, load_config

_SPARE = ("checkpoint-*", "*.md", "*.csv", ".*")


@runtime_checkable
class StoredFiles(Protocol):
    """A part of a stage that is identified by the content of its files, such as stored vectors."""

    path: str

    def files(self) -> list[Path]:
        """List them."""


@dataclass
class Weights:
    """A model's weights: those in a folder, or those of a name on the hub.

    Attributes:
        path: The folder or the name.
    """

    path: str

    def files(self) -> list[Path]:
        """List the files of a folder, sorted; links are followed, and hidden files, Markdown, CSV and checkpoints left out."""
        folder = to_path(self.path)
        found = (Path(here, name) for here, _, names in os.walk(folder, followlinks=True) for name in names)
        names = ((file, file.relative_to(folder).parts) for file in found if file.is_file())
        return sorted(file for file, parts in names if not any(fnmatchcase(part, glob) for part in parts for glob in _SPARE))


def tell_files(part: StoredFiles) -> str:
    """Identify a part by the content of its files and their names in its folder, so that a copy is the same part.

    Each file is read once a process, and again when it was written to; a gigabyte takes about a second.
    """
    folder = to_path(part.path)
    lines = "".join(f"{file.relative_to(folder).as_posix()}\0{hash_file(file)}\n" for file in part.files())
    return f"files {hashlib.sha256(lines.encode()).hexdigest()[:20]}"


def tell_weights(name: str) -> str:
    """Identify the weights that a name stands for: ``files <hash>`` of a folder, ``<name> at <commit>`` on the hub.

    A copy of a folder is the same model, and one that was trained in place is another. The commit is that of the local cache; the
    hub is asked only where the cache has none.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "config.json").write_text("{}")
        >>> tell_weights(str(folder))
        'files bef6acf233bd20dd9e6d'
    """
    if to_path(name).is_dir():
        return tell_files(Weights(name))
    if not (config := find_cached(name)):
        load_config(name)  # the hub puts it into the cache
        config = find_cached(name)
    if not config:
        fix = f"hf download {shlex.quote(name)}"
        raise MissingError(f"cannot find the revision of {name!r}", ["the local hub cache does not hold it"], fix=fix)
    return f"{name} at {Path(config).parent.name}"
