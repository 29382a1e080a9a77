"""What a stage used in one call (calls, tokens, dollars), query by query, summed over the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pyterrier as pt
    from numpy.typing import NDArray


class Usage:
    """Sums of the columns in ``stage.accounts``, which repeat on each row what its query used; 0 for what was read."""

    def __init__(self, stage: pt.Transformer, given: pd.DataFrame) -> None:
        """Start at 0, with the types that the stage gives for no rows."""
        names = getattr(stage, "accounts", ())
        self.qids = pd.Index(given["qid"].unique())
        nothing = stage.transform(given.iloc[:0]) if names else given.iloc[:0]
        self.sums = {name: np.zeros(len(self.qids), nothing[name].to_numpy().dtype) for name in names if name in nothing}

    def add(self, answer: pd.DataFrame) -> None:
        """Add what an answer used."""
        once = answer.drop_duplicates("qid") if self.sums else answer.iloc[:0]
        query = self.qids.get_indexer(pd.Index(once["qid"]))
        for name, total in self.sums.items():
            total[query] += once[name].to_numpy(total.dtype)

    def columns(self, given: pd.DataFrame) -> dict[str, NDArray[np.generic]]:
        """Give each row its query's sums; truth values say whether any was true.

        Example:
            >>> import pyterrier as pt
            >>> frame = pd.DataFrame({"qid": ["1", "1", "2"], "docno": ["a", "b", "a"]})
            >>> stage = pt.apply.generic(lambda df: df.assign(calls=1))
            >>> stage.accounts = ("calls",)
            >>> usage = Usage(stage, frame)
            >>> usage.add(frame.head(1).assign(calls=3)), usage.columns(frame)["calls"].tolist()
            (None, [3, 3, 0])
        """
        query = self.qids.get_indexer(pd.Index(given["qid"]))
        return {name: total[query] for name, total in self.sums.items()}
