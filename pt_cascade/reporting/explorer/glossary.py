"""The measures and the percentile of a page, explained to a reader who meets them first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ir_measures

from pt_cascade.reporting.rows import read_level

if TYPE_CHECKING:
    from ir_measures import Measure

    from pt_cascade.analysis.sweep.result import Sweep

_MEANINGS = {
    "nDCG": (
        "The quality of {first}: documents count by their relevance, and less the further down they stand. "
        "1 is the best order there is, 0 nothing relevant."
    ),
    "RR": "One divided by the rank of the first relevant document: 1 where it stands first, 0.5 where second; 0: none in {first}.",
    "AP": (
        "Average precision: the precision at the rank of each relevant document in {first}, "
        "the mean over all relevant documents of the query. 1: all of them stand first."
    ),
    "P": "Precision: the share of {first} that are relevant.",
    "R": "Recall: the share of the query's relevant documents that are in {first}.",
    "Success": "1 where a relevant document is in {first}, else 0.",
    "Judged": "The share of {first} that are judged; the others count as not relevant.",
    "ERR": "Expected reciprocal rank: one divided by the rank at which a reader of {first} is satisfied, the expected value.",
    "RBP": "Rank-biased precision: the relevance that a reader collects who goes on from each document with the same probability.",
    "Bpref": "How seldom a document judged not relevant stands above a relevant one; unjudged documents do not count.",
    "Rprec": "The precision at the rank that equals the number of the query's relevant documents.",
}


def explain_measures(sweep: Sweep) -> list[tuple[str, str]]:
    """Return the name and the meaning of each measure of a sweep."""
    return [(name, _explain(ir_measures.parse_measure(name))) for name in sweep.measures]


def _explain(measure: Measure) -> str:
    """Say what a measure is, by its kind and cut-off; for a rare one, where that stands."""
    meaning = _MEANINGS.get(measure.NAME)
    if meaning is None:
        return "See the page of ir_measures on measures."
    cutoff = measure.params.get("cutoff")
    return meaning.format(first="the ranking" if cutoff is None else f"the first {cutoff:,} documents")


def explain_percentile(column: str, level: float | None) -> tuple[str, str] | None:
    """Return the name and the meaning of the percentile that a page shows beside a column of costs; None: it shows none."""
    if level is None:
        return None
    if level == 100:  # noqa: PLR2004 - per cent
        return (
            "Longest time",
            "The time of the slowest query; by costs given by hand, of the one that retrieves the most documents.",
        )
    meaning = (
        f"The time within which {level:g} of 100 queries are answered: {round(100 - level, 6):g} of 100 wait longer. "
        f"It is not the sum of the stages' p{level:g}."
    )
    if column.endswith("_bound_ms") and read_level(column) == level:
        meaning += (
            " Few timed queries tell it roughly, so a budget is compared with its upper bound, which holds with 95 % certainty."
        )
    return f"p{level:g}", meaning
