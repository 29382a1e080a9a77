"""The simulations behind experiments/README.md, small: that they run, and that what they simulate is what the package ranks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def calibration(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as a module."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("calibration")


def test_all_tables_are_made_of_shares_and_gains(calibration: ModuleType) -> None:
    """Eleven tables, each row as long as its head, no number missing."""
    lines = list(calibration.tabulate(calibration.QUICK, 0))
    assert len([line for line in lines if line.startswith(("###", "\n###"))]) == 11
    tables = "\n".join(lines).split("### ")[1:]
    for table in tables:
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len(rows) > 2
        assert {row.count("|") for row in rows} == {rows[0].count("|")}
        shares = [float(share) for share in re.findall(r"([\d.]+) ?%(?: \|)", "\n".join(rows[2:]))]
        assert all(0 <= share <= 100 for share in shares)
        assert "nan" not in table


def test_intervals_and_bounds_keep_what_they_promise_in_a_small_simulation(calibration: ModuleType) -> None:
    """With 300 samples: coverage of 90 % or more where the table has 95 %, bounds that fail in 8 % or less."""
    effort = calibration.Effort(2000, 300, 1000, 0, 0, 0, (100, 200))
    for line in list(calibration.cover_means(effort, 1))[3:]:
        covered = [float(share) for share in re.findall(r"(0\.\d+|1\.000) \(", line)]
        assert len(covered) == 2
        assert min(covered) >= (0.85 if "1/r" in line else 0.9), line
    for line in list(calibration.bound_losses(effort, 1))[3:]:
        assert max(float(share) for share in re.findall(r"([\d.]+) %", line)) <= 8.0, line


def test_a_population_is_measured_as_a_loop_would(calibration: ModuleType) -> None:
    """By hand in NumPy: recall after stage 2 given stage 1, and one relevant document's nDCG@10 after stage 3."""
    population = calibration.simulated.cascade(200, "one relevant", 3)
    replayer = population.replayer
    scores = replayer.table.frame[["bi", "ce"]].to_numpy().reshape(200, 100, 2)
    labels = np.maximum(replayer.judged.labels.reshape(200, 100), 0)
    second = np.argsort(-scores[:, :40, 0], axis=1)[:, :8]
    found = np.take_along_axis(labels[:, :40], second, axis=1)
    assert population.recall(1, (40,))[:, 7] == pytest.approx(found.sum(axis=1))
    place = np.argsort(np.argsort(-np.take_along_axis(scores[:, :40, 1], second, axis=1), axis=1), axis=1)
    gains = (found / np.log2(2 + place)).sum(axis=1)
    column = population.vectors[:, :2].tolist().index([40, 8])
    assert population.values[:, column] == pytest.approx(gains)


def test_twins_are_as_good_as_each_other(calibration: ModuleType) -> None:
    """The same labels, other scores; means differ by no more than chance has it."""
    one, other = (calibration.simulated.cascade(2000, "one relevant", 0, twin=twin) for twin in (0, 1))
    assert (one.replayer.judged.labels == other.replayer.judged.labels).all()
    difference = (one.values - other.values)[:, -1]
    assert 0 < abs(difference.mean()) < 4 * difference.std() / np.sqrt(2000)


def test_what_misleads_loses_what_it_says(calibration: ModuleType) -> None:
    """1.02 of the margin each, exactly; the last one is best."""
    vectors, values = calibration.simulated.mislead(500, 0.05, 0.9, 0)
    assert len(vectors) == values.shape[1] == 201
    assert values.mean(axis=0)[-1] - values.mean(axis=0)[:-1] == pytest.approx(np.full(200, 0.051))


def test_certificates_and_verdicts_keep_what_they_promise_in_a_small_simulation(calibration: ModuleType) -> None:
    """200 vectors that all lose 1.02 of the margin: hardly one is certified or shipped; without, most samples choose one."""
    pools = {"misleading": calibration.promises.Pool(*calibration.simulated.mislead(2000, 0.05, 0.9, 0), (0.05,))}
    row = [line for line in calibration.promises.certify_cheaper(pools, 40, (100,), 0) if line.startswith("| misleading | 0.05")]
    dirichlet, betting, without = (float(share) for share in re.findall(r"([\d.]+)% \|", row[0]))
    assert max(dirichlet, betting) <= 15
    assert without > 50
    pools = {"misleading": calibration.promises.Pool(*calibration.simulated.mislead(2000, 0.02, 0.0, 0))}
    told = next(line for line in calibration.promises.judge_best(pools, 40, (100,), 0) if line.startswith("| misleading | 100"))
    *_, shipped, anyway, covered = (float(share) for share in re.findall(r"([\d.]+)%", told))
    assert (shipped <= 15, anyway > 25, covered >= 85) == (True, True, True)


def test_a_budget_by_order_statistics_is_kept_and_by_the_sample_it_is_not(calibration: ModuleType) -> None:
    """Of 2,000 profiles of 100 queries: at most 5 % are over the budget (the least rank that holds), plug-in about half."""
    row = next(line for line in calibration.promises.keep_budgets(200, 0) if line.startswith("| 100 |"))
    plugged, bounded, none = (float(share) for share in re.findall(r"([\d.]+)%", row))
    assert bounded <= 5
    assert plugged > 40
    assert none == 0


def test_more_folds_certify_what_all_queries_do(calibration: ModuleType) -> None:
    """Of 160 queries five folds leave 128, fewer than the 149 that a margin of .02 takes; 15 folds leave 149."""
    vectors, values = calibration.simulated.mislead(500, 0.001, 0.9, 0)
    pool = calibration.promises.Pool(vectors, 0.02 * values)
    rows = list(calibration.promises.count_certifying_folds({"alike": pool}, 8, 0, (160,)))
    few, many = (float(share) for share in re.findall(r"(\d+)%", next(row for row in rows if row.startswith("| alike | 160"))))
    assert few == 0 < many


def test_scoring_stops_where_nothing_or_much_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """198 queries without loss certify a margin of .02, read every 10; half lost is refuted; the margin itself is neither."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    design = importlib.import_module("design")
    order = np.arange(400)[None]
    found = {}
    for name, lost in {"nothing": (0.0, 0.0), "half by the second": (0.0, 0.5), "half": (0.5, 0.5), "margin": (0.02, 0.02)}.items():
        losses = np.repeat([[0.0], *([loss] for loss in lost)], 400, axis=1)
        told = design.stop_early(design.Sequence(losses, np.array([1.0, 0.5, 0.25])), 0.02, order)
        found[name] = int(told.scored[0]), int(told.picked[0])
    assert found["nothing"] == (200, 2)
    assert found["half by the second"] == (200, 1)
    assert found["half"][0] < 40
    assert found["half"][1] == 0
    assert found["margin"] == (400, 0)


def test_the_table_of_designs_has_no_number_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row as long as its head; what is scored is at most all."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    design = importlib.import_module("design")
    lines = "\n".join(design.tabulate({"one": design.follow(design.simulate(300, 0)["one relevant"])}, 2, (60,), 0)).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {12}
    assert "nan" not in "".join(lines)
