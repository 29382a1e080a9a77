"""The tables of experiments/probabilities.py, small: that they run, and hold shares."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_the_tables_of_probabilities(monkeypatch: pytest.MonkeyPatch, dl19_folder: Path) -> None:
    """Shares are between 0 and 100 %, and differences have an interval around them."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    script = importlib.import_module("probabilities")
    monkeypatch.setattr(script, "SETTINGS", script.SETTINGS[:1])
    monkeypatch.setattr(script, "FUSED", script.FUSED[3:4])
    monkeypatch.setattr(script, "WEIGHTS", script.WEIGHTS[::5])
    head, _, *rows = script.show_coverage(4)
    assert [row.count("|") for row in rows] == [head.count("|")] * 2
    shares = [int(share) for share in re.findall(r"(\d+) %", "\n".join(rows))]
    assert len(shares) == 8
    assert all(0 <= share <= 100 for share in shares)
    head, _, *rows = script.show_fusion(dl19_folder)
    assert len(rows) == 2
    for row in rows:
        numbers = [float(number) for number in re.findall(r"[+-]\d\.\d+", row)]
        assert len(numbers) == 6
        assert all(low <= mean <= high for mean, low, high in (numbers[:3], numbers[3:]))
