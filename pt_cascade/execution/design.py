"""A cascade scored on judged queries, and its cut-offs chosen with a certificate, in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import catch_warnings

import numpy as np

from pt_cascade.analysis.certificates.fixed_sequence import fewest_queries
from pt_cascade.analysis.certificates.order_statistics import queries_to_bound
from pt_cascade.analysis.choice.budget import is_limit
from pt_cascade.analysis.choice.choose import choose, list_number_problems
from pt_cascade.analysis.replay.measures import adds_up, parse_measures
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.cascade import Cascade
from pt_cascade.errors import SweepError
from pt_cascade.execution.profiling import profile
from pt_cascade.execution.scoring.score import score
from pt_cascade.frames import canonical_input, canonical_qrels
from pt_cascade.numbers import is_whole
from pt_cascade.progress import write_above

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import pyterrier as pt
    from ir_measures import Measure

    from pt_cascade.analysis.certificates.fixed_sequence import Test
    from pt_cascade.analysis.choice.result import Choice
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.execution.score_table import ScoreTable

_TIMED, _PERCENTILE, _FOLDS = 100, 95, 5


@dataclass(frozen=True, eq=False)
class Design:
    """Scores of a cascade, and the cut-offs chosen by them.

    Attributes:
        table: The scores of the judged queries, in random order; as of ``score``.
        choice: The cut-offs to use, ``choice.cutoffs``, and how sure that is, ``choice.explain()``; as of ``choose``.
    """

    table: ScoreTable
    choice: Choice


def design(  # noqa: PLR0913 - options, each with a default
    cascade: pt.Transformer,
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    measure: Measure | str,
    *,
    margin: float = 0.02,
    alpha: float = 0.05,
    budget_ms: float | None = None,
    seed: int = 0,
    chunk: int = 100,
    verbose: bool = False,
) -> Design:
    """Score all judged queries in random order, and choose the cheapest cut-offs that are certified to lose at most a margin.

    It is ``score``, ``sweep`` and ``choose(method="certified")`` in one call; with a budget also ``profile``, of 100 queries. It
    checks its arguments before it scores anything. After a crash, the same call goes on, as that of ``score``.

    Args:
        cascade: A pipeline or Cascade; its own cut-offs are the reference, its fusion and its tail stay as they are.
        topics: Frame[qid, query]; those without a judgment are not scored.
        qrels: Frame[qid, docno, label].
        measure: The measure to choose by.
        margin: How much of it may be lost, absolute, above 0, below 1.
        alpha: The chance that the certificate is wrong, above 0, below 0.5.
        budget_ms: The most milliseconds that a query may take at p95; None: no limit.
        seed: Of the order of the queries, and of ``choose``.
        chunk: Queries that pass the stages together, 1 or more.
        verbose: Show progress: after each chunk also what is certain so far, by a test that may be looked at any time.

    Returns:
        The table and the choice.

    Raises:
        SweepError: Arguments are out of range (all are listed), or the budget cannot be met.
        CascadeError: As of ``score`` and ``profile``.

    Example:
        >>> import pandas as pd, pyterrier as pt
        >>> found = pd.DataFrame({"qid": [*"1122"], "query": [*"qqrr"], "docno": [*"abab"], "score": [2.0, 1.0] * 2})
        >>> found = pt.model.add_ranks(found)
        >>> cascade = pt.Transformer.from_df(found) % 2 >> pt.apply.doc_score(lambda row: float(row["docno"] == "b"))
        >>> topics = pd.DataFrame({"qid": [*"12"], "query": [*"qr"]})
        >>> design(cascade, topics, pd.DataFrame({"qid": [*"12"], "docno": "b", "label": 1}), "RR").choice
        Choice(cannot tell: run → 2 · doc_score; RR 1.0000)
    """
    read, asked, known = Cascade.of(cascade), canonical_input(topics), canonical_qrels(qrels)
    asked = asked[asked["qid"].isin(known["qid"])]
    judged = asked["qid"].nunique()
    folds = max(min(_FOLDS, judged), 2)
    _check(
        judged, measure, budget_ms, chunk, {"margin": margin, "alpha": alpha, "seed": seed, "folds": folds, "level": 0.95, "rel": 1}
    )
    asked = _shuffle(asked, seed)
    cost = None if budget_ms is None else profile(cascade, asked.head(_TIMED), verbose=verbose).cost()

    def decide(table: Scores, test: Test) -> Choice:
        judgments = known[known["qid"].isin(table.topics["qid"])]
        swept = sweep(table, judgments, [measure], cost, tail=read.tail, fusion=read.fusion)
        return choose(swept, measure, budget_ms, _PERCENTILE, None, margin, folds, "certified", seed, alpha=alpha, test=test)

    def tell(table: Scores) -> None:
        done, least = len(table.topics), fewest_queries(margin, alpha, "anytime")
        if done < least:
            write_above(f"{done} queries: nothing is certain before about {least}")
        else:
            with catch_warnings(action="ignore"):  # what the last call warns of
                write_above(f"{done} queries: {decide(table, 'anytime')}")

    table = score(cascade, asked, query_batch_size=chunk, verbose=verbose, watch=tell if verbose else None)
    return Design(table, decide(table, "dirichlet"))


def _shuffle(topics: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Put queries in random order; rows of a query stay in theirs."""
    codes = topics["qid"].factorize()[0]
    order = np.random.default_rng(seed).permutation(codes.max(initial=-1) + 1)
    return topics.iloc[np.argsort(order[codes], kind="stable")].reset_index(drop=True)


def _check(judged: int, measure: Measure | str, budget_ms: float | None, chunk: int, numbers: Mapping[str, float]) -> None:
    """Refuse before scoring what ``choose`` would refuse after it, all at once."""
    problems = list_number_problems(judged, numbers)
    if any(map(adds_up, parse_measures([measure]))):
        problems.append(f"measure {measure} is a count, expected a measure that is averaged over queries")
    if not is_limit(budget_ms):
        problems.append(f"budget_ms is {budget_ms!r}, expected a number above 0")
    if budget_ms is not None and judged < (needed := queries_to_bound(_PERCENTILE)):
        problems.append(f"{judged} queries have a judgment, and a budget at p{_PERCENTILE} takes {needed} or more")
    if not is_whole(chunk, 1):
        problems.append(f"chunk is {chunk!r}, expected 1 or more queries")
    if problems:
        raise SweepError("the design cannot start", problems)
