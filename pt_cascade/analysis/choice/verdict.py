"""What to do: ship the vector that was picked, keep the reference, or ask more queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pt_cascade.analysis.certificates.dirichlet import weigh_at_random
from pt_cascade.analysis.certificates.fixed_sequence import fewest_queries
from pt_cascade.analysis.certificates.planning import plan_queries
from pt_cascade.analysis.choice.intervals import Estimate, estimate, settle

if TYPE_CHECKING:
    from pt_cascade.analysis.choice.candidates import Candidates
    from pt_cascade.analysis.choice.selection import Pick

Decision: TypeAlias = Literal["ship", "keep", "cannot tell"]


@dataclass(frozen=True)
class Verdict:
    """What to do, and why."""

    decision: Decision  # ship the pick; keep the reference, as no more queries are needed to see; or keep it until more are asked
    reason: str  # a sentence: what is shown, or what is not
    needed: int | None = None  # for ``cannot tell``: about how many queries would tell
    guaranteed: bool = False  # whether the reason is a bound that holds with the stated chance, for this very vector


def judge(candidates: Candidates, pick: Pick, gain: Estimate) -> Verdict:
    """Judge a pick; ``gain`` is what picking so gains over the reference, held out."""
    if candidates.method == "certified":
        return _judge_certified(candidates, pick)
    if pick.plateaus and not pick.searched:
        return _judge_plateau(candidates, pick, gain)
    if pick.vector == candidates.reference:
        return Verdict("keep", "no other cut-offs within the budget are better on these queries")
    cheaper = bool(candidates.costs[pick.vector] < candidates.costs[candidates.reference])
    return judge_gain(gain, candidates.margin, cheaper=cheaper)


def judge_gain(gain: Estimate, margin: float, *, cheaper: bool) -> Verdict:
    """Judge a held-out gain by its interval: what costs less may lose the margin, what costs more must gain.

    Example:
        >>> judge_gain(Estimate(0.0, -0.01, 0.01, 100), 0.02, cheaper=True).decision
        'ship'
        >>> judge_gain(Estimate(0.01, -0.02, 0.03, 100), 0.02, cheaper=False).decision
        'cannot tell'
    """
    if gain.low > 0:
        return Verdict("ship", f"it is better, by {gain} held out")
    if cheaper and gain.low > -margin:
        return Verdict("ship", f"it costs less and loses less than {margin:g}: {gain} held out")
    if cheaper and gain.high < -margin:
        return Verdict("keep", f"choosing loses more than {margin:g}: {gain} held out")
    if not cheaper and gain.high < margin:
        return Verdict("keep", f"choosing gains less than {margin:g}: {gain} held out")
    shown = f"lose less than {margin:g}" if cheaper else "be better"
    limits = [-margin] if cheaper else [0.0, margin]
    return Verdict("cannot tell", f"the best seen is not shown to {shown}: {gain} held out", settle(gain, limits))


def _judge_certified(candidates: Candidates, pick: Pick) -> Verdict:
    """Judge by the sequence of tests: the pick is certified, or the first vector that is not says what is lacking."""
    margin, alpha, losses = candidates.margin, candidates.alpha, candidates.losses
    measure, sure = candidates.replayer.measures[0], f"{100 * (1 - alpha):g} %"
    if pick.vector != candidates.reference:
        return Verdict("ship", f"it loses at most {margin:g} {measure} on average, with {sure} certainty", guaranteed=True)
    if not len(losses):
        return Verdict("keep", "there are no other cut-offs to test")
    queries, first = losses.shape[1], losses[min(pick.certified, len(losses) - 1)]
    if weigh_at_random(-first[None], -margin)[0] <= alpha:
        return Verdict("keep", f"the next cheaper cut-offs lose more than {margin:g} {measure}, with {sure} certainty")
    least = fewest_queries(margin, alpha, candidates.test)
    planned = plan_queries(margin - float(first.mean()), float(first.std(ddof=1)), alpha)
    text = f"{queries:,} queries do not show that cheaper cut-offs lose at most {margin:g} {measure}"
    return Verdict("cannot tell", text, int(max(least, min(planned, _MOST), queries + 1)))


def _judge_plateau(candidates: Candidates, pick: Pick, gain: Estimate) -> Verdict:
    """Judge a plateau of recall: its bounds speak for it, unless the measure is shown to suffer."""
    margin, shorter = candidates.margin, [one for one in pick.plateaus if one.k < one.deepest]
    if pick.vector != candidates.reference and not shorter:
        return judge_gain(gain, margin, cheaper=True)
    if pick.vector != candidates.reference:
        own = estimate(candidates.per_query(pick.vector) - candidates.per_query(candidates.reference), level=candidates.level)
        for found, how in ((gain, "held out"), (own, "on these queries")):  # the folds may all have kept the reference
            if found.high < -margin:
                return Verdict("keep", f"the plateau of recall loses {candidates.replayer.measures[0]}: {found} {how}")
        lost = ", ".join(f"{one.bound:.3f} ({one.stage})" for one in shorter)
        text = f"recall loses at most {lost}, each with {100 * candidates.level:g} % certainty"
        return Verdict("ship", text, guaranteed=True)
    needed = max((one.needed for one in pick.plateaus), default=0)
    if pick.plateaus[0].queries < needed:
        text = f"{pick.plateaus[0].queries} queries cannot show that smaller cut-offs lose at most {margin:g} recall"
        return Verdict("cannot tell", text, needed)
    return Verdict("keep", f"recall still rises there, so smaller cut-offs may lose more than {margin:g}")


_MOST = 1_000_000  # queries


def round_up(queries: int) -> int:
    """Round a number of queries up to two digits, as it is only about right.

    Example:
        >>> round_up(149), round_up(1203), round_up(7)
        (150, 1300, 7)
    """
    unit: int = 10 ** max(len(str(queries)) - 2, 0)
    return -(-queries // unit) * unit
