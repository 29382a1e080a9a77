"""Topics in batches of whole queries."""

from __future__ import annotations

import pandas as pd


def split_queries(topics: pd.DataFrame, size: int | None, first: int | None = None) -> list[pd.DataFrame]:
    """Split a frame into runs of whole queries, in order of first appearance.

    Args:
        topics: Frame[qid, ...], qids str.
        size: Queries in each part, 1 or more; None: all.
        first: Queries in the first part; None: as in the others.

    Returns:
        The parts, at least one.

    Example:
        >>> [part["qid"].tolist() for part in split_queries(pd.DataFrame({"qid": ["1", "2", "1"]}), 1)]
        [['1', '1'], ['2']]
    """
    if size is None or not len(topics):
        return [topics]
    query = pd.factorize(topics["qid"])[0]
    starts = [0, *range(first or size, query.max() + 1, size)]
    return [topics[(query >= start) & (query < end)] for start, end in zip(starts, [*starts[1:], len(query)], strict=True)]
