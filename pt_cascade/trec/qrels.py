"""Qrels: which documents were judged, and how relevant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.frames import canonical_qrels
from pt_cascade.trec.files import write_text
from pt_cascade.trec.lines import ID, WHOLE, Form, read_lines, refuse_unwritable

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.files import PathLike

_QRELS = Form({"qid": ID, "0": ID, "docno": ID, "label": WHOLE}, once=("qid", "docno"), dropped=frozenset({"0"}))


def read_qrels(path: PathLike) -> pd.DataFrame:
    r"""Read judgments.

    Args:
        path: TREC qrels of four columns, plain or gzip.

    Returns:
        Frame[qid: str, docno: str, label: int64], in the order of the file.

    Raises:
        MissingError: There is no such file.
        RecordError: A line has not four columns, its label is no whole number, its (qid, docno) stands above, or it is not
            UTF-8; or the file's gzip is broken.

    Example:
        >>> path = getfixture("tmp_path") / "qrels.txt"
        >>> _ = path.write_text("q1 0 NA 2\n")
        >>> read_qrels(path).to_dict("records")
        [{'qid': 'q1', 'docno': 'NA', 'label': 2}]
    """
    return read_lines(path, _QRELS)


def write_qrels(qrels: pd.DataFrame, path: PathLike) -> None:
    r"""Write judgments in the order of the frame.

    Args:
        qrels: Frame[qid, docno, label]; no other column is written.
        path: gzip if it ends in ``.gz``. An older file is replaced in one step, or stays if anything fails.

    Raises:
        FrameError: The qrels are not usable (``canonical_qrels``), or an id is not one word.
        MissingError: The folder is not there.

    Example:
        >>> import pandas as pd
        >>> path = getfixture("tmp_path") / "qrels.txt"
        >>> write_qrels(pd.DataFrame({"qid": ["q1"], "docno": ["NA"], "label": [2]}), path)
        >>> path.read_text()
        'q1 0 NA 2\n'
    """
    good = canonical_qrels(qrels)
    refuse_unwritable(good, {"qid": ID, "docno": ID}, path)
    rows = zip(*(good[name].tolist() for name in ("qid", "docno", "label")), strict=True)
    write_text((f"{qid} 0 {docno} {label}\n" for qid, docno, label in rows), path)
