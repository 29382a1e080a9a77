"""Reads and writes topics as qid, tab, query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pt_cascade.frames import canonical_topics
from pt_cascade.trec.files import write_text
from pt_cascade.trec.lines import ID, QUERY, QUERY_WITHOUT_TAB, Form, read_lines, refuse_unwritable

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.files import PathLike

_TOPICS = Form({"qid": ID, "query": QUERY}, once=("qid",), gap="\t")


def read_topics(path: PathLike) -> pd.DataFrame:
    r"""Read queries, one a line: qid, tab, query.

    Args:
        path: Plain or gzip, without a header; only the first tab of a line separates.

    Returns:
        Frame[qid: str, query: str], in the order of the file.

    Raises:
        MissingError: There is no such file.
        RecordError: A line has no tab, a qid of several words, a blank query or a repeated qid, or is not UTF-8; or the gzip is
            broken.

    Example:
        >>> path = getfixture("tmp_path") / "topics.tsv"
        >>> _ = path.write_text("7\tcumulative sum\n")
        >>> read_topics(path).to_dict("records")
        [{'qid': '7', 'query': 'cumulative sum'}]
    """
    return read_lines(path, _TOPICS)


def write_topics(topics: pd.DataFrame, path: PathLike) -> None:
    r"""Write queries, one a line: qid, tab, query.

    Args:
        topics: Frame[qid, query, ...].
        path: gzip if it ends in ``.gz``; replaced atomically.

    Raises:
        FrameError: The topics are not usable (``canonical_topics``), a qid is not one word, or a query is blank or has a tab
            or a line end.
        MissingError: The folder does not exist.

    Example:
        >>> import pandas as pd
        >>> path = getfixture("tmp_path") / "topics.tsv"
        >>> write_topics(pd.DataFrame({"qid": ["7"], "query": ["cumulative sum"]}), path)
        >>> path.read_text()
        '7\tcumulative sum\n'
    """
    good = canonical_topics(topics)
    refuse_unwritable(good, {"qid": ID, "query": QUERY_WITHOUT_TAB}, path)
    write_text((f"{qid}\t{query}\n" for qid, query in zip(good["qid"], good["query"], strict=True)), path)
