"""What the tests of scoring share."""

from __future__ import annotations

from pathlib import Path

import pytest

from pt_cascade.execution.scoring import chunk
from pt_cascade.execution.scoring import score as scoring


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own, so that none continues another's checkpoint."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the few calls that check batch invariance and tie rules."""
    monkeypatch.setattr(scoring, "check_batch_invariance", lambda *_: True)
    monkeypatch.setattr(scoring, "check_paths", lambda *_, **__: [])
    monkeypatch.setattr(chunk, "settle", lambda _, possible, __: possible)
