"""The vectors worth considering: none is better at no more cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import SweepError

if TYPE_CHECKING:
    import pandas as pd
    from ir_measures import Measure

    from pt_cascade.analysis.sweeps import Sweep


def pareto_front(sweep: Sweep, measure: Measure | str, cost: str = "ms") -> pd.DataFrame:
    """Return the vectors that no other beats, by these queries: among them a better measure always costs more.

    The best of many in-sample: on other queries some will do worse; ``choose`` tells by how much.

    Args:
        sweep: Every vector's measures and costs.
        measure: One of the sweep's.
        cost: A column of costs: ``ms``, ``p50_ms``, ``p95_ms``, ``p99_ms``, ``pairs`` or ``usd``.

    Returns:
        Those rows of ``sweep.frame``, cheapest first; of equal ones the first.

    Raises:
        SweepError: The sweep has no such measure or cost.

    Example:
        >>> from pt_cascade.analysis.costs import StageCost
        >>> from pt_cascade.analysis.sweeps import sweep
        >>> from pt_cascade.analysis.tables import Column, Path, ScoreTable
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"qid": "1", "docno": ["a", "b", "c"], "rank": [0, 1, 2], "bm25": 1.0, "t5": [0.1, 0.9, 0.5]})
        >>> topics = pd.DataFrame({"qid": ["1"], "query": ["q"]})
        >>> table = ScoreTable(frame, topics, (Column("bm25"), Column("t5")), (Path(("bm25", "t5"), (3, None)),))
        >>> qrels = pd.DataFrame({"qid": ["1"], "docno": ["b"], "label": [1]})
        >>> import warnings; warnings.simplefilter("ignore")  # one query gives no percentiles
        >>> swept = sweep(table, qrels, ["RR"], cost=[StageCost(), StageCost(per_pair_ms=50)])
        >>> pareto_front(swept, "RR")[["k1", "RR", "ms"]].values.tolist()
        [[1.0, 0.0, 50.0], [2.0, 1.0, 100.0]]
    """
    frame, name = sweep.frame, str(measure)
    problems = [] if name in sweep.measures else [f"measure {name} is not swept, but {', '.join(sweep.measures)}"]
    if sweep.cost is None:
        problems.append("the sweep has no cost")
    elif cost not in (known := [column for column in map(str, frame) if column.endswith(("ms", "pairs", "usd"))]):
        problems.append(f"cost {cost!r} is not known, but {', '.join(known)}")
    if problems:
        raise SweepError("there is no front", problems, fix="sweep(table, qrels, [measure], cost=timings.cost())")
    order = np.lexsort((np.arange(len(frame)), -frame[name].to_numpy(), frame[cost].to_numpy()))
    gains = frame[name].to_numpy()[order]
    best = np.maximum.accumulate(gains)
    first = np.r_[True, gains[1:] > best[:-1]]
    return frame.iloc[order[first]].reset_index(drop=True)
