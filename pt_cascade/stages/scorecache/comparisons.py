"""The cached comparisons of a pairwise stage: each (query, document, document) is compared once, in any list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import StageError
from pt_cascade.stages.base.identity import check_files, hash_identity
from pt_cascade.stages.scorecache.fill import check_identity
from pt_cascade.stages.scorecache.keys import comparison_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.base.pairwise import PairReranker
    from pt_cascade.stages.scorecache.store import ScoreStore


@dataclass(frozen=True)
class CachedComparisons:
    """A pairwise stage, its cache, the columns that identify a document, and how many comparisons are written together."""

    stage: PairReranker
    store: ScoreStore
    reads: Sequence[str]
    batch_size: int

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Return what ``stage.compare`` returns, from the cache where it has it."""
        keys = comparison_keys(results, self.reads, hash_identity(self.store.identity), first, second)
        wins = self.store.get(keys.groups, keys.group, keys.item)
        missing = np.flatnonzero(np.isnan(wins))
        if len(missing):
            check_files(self.stage)
            self.store.check_writable()
        for start in range(0, len(missing), self.batch_size):
            some = missing[start : start + self.batch_size]
            one, two = first[keys.row[some]], second[keys.row[some]]
            wins[some] = self.stage.compare(results, one, two)
            if not ((wins[some] >= 0) & (wins[some] <= 1)).all():
                problem = "a comparison is not a probability, expected 0 to 1"
                raise StageError(f"stage {self.stage.stage_name!r} cannot be cached", [problem])
            check_files(self.stage)
            check_identity(self.stage, self.stage.stage_name, self.store)
            self.store.put(keys.groups, keys.group[some], keys.item[some], wins[some])
        return wins[keys.key]
