"""Reads and writes TREC qrels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.frames import canonical_qrels
from pt_cascade.trec.files import write_text
from pt_cascade.trec.lines import ID, WHOLE, Form, read_lines, refuse_unwritable

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.files import PathLike

_QRELS = Form({"qid": ID, "0": ID, "docno": ID, "label": WHOLE}, once=("qid", "docno"), dropped=frozenset({"0"}))
_BEIR = Form({"query-id": ID, "corpus-id": ID, "score": WHOLE}, once=("query-id", "corpus-id"), headed=True)
_NAMES = {"query-id": "qid", "corpus-id": "docno", "score": "label"}


def read_qrels(path: PathLike) -> pd.DataFrame:
    r"""Read qrels in TREC's form, or in BEIR's if the first line is ``query-id<TAB>corpus-id<TAB>score``.

    Args:
        path: A file of four columns, or of BEIR's three, plain or gzip.

    Returns:
        Frame[qid: str, docno: str, label: int64], in the order of the file.

    Raises:
        MissingError: There is no such file.
        RecordError: A line has another number of columns, is not UTF-8 or repeats a (qid, docno), a label is not a whole
            number, or the gzip is broken.

    Example:
        >>> path = getfixture("tmp_path") / "qrels.txt"
        >>> _ = path.write_text("q1 0 NA 2\n")
        >>> read_qrels(path).to_dict("records")
        [{'qid': 'q1', 'docno': 'NA', 'label': 2}]
    """
    return read_lines(path, _QRELS, _BEIR).rename(columns=_NAMES)


def read_beir_qrels(path: PathLike) -> pd.DataFrame:
    """Read qrels in BEIR's form, also without its first line."""
    return read_lines(path, _BEIR).rename(columns=_NAMES)


def write_qrels(qrels: pd.DataFrame, path: PathLike) -> None:
    r"""Write qrels in the order of the frame.

    Args:
        qrels: Frame[qid, docno, label, ...].
        path: gzip if it ends in ``.gz``; replaced atomically.

    Raises:
        FrameError: The qrels are not usable (``canonical_qrels``), or an id is not one word.
        MissingError: The folder does not exist.

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
