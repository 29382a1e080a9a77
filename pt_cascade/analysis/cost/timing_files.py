"""TimingData on the disk: one parquet file; the mode, the machine and a checksum of all that it tells are in its schema."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from pt_cascade.analysis.cost.timing_data import COLUMNS, COUNTS, TimingData
from pt_cascade.errors import MissingError, TableError
from pt_cascade.files import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from pt_cascade.files import PathLike

_KEY = b"pt_cascade.timings"
_FORMAT = 3


def save_timings(timings: TimingData, path: PathLike) -> None:
    """Write timings; see ``Timings.save``."""
    numbers = timings.frame[list(COLUMNS)].astype(dict.fromkeys(COUNTS, np.int64))
    columns = numbers.astype({"stage": "str", "qid": "str", "share": np.float64, "tokens": np.float64, "ms": np.float64})
    about = {"format": _FORMAT, "pairwise": list(timings.pairwise), "mode": timings.mode, "machine": dict(timings.machine)}
    sealed = json.dumps({**about, "sha256": _digest(about, columns.to_csv(index=False))})
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pandas(columns, preserve_index=False).replace_schema_metadata({_KEY: sealed}), sink)
    write_file(path, sink.getvalue().to_pybytes())


def load_timings(path: PathLike) -> TimingData:
    """Read timings; see ``Timings.load``."""
    if not Path(path).is_file():
        raise MissingError(f"there is no file {path}", fix="timings.save(path), or pt-cascade profile --out FILE")
    try:
        table = parquet.read_table(pa.py_buffer(Path(path).read_bytes()))
        frame = pd.DataFrame(table.to_pandas())
        rows = frame.to_csv(index=False)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        _refuse(
            path, f"it is damaged, or no parquet file: {str(error).splitlines()[0] if str(error) else type(error).__name__}", error
        )
    try:
        about = json.loads((table.schema.metadata or {})[_KEY])
        kept, checksum = about["format"], about.pop("sha256", None)
    except (KeyError, TypeError, ValueError) as error:
        _refuse(path, "it is a parquet file, but not one that Timings.save wrote", error)
    if kept != _FORMAT:
        _refuse(path, f"its format is {kept!r}, expected {_FORMAT}", None)
    if checksum != _digest(about, rows):
        _refuse(path, "it is damaged: it does not hold what its checksum was made of", None)
    try:
        return TimingData(frame, about["mode"], dict(about["machine"]), tuple(about["pairwise"]))
    except TableError as error:
        raise TableError(f"cannot read the timings of {path}", error.problems) from error


def _digest(about: Mapping[str, object], rows: str) -> str:
    """Hash all that is told: the schema's part as JSON with sorted keys, and the rows as CSV, which writes each number in full."""
    return hashlib.sha256(f"{json.dumps(about, sort_keys=True)}\n{rows}".encode()).hexdigest()


def _refuse(path: PathLike, problem: str, error: Exception | None) -> NoReturn:
    raise TableError(f"cannot read the timings of {path}", [problem], fix="profile again, or copy the file again") from error
