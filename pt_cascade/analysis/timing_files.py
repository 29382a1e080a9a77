"""Timings on the disk: one parquet file, the mode and the machine in its schema, pages with checksums."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from pt_cascade.analysis.timings import COLUMNS, COUNTS, Timings
from pt_cascade.errors import MissingError, TableError

if TYPE_CHECKING:
    from typing import NoReturn

_KEY = b"pt_cascade.timings"
_FORMATS = (1, 2)  # 1 knows no pairwise stages; timings without any are still written so, for older readers


def save_timings(timings: Timings, path: str | os.PathLike[str]) -> None:
    """Write timings; see ``Timings.save``.

    Args:
        timings: What to write.
        path: The file.

    Raises:
        MissingError: Its folder is not there.
    """
    target = Path(path).resolve()
    if not target.parent.is_dir():
        raise MissingError(f"cannot write {path}", ["its folder is not there"], fix=f"mkdir -p {Path(path).parent}")
    numbers = timings.frame[list(COLUMNS)].astype(dict.fromkeys(COUNTS, np.int64))
    columns = numbers.astype({"stage": "str", "qid": "str", "share": np.float64, "tokens": np.float64, "ms": np.float64})
    told = {"format": 2, "pairwise": list(timings.pairwise)} if timings.pairwise else {"format": 1}
    about = {**told, "mode": timings.mode, "machine": dict(timings.machine)}
    table = pa.Table.from_pandas(columns, preserve_index=False).replace_schema_metadata({_KEY: json.dumps(about)})
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            parquet.write_table(table, file, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def load_timings(path: str | os.PathLike[str]) -> Timings:
    """Read timings; see ``Timings.load``.

    Args:
        path: The file.

    Raises:
        MissingError: There is no such file.
        TableError: It is damaged, truncated, foreign or of another format.
    """
    if not Path(path).is_file():
        raise MissingError(f"there is no file {path}", fix="timings.save(path), or pt-cascade profile --out FILE")
    try:
        table = parquet.read_table(pa.py_buffer(Path(path).read_bytes()), page_checksum_verification=True)
        frame = table.to_pandas()
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        _refuse(
            path, f"it is damaged, or no parquet file: {str(error).splitlines()[0] if str(error) else type(error).__name__}", error
        )
    try:
        about = json.loads((table.schema.metadata or {})[_KEY])
        kept, mode, machine, pairwise = about["format"], about["mode"], dict(about["machine"]), tuple(about.get("pairwise", ()))
    except (KeyError, TypeError, ValueError) as error:
        _refuse(path, "it is a parquet file, but not one that Timings.save wrote", error)
    if kept not in _FORMATS:
        _refuse(path, f"its format is {kept!r}, expected {' or '.join(map(str, _FORMATS))}", None)
    try:
        return Timings(pd.DataFrame(frame), mode, machine, pairwise)
    except TableError as error:
        raise TableError(f"cannot read the timings of {path}", error.problems) from error


def _refuse(path: str | os.PathLike[str], problem: str, error: Exception | None) -> NoReturn:
    raise TableError(f"cannot read the timings of {path}", [problem], fix="profile again, or copy the file again") from error
