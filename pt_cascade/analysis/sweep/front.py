"""The Pareto front: the vectors that no other one beats at the same or lower cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 12


def find_front(frame: pd.DataFrame, measure: str, cost: str) -> pd.DataFrame:
    """Keep the rows that no other row beats at the same or lower cost, cheapest first; of equal rows the first."""
    order = np.lexsort((np.arange(len(frame)), -frame[measure].to_numpy(), frame[cost].to_numpy()))
    gains = frame[measure].to_numpy()[order]
    best = np.maximum.accumulate(gains)
    first = np.r_[True, gains[1:] > best[:-1]]
    return frame.iloc[order[first]].reset_index(drop=True)


def thin_front(front: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Keep up to 12 rows of a front, its ends among them, at about equal steps of the measure."""
    gains = front[measure].to_numpy(np.float64)
    wanted = np.linspace(gains[0], gains[-1], _ROWS)
    return front.iloc[np.unique(np.searchsorted(gains, wanted).clip(0, len(gains) - 1))]
