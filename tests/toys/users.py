"""Another user, without the rights of root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534  # a user and a group


@contextmanager
def as_nobody(path: Path) -> Iterator[None]:
    """Do without the rights of root, who may write anywhere; the folders above a path can be entered."""
    if os.getuid():
        yield
        return
    above, groups = [folder for folder in path.parents if folder.stat().st_mode & 0o011 != 0o011], os.getgroups()
    modes = [folder.stat().st_mode for folder in above]
    for folder, mode in zip(above, modes, strict=True):
        folder.chmod(mode | 0o011)
    os.setgroups([NOBODY])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        for folder, mode in zip(above, modes, strict=True):
            folder.chmod(mode)
