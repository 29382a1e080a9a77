"""Rules chosen as cut-offs are: a rule that no score exceeds is a cut-off, and is chosen and judged as ``choose`` does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from toys.scored import make_scores, make_sweep, make_timings

import pt_cascade as ptc
from pt_cascade.analysis.pruning import Margin
from pt_cascade.errors import SweepError

SCORES, LABELS = make_scores(120, 16, 3, seed=2)
SWEPT = make_sweep(SCORES, LABELS)
QRELS: pd.DataFrame = SWEPT.table.frame[["qid", "docno"]].assign(label=LABELS.ravel())
COST = [ptc.StageCost("s1", fixed_ms=1), ptc.StageCost("s2", per_pair_ms=1), ptc.StageCost("s3", per_pair_ms=20)]
CEILINGS = (9, 6, 4, 2, 1)
PATH = [{"s2": Margin(1e9, ceiling=k)} for k in CEILINGS]
RULES = ptc.sweep_rules(SWEPT.table, QRELS, ["nDCG@10"], (16, 16, None), PATH, cost=COST)


@pytest.mark.parametrize(
    ("options", "timed"),
    [
        ({"method": "certified", "margin": 0.1, "seed": 1}, False),
        ({"method": "certified", "margin": 0.3, "budget_ms": 250, "test": "betting"}, False),
        ({"budget_ms": 200, "percentile": None, "seed": 2}, False),
        ({"budget_ms": 200, "level": 0.9, "folds": 4}, True),
    ],
)
def test_rules_that_are_cut_offs_are_chosen_as_cut_offs(options: dict[str, Any], timed: bool) -> None:  # noqa: FBT001
    """Golden: ``choose`` on the sweep of these cut-offs: what is picked, held out, and the verdict; costs by hand, or timed."""
    cost = make_timings(("s1", "s2", "s3")).cost() if timed else COST
    grid = [(16, k, None) for k in (16, *CEILINGS)]
    wanted = ptc.choose(ptc.sweep(SWEPT.table, QRELS, ["nDCG@10"], cost, grid), "nDCG@10", **options)
    found = ptc.choose_rules(replace(RULES, cost=cost) if timed else RULES, "nDCG@10", **options)
    depths = [16, *CEILINGS]
    assert (depths[found.picked], depths[found.reference]) == (wanted.picked[1], wanted.reference[1])
    assert depths[found.row] == wanted.cutoffs[1]
    assert found.rules == ({} if found.row == 0 else {"s2": Margin(1e9, ceiling=depths[found.row])})
    assert found.verdict == wanted.verdict
    for mine, theirs in ((found.gain, wanted.gain), (found.held_out, wanted.held_out), (found.used, wanted.used)):
        assert (mine.mean, mine.low, mine.high) == pytest.approx((theirs.mean, theirs.low, theirs.high), abs=1e-12)
    assert found.explain().splitlines()[0].startswith(wanted.verdict.decision.capitalize())


def test_without_costs_the_documents_that_stages_score_are_the_cost() -> None:
    """The certified row with the fewest documents; with 120 queries nothing certifies a margin of 0.02."""
    free = ptc.sweep_rules(SWEPT.table, QRELS, ["nDCG@10"], (16, 16, None), [{"s2": Margin(1e9, ceiling=9)}, {}])
    assert ptc.choose_rules(free, "nDCG@10", margin=0.4).row == 1  # of 16 + 9 documents, not the last one of 16 + 16
    assert "Keep the plain cut-offs" in ptc.choose_rules(free, "nDCG@10").explain()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"method": "plateau"}, "method is 'plateau', expected one of certified, budget"),
        ({"method": "budget"}, "method 'budget' needs budget_ms"),
        ({"budget_ms": 0.5}, "the nearest, s2 margin .*, takes 37 ms"),
        ({"margin": 2, "folds": 1}, "folds is 1"),
    ],
)
def test_refusals(options: dict[str, Any], problem: str) -> None:
    """Each with what was found."""
    with pytest.raises(SweepError, match=problem):
        ptc.choose_rules(RULES, "nDCG@10", **options)
    with pytest.raises(SweepError, match="choose_rules takes what sweep_rules returns"):
        ptc.choose(RULES, "nDCG@10")  # type: ignore[arg-type] # the slip that is refused
