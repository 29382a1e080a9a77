"""The last step of encoding: what was encoded becomes a folder in FlexIndex's own form, with token vectors beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.checksums import seal
from pt_cascade.errors import require
from pt_cascade.stages.vectors.progress import TOKENS, VECTORS, read_records

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.stages.vectors.provenance import Maker


def store(folder: Path, maker: Maker, content: str) -> Path:
    """Write what belongs beside the vectors: docnos, where tokens begin, what made them, a hash of the documents, and checksums.

    It can be done again after a crash: only what is encoded stays, the rest is written anew.

    Args:
        folder: Where it grew.
        maker: What made it.
        content: The hash of the documents.

    Returns:
        The folder within, which is whole.
    """
    require("npids", why="stored vectors")
    from npids import Lookup  # noqa: PLC0415 - comes with pyterrier_dr

    whole = folder / "whole"
    for file in whole.iterdir():
        if file.name not in (VECTORS, TOKENS):
            file.unlink()
    counts: list[int] = []
    with Lookup.builder(whole / "docnos.npids") as ids:
        for record in read_records(folder):
            counts.extend(record.tokens)
            for docno in record.docnos:
                ids.add(docno)
    if any(counts):
        np.save(whole / "tokens.npy", np.cumsum([0, *counts]))
    else:
        (whole / TOKENS).unlink()
    told = {**maker, "documents": len(counts), "content": content}
    (whole / "encoder.json").write_text(json.dumps(told), encoding="utf-8")
    size = (whole / VECTORS).stat().st_size // np.dtype(np.float32).itemsize // len(counts)
    if size:
        meta = {"type": "dense_index", "format": "flex", "vec_size": size, "doc_count": len(counts)}
        (whole / "pt_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    seal(whole)
    return whole
