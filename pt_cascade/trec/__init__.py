"""Reads and writes TREC runs, qrels and topics without changing them.

======== =================================== ========================= ===================================================
file     a line                              frame                     rules
======== =================================== ========================= ===================================================
run      ``qid Q0 docno rank score tag``     qid, docno, score, rank   score finite; (qid, docno) once
qrels    ``qid 0 docno label``               qid, docno, label         label whole; (qid, docno) once
topics   ``qid<TAB>query``                   qid, query                the first tab separates; query not blank; qid once
======== =================================== ========================= ===================================================

Ids are text: ``NA``, ``null``, ``1e5`` and ``007`` stay as they are. Files are UTF-8, plain or gzip, with either line end. A file
with bad lines is refused, with the number of each. Files are written atomically.
"""

from __future__ import annotations

from pt_cascade.trec.qrels import read_qrels, write_qrels
from pt_cascade.trec.runs import read_run, write_run
from pt_cascade.trec.topics import read_topics, write_topics

__all__ = ["read_qrels", "read_run", "read_topics", "write_qrels", "write_run", "write_topics"]
