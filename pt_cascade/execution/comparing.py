"""A pairwise stage asked about two documents at a time, so that its answers can be kept for any set of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.cascade.known import look_up
from pt_cascade.cascade.stand_ins import live
from pt_cascade.cascade.steps import call
from pt_cascade.errors import CascadeError, PipelineError, StageError
from pt_cascade.frames import check_text
from pt_cascade.ranking import locate, same_pairs
from pt_cascade.stages.pairwise import PairReranker, check_wins

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.cascade import Stage, Step
    from pt_cascade.cascade.stage import Depends
    from pt_cascade.ranking import Floats, Ints

FEW = 4


@dataclass(frozen=True, eq=False)
class Duelling:
    """What a pairwise stage said of some pairs of documents.

    Attributes:
        stage: The stage.
        given: Frame[qid, docno, ...]: the documents, as the stage before passes them on.
        first: Shape (m,). Rows of ``given``.
        second: Shape (m,). Rows of the same queries.
        p: Shape (m,). The probability that the first beats the second.
        live: What the stage itself made of a few of the documents, all compared with each other; None: it was not run.
    """

    stage: Stage
    given: pd.DataFrame
    first: Ints
    second: Ints
    p: Floats
    live: Step | None = None


def comparer(stage: Stage) -> PairReranker | None:
    """Return what compares in a stage, if its answers give the stage's scores: nothing after it may change them.

    Args:
        stage: Any.

    Returns:
        Its last transformer, or None where that is no ``PairReranker``, or the stage is said to depend on more than pairs. What
        nobody knows of a transformer before it is found out (``rematch``).

    Example:
        >>> import pyterrier as pt
        >>> from pt_cascade import Stage
        >>> comparer(Stage("ones", (pt.apply.doc_score(lambda row: 1.0),))) is None
        True
    """
    last = live(stage).transformers[-1]
    return last if stage.depends in ("pair", "unknown") and isinstance(last, PairReranker) else None


def find_dependence(stage: Stage) -> Depends:
    """Tell what the scores of a stage depend on; a scorer that is known to compare documents does so behind any loader.

    Args:
        stage: Any.

    Example:
        >>> import pyterrier as pt
        >>> from pt_cascade import Stage
        >>> find_dependence(Stage("ones", (pt.apply.doc_score(lambda row: 1.0),)))
        'unknown'
    """
    known = look_up(live(stage).transformers[stage.scorer]).depends
    return known if stage.depends == "unknown" and known != "point" else stage.depends


def ask_duels(stage: Stage, given: pd.DataFrame, first: Ints, second: Ints, *, kept: bool = False) -> Floats:
    """Ask a pairwise stage about pairs of documents.

    Args:
        stage: One with a ``comparer``. What stands before it in the stage, such as a text loader, runs first.
        given: Frame[qid, query, docno, ...], at least one row.
        first: Shape (m,). Rows of ``given``, from 0.
        second: Shape (m,). Another row of the same query for each.
        kept: Whether what is kept of its answers may answer for it, where the stage keeps them.

    Returns:
        Shape (m,). The probability that the first beats the second, 0 to 1.

    Raises:
        PipelineError: Something before the comparer changes the documents.
        StageError: The stage failed, lacks a column, or gave no probability.
    """
    scorer, frame = comparer(stage), given
    if scorer is None:
        raise PipelineError(f"stage {stage.name!r} compares nothing", ["expected one that ends in a PairReranker"])
    for part in stage.transformers[:-1]:
        frame = call(part, frame, stage.name)
    if not same_pairs(given, frame):
        problem = "what stands before its comparer changes the documents"
        fix = "put that into a stage before"
        raise PipelineError(f"stage {stage.name!r} cannot be replayed", [problem], fix=fix)
    call(scorer, frame.head(0), stage.name)  # which says what columns it lacks
    for column in scorer.needs():
        check_text(frame, column, stage.name)
    ordered = frame.iloc[locate(given, frame)].reset_index(drop=True)
    last = stage.transformers[-1]
    asked = last if kept and isinstance(last, PairReranker) else scorer
    try:
        answers = asked.compare(ordered, first, second)
    except CascadeError:
        raise
    except Exception as error:
        problem = f"{scorer!r} raised {type(error).__name__}: {error}"
        raise StageError(f"stage {stage.name!r} failed on {len(first)} comparison(s)", [problem]) from error
    return check_wins(answers, given, first, second, stage.name)


def pick_few(first: Ints, second: Ints) -> Ints:
    """Choose up to four documents that are all compared with each other.

    Args:
        first: Shape (m,). Documents, each two in both orders.
        second: Shape (m,).

    Returns:
        Those of the first query, as far as they meet.

    Example:
        >>> pick_few(np.array([0, 0, 1, 1, 2, 2, 3]), np.array([1, 2, 0, 2, 0, 1, 4])).tolist()
        [0, 1, 2]
    """
    few = [int(first[0])]
    for document in second[first == first[0]]:
        if len(few) < FEW and all((second[first == document] == one).any() for one in few):
            few.append(int(document))
    return np.array(few)
