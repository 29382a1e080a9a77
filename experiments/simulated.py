"""Simulated populations with known truth, for calibration.py: nothing here is real data.

A population is a finite set of queries; samples are drawn from it with replacement, so that its own means are the truth, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.choice.candidates import Candidates
from pt_cascade.analysis.grid.cutoffs import as_cutoffs
from pt_cascade.analysis.grid.grids import grid
from pt_cascade.analysis.sweep.losses import recall_per_query
from pt_cascade.analysis.sweep.sweep import sweep
from pt_cascade.analysis.table.data import Column, Path
from pt_cascade.execution.score_table import ScoreTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    from pt_cascade.analysis.grid.cutoffs import Vectors
    from pt_cascade.analysis.replay.replayer import Replayer
    from pt_cascade.ranking import Floats, Ints

    Curves: TypeAlias = Callable[[int, tuple[int, ...]], Floats]

STAGES = ("bm25", "bi", "ce")
DEPTH = 100
LONGEST = 1000  # list that a query may retrieve
FIRST = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 28, 33, 40, 48, 57, 68, 82, 100)
SECOND = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 28, 33)
_PLACES = np.r_[0.30, 0.15, 0.10, 0.07, 0.05, 0.04, 0.03, 0.03, 0.02, 0.02, 0.19]  # of the first relevant document; last: none
_RELEVANT = {"one relevant": (1,), "1 to 12 relevant": (1, 1, 2, 3, 5, 8, 12)}


def differences(size: int, seed: int) -> dict[str, Floats]:
    """Draw populations of paired differences, as comparing two cascades gives them.

    Args:
        size: Queries.
        seed: For all.

    Returns:
        Kind → shape (size,).
    """
    rng = np.random.default_rng(seed)
    reciprocal = np.r_[1 / np.arange(1, 11), 0.0]
    before = rng.choice(11, size, p=_PLACES)
    after = np.where(_some(rng, size, 0.25), rng.choice(11, size, p=_PLACES), before)
    kinds = {"normal, sd 0.15": rng.normal(0.02, 0.15, size)}
    for share in (0.3, 0.1, 0.05, 0.02):
        kinds[f"{1 - share:.0%} zero, else sd 0.25"] = _some(rng, size, share) * rng.normal(0.08, 0.25, size).clip(-1, 1)
    kinds["skewed gain, half zero"] = np.minimum(rng.exponential(0.08, size) * _some(rng, size, 0.5), 1.0) - 0.01
    kinds["small gains, 6 % large losses"] = np.where(
        _some(rng, size, 0.06), -rng.beta(2, 2, size), np.abs(rng.normal(0, 0.04, size))
    )
    kinds["RR@10, 25 % of queries move"] = reciprocal[after] - reciprocal[before]
    kinds["Success, 3 % lost, 5 % won"] = rng.choice([-1.0, 0.0, 1.0], size, p=[0.03, 0.92, 0.05])
    return kinds | {f"recall lost, {name}": values for name, values in losses(size, seed).items() if "normal" not in name}


def losses(size: int, seed: int) -> dict[str, Floats]:
    """Draw populations of losses, at most 1: recall in steps of 1/r for r relevant documents, and others.

    Args:
        size: Queries.
        seed: For all.

    Returns:
        Kind → shape (size,).
    """
    rng = np.random.default_rng(seed + 1)
    relevant = rng.choice([1, 1, 2, 3, 5, 8, 12, 20, 50], size)
    return {
        "1/r steps, mean 0.05": rng.binomial(relevant, 0.05) / relevant,
        "1/r steps, mean 0.02": rng.binomial(relevant, 0.02) / relevant,
        "one relevant, mean 0.05": 1.0 * _some(rng, size, 0.05),
        "one relevant, mean 0.02": 1.0 * _some(rng, size, 0.02),
        "normal, mean 0.03": rng.normal(0.03, 0.12, size).clip(-1, 1),
    }


@dataclass(eq=False)
class Population:
    """A three-stage cascade scored and judged for many queries.

    Attributes:
        replayer: What the package makes of it.
        vectors: Shape (vectors, stages).
        values: Shape (queries, vectors). nDCG@10.
        curves: Recall, by stage and the cut-offs before it, as asked for.
    """

    replayer: Replayer
    vectors: Vectors
    values: Floats
    curves: dict[tuple[int, tuple[int, ...]], Floats] = field(default_factory=dict)

    def recall(self, stage: int, given: tuple[int, ...]) -> Floats:
        """Give each query's recall@1, recall@2, ... of a stage, given the cut-offs before it."""
        if (stage, given) not in self.curves:
            curve = recall_per_query(self.replayer, stage, as_cutoffs(given))[0]
            self.curves[stage, given] = curve[:, : max(SECOND)].copy() if stage else curve
        return self.curves[stage, given]


def cascade(queries: int, relevant: str, seed: int, *, twin: int = 0) -> Population:
    """Simulate a population: relevant documents at random depths of stage 1, better scores for them from stage to stage.

    Args:
        queries: How many.
        relevant: ``one relevant`` or ``1 to 12 relevant`` documents a query; some are not among the 100 retrieved.
        seed: For all.
        twin: The same queries, documents and labels with other scores, as good, for each number.
    """
    rng = np.random.default_rng(seed)
    count = rng.choice(_RELEVANT[relevant], queries)
    early = -1.5 * np.log(np.arange(DEPTH) + 3.0) + rng.gumbel(size=(queries, DEPTH))
    is_relevant = np.argsort(np.argsort(-early, axis=1), axis=1) < count[:, None]
    is_relevant &= _some(rng, (queries, DEPTH), 0.85)  # the others are somewhere below
    qid = np.char.add("q", np.arange(queries).astype(str))
    docno = np.char.add("d", np.arange(DEPTH).astype(str))
    columns = {"qid": np.repeat(qid, DEPTH), "docno": np.tile(docno, queries), "rank": np.tile(np.arange(DEPTH), queries)}
    noise = np.random.default_rng((seed, twin)).normal(size=(2, queries, DEPTH))
    first = np.tile(-np.arange(DEPTH, dtype=np.float64), queries)
    later = [(gain * is_relevant + one).ravel() for gain, one in zip((2.2, 3.2), noise, strict=True)]
    frame = pd.DataFrame(columns | dict(zip(STAGES, (first, *later), strict=True)))
    path = Path(STAGES, (DEPTH, max(SECOND), None), (DEPTH, max(SECOND)))
    table = ScoreTable(frame, pd.DataFrame({"qid": qid, "query": "-"}), tuple(map(Column, STAGES)), (path,))
    found = frame.loc[is_relevant.ravel(), ["qid", "docno"]].assign(label=1)
    lost = pd.DataFrame({"qid": np.repeat(qid, count - is_relevant.sum(axis=1)), "label": 1})
    lost["docno"] = [f"x{n}" for n in range(len(lost))]
    swept = sweep(table, pd.concat([found, lost], ignore_index=True), ["nDCG@10"], grid=grid(FIRST, SECOND, None))
    values = swept.replayer.sums(swept.grid.vectors, np.arange(queries))[:, :, 0]
    return Population(swept.replayer, swept.grid.vectors, values)


def mislead(queries: int, margin: float, alike: float, seed: int) -> tuple[Vectors, Floats]:
    """Simulate 200 vectors that all lose a little more than the margin against one that costs more than any.

    Args:
        queries: How many.
        margin: They lose 1.02 of it.
        alike: The correlation of their losses.
        seed: For all.

    Returns:
        Shape (vectors, stages) and (queries, vectors).
    """
    rng = np.random.default_rng(seed)
    noise = np.sqrt(alike) * rng.normal(size=(queries, 1)) + np.sqrt(1 - alike) * rng.normal(size=(queries, 200))
    best = rng.beta(2, 1.2, (queries, 1))
    values = (best + 0.2 * noise).clip(best - 1, 1)
    values += best.mean() - 1.02 * margin - values.mean(axis=0)
    return np.column_stack([np.arange(1, 202), np.ones(201), np.ones(201)]).astype(np.int32), np.hstack([values, best])


def _some(rng: np.random.Generator, size: int | tuple[int, int], share: float) -> NDArray[np.bool_]:
    """Draw a share of all."""
    return rng.random(size) < share


def as_candidates(vectors: Vectors, values: Floats, folds: Ints, curves: Curves | None = None) -> Candidates:
    """Make the candidates of a sample; a vector costs its documents, those of the second stage twenty times as much.

    Args:
        vectors: Shape (vectors, stages).
        values: Shape (queries, vectors).
        folds: Shape (repeats, queries).
        curves: Gives each query's recall, as ``Population.recall``; None: no method asks for it.
    """
    costs = np.minimum(vectors, LONGEST)[:, :2] @ np.array([1.0, 20.0])
    inside = np.ones(len(vectors), np.bool_)
    made = _Recalling(Sampled(vectors, values), vectors, inside, costs, folds, curves=curves)  # type: ignore[arg-type]
    return replace(made, reference=made.deepest)


@dataclass(frozen=True, eq=False)
class _Recalling(Candidates):
    """Candidates whose recall is known."""

    curves: Curves | None = field(kw_only=True)

    def recall(self, stage: int, given: tuple[int, ...]) -> Floats:
        """Give each query's recall@1, recall@2, ... of one stage."""
        return super().recall(stage, given) if self.curves is None else self.curves(stage, given)


class Sampled:
    """What stands for a Replayer: each query's measure at each vector of a grid, already known."""

    def __init__(self, vectors: Vectors, values: Floats) -> None:
        """Keep shapes (vectors, stages) and (queries, vectors)."""
        self.column = {vector.tobytes(): n for n, vector in enumerate(vectors)}
        self.values = values
        self.table = SimpleNamespace(retrieved=np.full(len(values), LONGEST))
        self.judged = SimpleNamespace(queries=np.arange(len(values)))
        self.fusions = ()
        self.path = SimpleNamespace(stages=STAGES)

    def per_query(self, vector: Vectors) -> Floats:
        """Give shape (queries, 1)."""
        return self.values[:, [self.column[vector.tobytes()]]]

    def sums(self, vectors: Vectors, groups: Ints) -> Floats:
        """Give shape (groups, vectors, 1)."""
        columns = [self.column[vector.tobytes()] for vector in vectors]
        inside = np.equal.outer(np.arange(int(groups.max()) + 1), groups).astype(np.float64)
        return (inside @ self.values[:, columns])[:, :, None]
