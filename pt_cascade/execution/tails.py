"""The tail: documents removed by cut-offs, ranked below the results in their old order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pt_cascade.frames import canonical_results
from pt_cascade.ranking import append_below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pt_cascade.cascade import Step


def append_tail(steps: Sequence[Step]) -> pd.DataFrame:
    """Append the documents that the cut-offs removed, the last stage's first; ``cut_by`` names the stage, empty for the results."""
    head = steps[-1].kept.assign(cut_by="")
    cuts = [cut for step in reversed(steps) if len(cut := _cut_rows(step))]
    if not cuts:
        return head
    return canonical_results(append_below(head, _unseen(head, pd.concat(cuts, ignore_index=True))))


def _unseen(head: pd.DataFrame, tail: pd.DataFrame) -> pd.DataFrame:
    """Drop repeated documents, which a later stage may have found again."""
    both = pd.concat([head[["qid", "docno"]], tail[["qid", "docno"]]], ignore_index=True)
    again = both.duplicated().to_numpy()[len(head) :]
    return tail[~again].reset_index(drop=True)


def _cut_rows(step: Step) -> pd.DataFrame:
    """Return the rows below the stage's cut-off in rank order."""
    if step.stage.cutoff is None:
        return step.ranked.iloc[:0]
    cut = step.ranked[step.ranked["rank"] >= step.stage.cutoff]
    return cut.sort_values("rank", kind="stable").assign(cut_by=step.stage.name)
