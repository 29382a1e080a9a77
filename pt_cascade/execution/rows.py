"""Rows of results: found in another frame, ranked anew, and held to what was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.errors import PipelineError, StageError
from pt_cascade.ranking import pair_codes, same_pairs

if TYPE_CHECKING:
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


def split_queries(topics: pd.DataFrame, size: int | None) -> list[pd.DataFrame]:
    """Split a frame into runs of whole queries, in order of first appearance.

    Args:
        topics: Frame[qid, ...], qids str.
        size: Queries in each part, 1 or more; None: all.

    Returns:
        The parts, at least one.

    Example:
        >>> [part["qid"].tolist() for part in split_queries(pd.DataFrame({"qid": ["1", "2", "1"]}), 1)]
        [['1', '1'], ['2']]
    """
    if size is None or not len(topics):
        return [topics]
    query = pd.factorize(topics["qid"])[0]
    return [topics[(query >= first) & (query < first + size)] for first in range(0, query.max() + 1, size)]


def refuse_other_documents(step: Step) -> None:
    """Refuse a stage that did not return exactly the documents it was given: what is left depends on the cut-offs before it.

    Args:
        step: What it did.

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
    fix = f"let it run last, and live: cascade.with_stage({name!r}, depends='list'), then finish(table, cascade)"
    raise PipelineError(f"stage {name!r} cannot be replayed: it changes the documents", problems, fix=fix)


def refuse_failed(step: Step) -> None:
    """Refuse what a stage says it could not score: the scores that it gave in their place are not its own.

    Args:
        step: What it did. A transformer names the column that says so in an attribute ``failed_column``.

    Raises:
        StageError: Some queries failed.
    """
    for name in [getattr(part, "failed_column", "") for part in step.stage.transformers]:
        if name in step.ranked and (failed := step.ranked[name].to_numpy(bool)).any():
            qids = step.ranked.loc[failed, "qid"].unique()
            problem = f"{len(qids)} of {step.ranked['qid'].nunique()} query(ies) failed, first qid {qids[0]!r} (column {name})"
            fix = "score again when it can answer: batches that were finished are kept"
            raise StageError(f"stage {step.stage.name!r} could not score all it was given", [problem], fix=fix)
