"""Sweeps made of arrays: what the tests of choosing begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.analysis.sweep.result import Sweep
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.execution.score_table import ScoreTable

if TYPE_CHECKING:
    from collections.abc import Mapping


def make_sweep(
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    measures: tuple[str, ...] = ("nDCG@10",),
    *,
    last: int | None = None,
    **options: object,
) -> Sweep:
    """Sweep a table of arrays.

    Args:
        scores: Stage name → shape (queries, documents), the first stage's falling along each row; NaN where not scored.
        labels: Shape (queries, documents): their judgments.
        measures: Names.
        last: The last stage's own cut-off.
        **options: Of ``sweep``.
    """
    queries, documents = labels.shape
    names = [f"{n}" for n in range(1, queries + 1)]  # numbers: some measures of ir_measures take no others
    frame = pd.DataFrame(
        {
            "qid": np.repeat(names, documents),
            "docno": np.tile([f"d{n:04}" for n in range(documents)], queries),
            "rank": np.tile(np.arange(documents), queries),
            **{stage: values.ravel().astype(float) for stage, values in scores.items()},
        }
    )
    stages = tuple(scores)
    cutoffs = (*(documents,) * (len(stages) - 1), last)
    path = Path(stages, cutoffs, cutoffs[:-1])
    table = ScoreTable(frame, pd.DataFrame({"qid": names, "query": "-"}), tuple(map(Column, stages)), (path,))
    qrels = frame[["qid", "docno"]].assign(label=labels.ravel())
    return sweep(table, qrels, measures, **options)


def make_scores(queries: int, documents: int, stages: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw scores, better from stage to stage, and labels: a tenth of the documents is relevant, the first ones likelier."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((queries, documents)) < 0.2 / np.sqrt(1 + np.arange(documents))).astype(int)
    labels[:, 0] = np.maximum(labels[:, 0], labels.sum(axis=1) == 0)
    first = np.tile(-np.arange(documents, dtype=float), (queries, 1))
    later = {f"s{n}": labels * n + rng.normal(0, 0.7, labels.shape) for n in range(2, stages + 1)}
    return {"s1": first, **later}, labels


def make_timings(stages: tuple[str, ...], queries: int = 120) -> Timings:
    """Draw the times of some queries at two depths."""
    rng = np.random.default_rng(3)
    rows = []
    for query in range(queries):
        slow = rng.lognormal(0, 0.5)
        for share in (1.0, 0.5):
            given = 0
            for n, stage in enumerate(stages):
                ranked = int((40, 20, 10)[n] * share) if n == 0 else given
                ms = slow * (3 + 0.7 * n * given + rng.random())
                out = int((40, 20, 10)[n] * share)
                rows.append((stage, f"t{query}", 0, share, given, ranked, out, given, np.nan, ms))
                given = out
    return Timings(pd.DataFrame(rows, columns=list(COLUMNS)))
