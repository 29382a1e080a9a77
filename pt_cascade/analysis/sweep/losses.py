"""The stages at which relevant documents are lost, and recall curves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from ir_measures import nDCG

from pt_cascade.analysis.grid.cutoffs import NO_CUT, as_vectors, check_cutoffs, name_cascade
from pt_cascade.analysis.replay.replay import check_depth, rank_at_stage, read_scores
from pt_cascade.errors import SweepError
from pt_cascade.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pt_cascade.analysis.fusion.stage_fusion import StageFusion
    from pt_cascade.analysis.grid.cutoffs import Cutoff
    from pt_cascade.analysis.replay.replayer import Replayer
    from pt_cascade.ranking import Floats, Ints


def cut_by_stage(replayer: Replayer, cutoffs: Sequence[int | None], query: int, fusion: StageFusion | None = None) -> list[Ints]:
    """Return what each of the first stages ranks for one query and, last, what the last of them passes on, each in rank order.

    A fusion, of all stages, orders what the last stage ranks.
    """
    rankings = replayer.rankings
    passed: Ints = np.arange(rankings.offsets[query], rankings.offsets[query + 1])
    lists = []
    for n, cutoff in enumerate(cutoffs):
        by_rank, _ = rank_at_stage(replayer.table, replayer.path.stages, cutoffs, rankings, n, passed)
        ranked = passed[by_rank]
        if fusion is not None and n == len(cutoffs) - 1:
            scores = read_scores(replayer.table, replayer.path.stages)[:, rankings.rows[ranked]]
            apart = fusion.find_unfused(replayer.path.stages, scores)
            order, _ = fusion.rank(replayer.path.stages, 0 * ranked, scores, rankings.places[:, ranked], apart)
            ranked = ranked[order]
        lists.append(ranked)
        passed = ranked[:cutoff]
    return [*lists, passed]


def trace_losses(
    replayer: Replayer, cutoffs: Sequence[int | None], *, rel: int, depth: int, fusion: StageFusion | None = None
) -> pd.DataFrame:
    """Count the relevant documents that each stage loses; see ``Sweep.loss``."""
    check_depth(replayer.table, replayer.path.stages, cutoffs)
    judged, labels = replayer.judged, replayer.labels
    names = ["judged", f"not retrieved by {replayer.path.stages[0]}"]
    *before, last = replayer.path.stages
    last = last if fusion is None else "the fusion"
    names += [f"cut by {name_cascade((stage,), (k,))}" for stage, k in zip((*before, last), cutoffs, strict=True)]
    left, found, share = np.zeros(len(names), np.int64), np.zeros(len(names)), np.zeros(len(names))
    ordered = replace(replayer, measures=(nDCG @ min(depth, NO_CUT),), tail="drop", fusions=(fusion,))
    final = ordered.per_query(np.append(as_vectors([cutoffs])[0], np.int32(0))).sum()
    for query, grades in zip(judged.queries, judged.relevant, strict=True):
        lists = cut_by_stage(replayer, cutoffs, query, fusion)
        kept: list[NDArray[np.integer]] = [grades, *(labels[rows] for rows in lists)]
        counts = np.array([np.count_nonzero(grade >= rel) for grade in kept])
        left += counts
        share += counts / max(counts[0], 1)
        ideal = _dcg(np.sort(grades)[::-1], depth)
        if ideal > 0:
            found += [_dcg(np.sort(grade)[::-1], depth) / ideal for grade in kept]
    n = len(judged.queries)
    recall, ndcg = np.r_[share, share[-1]] / n, np.r_[found, final] / n
    left = np.r_[left, left[-1]]
    frame = pd.DataFrame({"at": [*names, f"ordered by {last}"], "recall": recall, "ndcg": ndcg})
    lost, lost_recall, lost_ndcg = (0 - np.diff(values, prepend=values[:1]) for values in (left, recall, ndcg))
    frame = frame.assign(lost=lost, lost_recall=lost_recall, lost_ndcg=lost_ndcg)
    return frame[["at", "lost", "recall", "lost_recall", "ndcg", "lost_ndcg"]]


def recall_curve(replayer: Replayer, stage: int, given: tuple[Cutoff, ...], *, rel: int) -> pd.DataFrame:
    """Compute recall@k of one stage given the cut-offs before; see ``Sweep.recall``."""
    recall, handed, relevant = recall_per_query(replayer, stage, given, rel=rel)
    some = handed > 0
    scale = relevant[some] / np.maximum(handed[some], 1)
    relative = (recall[some] * scale[:, None]).mean(axis=0) if some.any() else np.full(recall.shape[1], np.nan)
    k, n = np.arange(1, recall.shape[1] + 1), len(recall)
    error = recall.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return pd.DataFrame({"k": k, "recall": recall.mean(axis=0), "error": error, "relative": relative, "queries": int(some.sum())})


def recall_per_query(replayer: Replayer, stage: int, given: tuple[Cutoff, ...] = (), *, rel: int = 1) -> tuple[Floats, Ints, Ints]:
    """Compute each query's recall@k of one stage.

    Args:
        replayer: The table, path and judgments.
        stage: The position of the stage.
        given: The cut-offs of the stages before; empty: as deep as the table covers.
        rel: The lowest relevant label.

    Returns:
        Shape (judged queries, depth): recall@1, recall@2, ..., 0 for a query without relevant documents; then, of shape (judged
        queries,), the number of relevant documents that the stage got, and that there are.
    """
    stages = replayer.path.stages
    if given and len(given) != stage:
        problem = f"{count_of(len(given), 'cut-off')} {given} for the {count_of(stage, 'stage')} before {stages[stage]!r}"
        raise SweepError(
            "recall needs one cut-off for each stage before",
            [problem],
            fix=f"sweep.recall({stages[stage]!r}, {(100,) * stage})",
        )
    before = check_cutoffs(given, stages[:stage]) if given or not stage else replayer.reach[:stage]
    if before:
        check_depth(replayer.table, stages, before)
    judged, labels = replayer.judged, replayer.labels
    hits = []
    for query in judged.queries:
        ranked = cut_by_stage(replayer, [*before, None], query)[stage]
        hits.append(np.cumsum(labels[ranked] >= rel))
    depth = max((len(hit) for hit in hits), default=0) or 1
    found = np.stack([np.r_[hit, np.full(depth - len(hit), hit[-1] if len(hit) else 0)] for hit in hits])
    relevant = np.array([(grades >= rel).sum() for grades in judged.relevant])
    return found / np.maximum(relevant, 1)[:, None], found[:, -1], relevant


def _dcg(grades: NDArray[np.integer], depth: int) -> float:
    """Sum positive labels over log2(rank + 1), ranks from 1 (Järvelin and Kekäläinen 2002, as trec_eval)."""
    top = np.maximum(grades[:depth], 0)
    return float((top / np.log2(np.arange(len(top)) + 2.0)).sum())
