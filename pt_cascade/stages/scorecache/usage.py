"""What a stage took in one call, query by query, summed over the parts in which it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pyterrier as pt
    from numpy.typing import NDArray


class Spending:
    """The accounts of the queries of a frame, 0 until something is asked.

    Args:
        stage: Who keeps them: the columns in its ``accounts`` say on each row what the row's query took.
        given: Frame[qid, docno, ...] that it is asked about, at least one row. It is given none of them to see the columns' types.
    """

    def __init__(self, stage: pt.Transformer, given: pd.DataFrame) -> None:
        """Have nothing asked yet."""
        names = getattr(stage, "accounts", ())
        self.qids = pd.Index(given["qid"].unique())
        nothing = stage.transform(given.iloc[:0]) if names else given.iloc[:0]
        self.sums = {name: np.zeros(len(self.qids), nothing[name].to_numpy().dtype) for name in names if name in nothing}

    def add(self, answer: pd.DataFrame) -> None:
        """Count what an answer says of its queries.

        Args:
            answer: Frame[qid, ...] with the columns of the accounts, as the stage gave it.
        """
        once = answer.drop_duplicates("qid")
        query = self.qids.get_indexer(pd.Index(once["qid"]))
        for name, total in self.sums.items():
            total[query] += once[name].to_numpy(total.dtype)

    def columns(self, given: pd.DataFrame) -> dict[str, NDArray[np.generic]]:
        """Give each row its query's account.

        Args:
            given: The frame, n rows.

        Returns:
            The columns, each of shape (n,): numbers are sums, truth values say whether any was true.

        Example:
            >>> import pyterrier as pt
            >>> frame = pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["a", "b", "a"]})
            >>> stage = pt.apply.generic(lambda df: df.assign(calls=1))
            >>> stage.accounts = ("calls",)
            >>> spent = Spending(stage, frame)
            >>> spent.add(frame.head(1).assign(calls=3)), spent.columns(frame)["calls"].tolist()
            (None, [3, 3, 0])
        """
        query = self.qids.get_indexer(pd.Index(given["qid"]))
        return {name: total[query] for name, total in self.sums.items()}
