"""The Pareto front: vectors than which none is better at no more cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def find_front(frame: pd.DataFrame, measure: str, cost: str) -> pd.DataFrame:
    """Keep the rows than which no other is better at no more cost, cheapest first; of equal rows the first."""
    order = np.lexsort((np.arange(len(frame)), -frame[measure].to_numpy(), frame[cost].to_numpy()))
    gains = frame[measure].to_numpy()[order]
    best = np.maximum.accumulate(gains)
    first = np.r_[True, gains[1:] > best[:-1]]
    return frame.iloc[order[first]].reset_index(drop=True)
