"""Checks of a stage's results while scoring: other documents, and pairs that it could not score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.cascade.steps import list_changes
from pt_cascade.errors import PipelineError, StageError
from pt_cascade.guards import show_rows
from pt_cascade.ranking import locate, score_below

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pt_cascade.cascade import Step


def rerank(results: pd.DataFrame) -> pd.DataFrame:
    """Rank the rows of each query from 0 in their old order; results without ranks stay without."""
    if "rank" not in results:
        return results.reset_index(drop=True)
    rank = results.groupby("qid", sort=False)["rank"].rank(method="first").to_numpy(np.float64).astype(np.int64) - 1
    return results.assign(rank=rank).reset_index(drop=True)


def refuse_other_documents(step: Step, before: int, *, last: bool) -> None:
    """Refuse a stage that adds or removes documents, as its results then depend on the cut-offs before it."""
    if problems := list_changes(step.given, step.ranked):
        name = step.stage.name
        fix = f"run it as the last stage: cascade.with_stage({name!r}, depends='listwise'), then cascade.finish(table)"
        fix = fix if last else f"score the stages before it, e.g. score(cascade.prefix({before}), topics)"
        raise PipelineError(f"stage {name!r} cannot be replayed: it changes the documents", problems, fix=fix)


def find_failed(step: Step) -> NDArray[np.bool_]:
    """Mark the rows of ``step.ranked`` that the column named by a transformer's ``failed_column`` marks as failed."""
    failed = np.zeros(len(step.ranked), np.bool_)
    for part in step.stage.transformers:
        if (name := getattr(part, "failed_column", "")) in step.ranked:
            failed |= step.ranked[name].to_numpy(np.bool_)
    return failed


def refuse_failed(step: Step, failed: NDArray[np.bool_], *, keep: bool) -> None:
    """Refuse pairs that a stage could not score; with ``keep`` and ``on_error="keep"`` they may rank below the others."""
    if not failed.any():
        return
    problem = f"it failed{show_rows(step.ranked, failed)}"
    policies = {getattr(part, "on_error", "raise") for part in step.stage.transformers if getattr(part, "failed_column", "")}
    if not keep or policies != {"keep"}:
        fix = "call score again when the stage works (finished batches are reused)"
        fix += ", or make it with on_error='keep'" if keep else ""
        raise StageError(f"stage {step.stage.name!r} could not score every document", [problem], fix=fix)
    place = step.given["rank"].to_numpy()[locate(step.ranked, step.given)]
    query, score = pd.factorize(step.ranked["qid"])[0].astype(np.int64), step.ranked["score"].to_numpy(np.float64)
    if not np.array_equal(score, score_below(query, np.where(failed, -np.inf, score), place)):
        what = f"stage {step.stage.name!r} does not rank failed documents below the others"
        raise StageError(what, [problem], fix="give them the scores of pt_cascade.ranking.score_below")
