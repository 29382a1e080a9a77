"""A chunk of scores as a checkpoint keeps it, and what its table is made of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pt_cascade.analysis.table.tie_rules import EVERY_RULE, TieRule
from pt_cascade.execution.scoring.chunk import ChunkScores

PARTS = {"stages": "1a", "topics": "2b"}
SCORES = ChunkScores(
    pd.DataFrame({"qid": ["1", "1"], "docno": ["NA", "007"], "rank": [1, 0], "bm25": [0.1, 1 / 3], "t5": [np.nan, -5e-324]}),
    {"t5": frozenset({TieRule("rank", "rank")}), "bm25": EVERY_RULE},
    cut=True,
)
