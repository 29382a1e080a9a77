"""The measures of one ranked list, compiled, as trec_eval defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.replay.compiling import compiled

if TYPE_CHECKING:
    from pt_cascade.analysis.replay.kernel_types import Numbers
    from pt_cascade.ranking import Floats

UNJUDGED = int(np.iinfo(np.int32).min)
NDCG, RR, RECALL, PRECISION, AP, JUDGED, SUCCESS = range(7)


@compiled
def measure_list(  # noqa: C901 - a branch a measure
    kind: int, depth: int, rel: int, norm: float, docs: Numbers, shown: int, labels: Numbers, discounts: Floats
) -> float:
    """Compute one measure of the first documents in a row, as trec_eval defines it."""
    found, total = 0, 0.0
    for i in range(depth):
        label = labels[docs[shown, i]]
        if kind == NDCG:
            if label > 0:
                total += label / discounts[i]
        elif kind == JUDGED:
            found += label != UNJUDGED
        elif label >= rel:
            found += 1
            if kind == AP:
                total += found / (i + 1.0)
            elif kind == RR:
                return 1.0 / (i + 1.0)
    if kind == JUDGED:
        return found / depth if depth else 0.0
    if kind in (RECALL, PRECISION):
        total = float(found)
    elif kind == SUCCESS:
        total = float(min(found, 1))
    return total / norm if norm > 0 else 0.0
