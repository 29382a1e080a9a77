"""Rows of results: found in another frame, ranked anew, and held to what was given."""

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
    """Close the gaps in the ranks of some rows, as if no others had been there.

    Args:
        results: Frame[qid, rank, ...]; one that has no ranks stays without.

    Returns:
        The same rows in the same order, ranks of each query from 0.

    Example:
        >>> rerank(pd.DataFrame({"qid": ["1", "1"], "rank": [7, 3]}))["rank"].tolist()
        [1, 0]
    """
    if "rank" not in results:
        return results.reset_index(drop=True)
    rank = results.groupby("qid", sort=False)["rank"].rank(method="first").to_numpy(np.float64).astype(np.int64) - 1
    return results.assign(rank=rank).reset_index(drop=True)


def refuse_other_documents(step: Step, before: int, *, last: bool) -> None:
    """Refuse a stage that did not return exactly the documents it was given: what is left depends on the cut-offs before it.

    Args:
        step: What it did.
        before: How many stages stand before it.
        last: Whether none follows it.

    Raises:
        PipelineError: It lost or added some.
    """
    if same_pairs(step.given, step.ranked):
        return
    both = pd.concat([step.given[["qid", "docno"]], step.ranked[["qid", "docno"]]], ignore_index=True)
    codes = pair_codes(both["qid"], both["docno"])
    given, ranked = codes[: len(step.given)], codes[len(step.given) :]
    lost, added = step.given[~np.isin(given, ranked)], step.ranked[~np.isin(ranked, given)]
    problems = [
        f"{len(rows)} document(s) {what} of {len(step.given)}, first qid {rows['qid'].iloc[0]!r}, docno {rows['docno'].iloc[0]!r}"
        for what, rows in (("lost", lost), ("added", added))
        if len(rows)
    ]
    name = step.stage.name
    fix = f"let it run last, and live: cascade.with_stage({name!r}, depends='listwise'), then finish(table, cascade)"
    fix = fix if last else f"score the stages before it, e.g. score(cascade.prefix({before}), topics)"
    raise PipelineError(f"stage {name!r} cannot be replayed: it changes the documents", problems, fix=fix)


def find_failed(step: Step) -> NDArray[np.bool_]:
    """Mark the rows of ``step.ranked`` that a stage says it could not score.

    A transformer names the column that says so in an attribute ``failed_column``.
    """
    failed = np.zeros(len(step.ranked), np.bool_)
    for part in step.stage.transformers:
        if (name := getattr(part, "failed_column", "")) in step.ranked:
            failed |= step.ranked[name].to_numpy(np.bool_)
    return failed


def drop_failed(step: Step) -> pd.DataFrame:
    """Give the rows that a stage scored, without those that it could not."""
    return step.ranked[~find_failed(step)]


def refuse_failed(step: Step, failed: NDArray[np.bool_], *, keep: bool) -> None:
    """Refuse what a stage could not score, unless it may be kept: then it ranks below the rest.

    Args:
        step: What the stage did.
        failed: Shape (rows of ``step.ranked``,), see ``find_failed``.
        keep: Whether a stage that says so, by an attribute ``on_error`` that is ``"keep"``, may go on.

    Raises:
        StageError: It may not, or does not give these rows the scores of ``ranking.score_below``.
    """
    first = step.ranked[failed].head(1)
    if not len(first):
        return
    pair = f"first qid {first['qid'].iloc[0]!r}, docno {first['docno'].iloc[0]!r}"
    problem = f"{int(failed.sum())} of {len(failed)} document(s) failed, {pair}"
    policies = [getattr(part, "on_error", "raise") for part in step.stage.transformers if getattr(part, "failed_column", "")]
    if not keep or set(policies) != {"keep"}:
        fix = "score again when it can answer (finished batches are kept)" + (", or make it with on_error='keep'" if keep else "")
        raise StageError(f"stage {step.stage.name!r} could not score all it was given", [problem], fix=fix)
    place = step.given["rank"].to_numpy()[locate(step.ranked, step.given)]
    query, score = pd.factorize(step.ranked["qid"])[0].astype(np.int64), step.ranked["score"].to_numpy(np.float64)
    if not np.array_equal(score, score_below(query, np.where(failed, -np.inf, score), place)):
        what = f"stage {step.stage.name!r} does not rank what it could not score below the rest"
        raise StageError(what, [problem], fix="give such rows the scores of pt_cascade.ranking.score_below")


def warn_of_failed(failed: pd.DataFrame) -> None:
    """Say which pairs of a table have no score, stage by stage: Frame[stage, qid, docno]."""
    for name, rows in failed.groupby("stage"):
        first = f"first qid {rows['qid'].iloc[0]!r}, docno {rows['docno'].iloc[0]!r}"
        said = f"stage {name!r} could not score {len(rows)} document(s) of {rows['qid'].nunique()} query(ies), {first}"
        warnings.warn(f"{said}: they rank below the rest; see table.failed", CascadeWarning, stacklevel=3)
