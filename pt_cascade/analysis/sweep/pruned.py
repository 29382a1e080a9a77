"""Cascades pruned by rules, each query at cut-offs of its own: measures, losses and costs, and the rules that lose little."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.cost.latency import take_percentiles
from pt_cascade.analysis.grid.cutoffs import check_cutoffs
from pt_cascade.analysis.pruning.guarantee import control_expectation, control_probability
from pt_cascade.analysis.replay.replay import NO_RULES, check_rules, walk_table
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.errors import SweepError
from pt_cascade.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ir_measures import Measure

    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.analysis.cost.stage_cost import StageCost
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.analysis.pruning.guarantee import Guarantee
    from pt_cascade.analysis.pruning.rules import Rule
    from pt_cascade.analysis.replay.replayer import Replayer
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.ranking import Floats, Ints


@dataclass(frozen=True, eq=False)
class PrunedSweep:
    """One cascade under several rules; the first row is the cascade at its cut-offs, without rules.

    Attributes:
        replayer: The table, path, judgments and measures.
        cutoffs: The cut-offs of the stages, which no rule exceeds.
        rules: For each row the rules by stage, the first row without any.
        kept: Shape (rows, judged queries, stages): how many documents each stage passes on.
        values: Shape (rows, judged queries, measures).
        dropped: Shape (rows, judged queries): the share, from 0 to 1, of the relevant documents in the result of the first row that
            are not in the result of the row; 0 where that has none.
        relevant: How many documents of the table are relevant.
        cost: The costs of the stages; None: unknown.
    """

    replayer: Replayer
    cutoffs: tuple[int | None, ...]
    rules: tuple[Mapping[str, Rule], ...]
    kept: Ints
    values: Floats
    dropped: Floats
    relevant: int
    cost: Cost | None = None

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures, as ir_measures prints them."""
        return tuple(map(str, self.replayer.measures))

    @property
    def qids(self) -> tuple[str, ...]:
        """The queries with a judgment, in topic order."""
        return tuple(self.replayer.table.topics["qid"].iloc[self.replayer.judged.queries])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Frame[rules, docs_<stage>..., <measure>..., dropped, and with a cost: ms, p95_ms]: means over the judged queries."""
        columns: dict[str, object] = {"rules": [_name(row) for row in self.rules]}
        columns |= {f"docs_{name}": self.kept[:, :, n].mean(axis=1) for n, name in enumerate(self.replayer.path.stages)}
        columns |= {name: self.values[:, :, n].mean(axis=1) for n, name in enumerate(self.measures)}
        columns["dropped"] = self.dropped.mean(axis=1)
        if self.cost is not None:
            columns["ms"] = self.ms.mean(axis=1)
            if self.cost.sample is None or self.cost.sample.percentiles:
                times = [self.cost.times_at(documents).ravel() for documents in self.kept]
                columns["p95_ms"] = [take_percentiles(each, [95])[0] for each in times]
        return pd.DataFrame(columns)

    @cached_property
    def ms(self) -> Floats:
        """Shape (rows, judged queries): mean milliseconds at the pace of all profiled runs."""
        if self.cost is None:
            raise SweepError("the times are unknown", ["there is no cost"], fix="sweep_rules(..., cost=timings.cost())")
        return np.stack([self.cost.times_at(documents).mean(axis=1) for documents in self.kept])

    def loss(self, measure: Measure | str | None = None) -> Floats:
        """Return each query's loss to the first row, shape (rows, judged queries), from -1 to 1; see ``certify``."""
        if measure is None and not self.relevant:
            problem = "no document of the table is relevant, so no rule could drop one"
            raise SweepError("the share of relevant documents is unknown", [problem], fix="sweep_rules(..., rel=1)")
        if measure is None:
            return self.dropped
        if str(measure) not in self.measures:
            problem = f"computed were {', '.join(self.measures)}"
            raise SweepError(f"measure {str(measure)!r} was not computed", [problem], fix=f"measure={self.measures[0]!r}")
        value = self.values[:, :, self.measures.index(str(measure))]
        return value[:1] - value

    def certify(self, measure: Measure | str | None = None, *, alpha: float = 0.05, delta: float | None = 0.1) -> Guarantee:
        """Find the last rules of the path that are shown to lose at most ``alpha`` on queries like these.

        The rules must be a path, from the loosest to the tightest, that was fixed before these judgments were seen.

        Args:
            measure: A measure whose loss is bounded; None: the share of relevant documents that is dropped.
            alpha: The mean loss that is allowed, within (0, 1).
            delta: The chance, over the sample of queries, that the mean loss exceeds alpha (fixed-sequence Learn-then-Test); None:
                no chance is bounded, only the mean over samples (conformal risk control), and only for ``measure=None``.

        Returns:
            The row of the rules, 0 for the plain cut-offs, None where the queries are too few for these; ``explain()`` says it.

        Raises:
            SweepError: An argument is out of range, or conformal risk control is asked for a measure, whose loss may rise and fall.
        """
        if delta is not None:
            return control_probability(self.loss(measure), alpha, delta)
        if measure is not None:
            problem = f"the loss of {measure} may fall as rules tighten, which conformal risk control does not allow"
            raise SweepError("the expected loss cannot be controlled", [problem], fix="certify(measure, delta=0.1)")
        return control_expectation(self.loss(), alpha)


def sweep_rules(  # noqa: PLR0913 - the names are public
    table: Scores,
    qrels: pd.DataFrame,
    measures: Sequence[Measure | str],
    cutoffs: Sequence[Cutoff],
    rules: Sequence[Mapping[str, Rule]],
    *,
    cost: Cost | Sequence[StageCost] | None = None,
    stages: Sequence[str] | None = None,
    rel: int = 1,
    fusion: StageFusion | None = None,
) -> PrunedSweep:
    """Measure a cascade under several rules that prune its stages, exactly as the live pipelines would rank.

    Args:
        table: The scores.
        qrels: Frame[qid, docno, label].
        measures: Measures of the kernel, or their names: nDCG, RR, R, P, AP, Judged, Success.
        cutoffs: One a stage, each 1 or more, or None: the cascade without rules, and the most that a rule passes on.
        rules: Each a dict from stage to rule, from the loosest to the tightest.
        cost: The costs of the stages, as for ``sweep``.
        stages: The path of the table, by the names of its stages; None: the first path.
        rel: The lowest relevant label, for the share of relevant documents that is dropped.
        fusion: Of the stages' scores, as ``cascade.fusion``; a rule of the last stage reads the fused scores. None: not fused.

    Returns:
        The sweep, with a first row without rules.

    Raises:
        SweepError: A rule is of a stage that there is not, or see ``sweep``.
        TableError: The table does not cover the cut-offs.

    Example:
        >>> import pandas as pd
        >>> from pt_cascade.analysis.pruning import Margin
        >>> from pt_cascade.analysis.table.data import Column, Path, Scores
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [0.1, 0.9]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> table = Scores(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, None)),))
        >>> qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
        >>> done = sweep_rules(table, qrels, ["RR"], (2, None), [{"bm25": Margin(1.0)}, {"bm25": Margin(0.5)}])
        >>> done.frame[["rules", "docs_bm25", "RR"]].to_dict("list")
        {'rules': ['', 'bm25 margin 1', 'bm25 margin 0.5'], 'docs_bm25': [2.0, 2.0, 1.0], 'RR': [1.0, 1.0, 0.0]}
    """
    path = table.find_path(stages)
    checked = check_cutoffs(cutoffs, path.stages)
    if not is_whole(rel, 1):
        raise SweepError("an argument is out of range", [f"rel is {rel!r}, expected a whole number, 1 or more"])
    plain = sweep(table, qrels, measures, cost, [checked], stages=path.stages, fusion=fusion)
    every = (NO_RULES, *rules)
    for row in every:
        check_rules(row, path.stages)
    walked = [_walk_judged(plain.replayer, checked, row) for row in every]
    kept = np.stack([documents for documents, _ in walked])
    relevant = plain.replayer.labels >= rel
    dropped = np.stack([_count_dropped(plain.replayer, walked[0][1][relevant[walked[0][1]]], found) for _, found in walked])
    return PrunedSweep(
        plain.replayer,
        checked,
        every,
        kept,
        plain.replayer.measure_each(np.maximum(kept, 1).astype(np.int32)),
        dropped,
        int(relevant.sum()),
        plain.cost,
    )


def _name(rules: Mapping[str, Rule]) -> str:
    """Name the rules of some stages with their limits."""
    named = []
    for stage, rule in rules.items():
        limits = [f"at least {rule.floor}"] * (rule.floor > 1) + [f"at most {rule.ceiling}"] * (rule.ceiling is not None)
        named.append(f"{stage} {rule}" + f" ({', '.join(limits)})" * bool(limits))
    return ", ".join(named)


def _walk_judged(replayer: Replayer, cutoffs: tuple[int | None, ...], rules: Mapping[str, Rule]) -> tuple[Ints, Ints]:
    """Return how many documents each stage passes on for each judged query, and what the last one does, as places in rankings."""
    table = replayer.table
    fusion = replayer.fusions[0] if replayer.fusions else None
    found, _, _, cuts = walk_table(table, replayer.path.stages, cutoffs, replayer.rankings, fusion, rules)
    query = table.queries[replayer.rankings.rows]
    lost = np.stack([np.bincount(query[cut], minlength=len(table.topics)) for cut in cuts], axis=1)
    return (table.retrieved[:, None] - np.cumsum(lost, axis=1))[replayer.judged.queries], found


def _count_dropped(replayer: Replayer, wanted: Ints, found: Ints) -> Floats:
    """Return the share of the wanted documents of each judged query that is not found, 0 where none is wanted."""
    query, count = replayer.table.queries[replayer.rankings.rows[wanted]], len(replayer.table.topics)
    lost = np.bincount(query[~np.isin(wanted, found)], minlength=count) / np.maximum(np.bincount(query, minlength=count), 1)
    return lost[replayer.judged.queries]
