"""Fits a calibration to the scores of a table, or to judged pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.analysis.calibration.calibrators import CALIBRATORS
from pt_cascade.analysis.calibration.pairs import judged_pairs, scored_rows
from pt_cascade.errors import PipelineError, did_you_mean, warn

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.analysis.calibration.calibrators import Calibrator, Method
    from pt_cascade.analysis.calibration.pairs import Pairs
    from pt_cascade.analysis.table.data import Scores


def fit_scores(
    table: Scores, stage: str, qrels: pd.DataFrame, method: Method = "platt", *, rel: int = 1, unjudged: float = 0.0
) -> Calibrator:
    """Fit a calibration to the scores of a table, without running a model.

    Args:
        table: A ``ScoreTable``.
        stage: The name of one of its stages.
        qrels: Frame[qid, docno, label]: judgments of the *training* queries; other queries are left out.
        method: ``platt``, ``isotonic``, ``beta`` or ``temperature``.
        rel: The lowest label that is relevant, 1 or more.
        unjudged: The weight of an unjudged pair of a judged query, which counts as not relevant, in [0, 1]; 0 leaves it out.

    Returns:
        A ``Platt``, ``Isotonic``, ``Beta`` or ``Temperature``, whose ``predict(scores)`` gives probabilities.

    Raises:
        FrameError: The judged pairs cannot be fitted, see ``Calibrator.fit``.
        TableError: The table has no such stage.
        PipelineError: There is no such method.

    Example:
        >>> import pandas as pd
        >>> from pt_cascade import ScoreTable
        >>> run = pd.DataFrame({"qid": "1", "docno": [f"d{n}" for n in range(20)], "score": [20.0 - n for n in range(20)]})
        >>> qrels = run[["qid", "docno"]].assign(label=[1, 1, 0, 1, 1, 0, 1, 0, 0, 1, *[0] * 10])
        >>> platt = fit_scores(ScoreTable.from_runs({"bm25": run}), "bm25", qrels)
        >>> platt.predict([20.0, 10.0, 1.0]).round(2).tolist()
        [0.77, 0.21, 0.03]
    """
    return fit_pairs(judged_pairs(scored_rows(table, stage), qrels, rel, unjudged), method, stage)


def fit_pairs(pairs: Pairs, method: Method, stage: str) -> Calibrator:
    """Fit judged pairs; warn before Platt puts a second sigmoid on probabilities."""
    check_method(method)
    calibrator = CALIBRATORS[method].fit(pairs.score, pairs.relevant, pairs.weight, scale=pairs.scale)
    if method == "platt" and calibrator.scale == "probabilities":
        message = (
            f"all scores of stage {stage!r} are in [0, 1], as probabilities are, and Platt puts a second "
            'sigmoid on them: method="temperature" or method="beta" take their log-odds'
        )
        warn(message)
    return calibrator


def check_method(method: object) -> None:
    """Refuse what is not the name of a method."""
    if not isinstance(method, str) or method not in CALIBRATORS:
        problem = f"method is {method!r}, expected one of {', '.join(CALIBRATORS)}{did_you_mean(method, CALIBRATORS)}"
        raise PipelineError("the scores cannot be calibrated", [problem], fix='method="platt"')
