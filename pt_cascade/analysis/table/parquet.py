"""Frames of text, scores and ranks as Parquet: small, exact to the bit, and the same with every pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LEVEL = 9  # of zstd
_OFTEN = 4  # a text that occurs so many times on average is written once
_ENCODINGS = {pa.int64(): "DELTA_BINARY_PACKED", pa.float64(): "BYTE_STREAM_SPLIT"}


def encode(frame: pd.DataFrame, schema: pa.Schema, name: str, problems: list[str]) -> bytes:
    """Write the columns of a schema (string, int64, float64; NaN as null) as Parquet; note in ``problems`` what cannot be written.

    Example:
        >>> schema = pa.schema([pa.field("docno", pa.string(), nullable=False), pa.field("t5", pa.float64())])
        >>> problems = []
        >>> data = encode(pd.DataFrame({"docno": ["01", "NA"], "t5": [0.1, None]}), schema, "t", problems)
        >>> decode(data, schema, "t", problems).values.tolist(), problems
        ([['01', 0.1], ['NA', nan]], [])
    """
    arrays = [_to_arrow(frame[field.name], field, name, problems) for field in schema]
    if problems:
        return b""
    numbers = {field.name: _ENCODINGS[field.type] for field in schema if field.type != pa.string()}
    texts = [field.name for field in schema if field.name not in numbers]
    repeated = [text for text in texts if frame[text].nunique() * _OFTEN <= len(frame)]
    options = {"compression": "zstd", "compression_level": _LEVEL, "use_dictionary": repeated, "column_encoding": numbers or None}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, **options)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes, schema: pa.Schema, name: str, problems: list[str]) -> pd.DataFrame | None:
    """Read what ``encode`` wrote with this schema, null as NaN; or note in ``problems`` why it cannot be read."""
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        problems.append(f"{name} is not Parquet: {error}")
        return None
    if not table.schema.equals(schema):
        found, expected = (", ".join(map(_describe, fields)) for fields in (table.schema, schema))
        problems.append(f"{name} has the columns {found}; expected {expected}")
        return None
    return pd.DataFrame({field.name: _to_pandas(table[field.name], field.type) for field in schema})


def _describe(field: pa.Field) -> str:
    return f"{field.name} ({field.type}{'' if field.nullable else ', not null'})"


def _to_arrow(column: pd.Series[str], field: pa.Field, name: str, problems: list[str]) -> pa.Array | None:
    """Return a column as Arrow, NaN as null, or note why it cannot be."""
    values = column.to_numpy(object if field.type == pa.string() else field.type.to_pandas_dtype())
    try:
        array = pa.array(values, field.type, from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        problems.append(f"{name}: {field.name} is not text: {error}")
        return None
    if array.null_count and not field.nullable:
        problems.append(f"{name}: {field.name} is missing in {array.null_count:,} row(s)")
    return array


def _to_pandas(column: pa.ChunkedArray, kind: pa.DataType) -> pd.Series[str] | NDArray[np.float64]:
    values: pd.Series[str] | NDArray[np.float64] = column.to_pandas() if kind == pa.string() else column.to_numpy()
    return values
