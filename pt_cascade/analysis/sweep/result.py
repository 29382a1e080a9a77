"""The measures and costs of every cut-off vector of a grid, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.grid.cutoffs import as_tuple, as_vectors, check_cutoffs
from pt_cascade.analysis.replay.measures import find_rel
from pt_cascade.analysis.sweep.front import find_front, thin_front
from pt_cascade.analysis.sweep.losses import recall_curve, trace_losses
from pt_cascade.analysis.sweep.rows import lay_out_rows, list_cutoffs, list_rows, read_fusions
from pt_cascade.errors import SweepError
from pt_cascade.markup import Shown, Table
from pt_cascade.numbers import count_of, is_whole, is_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ir_measures import Measure

    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Cutoff, Vectors
    from pt_cascade.analysis.grid.grids import Grid
    from pt_cascade.analysis.replay.replayer import Replayer
    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.ranking import Floats


@dataclass(frozen=True, eq=False)
class Sweep(Shown):
    """The measures and costs of every cut-off vector of a grid, at every fusion of the stages if there are any.

    Attributes:
        replayer: The table, path, judgments, measures and fusions that it was computed from.
        grid: The vectors.
        means: Shape (rows, measures), for each vector a row for each fusion. The mean over all queries with a judgment, 0 for a
            query without results; for counts, such as NumRet, the sum, as in ``pt.Experiment``.
        cost: The costs of the stages; None: unknown.
    """

    replayer: Replayer
    grid: Grid
    means: Floats
    cost: Cost | None = None

    @property
    def table(self) -> Scores:
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
        """The queries with a judgment, in topic order."""
        return tuple(self.table.topics["qid"].iloc[self.replayer.judged.queries])

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Frame[k1, k2, ..., w1, w2, ..., <measure>..., and with a cost: ms, p50_ms, p95_ms, p99_ms, pairs, usd]: a row each.

        No cut is <NA>. ``w1`` and so on are the weights of the stages where they are fused, NaN in rows that are not. Costs are
        means, and the percentiles that so many queries give, see ``Cost.frame``; ``usd`` needs a price; fusing costs nothing in
        them.
        """
        frame = list_cutoffs(self.rows, self.stages, self.fusions).assign(**dict(zip(self.measures, self.means.T, strict=True)))
        if self.cost is None:
            return frame
        retrieved = self.table.retrieved[self.replayer.judged.queries]
        costs = self.cost.frame(self.grid.vectors, docs=retrieved)
        repeated = costs.iloc[np.repeat(np.arange(len(costs)), max(len(self.fusions), 1))].reset_index(drop=True)
        return pd.concat([frame, repeated], axis=1)

    @property
    def fusions(self) -> tuple[StageFusion | None, ...]:
        """The fusions of the stages that were tried at each vector, None for the last stage's own ranking; empty: none was."""
        return self.replayer.fusions

    @property
    def rows(self) -> Vectors:
        """Shape (rows, stages): the vectors; with fusions each with the number of one after it, (rows, stages + 1)."""
        return list_rows(self.grid, self.fusions)

    def per_query(self, cutoffs: Sequence[Cutoff], fusion: StageFusion | None = None) -> pd.DataFrame:
        """Measure each query at one vector, in the grid or not.

        Args:
            cutoffs: One a stage.
            fusion: Of the stages' scores, one of the sweep's or another; None: not fused.

        Returns:
            Frame[qid, <measure>...], the queries with a judgment, in topic order.

        Raises:
            TableError: The table does not cover the vector.
        """
        vector = as_vectors([check_cutoffs(cutoffs, self.stages)])[0]
        read_fusions(fusion, self.replayer.path)
        values = replace(self.replayer, fusions=(fusion,)).per_query(np.append(vector, np.int32(0)))
        return pd.DataFrame({"qid": self.qids} | dict(zip(self.measures, values.T, strict=True)))

    @property
    def rel(self) -> int:
        """The lowest label that is relevant for ``recall`` and ``loss``: of the first measure with one, as R(rel=2)@100, else 1."""
        return find_rel(self.replayer.measures)

    def loss(
        self, cutoffs: Sequence[Cutoff], *, rel: int | None = None, depth: int = 10, fusion: StageFusion | None = None
    ) -> pd.DataFrame:
        """Return how many relevant documents each stage loses, and the nDCG that an oracle could still reach after it.

        Args:
            cutoffs: One a stage.
            rel: The lowest label that is relevant; None: that of the measures, see ``rel``.
            depth: Of the nDCG.
            fusion: Of the stages' scores, which orders what the last stage scores; None: not fused.

        Returns:
            Frame[at, lost, recall, lost_recall, ndcg, lost_ndcg], a row for each place where relevant documents are lost, in order:
            not retrieved, cut by each stage, and last ``ordered``, the loss by the order of the final ranking. ``lost`` counts
            relevant documents over all queries; ``recall`` is the mean share that is left; ``ndcg`` is the mean nDCG@depth of the
            best order of what is left, and in the last row that of the final ranking, without a tail.

        Raises:
            TableError: The table does not cover the vector.
        """
        rel = find_rel(self.replayer.measures, rel)
        _check_positive(rel=rel, depth=depth)
        read_fusions(fusion, self.replayer.path)
        return trace_losses(self.replayer, check_cutoffs(cutoffs, self.stages), rel=rel, depth=depth, fusion=fusion)

    def recall(self, stage: int | str = 0, given: Sequence[Cutoff] = (), *, rel: int | None = None) -> pd.DataFrame:
        """Return recall@k of one stage, given the cut-offs of the stages before it.

        Args:
            stage: Its name or position.
            given: The cut-offs of the stages before, one each; empty: as deep as the table covers.
            rel: The lowest label that is relevant; None: that of the measures, see ``rel``.

        Returns:
            Frame[k, recall, error, relative, queries]: ``recall`` is of all judged relevant documents, mean over all queries with a
            judgment, ``error`` its standard error (NaN for one query); ``relative`` is of those that the stage got, mean over the
            ``queries`` for which it got any (NaN for none).

        Raises:
            SweepError: There is no such stage, or ``given`` does not fit.
            TableError: The table does not cover them.
        """
        rel = find_rel(self.replayer.measures, rel)
        _check_positive(rel=rel)
        return recall_curve(self.replayer, self.position(stage), as_tuple(given), rel=rel)

    def pareto_front(self, measure: Measure | str, cost: str = "ms") -> pd.DataFrame:
        """Return the vectors that no other vector beats at the same or lower cost, on these queries.

        They are the best of many in-sample: on other queries some are worse; ``choose`` estimates by how much.

        Args:
            measure: One of the sweep's.
            cost: A column of costs: ``ms``, ``p50_ms``, ``p95_ms``, ``p99_ms``, ``pairs`` or ``usd``.

        Returns:
            Those rows of ``frame``, cheapest first; of equal ones the first.

        Raises:
            SweepError: The sweep has no such measure or cost.

        Example:
            >>> from pt_cascade.analysis.cost.cost import StageCost
            >>> from pt_cascade.analysis.sweep.sweep import sweep
            >>> from pt_cascade.analysis.table.data import Column, Path, Scores
            >>> import pandas as pd
            >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b", "c"], "rank": [0, 1, 2], "bm25": 1.0, "t5": [0.1, 0.9, 0.5]})
            >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
            >>> table = Scores(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (3, None)),))
            >>> qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
            >>> swept = sweep(table, qrels, ["RR"], cost=[StageCost(), StageCost(per_pair_ms=50)])
            >>> swept.pareto_front("RR")[["k1", "RR", "ms"]].values.tolist()
            [[1.0, 0.0, 50.0], [2.0, 1.0, 100.0]]
        """
        frame, name = self.frame, str(measure)
        problems = [] if name in self.measures else [f"the sweep has no measure {name}; it has {', '.join(self.measures)}"]
        if self.cost is None:
            problems.append("the sweep has no cost")
        elif not is_word(cost, known := [column for column in map(str, frame) if column.endswith(("ms", "pairs", "usd"))]):
            problems.append(f"the sweep has no cost {cost!r}; it has {', '.join(known)}")
        if problems:
            raise SweepError("cannot compute the Pareto front", problems, fix="sweep(table, qrels, [measure], cost=timings.cost())")
        return find_front(frame, name, cost)

    def tabulate(self, measure: Measure | str | None = None, cost: str | None = None) -> Table:
        """Return up to 12 vectors of the Pareto front and the deepest vector, for a notebook or a paper, each on these queries.

        Args:
            measure: One of the sweep's; None: the first.
            cost: As for ``pareto_front``; None: ``p95_ms``, else ``ms``. Without costs the best vector stands for the front.

        Raises:
            SweepError: The sweep has no such measure or cost.
        """
        name = self.measures[0] if measure is None else str(measure)
        if self.cost is None and cost is None and name in self.measures:
            best, kind = self.frame.nlargest(1, name), f"The best {name}"
        else:
            column = cost or ("p95_ms" if "p95_ms" in self.frame else "ms")
            best, kind = thin_front(self.pareto_front(name, column), name), f"The Pareto front of {name} and {column}"
        rows = pd.concat([best, self.frame.iloc[[self.deepest]]])
        frame, formats = lay_out_rows(rows, self.stages, self.measures, [*[""] * len(best), "deepest"])
        caption = f"{kind}, and the deepest cut-offs; in-sample, {len(self.qids):,} queries"
        return Table(frame, caption, formats, best=self.measures)

    @property
    def deepest(self) -> int:
        """The row with the largest product of cut-offs and the first fusion; of equal ones the last."""
        products = np.log(self.grid.vectors.astype(np.float64)).sum(axis=1)
        return (len(products) - 1 - int(products[::-1].argmax())) * max(len(self.fusions), 1)

    def position(self, stage: int | str) -> int:
        """Return the position of a stage, from 0.

        Args:
            stage: Its name or position.

        Raises:
            SweepError: There is no such stage.
        """
        if isinstance(stage, str) and stage in self.stages:
            return self.stages.index(stage)
        if is_whole(stage) and stage < len(self.stages):
            return stage
        raise SweepError(f"there is no stage {stage!r}", [f"the stages are {', '.join(self.stages)}"])

    def __repr__(self) -> str:
        queries, judged = len(self.qids), self.replayer.judged.qrels["qid"].nunique()
        left_out = {"judged but not in the table": judged - queries, "not judged": len(self.table.topics) - queries}
        more = "".join(f", {number:,} more {which}" for which, number in left_out.items() if number)
        grid = f"{self.grid!r} × {count_of(len(self.fusions), 'fusion')}" if self.fusions else repr(self.grid)
        return f"Sweep({grid} of {' → '.join(self.stages)}; {', '.join(self.measures)}; {queries:,} queries{more})"


def _check_positive(**numbers: int) -> None:
    """Refuse numbers other than whole numbers, 1 or more."""
    bad = {name: value for name, value in numbers.items() if not is_whole(value, 1)}
    if bad:
        problems = [f"{name} is {value!r}, expected a whole number, 1 or more" for name, value in bad.items()]
        raise SweepError("an argument is out of range", problems)
