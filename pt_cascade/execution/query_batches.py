"""Splits topics into batches of whole queries."""

from __future__ import annotations

import pandas as pd


def split_queries(topics: pd.DataFrame, size: int | None, first: int | None = None) -> list[pd.DataFrame]:
    """Split a frame into batches of ``size`` queries (the first of ``first``), in order of first appearance; at least one."""
    if size is None or not len(topics):
        return [topics]
    query = pd.factorize(topics["qid"])[0]
    starts = [0, *range(first or size, query.max() + 1, size)]
    return [topics[(query >= start) & (query < end)] for start, end in zip(starts, [*starts[1:], len(query)], strict=True)]
