"""Sums of measures over queries for every vector of a grid: the kernel on all cores, whose number does not change a bit."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import ir_measures
import numpy as np
import pandas as pd

from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_cutoffs
from pt_cascade.analysis.replay.kernel import DONE, sum_measures
from pt_cascade.analysis.replay.kernel_types import GridIndex, MeasureSpec, Ranked
from pt_cascade.analysis.replay.measures import Judged, compute_norms, encode, in_kernel, raise_negative_labels
from pt_cascade.analysis.replay.rankings import Rankings, cached_rankings
from pt_cascade.analysis.replay.replay import check_depth, replay_path, uncovered_error
from pt_cascade.analysis.replay.required_documents import find_reach
from pt_cascade.errors import SweepError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ir_measures import Measure
    from numpy.typing import NDArray

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

    def sums(self, vectors: Vectors, groups: Ints | None = None) -> Floats:
        """Sum each measure over the queries of each group: shape (groups, vectors, measures).

        Args:
            vectors: Shape (vectors, stages), in lexicographic order, each once.
            groups: Shape (judged queries,). The group of each query, from 0; None: one group.

        Raises:
            TableError: The table does not cover a vector.
            SweepError: A measure looks deeper into a kept tail than the table does.
        """
        check_depth(self.table, self.path.stages, as_cutoffs(vectors.max(axis=0)))
        self._check_tail()
        group = np.zeros(len(self.judged.queries), np.int64) if groups is None else np.asarray(groups, np.int64)
        inside = np.array([in_kernel(measure) for measure in self.measures])
        sums = np.zeros((int(group.max()) + 1, len(vectors), len(self.measures)))
        if inside.any():
            sums[:, :, inside] = self._fast(vectors, group)
        for v, values in enumerate(() if inside.all() else self._evaluate(vectors)):
            for column, at in enumerate(np.flatnonzero(~inside)):
                np.add.at(sums[:, v, at], group, values[:, column])
        return sums

    def per_query(self, vector: Vectors) -> Floats:
        """Measure each query at one vector: shape (judged queries, measures)."""
        return self.sums(vector.reshape(1, -1), np.arange(len(self.judged.queries)))[:, 0, :]

    def _fast(self, vectors: Vectors, group: Ints) -> Floats:
        """Run the kernel over blocks of queries, on all cores."""
        codes = encode([measure for measure in self.measures if in_kernel(measure)])
        norms = compute_norms(codes, self.judged, len(self.table.topics))
        groups = np.zeros(len(self.table.topics), np.int64)
        groups[self.judged.queries] = group
        n_groups = int(group.max()) + 1
        index = index_grid(vectors, keep=self.tail == "keep")
        rankings = self.rankings
        ranked = Ranked(rankings.offsets, rankings.every, rankings.agree, self.labels)
        spec = MeasureSpec(codes, norms, int(codes[:, 1].max()))

        def add(queries: Ints) -> tuple[int, Floats]:
            first = int(groups[queries].min())
            sums = np.zeros((int(groups[queries].max()) + 1 - first, len(vectors), len(codes)))
            return sum_measures(queries, ranked, index, spec, groups - first, sums), sums

        total = np.zeros((n_groups, len(vectors), len(codes)))
        blocks = np.array_split(self.judged.queries, min(_BLOCKS, len(self.judged.queries)))
        with ThreadPoolExecutor(min(_BLOCKS, os.cpu_count() or 1)) as pool:
            for block, (done, sums) in zip(blocks, pool.map(add, blocks), strict=True):
                if done != DONE:
                    raise self._uncovered(vectors, done)
                first = int(groups[block].min())
                total[first : first + len(sums)] += sums
        return total

    def _evaluate(self, vectors: Vectors) -> Iterator[Floats]:
        """Yield the values of ir_measures for each vector: shape (judged queries, measures not in the kernel)."""
        measures = [measure for measure in self.measures if not in_kernel(measure)]
        of = {measure: n for n, measure in enumerate(measures)}
        qids = self.table.topics["qid"].to_numpy(object)[self.judged.queries]
        numbers = pd.Series(np.arange(len(qids)).astype(str), index=qids)  # gdeval takes only numbers as qids

        def numbered(frame: pd.DataFrame) -> pd.DataFrame:
            some = frame[frame["qid"].isin(qids)]
            return some.assign(qid=numbers.reindex(some["qid"]).to_numpy(object)).rename(columns=_QRELS)

        evaluator = ir_measures.evaluator(measures, numbered(raise_negative_labels(self.judged.qrels))[[*_QRELS.values()]])
        for vector in vectors.tolist():
            run = replay_path(self.rankings, self.table, self.path.stages, as_cutoffs(vector), self.tail)
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
