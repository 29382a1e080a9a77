"""Checks of a stage's results while scoring: other documents, and pairs that it could not score."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import CascadeWarning, PipelineError, StageError
from pt_cascade.ranking import locate, pair_codes, same_pairs, score_below

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
    if same_pairs(step.given, step.ranked):
        return
    both = pd.concat([step.given[["qid", "docno"]], step.ranked[["qid", "docno"]]], ignore_index=True)
    codes = pair_codes(both["qid"], both["docno"])
    given, ranked = codes[: len(step.given)], codes[len(step.given) :]
    lost, added = step.given[~np.isin(given, ranked)], step.ranked[~np.isin(ranked, given)]
    problems = [
        f"{len(rows)} document(s) {what} of {len(step.given)}, first qid {rows['qid'].iloc[0]!r}, docno {rows['docno'].iloc[0]!r}"
        for what, rows in (("removed", lost), ("added", added))
        if len(rows)
    ]
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


def drop_failed(step: Step) -> pd.DataFrame:
    """Return the rows that a stage could score."""
    return step.ranked[~find_failed(step)]


def refuse_failed(step: Step, failed: NDArray[np.bool_], *, keep: bool) -> None:
    """Refuse pairs that a stage could not score; with ``keep`` and ``on_error="keep"`` they may rank below the others."""
    first = step.ranked[failed].head(1)
    if not len(first):
        return
    pair = f"first qid {first['qid'].iloc[0]!r}, docno {first['docno'].iloc[0]!r}"
    problem = f"{int(failed.sum())} of {len(failed)} document(s) failed, {pair}"
    policies = [getattr(part, "on_error", "raise") for part in step.stage.transformers if getattr(part, "failed_column", "")]
    if not keep or set(policies) != {"keep"}:
        fix = "call score again when the stage works (finished batches are reused)" + (
            ", or make it with on_error='keep'" if keep else ""
        )
        raise StageError(f"stage {step.stage.name!r} could not score every document", [problem], fix=fix)
    place = step.given["rank"].to_numpy()[locate(step.ranked, step.given)]
    query, score = pd.factorize(step.ranked["qid"])[0].astype(np.int64), step.ranked["score"].to_numpy(np.float64)
    if not np.array_equal(score, score_below(query, np.where(failed, -np.inf, score), place)):
        what = f"stage {step.stage.name!r} does not rank failed documents below the others"
        raise StageError(what, [problem], fix="give them the scores of pt_cascade.ranking.score_below")


def warn_of_failed(failed: pd.DataFrame) -> None:
    """Warn of the pairs without a score, Frame[stage, qid, docno], one warning a stage."""
    for name, rows in failed.groupby("stage"):
        first = f"first qid {rows['qid'].iloc[0]!r}, docno {rows['docno'].iloc[0]!r}"
        problem = f"stage {name!r} could not score {len(rows)} document(s) of {rows['qid'].nunique()} query(ies), {first}"
        warnings.warn(f"{problem}: they rank below the others; see table.failed", CascadeWarning, stacklevel=3)
