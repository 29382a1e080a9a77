"""Transformers that stand for others, such as a cache for the stage whose scores it keeps."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pt_cascade.cascade.stage import Stage


def live(stage: Stage) -> Stage:
    """Return a stage with each transformer that answers for another exchanged for that other.

    A transformer says whom it stands for by an attribute ``stands_for``. Whoever wants to know what a stage itself does, or how
    long it takes, asks the live one.

    Args:
        stage: Any stage.

    Returns:
        The same stage, if nothing in it stands for anything else.

    Example:
        >>> import pyterrier as pt
        >>> from pt_cascade import Stage
        >>> kept = pt.apply.doc_score(lambda row: 1.0)
        >>> kept.stands_for = pt.RankCutoff(3)
        >>> live(Stage("s", (kept,))).transformers
        (RankCutoff(3),)
    """
    parts = tuple(getattr(part, "stands_for", part) for part in stage.transformers)
    return stage if all(map(operator.is_, parts, stage.transformers)) else replace(stage, transformers=parts)
