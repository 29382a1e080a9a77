"""The tail: documents removed by cut-offs, ranked below the results in their old order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.frames import canonical_results
from pt_cascade.ranking import scores_below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.cascade import Step
    from pt_cascade.ranking import Floats, Ints


def append_tail(steps: Sequence[Step]) -> pd.DataFrame:
    """Append the documents that the cut-offs removed, the last stage's first; ``cut_by`` names the stage, empty for the results."""
    head = steps[-1].kept.assign(cut_by="")
    cuts = [_cut_rows(step) for step in reversed(steps)]
    cuts = [cut for cut in cuts if len(cut)]
    if not cuts:
        return head
    tail = _unseen(head, pd.concat(cuts, ignore_index=True))
    place = tail.groupby("qid", sort=False).cumcount().to_numpy().astype(np.float64)
    tail = tail.assign(score=_scores_below(head, tail["qid"], place))
    both = pd.concat([head, tail.drop(columns="rank")], ignore_index=True)
    return canonical_results(both.assign(rank=_place_all(both)))


def _unseen(head: pd.DataFrame, tail: pd.DataFrame) -> pd.DataFrame:
    """Drop repeated documents, which a later stage may have found again."""
    both = pd.concat([head[["qid", "docno"]], tail[["qid", "docno"]]], ignore_index=True)
    again = both.duplicated().to_numpy()[len(head) :]
    return tail[~again].reset_index(drop=True)


def _place_all(both: pd.DataFrame) -> Ints:
    """Rank results and tail; the results keep their ranks."""
    head = both["cut_by"] == ""
    kept = both.loc[head].groupby("qid")["qid"].size().reindex(both["qid"]).fillna(0).to_numpy(np.int64)
    below = both[~head].groupby("qid", sort=False).cumcount().reindex(both.index).fillna(0).to_numpy(np.int64)
    return np.where(head, both["rank"].fillna(0).to_numpy(np.int64), kept + below)


def _cut_rows(step: Step) -> pd.DataFrame:
    """Return the rows below the stage's cut-off in rank order."""
    if step.stage.cutoff is None:
        return step.ranked.iloc[:0]
    cut = step.ranked[step.ranked["rank"] >= step.stage.cutoff]
    return cut.sort_values("rank", kind="stable").assign(cut_by=step.stage.name)


def _scores_below(head: pd.DataFrame, qid: pd.Series[str], place: Floats) -> Floats:
    """Return scores for a tail, below the lowest score of each query's results."""
    lowest = head.groupby("qid")["score"].min().reindex(qid).fillna(0.0).to_numpy(np.float64)
    longest = qid.groupby(qid).transform("size").to_numpy(np.float64)
    return scores_below(lowest, place, longest)
