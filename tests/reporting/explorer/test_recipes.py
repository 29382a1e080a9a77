"""The lines of Python and the command of the page, run as printed: they make the same choice."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.scored import make_scores, make_sweep, make_timings

import pt_cascade as ptc
from pt_cascade.cli import parse_arguments
from pt_cascade.commands.choose import choose_from_sources
from pt_cascade.reporting.explorer.recipes import write_command, write_python

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # few queries
STAGES = ("s1", "s2")
HAND = [ptc.StageCost("s1", fixed_ms=4), ptc.StageCost("s2", per_pair_ms=0.3)]
ODD = [None, ptc.StageFusion({"s1": 1, "s2": 2}, "rrf", k=10), ptc.StageFusion({"s1": 0.7, "s2": 0.3}, normalise="z-score")]
# what is swept, what is asked, and the parts that have no option
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "defaults": ({}, {}, ""),
    "certified": ({}, {"method": "certified", "alpha": 0.2, "test": "betting", "margin": 0.1, "folds": 3, "seed": 7}, ""),
    "reference": ({"grid": ptc.grid([2, 8, 10], [2, 4])}, {"reference": np.array([8, 4])}, ""),
    "a reference without a cut": ({"grid": [(3, None), (7, None)]}, {"reference": (7, None)}, ""),
    "level": ({}, {"level": 0.8}, "level"),
    "log": ({"grid": "log"}, {"margin": np.float64(0.05)}, ""),
    "product": ({"grid": [(3, None), (7, None), (10, None)]}, {}, ""),
    "many cut-offs and none": ({"grid": ptc.grid([1, 2, 3, 5, 10, None], 4)}, {}, ""),
    "some axes": ({"grid": {"k1": [2, 3, 8]}}, {}, ""),
    "vectors": ({"grid": [(3, 2), (10, None)]}, {}, "grid"),
    "kept tail": ({"tail": "keep", "grid": ptc.grid([2, 5, 10], range(1, 7))}, {"rel": 1}, ""),
    "in rank order": ({"by_rank": True}, {}, "by_rank"),
    "weights": ({"fusion": [None, *ptc.fusions(STAGES, 0.25)]}, {}, ""),
    "equal weights": ({"fusion": [None, *ptc.fusions(STAGES, "subsets")]}, {}, ""),
    "a fusion": ({"fusion": ptc.StageFusion({"s1": 1, "s2": 2})}, {}, ""),
    "ranks": ({"fusion": ptc.fusions(STAGES, 0.5, method="rrf", k=10)}, {}, "fusion"),
    "odd fusions": ({"fusion": ODD}, {}, "fusion"),
    "costs by hand": ({"cost": HAND}, {"budget_ms": 6.1}, ""),
    "prices": ({"cost": [ptc.StageCost("s1"), ptc.StageCost("s2", 1, usd_per_pair=0.01)]}, {"budget_usd": 0.05}, "cost"),
    "timings": ({"cost": make_timings(STAGES).cost()}, {"budget_ms": 20, "percentile": 90, "budget_usd": None}, ""),
    "mean time": ({"cost": make_timings(STAGES).cost()}, {"budget_ms": 12, "percentile": None}, ""),
    "another path": ({"stages": ["s1"]}, {}, ""),
    "no limit": ({"cost": HAND}, {"budget_ms": float("inf")}, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_the_python_and_the_command_choose_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden: the choice that the page was made of, all its words; what has no option is named."""
    monkeypatch.chdir(tmp_path)
    swept, asked, missing = CASES[name]
    first = make_sweep(*make_scores(40, 10, 2), last=5)

    table, qrels = first.table.save("scores"), first.replayer.judged.qrels
    ptc.trec.write_qrels(qrels, "qrels.txt")
    make_timings(STAGES).save("timings")
    sweep = ptc.sweep(table, qrels, ["nDCG@10", "RR"], **swept)
    choice = ptc.choose(sweep, "nDCG@10", **asked)
    names: dict[str, Any] = {}
    exec(write_python(sweep, choice), names)  # noqa: S102 - our own lines
    assert (names["choice"].explain(details=True), names["sweep"].fusions) == (choice.explain(details=True), sweep.fusions)
    assert list(names["sweep"].grid) == list(sweep.grid)
    command = write_command(sweep, choice)
    if missing:
        assert command == f"# without an option at the command line: {missing}"
        return
    arguments = parse_arguments(shlex.split(command)[1:])
    again, chosen = choose_from_sources(arguments, [arguments.measure, *arguments.measures])
    assert (chosen.explain(details=True), again.fusions, list(again.grid)) == (
        choice.explain(details=True),
        sweep.fusions,
        list(sweep.grid),
    )
    assert set(sweep.measures) <= set(again.measures)
