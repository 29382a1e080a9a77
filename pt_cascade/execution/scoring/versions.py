"""The versions of the packages that compute scores."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
import pyterrier as pt

_ENGINES = {
    "torch": "torch",
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
    "pyterrier_dr": "pyterrier-dr",
    "pyterrier_pisa": "pyterrier-pisa",
    "pyterrier_t5": "pyterrier-t5",
}


def versions(*, loaded: bool = False) -> dict[str, str]:
    """Return the versions of Python, pt_cascade, its base packages and the engines: those installed, or only those loaded."""
    own = {"python": platform.python_version(), "pt_cascade": version("pt_cascade"), "pyterrier": str(pt.__version__)}
    found = own | {"pandas": pd.__version__, "numpy": np.__version__}
    for module, package in _ENGINES.items():
        if not loaded or module in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found
