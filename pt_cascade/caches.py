"""The cache folder, and which files and folders may be used again although others could have filled them.

Folders in the cache are named by the fingerprints of their contents, so the cache may be deleted at any time.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pt_cascade.errors import CascadeError

if TYPE_CHECKING:
    from collections.abc import Callable

COLLECTION_NAME = "collection.txt"  # beside what is cached for a collection
_PLAIN = " =+,@~"
_OWN = "/a/folder/of/yours"


def cache_root() -> Path:
    """Return the folder of all that is cached: ``$PT_CASCADE_CACHE``, or ``pt_cascade`` in the user's cache folder."""
    own, shared = os.environ.get("PT_CASCADE_CACHE"), Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        if own:
            return Path(own).expanduser()
        return (shared if shared.is_absolute() else Path.home() / ".cache") / "pt_cascade"  # XDG ignores relative paths
    except RuntimeError as error:  # no such user, as in some containers
        raise CascadeError("there is no cache folder", [str(error)], fix=f"export HOME={_OWN}") from None


def cache_folder(*parts: str) -> Path:
    """Return the cache folder for something, e.g. ``"bm25", fingerprint``, without making it; refuse a cache not to be trusted."""
    check_trusted(root := cache_root(), export_command)
    names = (quote(part, safe=_PLAIN) for part in parts)
    return root.joinpath(*(name.replace(".", "%2E") if set(name) == {"."} else name for name in names))


def export_command(other: str) -> str:
    """Return the shell command that chooses another cache folder."""
    return f"export PT_CASCADE_CACHE={shlex.quote(other)}"


def check_trusted(path: Path, choose: Callable[[str], str]) -> None:
    """Refuse a file or folder that is used again and that somebody else may have filled; ``choose`` says how to take another."""
    if danger := find_danger(path, choose):
        problem, fix = danger
        raise CascadeError(f"{path} is not used, since others could fill it", [f"it {problem}"], fix=fix)


def find_danger(path: Path, choose: Callable[[str], str]) -> tuple[str, str] | None:
    """Say how somebody else could fill a file or folder, and what to do; None if nobody could, or if it does not exist.

    Links in the path above it are followed. What a group of yours may write is shared with it on purpose.
    """
    try:
        state = path.lstat()
    except OSError:  # whoever opens it says why
        return None
    if stat.S_ISLNK(state.st_mode):
        target = os.path.realpath(path)
        return f"is a link to {target}", choose(target)
    if state.st_mode & stat.S_IWOTH:
        return "can be written by all users", f"chmod -R o-w {shlex.quote(str(path))}, or {choose(_OWN)}"
    shared = state.st_mode & stat.S_IWGRP and state.st_gid in (os.getegid(), *os.getgroups())
    if os.geteuid() not in (0, state.st_uid) and state.st_uid != 0 and not shared:
        return f"belongs to user {state.st_uid}, and to no group of yours that may write it", choose(_OWN)
    return None
