"""Runs PISA in a process of its own, since it prints from C++, and aborts the process on a full disk.

python pisa_process.py FOLDER THREADS K1 B: indexes the documents on standard input, one JSON object a line, unless the folder has
an index, and writes the scores for k1 and b into it.
"""

from __future__ import annotations

import json
import sys


def main(folder: str, threads: str, k1: str, b: str) -> None:
    """Make what is missing."""
    from pyterrier_pisa import PisaIndex  # noqa: PLC0415 - an extra

    index = PisaIndex(folder, text_field="text")
    if not index.built():
        index.indexer(threads=int(threads)).index(map(json.loads, sys.stdin))
    index.bm25(k1=float(k1), b=float(b))


if __name__ == "__main__":
    main(*sys.argv[1:])
