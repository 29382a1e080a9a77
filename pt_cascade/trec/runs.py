"""Runs: which documents a system ranks, where, and with what score."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.frames import canonical_results
from pt_cascade.ranking import ranks
from pt_cascade.trec.files import write_text
from pt_cascade.trec.lines import ID, NUMBER, WHOLE, Form, read_lines, refuse_unwritable

if TYPE_CHECKING:
    from pt_cascade.files import PathLike
    from pt_cascade.ranking import Floats, Ints

_RUN = Form(
    {"qid": ID, "Q0": ID, "docno": ID, "rank": WHOLE, "score": NUMBER, "tag": ID},
    once=("qid", "docno"),
    dropped=frozenset({"Q0", "tag"}),
)
_SUBNORMAL = 0x7FFFFF  # the places of float32 between 0 and its smallest normal number
_INFINITY = 0x7F800000 - _SUBNORMAL


def read_run(path: PathLike) -> pd.DataFrame:
    r"""Read a run: ordered by score, then by the file's own rank, then by line; ranks count from 0.

    Args:
        path: A TREC run of six columns, plain or gzip. Its ranks only order what has the same score.

    Returns:
        Frame[qid: str, docno: str, score: float64, rank: int64]: queries as they first appear, each in rank order.

    Raises:
        MissingError: There is no such file.
        RecordError: A line has not six columns, its rank is no whole number, its score no finite number or a whole one that
            float64 would round, its (qid, docno) stands above, or it is not UTF-8; or the file's gzip is broken.

    Example:
        >>> path = getfixture("tmp_path") / "bm25.res"
        >>> _ = path.write_text("q1 Q0 NA 2 7.5 bm25\nq1 Q0 007 1 7.5 bm25\n")
        >>> read_run(path)[["docno", "rank"]].values.tolist()
        [['007', 0], ['NA', 1]]
    """
    lines = read_lines(path, _RUN)
    order = np.lexsort((lines["rank"], -lines["score"], pd.factorize(lines["qid"])[0]))
    run = lines[["qid", "docno", "score"]].take(order).reset_index(drop=True)
    return run.assign(rank=ranks(run["qid"], run["score"].to_numpy()))


def write_run(results: pd.DataFrame, path: PathLike, tag: str = "pt_cascade") -> None:
    r"""Write results as a run that trec_eval evaluates in this very order, ties included.

    trec_eval ignores ranks, reads scores as float32 and breaks ties by docno. So a score is written in full where it is, in
    float32, below the one before it; else as the next float32 below that one. Reading the run back gives the same order.

    Args:
        results: Frame[qid, docno, score]; queries are written as they first appear, each in rank order, ranks from 1.
        path: gzip if it ends in ``.gz``. An older file is replaced in one step, or stays if anything fails.
        tag: The name of the run, one word.

    Raises:
        FrameError: The results are not usable (``canonical_results``); an id or the tag is not one word; a score is beyond
            float32.
        MissingError: The folder is not there.

    Example:
        >>> path = getfixture("tmp_path") / "bm25.res"
        >>> write_run(pd.DataFrame({"qid": ["q", "q"], "docno": ["a", "b"], "score": [0.5, 0.5]}), path)
        >>> print(path.read_text(), end="")
        q Q0 a 1 0.5 pt_cascade
        q Q0 b 2 0.4999999701976776 pt_cascade
    """
    run = canonical_results(results)
    query = pd.factorize(run["qid"])[0]
    order = np.lexsort((run["rank"], query))
    run = run.take(order)
    problems = [] if re.fullmatch(ID, tag) else [f"tag {tag!r} is not one word"]
    score = _falling(run["score"].to_numpy(), query[order], run["rank"].to_numpy(), problems)
    refuse_unwritable(run, {"qid": ID, "docno": ID}, path, problems)
    columns = (run["qid"], run["docno"], run["rank"] + 1, score)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    write_text((f"{qid} Q0 {docno} {rank} {value!r} {tag}\n" for qid, docno, rank, value in rows), path)


def _falling(score: Floats, query: Ints, rank: Ints, problems: list[str]) -> Floats:
    """Lower scores as little as makes them fall strictly, in float32, within each query.

    A float32 has a place on the number line, a whole number; subnormals, which some programs flush, have that of 0. The places
    wanted are the highest that fall by one or more a rank and lie nowhere above those of the scores: a running minimum.

    Args:
        score: Shape (n,). By query, then by rank.
        query: Shape (n,). 0, 0, ..., 1, 1, ...
        rank: Shape (n,). From 0 in each query.
        problems: Gets a line where a score is, or would have to be, beyond float32.

    Returns:
        Shape (n,).
    """
    with np.errstate(over="ignore"):
        bits = score.astype(np.float32).view(np.int32).astype(np.int64)
    size = np.maximum((bits & 0x7FFFFFFF) - _SUBNORMAL, 0)
    place = np.where(bits < 0, -size, size)
    shift = rank - (query << 34)
    fallen = np.minimum.accumulate(place + shift) - shift
    beyond = np.maximum(place, -fallen) >= _INFINITY
    if beyond.any():
        problems.append(f"{beyond.sum()} score(s) are beyond float32, which trec_eval reads, e.g. {score[beyond].tolist()[0]!r}")
        return score
    size = np.where(fallen == 0, 0, np.abs(fallen) + _SUBNORMAL).astype(np.int32).view(np.float32)
    return np.where(fallen < place, np.copysign(size, fallen), score)
