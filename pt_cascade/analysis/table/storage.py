"""A score table on disk: a folder of two Parquet files and ``pt_meta.json``, a PyTerrier Artifact.

- ``scores.parquet``: qid, docno: string; rank: int64; docid: double where a tie rule needs it; a double for each stage, null where
  the pair was not scored
- ``topics.parquet``: qid, query: string
- ``pt_meta.json``: type, format, package_hint (of PyTerrier); columns, paths, depth, about, missing (of the table); files: the
  sha256 of each Parquet file; sha256: of all the rest of this file, see ``hash_json``

What is read back equals what was written, scores bit by bit; otherwise a TableError names the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import operator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pt_cascade.analysis.table import data as layout
from pt_cascade.analysis.table.checks import check_scores
from pt_cascade.analysis.table.data import Column, Scores
from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.checksums import hash_json, save_folder
from pt_cascade.errors import CascadeError, TableError
from pt_cascade.files import PathLike, to_path
from pt_cascade.frames import canonical_topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_KIND = {"type": "score_table", "format": "pt_cascade", "package_hint": "pt_cascade"}
FILES = _SCORES, _TOPICS, _META = "scores.parquet", "topics.parquet", "pt_meta.json"
_AGAIN = "copy the folder again, or make the table again"
_OURS = "pass the folder that table.save wrote to ScoreTable.load"
_TEXTS = ("qid", "docno", "query")
_LEVEL = 9  # of zstd
_OFTEN = 4  # a text that occurs so many times on average is written once
_ENCODINGS = {pa.int64(): "DELTA_BINARY_PACKED", pa.float64(): "BYTE_STREAM_SPLIT"}


def save_table(table: Scores, path: PathLike) -> None:
    """Write a table to a new folder, whole or not at all; only the documented columns are kept.

    Raises a TableError if the path exists or cannot be written to, or if a docno or query is not UTF-8 text.
    """
    frames = {_SCORES: table.frame[[*table.own_columns, *table.stages]], _TOPICS: table.topics[["qid", "query"]]}
    files = {}
    for name, frame in frames.items():
        try:
            files[name] = _encode(frame)
        except (pa.ArrowException, ValueError) as error:
            found = "; ".join(error.args) if isinstance(error, pa.ArrowException) else error
            fix = "make every docno and query UTF-8 text"
            raise TableError(f"cannot save the table to {path}", [f"{name}: {found}"], fix=fix) from error
    files[_META] = _describe(table, files)
    save_folder(path, files, "the table", TableError)


def load_table(path: PathLike) -> Scores:
    """Read a table that ``save_table`` wrote, and check that it is whole; otherwise raise a TableError."""
    folder = to_path(path, "read")
    meta = _read_meta(folder)
    try:
        columns = tuple(Column(**{**entry, "rule": TieRule(*entry["rule"])}) for entry in meta["columns"])
        vectors = ("stages", "cutoffs", "depths")
        paths = tuple(layout.Path(**{**entry, **{name: tuple(entry[name]) for name in vectors}}) for entry in meta["paths"])
        rest = (meta["depth"], meta["about"], pd.DataFrame(meta["missing"]))
        sums = [meta["files"][name] for name in (_SCORES, _TOPICS)]
    except (LookupError, TypeError, ValueError, AttributeError, CascadeError) as error:
        raise _refusal(folder, [f"{_META} does not describe a score table ({type(error).__name__}: {error})"]) from error
    problems: list[str] = []
    files = [_read(folder, name, known, problems) for name, known in zip((_SCORES, _TOPICS), sums, strict=True)]
    if problems:
        raise _refusal(folder, problems)
    try:
        frame, topics = (pq.read_table(pa.BufferReader(data)).to_pandas() for data in files)
        scores = Scores(frame, canonical_topics(topics), columns, paths, *rest)
        check_scores(scores)
    except (CascadeError, pa.ArrowException, OSError) as error:
        found = error.problems if isinstance(error, CascadeError) else [str(error)]
        raise _refusal(folder, [f"its files do not match: {problem}" for problem in found]) from error
    return scores


def _read_meta(folder: Path) -> dict[str, Any]:
    """Read the metadata; refuse what is not a score table before anything is called damaged."""
    if not folder.is_dir():
        found = "it is a file, expected a folder" if folder.is_file() else "there is no such folder"
        raise _refusal(folder, [found], fix=_OURS)
    problems: list[str] = []
    data = _read(folder, _META, None, problems)
    if problems:
        raise _refusal(folder, [f"it is not a score table: {problem}" for problem in problems], fix=_OURS)
    try:
        given = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refusal(folder, [f"{_META} is not JSON: {error}"]) from error
    kind = (given.get("type"), given.get("format")) if isinstance(given, dict) else "no JSON object"
    if kind != (expected := (_KIND["type"], _KIND["format"])):
        raise _refusal(folder, [f"it is not a score table: {_META} holds {kind}, expected {expected}"], fix=_OURS)
    if given.pop("sha256", None) != hash_json(given):
        raise _refusal(folder, [f"{_META} is damaged: its content does not match its sha256"])
    return dict(given)


def _describe(table: Scores, files: Mapping[str, bytes]) -> bytes:
    """Write the metadata, with its checksum."""
    meta = {
        **_KIND,
        "columns": [asdict(column) for column in table.columns],
        "paths": [asdict(path) for path in table.paths],
        "depth": table.depth,
        "about": dict(table.about),
        "missing": {str(name): table.missing[name].tolist() for name in table.missing},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    plain = json.loads(json.dumps(meta, default=operator.index))  # NumPy's integers become Python's
    return json.dumps({**plain, "sha256": hash_json(plain)}, indent=1).encode()


def _encode(frame: pd.DataFrame) -> bytes:
    """Write text, ranks and scores (NaN as null) as Parquet: small, and the same with every pandas."""
    kinds = {name: pa.string() if name in _TEXTS else pa.int64() if name == "rank" else pa.float64() for name in frame}
    schema = pa.schema([pa.field(name, kind, nullable=kind == pa.float64()) for name, kind in kinds.items()])
    table = pa.Table.from_pandas(frame, schema, preserve_index=False).replace_schema_metadata()
    numbers = {name: _ENCODINGS[kind] for name, kind in kinds.items() if kind != pa.string()}
    repeated = [name for name in frame if name not in numbers and frame[name].nunique() * _OFTEN <= len(frame)]
    options = {"compression": "zstd", "compression_level": _LEVEL, "use_dictionary": repeated, "column_encoding": numbers or None}
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _read(folder: Path, name: str, known: str | None, problems: list[str]) -> bytes:
    """Read a file and compare it with its sha256, if that is known; note what is wrong with it."""
    try:
        data = (folder / name).read_bytes()
    except FileNotFoundError:
        problems.append(f"{name} is missing")
    except OSError as error:
        problems.append(f"{name} cannot be read: {error.strerror}")
    else:
        if known in (None, hashlib.sha256(data).hexdigest()):
            return data
        problems.append(f"{name} is damaged: its {len(data):,} bytes do not match the sha256 in {_META}")
    return b""


def _refusal(folder: Path, problems: Iterable[str], fix: str = _AGAIN) -> TableError:
    return TableError(f"cannot load the table {folder}", problems, fix=fix)
