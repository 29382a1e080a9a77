"""What a run will take, from its plan: documents and pairs of each stage, rows in memory, and by timings the time and money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.analysis.grid.cutoffs import NO_CUT
from pt_cascade.cascade.known import find_dependence

if TYPE_CHECKING:
    from pt_cascade.analysis.cost.cost import Cost
    from pt_cascade.cascade import Cascade
    from pt_cascade.execution.batch.plan import Plan


@dataclass(frozen=True)
class Forecast:
    """What a run will take at most.

    Attributes:
        stages: Frame[stage, docs_in, pairs], a row a stage: documents of a query, and pairs in all, at most; NaN where the stage
            before has no cut-off.
        rows: Rows between stages in a worker, at most; NaN where a stage has no cut-off.
        seconds: Of one worker after the other; NaN without costs.
        usd: US dollars; NaN without prices.
    """

    stages: pd.DataFrame
    rows: float
    seconds: float
    usd: float


def forecast_run(cascade: Cascade, plan: Plan, cost: Cost | None = None) -> Forecast:
    """Compute what a run will take; a profiled query is taken to stand for all."""
    queries = sum(shard.queries for shard in plan.shards)
    passed = np.minimum.accumulate([np.nan if stage.cutoff is None else stage.cutoff for stage in cascade])
    docs_in = np.r_[0.0, passed[:-1]]
    pairs = [
        docs * (docs - 1) if find_dependence(stage) == "pairwise" else docs for stage, docs in zip(cascade, docs_in, strict=True)
    ]
    stages = pd.DataFrame({"stage": [stage.name for stage in cascade], "docs_in": docs_in, "pairs": np.multiply(pairs, queries)})
    rows = min(plan.settings.query_batch_size, plan.settings.shard_queries, queries) * float(passed.max())
    seconds = usd = float("nan")
    if cost is not None:
        vector = np.array([[NO_CUT if stage.cutoff is None else stage.cutoff for stage in cascade]])
        each = cost.select(stages["stage"].tolist()).frame(vector, percentiles=()).iloc[0]
        seconds, usd = queries * each["ms"] / 1000, queries * each.get("usd", float("nan"))
    return Forecast(stages, rows, float(seconds), float(usd))
