"""The versions of the packages that compute scores."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec

_BASE = ("pt_cascade", "pyterrier", "pandas", "numpy")
_ENGINES = ("torch", "transformers", "sentence_transformers", "pyterrier_dr", "pyterrier_pisa", "pyterrier_t5")


def versions(*, loaded: bool = False) -> dict[str, str]:
    """Return the versions of Python, pt_cascade, its base packages and the engines: those installed, or only those loaded."""
    engines = (name for name in _ENGINES if (name in sys.modules if loaded else find_spec(name)))
    return {"python": platform.python_version(), **{name: version(name) for name in (*_BASE, *engines)}}
