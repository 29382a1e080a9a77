"""Collections as folders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from pt_cascade.collections import Collection
from pt_cascade.trec import write_qrels, write_topics


def write_folder(collection: Collection, path: Path) -> None:
    """Write a collection as a new folder that ``open_collection`` opens, with the same fingerprint."""
    path.mkdir(parents=True)
    lines = (json.dumps(document, ensure_ascii=False) + "\n" for document in collection.docs())
    (path / "docs.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    write_topics(collection.topics, path / "topics.tsv")
    write_qrels(collection.qrels, path / "qrels.txt")
    (path / "language.txt").write_text(collection.language)
