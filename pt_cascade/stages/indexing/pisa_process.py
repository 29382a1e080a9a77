"""Runs PISA in a process of its own, since it prints from C++, and aborts the process on a full disk.

python pisa_process.py PACKAGE FOLDER THREADS ENCODING K1 B: indexes the documents on standard input, a docno, a blank and a text a
line (with 0 threads none), and writes the scores for k1 and b. Of pyterrier_pisa, in the folder PACKAGE, it imports the compiled
module only, as PyTerrier takes a second.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from importlib import import_module
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_BATCH = 100_000  # documents, as pyterrier_pisa
_META = {"type": "sparse_index", "format": "pisa", "package_hint": "pyterrier-pisa", "stemmer": "porter2"}


def main(package: str, folder: str, threads: str, encoding: str, k1: str, b: str) -> None:
    """Write the files; the system kills this process when the one that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.path.append(package)
    pisa = import_module("_pisathon")
    if int(threads):
        pisa.index("/dev/stdin", folder, _META["stemmer"], _BATCH, int(threads))
        Path(folder, "pt_meta.json").write_text(json.dumps(_META), encoding="utf-8")
    pisa.prepare_index(pisa.RetrievalContext(), folder, encoding, "bm25", "", bm25_k1=float(k1), bm25_b=float(b))


if __name__ == "__main__":
    main(*sys.argv[1:])
