"""The judged pairs of a stage: their scores, whether they are relevant, and their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.analysis.calibration.scales import Scale, detect_scale
from pt_cascade.errors import FrameError, TableError, did_you_mean
from pt_cascade.frames import canonical_qrels
from pt_cascade.numbers import is_number, is_whole
from pt_cascade.ranking import locate

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from pt_cascade.analysis.table.data import Scores
    from pt_cascade.ranking import Floats


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs with a weight above 0, of queries that have a judgment."""

    qid: NDArray[np.object_]  # shape (n,), as all
    score: Floats
    relevant: NDArray[np.bool_]
    weight: Floats
    scale: Scale = "logits"  # of all scores of the stage


def scored_rows(table: Scores, stage: str) -> pd.DataFrame:
    """Return Frame[qid, docno, score] of the pairs that a stage of a table has scored."""
    if stage not in table.stages:
        problem = f"{stage!r} is not one of its stages {', '.join(table.stages)}{did_you_mean(stage, table.stages)}"
        raise TableError("the scores cannot be calibrated", [problem])
    rows = table.frame[["qid", "docno"]].assign(score=table.frame[stage])
    scored: pd.DataFrame = rows[np.isfinite(rows["score"])]
    return scored


def judged_pairs(rows: pd.DataFrame, qrels: pd.DataFrame, rel: int = 1, unjudged: float = 0.0) -> Pairs:
    """Join scores, Frame[qid, docno, score], with judgments.

    Args:
        rows: Of any queries; those without a judgment are left out.
        qrels: Frame[qid, docno, label].
        rel: The lowest label that is relevant.
        unjudged: The weight of an unjudged pair, which counts as not relevant, in [0, 1]; 0 leaves it out.
    """
    check_rule(rel, unjudged)
    checked = canonical_qrels(qrels)
    scale = detect_scale(rows["score"].to_numpy(np.float64))
    rows = rows[rows["qid"].isin(checked["qid"])]
    place = locate(rows, checked)
    weight = np.where(place >= 0, 1.0, unjudged)
    label = np.append(checked["label"].to_numpy(), 0)[place]
    keep = weight > 0
    score = rows["score"].to_numpy(np.float64)
    return Pairs(rows["qid"].to_numpy(object)[keep], score[keep], (label >= rel)[keep], weight[keep], scale)


def check_rule(rel: int, unjudged: float) -> None:
    """Refuse a lowest relevant label, or a weight of unjudged pairs, that is out of range."""
    problems = [] if is_whole(rel, least=1) else [f"rel is {rel!r}, expected a whole number, 1 or more"]
    if not (is_number(unjudged) and 0 <= unjudged <= 1):
        problems.append(f"unjudged is {unjudged!r}, expected a weight from 0 to 1")
    if problems:
        raise FrameError("judgments cannot be read so", problems, fix="rel=1, unjudged=0.0")
