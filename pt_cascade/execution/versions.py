"""The versions of the packages that compute scores."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_BASE = ("pt_cascade", "pyterrier", "pandas", "numpy")
_ENGINES = ("torch", "transformers", "sentence_transformers", "pyterrier_dr", "pyterrier_pisa", "pyterrier_t5")
_version = cache(version)  # it reads a file


def versions(*, loaded: bool = False) -> dict[str, str]:
    """Return the versions of Python, pt_cascade, its base packages and the engines: those installed, or only those loaded."""
    found = {"python": platform.python_version()}
    for name in (*_BASE, *(name for name in _ENGINES if not loaded or name in sys.modules)):
        with suppress(PackageNotFoundError):
            found[name] = _version(name)
    return found
