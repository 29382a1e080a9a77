"""Sums of measures over queries for every vector of a grid: the kernel on all cores, whose number does not change a bit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import ir_measures
import numpy as np
import pandas as pd

from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_cutoffs
from pt_cascade.analysis.replay.fused_sums import FusedGrid, sum_fused
from pt_cascade.analysis.replay.kernel import DONE, sum_measures
from pt_cascade.analysis.replay.kernel_types import GridIndex, MeasureSpec, Ranked
from pt_cascade.analysis.replay.measures import Judged, compute_norms, encode, in_kernel, raise_negative_labels
from pt_cascade.analysis.replay.rankings import Rankings, cached_rankings
from pt_cascade.analysis.replay.replay import check_depth, read_scores, replay_path, uncovered_error
from pt_cascade.analysis.replay.required_documents import find_reach
from pt_cascade.analysis.table.tie_rules import number_docnos
from pt_cascade.errors import SweepError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ir_measures import Measure
    from numpy.typing import NDArray

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Tail, Vectors
    from pt_cascade.analysis.table.data import Path, Scores
    from pt_cascade.ranking import Floats, Ints

_QRELS = {"qid": "query_id", "docno": "doc_id", "label": "relevance"}
_BLOCKS = 8  # fixed, so that sums do not depend on the number of cores


@dataclass(frozen=True, eq=False)
class Replayer:
    """One path of a table under some judgments and measures, which computes measures at any cut-offs."""

    table: Scores
    path: Path
    judged: Judged
    measures: tuple[Measure, ...]
    tail: Tail = "drop"
    by_rank: bool = False  # evaluate in rank order, instead of as trec_eval breaks ties
    fusions: tuple[StageFusion | None, ...] = ()  # None: not fused; where there are any, a row is a vector and the number of one

    @cached_property
    def rankings(self) -> Rankings:
        """Every stage's ranking."""
        return cached_rankings(self.table, self.path.stages, by_rank=self.by_rank)

    @cached_property
    def reach(self) -> tuple[int, ...]:
        """How deep each stage but the last may be cut, see ``find_reach``."""
        return find_reach(self.table, self.path, self.rankings, self.judged.queries)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Shape (documents,): the labels in the order of ``rankings``."""
        return self.judged.labels[self.rankings.rows]

    def sums(self, rows: Vectors, groups: Ints | None = None) -> Floats:
        """Sum each measure over the queries of each group: shape (groups, rows, measures).

        Args:
            rows: Shape (rows, stages), in lexicographic order, each once: cut-off vectors; where there are ``fusions``, each with
                the number of one after it.
            groups: Shape (judged queries,). The group of each query, from 0; None: one group.

        Raises:
            TableError: The table does not cover a vector.
            SweepError: A measure looks deeper into a kept tail than the table does.
        """
        check_depth(self.table, self.path.stages, as_cutoffs(rows[:, : len(self.path.stages)].max(axis=0)))
        self._check_tail()
        group = np.zeros(len(self.judged.queries), np.int64) if groups is None else np.asarray(groups, np.int64)
        fast = self.tail == "drop" or not any(self.fusions)  # the kernel for fusions has no tail
        inside = np.array([fast and in_kernel(measure) for measure in self.measures])
        sums = np.zeros((int(group.max()) + 1, len(rows), len(self.measures)))
        if inside.any():
            sums[:, :, inside] = self._fast(rows, group)
        others = [self.measures[n] for n in np.flatnonzero(~inside)]
        for v, values in enumerate(self._evaluate(rows, others) if others else ()):
            for column, at in enumerate(np.flatnonzero(~inside)):
                np.add.at(sums[:, v, at], group, values[:, column])
        return sums

    def per_query(self, row: Vectors) -> Floats:
        """Measure each query at one row: shape (judged queries, measures)."""
        return self.sums(row.reshape(1, -1), np.arange(len(self.judged.queries)))[:, 0, :]

    def measure_each(self, vectors: Vectors) -> Floats:
        """Measure each query at cut-offs of its own, shape (rows, judged queries, stages): (rows, judged queries, measures)."""
        self._check_tail()
        if outside := [str(measure) for measure in self.measures if not in_kernel(measure)]:
            problem = (
                f"{', '.join(outside)} cannot be computed at cut-offs for each query, only nDCG, RR, R, P, AP, Judged and Success"
            )
            raise SweepError("cannot compute the measures", [problem], fix="pt.Experiment([pipeline], topics, qrels, measures)")
        values = np.zeros((*vectors.shape[:2], len(self.measures)))
        group = np.zeros(len(self.table.topics), np.int64)
        fusion = self.fusions[0] if self.fusions else None
        for n, query in enumerate(self.judged.queries):
            different, row = np.unique(vectors[:, n], axis=0, return_inverse=True)
            sums = np.zeros((1, len(different), *([] if fusion is None else [1]), len(self.measures)))
            if fusion is None:
                index = index_grid(different, keep=self.tail == "keep")
                done = sum_measures(np.array([query]), self._ranked, index, self._spec, group, sums)
            else:
                grid = self._fuse([0], different, np.ones((len(different), 1), np.bool_))
                done = sum_fused(np.array([query]), self.rankings, grid, self._spec, group, sums)
            if done != DONE:
                raise self._uncovered(different, done)
            values[:, n] = sums.reshape(len(different), -1)[row]
        return values

    @cached_property
    def _spec(self) -> MeasureSpec:
        """The measures of the kernel."""
        codes = encode([measure for measure in self.measures if in_kernel(measure)])
        return MeasureSpec(codes, compute_norms(codes, self.judged, len(self.table.topics)), int(codes[:, 1].max()))

    @cached_property
    def _ranked(self) -> Ranked:
        """The rankings and labels for the kernel."""
        return Ranked(self.rankings.offsets, self.rankings.every, self.rankings.agree, self.labels)

    def _fast(self, rows: Vectors, group: Ints) -> Floats:
        """Run the kernels, for the rows of each rule of fusion one, and for each set of stages with a weight that failed."""
        if not self.fusions:
            return self._sum(rows, None, group)
        vectors, number = np.ascontiguousarray(rows[:, :-1]), rows[:, -1]
        stages, failed = self.path.stages, np.isneginf(self._scores).any(axis=1)
        rules = [None if one is None else (one.fusion, tuple(failed & (one.weigh(stages) > 0))) for one in self.fusions]
        sums = np.zeros((int(group.max()) + 1, len(rows), sum(map(in_kernel, self.measures))))
        for rule in dict.fromkeys(rules):
            under = [n for n, other in enumerate(rules) if other == rule]
            at = np.flatnonzero(np.isin(number, under))
            if not len(at):
                continue
            different, vector = np.unique(vectors[at], axis=0, return_inverse=True)
            if rule is None:
                sums[:, at] = self._sum(different, None, group)[:, vector]
                continue
            one = np.searchsorted(under, number[at])
            wanted = np.zeros((len(different), len(under)), np.bool_)
            wanted[vector, one] = True
            sums[:, at] = self._sum(different, self._fuse(under, different, wanted), group)[:, vector, one]
        return sums

    def _fuse(self, under: list[int], vectors: Vectors, wanted: NDArray[np.bool_]) -> FusedGrid:
        """Open the grid of the fusions under one rule, by their numbers."""
        alike = [fusion for n in under if (fusion := self.fusions[n]) is not None]
        weights = np.stack([fusion.weigh(self.path.stages) for fusion in alike])
        apart = alike[0].find_unfused(self.path.stages, self._scores)
        return FusedGrid(vectors, weights, wanted, alike[0].fusion, self._scores, apart, self._names, self.labels, self.by_rank)

    @cached_property
    def _scores(self) -> Floats:
        """Shape (stages, documents): the scores in the order of ``rankings``, -inf where the stage failed."""
        return read_scores(self.table, self.path.stages)[:, self.rankings.rows]

    @cached_property
    def _names(self) -> Ints:
        """Shape (documents,): the place of each docno among all, in the order of ``rankings``."""
        return number_docnos(self.table.frame["docno"])[self.rankings.rows]

    def _sum(self, vectors: Vectors, fused: FusedGrid | None, group: Ints) -> Floats:
        """Run one kernel over blocks of queries, on all cores: shape (groups, vectors, [weights,] measures)."""
        groups = np.zeros(len(self.table.topics), np.int64)
        groups[self.judged.queries] = group
        shape = (len(vectors), *(() if fused is None else (len(fused.weights),)), len(self._spec.codes))
        if fused is None:
            index = index_grid(vectors, keep=self.tail == "keep")
            kernel = partial(sum_measures, ranked=self._ranked, index=index, spec=self._spec)
        else:
            kernel = partial(sum_fused, rankings=self.rankings, grid=fused, spec=self._spec)

        def add(queries: Ints) -> tuple[int, Floats]:
            first = int(groups[queries].min())
            sums = np.zeros((int(groups[queries].max()) + 1 - first, *shape))
            return kernel(queries, groups=groups - first, sums=sums), sums

        total = np.zeros((int(group.max()) + 1, *shape))
        blocks = np.array_split(self.judged.queries, min(_BLOCKS, len(self.judged.queries)))
        with ThreadPoolExecutor(min(_BLOCKS, os.cpu_count() or 1)) as pool:
            for block, (done, sums) in zip(blocks, pool.map(add, blocks), strict=True):
                if done != DONE:
                    raise self._uncovered(vectors, done)
                first = int(groups[block].min())
                total[first : first + len(sums)] += sums
        return total

    def _evaluate(self, rows: Vectors, measures: Sequence[Measure]) -> Iterator[Floats]:
        """Yield the values of ir_measures for each row: shape (judged queries, measures)."""
        of = {measure: n for n, measure in enumerate(measures)}
        qids = self.table.topics["qid"].to_numpy(object)[self.judged.queries]
        numbers = pd.Series(np.arange(len(qids)).astype(str), index=qids)  # gdeval takes only numbers as qids

        def numbered(frame: pd.DataFrame) -> pd.DataFrame:
            some = frame[frame["qid"].isin(qids)].astype({"docno": object})  # which ir_measures reads faster than Arrow's
            return some.assign(qid=numbers.reindex(some["qid"]).to_numpy(object)).rename(columns=_QRELS)

        evaluator = ir_measures.evaluator(measures, numbered(raise_negative_labels(self.judged.qrels))[[*_QRELS.values()]])
        for row in rows.tolist():
            vector, fusion = row[: len(self.path.stages)], self.fusions[row[-1]] if self.fusions else None
            run = replay_path(self.rankings, self.table, self.path.stages, as_cutoffs(vector), self.tail, fusion)
            run = run.assign(score=-run["rank"].astype(float)) if self.by_rank else run
            values = np.zeros((len(qids), len(measures)))
            try:
                for metric in evaluator.iter_calc(numbered(run)):
                    values[int(metric.query_id), of[metric.measure]] = metric.value
            except Exception as error:
                raised = f"ir_measures raised {type(error).__name__}: {first_line(error)}"
                problem = f"{', '.join(map(str, measures))} at {tuple(vector)}: {raised}"
                raise SweepError("cannot compute the measures", [problem]) from error
            yield values

    def _check_tail(self) -> None:
        """Refuse measures that look deeper into the tail than the table does."""
        depth = self.table.depth
        if self.tail == "drop" or depth is None:
            return
        if deep := [str(measure) for measure in self.measures if measure.params.get("cutoff", NO_CUT) > depth]:
            problem = f"{', '.join(deep)} with tail='keep', but the table has only the first {depth} documents of each query"
            every = (None,) * (len(self.path.stages) - 1)
            fix = f"score(cascade, topics, depths={every}), or measures with a cut-off of at most {depth}"
            raise SweepError("cannot compute the measures", [problem], fix=fix)

    def _uncovered(self, vectors: Vectors, done: int) -> Exception:
        """Return the error that names the pair that was not scored."""
        stage, document = divmod(done, len(self.rankings.rows))
        deepest = [None if k == NO_CUT else int(k) for k in vectors.max(axis=0)]
        row = self.table.frame.iloc[self.rankings.rows[document]]
        where = f"qid {row['qid']}, docno {row['docno']}"
        return uncovered_error(self.table, self.path.stages, deepest, self.path.stages[stage], where)


def index_grid(vectors: Vectors, *, keep: bool) -> GridIndex:
    """Split vectors into heads and tails for the kernel.

    Example:
        >>> index = index_grid(np.array([[1, 1], [2, 1], [2, 2]], np.int32), keep=False)
        >>> index.heads.tolist(), index.tails.tolist(), index.seconds.tolist()
        ([0, 1, 3], [0, 0, 1], [1, 2])
    """
    heads = np.flatnonzero(np.r_[True, vectors[1:, 0] != vectors[:-1, 0], True])
    rest = vectors[:, 1:] if vectors.shape[1] > 1 else np.zeros((len(vectors), 1), np.int64)
    different, tails = np.unique(rest, axis=0, return_inverse=True)
    heads, tails, seconds = (one.astype(np.int64) for one in (heads, tails, different[:, 0]))
    return GridIndex(np.ascontiguousarray(vectors, np.int32), heads, tails, seconds, keep)
