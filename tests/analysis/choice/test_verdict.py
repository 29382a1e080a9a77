"""What to do: by the definition of each verdict, and on tables where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.scored import make_sweep

from pt_cascade.analysis.choice.choose import choose
from pt_cascade.analysis.choice.intervals import Estimate
from pt_cascade.analysis.choice.verdict import judge_gain, round_up
from pt_cascade.analysis.cost.cost import StageCost
from pt_cascade.analysis.fusion.stage_fusion import fusions
from pt_cascade.analysis.sweep.result import Sweep
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.errors import SweepError
from pt_cascade.execution.score_table import ScoreTable

COSTS = [StageCost("s1"), StageCost("s2", per_pair_ms=1)]


@given(st.floats(-0.5, 0.5), st.floats(0.001, 0.3), st.floats(0.001, 0.3), st.floats(0.001, 0.2), st.sampled_from([0, 1]))
def test_a_verdict_follows_from_the_interval(mean: float, down: float, up: float, margin: float, cheaper: int) -> None:
    """What costs less may lose the margin, what costs more must gain; and only an interval that holds the limit cannot tell."""
    gain = Estimate(mean, mean - down, mean + up, 50)
    found = judge_gain(gain, margin, cheaper=bool(cheaper))
    limit = -margin if cheaper else 0.0
    assert (found.decision == "ship") == (gain.low > min(limit, 0))
    assert (found.decision == "keep") == (gain.low <= limit and gain.high < (-margin if cheaper else margin))
    assert (found.needed is None) == (found.decision != "cannot tell")
    assert found.decision != "cannot tell" or (gain.low <= limit and found.needed > 50)
    assert not found.guaranteed


@given(st.integers(1, 10**6))
def test_a_number_of_queries_is_rounded_up_to_two_digits(queries: int) -> None:
    """No smaller, less than a tenth larger, and nothing but zeros after the second digit."""
    shown = round_up(queries)
    assert queries <= shown <= queries * 1.1
    assert set(str(shown)[2:]) <= {"0"}


def place(queries: int, at: int) -> Sweep:
    """One relevant document a query, the ``at``-th of eight in stage 1 and the first in stage 2."""
    labels = np.zeros((queries, 8), int)
    labels[:, at] = 1
    return make_sweep({"s1": np.tile(-np.arange(8.0), (queries, 1)), "s2": labels * 1.0}, labels, ("RR",), cost=COSTS)


@pytest.mark.parametrize("test", ["dirichlet", "betting"])
def test_the_reference_is_kept_for_good_where_the_next_cutoffs_surely_lose(test: str) -> None:
    """By construction: without the eighth document each query loses all, so more queries would change nothing."""
    choice = choose(place(40, 7), "RR", method="certified", test=test)
    assert (choice.cutoffs, choice.verdict.decision, choice.verdict.needed) == ((8, None), "keep", None)
    assert choice.explain().startswith(
        "Keep s1 → 8 · s2\n  Why: the next cheaper cut-offs lose more than 0.02 RR, with 95 % certainty\n"
    )


def test_cheaper_cutoffs_that_lose_nothing_are_shipped_as_soon_as_the_queries_are_enough() -> None:
    """By construction: the first document is enough; 149 queries certify it, 148 do not, and 149 are named."""
    few, enough = (choose(place(n, 0), "RR", method="certified") for n in (148, 149))
    assert (few.cutoffs, few.verdict.decision, few.verdict.needed) == ((8, None), "cannot tell", 149)
    assert (enough.cutoffs, enough.verdict.decision, enough.verdict.guaranteed) == ((1, None), "ship", True)
    assert few.explain().startswith("Cannot tell: about 150 queries would. Keep s1 → 8 · s2\n")
    assert enough.explain().startswith("Ship s1 → 1 · s2\n")


@pytest.mark.parametrize(("budget", "cutoffs", "decision"), [(5, (4, None), "ship"), (3, (8, None), "keep")])
def test_a_certificate_is_sought_within_the_budget(budget: float, cutoffs: tuple[int, None], decision: str) -> None:
    """By construction: four documents, of 1 ms each, lose nothing and fewer lose all; those in use are over the budget."""
    choice = choose(place(200, 3), "RR", method="certified", budget_ms=budget, percentile=None, reference=(8, None))
    assert (choice.cutoffs, choice.verdict.decision, choice.over_budget) == (cutoffs, decision, decision == "keep")


def test_one_vector_is_kept() -> None:
    """There is nothing else."""
    table = make_sweep(
        {"s1": np.zeros((5, 3)), "s2": np.zeros((5, 3))}, np.eye(5, 3, dtype=int), ("RR",), grid=[(3, None)], cost=COSTS
    )
    for method, reason in (("certified", "there are no other cut-offs to test"), ("budget", "no other cut-offs within the budget")):
        choice = choose(table, "RR", method=method, budget_ms=100, percentile=None)
        assert choice.verdict.decision == "keep"
        assert choice.verdict.reason.startswith(reason)


def make_graded() -> Sweep:
    """155 queries: one document of label 2 at rank 1, three of label 1 further down, which the second stage finds."""
    rng = np.random.default_rng(1)
    rows = [
        (f"q{q}", f"d{n}", 20.0 - n, rng.normal() + 3 * (n in (0, 3, 5)), 2 if n == 0 else int(n in (3, 5, 7)))
        for q in range(155)
        for n in range(20)
    ]
    frame = pd.DataFrame(rows, columns=["qid", "docno", "score", "second", "label"])
    second = frame[["qid", "docno"]].assign(score=frame["second"])
    table = ScoreTable.from_runs({"bm25": frame[["qid", "docno", "score"]], "second": second})
    return sweep(table, frame[["qid", "docno", "label"]], ["nDCG@10"])


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_a_plateau_of_recall_that_loses_the_measure_is_kept_back() -> None:
    """All of label 2 are at rank 1, so recall levels off there, and nDCG@10 loses a third; no fold can show it, all queries do."""
    choice = choose(make_graded(), "nDCG@10", rel=2)
    assert choice.picked[0] == 1
    assert (choice.verdict.decision, choice.cutoffs) == ("keep", choice.reference)
    assert "the plateau of recall loses nDCG@10: -0.2" in choice.verdict.reason


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_no_plateau_without_a_relevant_document() -> None:
    """Recall of nothing would level off at once."""
    with pytest.raises(SweepError, match="no judged document has a label of 9 or more"):
        choose(make_graded(), "nDCG@10", rel=9, margin=0.05)


@pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")
def test_weights_that_the_measure_picked_are_no_guarantee() -> None:
    """A plateau of recall says nothing of the weights: they are judged by what is held out, with the noise of the search."""
    plain = make_graded()
    swept = sweep(plain.table, plain.replayer.judged.qrels, ["nDCG@10"], fusion=[None, *fusions(plain.stages)])
    choice = choose(swept, "nDCG@10")
    assert choice.picked_fusion is not None
    assert not choice.verdict.guaranteed
    assert choice.verdict.decision == judge_gain(choice.gain, choice.margin, cheaper=choice.picked != choice.reference).decision
