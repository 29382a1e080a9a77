"""Timings on disk: one Parquet file, with mode, machine and a checksum of everything in its schema."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from pt_cascade.errors import TableError, first_line
from pt_cascade.files import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pt_cascade.files import PathLike

COLUMNS = ("stage", "qid", "repeat", "share", "docs_in", "docs_ranked", "docs_out", "pairs", "tokens", "ms")
COUNTS = ("repeat", "docs_in", "docs_ranked", "docs_out", "pairs")
_KEY = b"pt_cascade.timings"
_FIX = "profile again, or copy the file again"


def save_timings(path: PathLike, frame: pd.DataFrame, about: Mapping[str, object]) -> None:
    """Write timings and what is known about them; see ``Timings.save``."""
    names = [*COLUMNS, *(["usd"] if "usd" in frame else [])]
    kinds: dict[str, type] = {"stage": str, "qid": str, **dict.fromkeys(COUNTS, np.int64)}
    columns = frame[names].astype({name: kinds.get(name, np.float64) for name in names})
    sealed = json.dumps({**about, "sha256": _digest(about, columns.to_csv(index=False))})
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pandas(columns, preserve_index=False).replace_schema_metadata({_KEY: sealed}), sink)
    write_file(path, sink.getvalue().to_pybytes())


def load_timings(path: PathLike) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read what ``save_timings`` wrote; see ``Timings.load``."""
    data = read_file(path, "timings.save(path), or pt-cascade profile --out FILE")
    what = f"cannot read the timings of {path}"
    try:
        table = parquet.read_table(pa.py_buffer(data))
        frame = pd.DataFrame(table.to_pandas())
        rows = frame.to_csv(index=False)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise TableError(what, [f"it is damaged, or not a Parquet file: {first_line(error)}"], fix=_FIX) from error
    try:
        about = json.loads((table.schema.metadata or {})[_KEY])
        checksum = about.pop("sha256")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TableError(what, ["Timings.save did not write this Parquet file"], fix=_FIX) from error
    if checksum != _digest(about, rows):
        raise TableError(what, ["it is damaged: its content does not match its checksum"], fix=_FIX)
    return frame, about


def _digest(about: Mapping[str, object], rows: str) -> str:
    """Hash the metadata as JSON with sorted keys, and the rows as CSV, which writes each number in full."""
    return hashlib.sha256(f"{json.dumps(about, sort_keys=True)}\n{rows}".encode()).hexdigest()
