"""Where what was built from a collection is kept, and how it gets there whole.

Indexes and vectors are kept by what they were made of: a path of fingerprints and settings. Another content is another path, so
nothing kept is ever wrong, only unused; the whole folder may be deleted at any time.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pt_cascade.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = " =+,@~"


def cache_folder(*parts: str) -> Path:
    """Give the folder that is kept for something, without making it.

    Args:
        parts: What it is made of, from the general to the special, such as ``"bm25", collection.fingerprint``. Each becomes one
            folder; what a folder's name cannot hold is written as in addresses (``%2F``), so two parts never meet.

    Returns:
        A folder in ``$PT_CASCADE_CACHE``, else in ``$XDG_CACHE_HOME/pt_cascade``, else in ``~/.cache/pt_cascade``.

    Raises:
        CollectionError: A part is empty.

    Example:
        >>> cache_folder("bm25", "irds:beir/scifact/test").name
        'irds%3Abeir%2Fscifact%2Ftest'
    """
    if not all(parts):
        raise CollectionError("cannot keep anything", [f"a part of its name is empty: {parts}"], fix='cache_folder("bm25", key)')
    return _root().joinpath(*(_folder_name(part) for part in parts))


def build_once(path: Path, build: Callable[[Path], object]) -> Path:
    """Build a folder unless it is there, so that it is there whole or not at all.

    It is built beside its place and then renamed into it: a crash, or two processes at once, never leave half a folder. Who comes
    second throws its own away and takes the first one's. A killed process may leave a hidden folder, ``.name.*.building``.

    Args:
        path: The folder. Any folder at this place counts as built.
        build: Fills the empty folder it is given. What it keeps must not know its own path: the folder moves afterwards.

    Returns:
        The path.

    Raises:
        CollectionError: There is a file at this place, or no folder can be made there.

    Example:
        >>> place = getfixture("tmp_path") / "index"
        >>> built = build_once(place, lambda folder: (folder / "terms").write_text("a b"))
        >>> (build_once(place, lambda folder: 1 / 0) / "terms").read_text()
        'a b'
    """
    if is_built(path):
        return path
    with tempfile.TemporaryDirectory(prefix=f".{path.name[:100]}.", suffix=".building", dir=path.parent) as beside:
        whole = Path(beside) / "whole"
        whole.mkdir()
        build(whole)
        try:
            whole.replace(path)
        except OSError:
            if not path.is_dir():  # else another process was first
                raise
    return path


def is_built(path: Path, *, fix: str = "export PT_CASCADE_CACHE=/a/folder/you/may/write") -> bool:
    """Tell whether a folder is there; where it is not, make the folder that it will stand in.

    Args:
        path: The folder.
        fix: What to do where no folder can be made there.

    Raises:
        CollectionError: There is a file or a dangling link at this place, or no folder can be made there.

    Example:
        >>> place = getfixture("tmp_path") / "a" / "index"
        >>> is_built(place), place.parent.is_dir(), is_built(place.parent)
        (False, True, True)
    """
    if path.is_symlink() and not path.exists():
        raise CollectionError(f"cannot build {path}", ["it is a link to what is not there"], fix=f"rm {path}")
    if path.exists() and not path.is_dir():
        raise CollectionError(f"cannot build {path}", ["it is a file, expected a folder or nothing"], fix=f"rm {path}")
    if path.is_dir():
        return True
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectionError(f"cannot build {path}", [f"{type(error).__name__}: {error.strerror}"], fix=fix) from error
    return False


def _root() -> Path:
    if own := os.environ.get("PT_CASCADE_CACHE"):
        return Path(own).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative one is to be ignored, says the XDG specification
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "pt_cascade"


def _folder_name(part: str) -> str:
    name = quote(part, safe=_PLAIN)
    return name.replace(".", "%2E") if set(name) == {"."} else name
