"""What is known of how a re-ranker answers, beyond its scores; learned by looking, and written down beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from pt_cascade.stages.scorecache.row_order import ALL, PLAIN, Arrangement, narrow

if TYPE_CHECKING:
    from pt_cascade.ranking import Floats, Ints


class Manner(NamedTuple):
    """What is known of how a re-ranker answers, beyond its scores.

    Attributes:
        possible: The arrangements that agree with all its answers until now.
        dtype: The type of its scores; empty before its first answer.
    """

    possible: frozenset[Arrangement] = ALL
    dtype: str = ""

    def observe(self, given: pd.DataFrame, answer: pd.DataFrame, place: Ints, stage: str) -> Manner:
        """Look at one more answer; see ``narrow``."""
        dtype = str(answer["score"].dtype)
        return Manner(narrow(self.possible, given, answer, place, stage), _join(self.dtype, dtype) if self.dtype else dtype)

    def put(self, given: pd.DataFrame, score: Floats) -> pd.DataFrame:
        """Put scores on a frame as the re-ranker would.

        Args:
            given: Frame[qid, ...], n rows.
            score: Shape (n,). Finite.

        Returns:
            The same rows with score and rank.

        Example:
            >>> given = pd.DataFrame({"qid": ["q", "q"], "docno": ["a", "b"]})
            >>> Manner(frozenset({Arrangement("seen", "sorts")})).put(given, np.array([1.0, 2.0]))["docno"].tolist()
            ['b', 'a']
        """
        arrangement = PLAIN if PLAIN in self.possible else min(self.possible)
        order, rank = arrangement.place(given, score)
        dtype = pd.api.types.pandas_dtype(self.dtype or "float64")
        out = given.assign(score=pd.Series(score, given.index).astype(dtype), rank=rank)
        return out if (order[1:] > order[:-1]).all() else out.iloc[order]

    def write(self) -> str:
        """Give it as JSON."""
        return json.dumps({"possible": sorted(self.possible), "dtype": self.dtype})

    @classmethod
    def read(cls, words: str) -> Manner:
        """Have it back.

        Raises:
            ValueError: These are not the words of one.
        """
        try:
            told = json.loads(words)
            possible, dtype = frozenset(Arrangement(*one) for one in told["possible"]), told["dtype"]
            pd.api.types.pandas_dtype(dtype or "float64")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{words!r:.80} is no manner: {error}") from error
        if not possible or not possible <= ALL:
            raise ValueError(f"{words!r:.80} is no manner: expected some of {len(ALL)} arrangements")
        return cls(possible, dtype)


UNKNOWN = Manner()


def _join(one: str, other: str) -> str:
    """Find the type that scores of two types have together."""
    try:
        return one if one == other else str(np.result_type(one, other))
    except TypeError:  # one that NumPy does not have
        return "float64"
