"""Numbers that make no sense, given to the public functions of the analysis: a CascadeError, or a result."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from toys.scored import make_scores, make_sweep

import pt_cascade as ptc
from pt_cascade.errors import CascadeError, SweepError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning")  # of few queries
COSTS = [ptc.StageCost("s1", 1), ptc.StageCost("s2", per_pair_ms=1), ptc.StageCost("s3", per_pair_ms=2)]
SWEPT = make_sweep(*make_scores(6, 8, 3), cost=COSTS)
RUN = pd.DataFrame({"qid": "1", "docno": ["a", "b"], "score": [2.0, 1.0]})
VALUES = [
    math.nan,
    math.inf,
    -math.inf,
    True,
    0,
    -1,
    1.5,
    10**400,
    2**63,
    2**31,
    "3",
    "nDCG@0",
    None,
    b"3",
    [],
    {},
    3 + 4j,
    object(),
]
BUDGET = {"measure": "nDCG@10", "budget_ms": 1000, "folds": 2}


def swept(measures: Any = ("RR",), **options: Any) -> ptc.Sweep:
    """Sweep the same table and judgments."""
    return ptc.sweep(SWEPT.table, SWEPT.replayer.judged.qrels, measures, **options)


CALLS: dict[str, Callable[[Any], object]] = {
    "measures": swept,
    "measure": lambda value: swept([value]),
    "cost": lambda value: swept(cost=value),
    "grid": lambda value: swept(grid=value),
    "axis": lambda value: swept(grid={"k1": value}),
    "vector": lambda value: swept(grid=[(value, 1, 1)]),
    "stages": lambda value: swept(stages=value),
    "tail": lambda value: swept(tail=value),
    "table": lambda value: ptc.sweep(value, RUN, ["RR"]),
    "stage": SWEPT.recall,
    "given": lambda value: SWEPT.recall(2, value),
    "rel": lambda value: SWEPT.recall(rel=value) if value is not None else None,
    "lossy": SWEPT.loss,
    "depth": lambda value: SWEPT.loss((2, 1, 1), depth=value),
    "per query": SWEPT.per_query,
    "front": lambda value: SWEPT.pareto_front("nDCG@10", value),
    "k": lambda value: ptc.fuse([RUN, RUN], k=value),
    "weights": lambda value: ptc.fuse([RUN, RUN], weights=value),
    "weight": lambda value: ptc.fuse([RUN, RUN], weights=[value, 1]),
    "cut-offs": SWEPT.cost.latency,
    "percentile": lambda value: SWEPT.cost.latency((3, 2, 1), (value,), docs=[5]),
    "docs": lambda value: SWEPT.cost.latency((3, 2, 1), docs=value),
    "names": SWEPT.cost.select,
    "costs": ptc.Cost,
    "timings": ptc.Timings,
    "axes": ptc.grid,
    "price": lambda value: ptc.StageCost("s", usd_per_hour=value),
    "replay": lambda value: SWEPT.table.replay((value, 1, 1)),
    "sweep": lambda value: ptc.choose(value, "nDCG@10"),
    **{
        name: lambda value, name=name: ptc.choose(SWEPT, **{**BUDGET, name: value})
        for name in ("measure", "budget_ms", "percentile", "budget_usd", "margin", "folds", "method", "seed", "level", "rel")
    },
}


@pytest.mark.parametrize("name", CALLS)
def test_no_other_exception_comes_out(name: str) -> None:
    """Each value is refused by name, or gives a result."""
    for value in VALUES:
        with suppress(CascadeError):
            CALLS[name](value)


@pytest.mark.parametrize(
    "measure", ["nDCG@3000000000", "P@0", "R(rel=3000000000)@10", "AP(rel=0)", "Success@1000001", "ERR@2000000"]
)
def test_measures_of_absurd_depth_are_refused(measure: str) -> None:
    """Cut-off and level are 1 to 1,000,000; at the limit the measure is that without a cut-off."""
    with pytest.raises(SweepError, match="out of range, expected 1 to 1,000,000"):
        swept([measure])
    deepest = swept(["nDCG@1000000", "nDCG"])
    np.testing.assert_array_equal(deepest.means[:, 0], deepest.means[:, 1])
