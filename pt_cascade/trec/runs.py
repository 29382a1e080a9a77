"""Reads and writes TREC runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pt_cascade.frames import canonical_results
from pt_cascade.numbers import count_of
from pt_cascade.ranking import ranks
from pt_cascade.trec.files import write_text
from pt_cascade.trec.lines import ID, NUMBER, WHOLE, Form, read_lines, refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pt_cascade.files import PathLike
    from pt_cascade.ranking import Floats, Ints

_RUN = Form(
    {"qid": ID, "Q0": ID, "docno": ID, "rank": WHOLE, "score": NUMBER, "tag": ID},
    once=("qid", "docno"),
    dropped=frozenset({"Q0", "tag"}),
)
_SUBNORMAL = 0x7FFFFF  # how many float32 numbers lie between 0 and the smallest normal one
_INFINITY = 0x7F800000 - _SUBNORMAL


def read_run(path: PathLike) -> pd.DataFrame:
    r"""Read a run: ordered by score, then by the file's own rank, then by line; ranks count from 0.

    Args:
        path: A file of six columns, plain or gzip; its ranks only order equal scores.

    Returns:
        Frame[qid: str, docno: str, score: float64, rank: int64]: queries as they first appear, each in rank order.

    Raises:
        MissingError: There is no such file.
        RecordError: A line has not six columns, is not UTF-8 or repeats a (qid, docno), a rank is not a whole number, a score is
            not finite or a whole number that float64 would round, or the gzip is broken.

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
    r"""Write results as a run that trec_eval evaluates in the same order, ties included.

    trec_eval ignores ranks, reads scores as float32 and orders ties by docno. So a score that is not below the previous one in
    float32 is written as the next lower float32; all others are written in full.

    Args:
        results: Frame[qid, docno, score, ...]; queries are written as they first appear, each in rank order, with ranks from 1.
        path: gzip if it ends in ``.gz``; replaced atomically.
        tag: The name of the run, one word.

    Raises:
        FrameError: The results are not usable (``canonical_results``); an id or the tag is not one word; a score is beyond
            float32.
        MissingError: The folder does not exist.

    Example:
        >>> path = getfixture("tmp_path") / "bm25.res"
        >>> write_run(pd.DataFrame({"qid": ["q", "q"], "docno": ["a", "b"], "score": [0.5, 0.5]}), path)
        >>> print(path.read_text(), end="")
        q Q0 a 1 0.5 pt_cascade
        q Q0 b 2 0.4999999701976776 pt_cascade
    """
    write_text(format_run(results, path, tag), path)


def format_run(results: pd.DataFrame, path: PathLike, tag: str) -> Iterator[str]:
    """Return the lines of a run, see ``write_run``; the path is for the error."""
    run = canonical_results(results)
    query = pd.factorize(run["qid"])[0]
    order = np.lexsort((run["rank"], query))
    run = run.take(order)
    problems = [] if re.fullmatch(ID, tag) else [f"tag {tag!r} is not one word"]
    score = _falling(run["score"].to_numpy(), query[order], run["rank"].to_numpy(), problems)
    refuse_unwritable(run, {"qid": ID, "docno": ID}, path, problems)
    columns = (run["qid"], run["docno"], run["rank"] + 1, score)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return (f"{qid} Q0 {docno} {rank} {value!r} {tag}\n" for qid, docno, rank, value in rows)


def _falling(score: Floats, query: Ints, rank: Ints, problems: list[str]) -> Floats:
    """Lower scores, all of shape (n,) by query and rank, as little as makes them strictly decreasing in float32 in each query.

    Each float32 has an integer position on the number line; subnormals count as 0. The result is the running minimum of the
    positions, which decreases by 1 or more a rank.
    """
    with np.errstate(over="ignore"):
        bits = score.astype(np.float32).view(np.int32).astype(np.int64)
    size = np.maximum((bits & 0x7FFFFFFF) - _SUBNORMAL, 0)
    place = np.where(bits < 0, -size, size)
    shift = rank - (query << 34)
    fallen = np.minimum.accumulate(place + shift) - shift
    beyond = np.maximum(place, -fallen) >= _INFINITY
    if beyond.any():
        problems.append(
            f"{count_of(beyond.sum(), 'score')} beyond float32, which trec_eval reads, e.g. {score[beyond].tolist()[0]!r}"
        )
        return score
    size = np.where(fallen == 0, 0, np.abs(fallen) + _SUBNORMAL).astype(np.int32).view(np.float32)
    return np.where(fallen < place, np.copysign(size, fallen), score)
