"""Frames of topics, results and qrels: their columns, and the functions that check them.

======== ========================= ==========================================================================
frame    columns                   rules
======== ========================= ==========================================================================
topics   qid, query                str, none missing, qid unique
results  qid, docno, score, rank   str, str, finite float64, int64 from 0; (qid, docno) unique; other columns kept
qrels    qid, docno, label         str, str, int64; (qid, docno) unique
======== ========================= ==========================================================================

**The tie rule** is PyTerrier's (``pt.model.add_ranks``): rank by score descending, equal scores by *row order*, from 0. The
functions return a new frame with the same rows, order and index.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pt_cascade.errors import FrameError
from pt_cascade.guards import ADD_RANKS, EXACT, Guard, are_of, show_rows
from pt_cascade.ranking import is_ranking, ranks

LOAD_TEXT = "put ptc.open_collection(name).text_loader() before it, of the collection that was searched"
_GRADE = "grade with whole numbers, and drop the unjudged rows"
_KEEP_BEST = 'results = results.sort_values("score", ascending=False).drop_duplicates(["qid", "docno"])'
_FIX_SCORES = "fix the scorer, or drop those rows: results = results[np.isfinite(results.score)]"


def canonical_topics(topics: pd.DataFrame) -> pd.DataFrame:
    """Return the topics with str qids and queries, each qid once.

    Args:
        topics: Frame[qid, query]; integer qids become str, further columns stay.

    Returns:
        Frame[qid: str, query: str, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; a qid is missing, neither text nor a whole number, or repeated; a query is missing
            or not text; either holds a NUL character.

    Example:
        >>> canonical_topics(pd.DataFrame({"qid": [7], "query": ["cumulative sum"]}))["qid"].tolist()
        ['7']
    """
    guard = Guard(topics, "topics", ("qid", "query"))
    qid, query = guard.text("qid", numbers=True), guard.text("query", numbers=False)
    guard.once(("qid",), 'topics = topics.drop_duplicates("qid")')
    guard.refuse()
    return topics.assign(qid=qid, query=query)


def canonical_input(frame: pd.DataFrame) -> pd.DataFrame:
    """Return topics, or results to re-rank, with str ids; a query may be missing, and a rank is not checked.

    Args:
        frame: Frame[qid, query, ...] of topics, or Frame[qid, docno, ...] of results.
    """
    if "docno" not in getattr(frame, "columns", ()):
        return check_topics(frame)
    bare = frame.drop(columns="rank", errors="ignore")
    checked = canonical_results(bare if "score" in frame else bare.assign(score=0.0))
    return frame.assign(qid=checked["qid"], docno=checked["docno"])


def check_topics(topics: pd.DataFrame) -> pd.DataFrame:
    """Return topics with str qids, each once; they may lack a query, e.g. where they have vectors.

    Args:
        topics: Frame[qid, ...]; where it has a query, see ``canonical_topics``.

    Raises:
        FrameError: As ``canonical_topics``.

    Example:
        >>> check_topics(pd.DataFrame({"qid": [7]}))["qid"].tolist()
        ['7']
    """
    columns = getattr(topics, "columns", ())
    if "qid" not in columns or "query" in columns:
        return canonical_topics(topics)
    return canonical_topics(topics.assign(query="-")).drop(columns="query")


def canonical_qrels(qrels: pd.DataFrame) -> pd.DataFrame:
    """Return the judgments with str ids and int64 labels, each pair once.

    Args:
        qrels: Frame[qid, docno, label]; labels are whole numbers, further columns stay.

    Returns:
        Frame[qid: str, docno: str, label: int64, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; an id is missing, neither text nor a whole number, or holds a NUL character; a label is
            not a whole number; a (qid, docno) is repeated.

    Example:
        >>> canonical_qrels(pd.DataFrame({"qid": [1], "docno": ["d"], "label": [2.0]}))["label"].tolist()
        [2]
    """
    guard = Guard(qrels, "qrels", ("qid", "docno", "label"))
    qid, docno = guard.text("qid", numbers=True), guard.text("docno", numbers=True)
    label = guard.number("label", "a whole number", lambda x: (x == np.floor(x)) & (np.abs(x) < EXACT), _GRADE)
    guard.once(("qid", "docno"), 'qrels = qrels.drop_duplicates(["qid", "docno"])')
    guard.refuse()
    return qrels.assign(qid=qid, docno=docno, label=label.astype(np.int64))


def canonical_results(results: pd.DataFrame, stage: str = "") -> pd.DataFrame:
    """Return the results with checked columns and ranks, or one error with all problems.

    Args:
        results: Frame[qid, docno, score, ...]. A given rank is kept if it is 0, 1, ... by score descending, equal scores in any
            order; without a rank, the tie rule gives it.
        stage: The stage that returned the results, for the error.

    Returns:
        Frame[qid: str, docno: str, score: float64, rank: int64, ...], the same rows in the same order.

    Raises:
        FrameError: A column is missing; a score is not a finite number, or a whole number beyond 2**53 that float64 would round;
            a (qid, docno) is repeated; an id is missing, neither text nor a whole number, or holds a NUL character; a rank is not
            score descending from 0.

    Example:
        >>> frame = pd.DataFrame({"qid": [1, 1], "docno": ["a", "b"], "score": [0.5, 2]})
        >>> canonical_results(frame)["rank"].tolist()
        [1, 0]
    """
    guard = Guard(results, "results", ("qid", "docno", "score"), stage)
    qid, docno = guard.text("qid", numbers=True), guard.text("docno", numbers=True)
    score = guard.number("score", "a finite number", np.isfinite, _FIX_SCORES)
    found = guard.number("rank", "a whole number", np.isfinite, ADD_RANKS) if "rank" in results else None
    guard.once(("qid", "docno"), _KEEP_BEST)
    guard.refuse()
    rank = ranks(qid, score)
    if found is not None and not (found == rank).all():
        if not is_ranking(qid, score, found):
            guard.ranked(found, rank)
            guard.refuse()
        rank = found.astype(np.int64)
    return results.assign(qid=qid, docno=docno, score=score, rank=rank)


def check_text(results: pd.DataFrame, column: str, stage: str) -> None:
    """Refuse missing texts in a text column; empty texts are allowed.

    Args:
        results: Frame[qid, docno, ...], perhaps without the column.
        column: The name of the text column.
        stage: The stage that reads it, for the error.

    Raises:
        FrameError: A text is None or NaN, or is not a str.

    Example:
        >>> check_text(pd.DataFrame({"qid": ["q"], "docno": ["d"], "text": [""]}), "text", "mono_t5")
    """
    if column not in results:
        return
    texts = results[column]
    is_str = pd.api.types.infer_dtype(texts, skipna=False) == "string"
    bad = texts.isna().to_numpy(bool) if is_str else ~are_of(texts, str)
    if bad.any():
        fix = f"{LOAD_TEXT}; or drop those rows" if column == "text" else f"give every row its {column}"
        problem = f"{column} is missing or not text{show_rows(results, bad, column)}"
        raise FrameError(f"stage {stage!r} cannot read its {'queries' if column == 'query' else 'documents'}", [problem], fix=fix)
