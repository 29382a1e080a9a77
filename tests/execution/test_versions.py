"""The versions that a score table records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.execution import versions as module
from pt_cascade.execution.versions import versions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_package_without_metadata_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module can be on the path without being installed; the others keep their versions."""
    (tmp_path / "bare_engine.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "_ENGINES", ("bare_engine",))
    assert versions()["numpy"] == np.__version__
    assert "bare_engine" not in versions()
