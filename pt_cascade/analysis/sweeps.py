"""Every cut-off vector's exact effectiveness, cost and tail latency, from one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.analysis.cost_units import match_units
from pt_cascade.analysis.costs import Cost, StageCost
from pt_cascade.analysis.cutoffs import NO_CUT, Tail, as_vectors, check_cutoffs
from pt_cascade.analysis.grids import Grid, as_grid, default_grid
from pt_cascade.analysis.imports import add_unanswered
from pt_cascade.analysis.losses import lose, recall_curve
from pt_cascade.analysis.measures import adds_up, check_labels, in_kernel, parse_measures
from pt_cascade.analysis.replay import check_tail
from pt_cascade.analysis.surfaces import Replayer
from pt_cascade.errors import SweepError
from pt_cascade.frames import canonical_qrels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ir_measures import Measure

    from pt_cascade.analysis.cutoffs import Cutoff
    from pt_cascade.analysis.tables import ScoreTable
    from pt_cascade.ranking import Floats


@dataclass(frozen=True, eq=False)
class Sweep:
    """What each cut-off vector of a grid gives and costs.

    Attributes:
        replayer: The table, path, judgments and measures that it was computed from, for what is asked later.
        grid: The vectors.
        means: Shape (vectors, measures): the mean over all queries with a judgment, those without results as 0; of counts, such as
            NumRet, the sum, as ``pt.Experiment`` has it.
        cost: What a stage costs; None: not known.
    """

    replayer: Replayer
    grid: Grid
    means: Floats
    cost: Cost | None = None

    @property
    def table(self) -> ScoreTable:
        """The scores."""
        return self.replayer.table

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of the stages."""
        return self.replayer.path.stages

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures, as ir_measures prints them."""
        return tuple(map(str, self.replayer.measures))

    @cached_property
    def qids(self) -> tuple[str, ...]:
        """The queries that count: those with a judgment, in topic order."""
        return tuple(self.table.topics["qid"].iloc[self.replayer.judged.queries])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Frame[k1, k2, ..., <measure>..., and with a cost: ms, p50_ms, p95_ms, p99_ms, pairs, duels, usd]: a row for each vector.

        A cut-off that does not cut is <NA>. Costs are means and percentiles over queries, see ``Cost.frame``;
        ``duels`` are there only where a stage is pairwise, ``usd`` only where there is a price.
        """
        columns = {}
        for n, values in enumerate(self.grid.vectors.T, 1):
            column = pd.Series(values, dtype="Int64" if (values == NO_CUT).any() else "int64")
            columns[f"k{n}"] = column.mask(values == NO_CUT, pd.NA) if (values == NO_CUT).any() else column
        frame = pd.DataFrame(columns | dict(zip(self.measures, self.means.T, strict=True)))
        if self.cost is None:
            return frame
        retrieved = self.table.retrieved[self.replayer.judged.queries]
        return pd.concat([frame, self.cost.frame(self.grid.vectors, docs=retrieved)], axis=1)

    def per_query(self, cutoffs: Sequence[Cutoff]) -> pd.DataFrame:
        """Measure each query at one vector, which need not be in the grid.

        Args:
            cutoffs: One a stage.

        Returns:
            Frame[qid, <measure>...], the queries with a judgment, in topic order.

        Raises:
            TableError: The table does not cover the vector.
        """
        vector = as_vectors([check_cutoffs(cutoffs, self.stages)])[0]
        values = self.replayer.per_query(vector)
        return pd.DataFrame({"qid": self.qids} | dict(zip(self.measures, values.T, strict=True)))

    def loss(self, cutoffs: Sequence[Cutoff], *, rel: int = 1, depth: int = 10) -> pd.DataFrame:
        """Say which stage lost how much: what an oracle could still make of what is left after each.

        Args:
            cutoffs: One a stage.
            rel: The lowest label that is relevant.
            depth: Of the nDCG.

        Returns:
            Frame[at, lost, recall, lost_recall, ndcg, lost_ndcg]: one row for each place where relevant documents get lost, in
            order: never retrieved, cut by each stage, and last ``ordered``, what the order of the final ranking costs. ``lost``
            counts relevant documents over all queries; ``recall`` is the mean share still there; ``ndcg`` the mean nDCG@depth of
            the best ordering of what is still there, and in the last row of the final ranking itself, without a tail.

        Raises:
            TableError: The table does not cover the vector.
        """
        _check_positive(rel=rel, depth=depth)
        return lose(self.replayer, check_cutoffs(cutoffs, self.stages), rel=rel, depth=depth)

    def recall(self, stage: int | str = 0, given: Sequence[Cutoff] = (), *, rel: int = 1) -> pd.DataFrame:
        """Give recall@k of one stage, given the cut-offs of the stages before it.

        Args:
            stage: Its name or position.
            given: The cut-offs of the stages before, one each; empty: as deep as the table goes.
            rel: The lowest label that is relevant.

        Returns:
            Frame[k, recall, relative, queries]: ``recall`` of all the judged relevant documents, mean over all queries with a
            judgment; ``relative`` to what the stage was handed, mean over the ``queries`` that handed it a relevant document (NaN
            for none).

        Raises:
            SweepError: There is no such stage, or ``given`` does not fit.
            TableError: The table does not cover them.
        """
        _check_positive(rel=rel)
        return recall_curve(self.replayer, self.position(stage), tuple(given), rel=rel)

    def position(self, stage: int | str) -> int:
        """Return where a stage stands, from 0.

        Args:
            stage: Its name or position.

        Raises:
            SweepError: There is no such stage.
        """
        if isinstance(stage, str) and stage in self.stages:
            return self.stages.index(stage)
        if not isinstance(stage, str) and 0 <= stage < len(self.stages):
            return stage
        raise SweepError(f"no stage {stage!r}", [f"the stages are {', '.join(self.stages)}"])

    def __repr__(self) -> str:
        queries, judged = len(self.qids), self.replayer.qrels["qid"].nunique()
        left_out = {"judged and not asked": judged - queries, "asked and not judged": len(self.table.topics) - queries}
        told = "".join(f", {number:,} more {which}" for which, number in left_out.items() if number)
        return f"Sweep({self.grid!r} of {' → '.join(self.stages)}; {', '.join(self.measures)}; {queries:,} queries{told})"


def sweep(
    table: ScoreTable,
    qrels: pd.DataFrame,
    measures: Sequence[Measure | str],
    cost: Cost | Sequence[StageCost] | None = None,
    grid: Grid | Iterable[Sequence[Cutoff]] | None = None,
    tail: Tail = "drop",
    *,
    stages: Sequence[str] | None = None,
    by_rank: bool = False,
) -> Sweep:
    """Measure every cut-off vector of a grid, exactly as ``pt.Experiment`` would measure the pipeline at each.

    The queries that count are those that were asked and have a judgment; one that found nothing counts 0. The queries that were
    asked are the table's topics. A table of runs without topics does not know them: there every judged query counts, and one
    that is in no run counts 0, as in ir_measures and trec_eval -c.

    Args:
        table: The scores.
        qrels: Frame[qid, docno, label].
        measures: Of ir_measures, or their names. nDCG, RR, R, P, AP, Judged and Success are computed in the kernel; any other goes
            through ir_measures, a replay a vector.
        cost: What the stages cost: ``timings.cost()``, or a StageCost for each, of a pairwise stage by the duel; None: no costs.
        grid: A Grid, or vectors of cut-offs; None: every vector up to the depths of the table where that is affordable, else a
            logarithmic grid (``sweep.grid`` says which); the last stage keeps its own cut-off.
        tail: ``drop``: what a stage cuts is gone, as with PyTerrier's ``%``; ``keep``: it follows below.
        stages: Which path of the table, by the names of its stages; None: the first.
        by_rank: Evaluate rankings in their own order. Else as ``pt.Experiment`` does, which hands scores to trec_eval: those equal
            in float32 are ordered by docno, descending.

    Returns:
        The sweep; see ``Sweep.frame``. Its ``repr`` says how many queries count, and how many were left out.

    Raises:
        SweepError: The qrels are empty or share no query with the table, a measure is unknown or does not take their labels, or the
            grid or cost does not fit.
        TableError: The table does not cover the grid; the call that would is named.

    Warns:
        CascadeWarning: No label is relevant to a measure, or judged queries are in no run of a table made of runs.

    Example:
        >>> from pt_cascade.analysis.tables import Column, Path, ScoreTable
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "rank": [0, 1], "bm25": [2.0, 1.0], "t5": [0.1, 0.9]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> table = ScoreTable(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (2, None)),))
        >>> sweep(table, pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]}), ["RR"]).frame["RR"].tolist()
        [0.0, 1.0]
    """
    path = table.path(stages)
    check_tail(tail)
    known, wanted = canonical_qrels(qrels), parse_measures(measures)
    table = add_unanswered(table, known)
    check_labels(known[known["qid"].isin(table.topics["qid"])], wanted, found=table.frame)
    replayer = Replayer(table, path, known, wanted, tail, by_rank)
    n_queries = len(replayer.judged.queries)
    if grid is None:
        coarse = not all(in_kernel(measure) for measure in replayer.measures)
        depths = replayer.reach
        last = path.cutoffs[len(path.stages) - 1]
        vectors = default_grid(depths, last, n_queries, coarse=coarse, alone=len(path.stages) == 1)
    else:
        vectors = as_grid(grid, path.stages)
    counts = [1 if adds_up(measure) else n_queries for measure in replayer.measures]
    costs = _read_cost(cost)
    costs = costs and match_units(costs.select(path.stages), table, path.stages)
    return Sweep(replayer, vectors, replayer.sums(vectors.vectors)[0] / counts, costs)


def _read_cost(cost: Cost | Sequence[StageCost] | None) -> Cost | None:
    """Take costs as a Cost, or as one StageCost a stage."""
    if cost is None or isinstance(cost, Cost):
        return cost
    if isinstance(cost, Sequence) and all(isinstance(one, StageCost) for one in cost):
        return Cost.of(*cost)
    given: object = cost
    problem = f"it is a {type(given).__name__}, expected a Cost or a StageCost for each stage"
    raise SweepError("this is no cost", [problem], fix="cost=timings.cost(), or [StageCost(), StageCost(per_doc_ms=2)]")


def _check_positive(**numbers: int) -> None:
    """Refuse what is not a whole number from 1."""
    if problems := [
        f"{name} is {value!r}, expected 1 or more" for name, value in numbers.items() if type(value) is not int or value < 1
    ]:
        raise SweepError("nothing can be told", problems)
