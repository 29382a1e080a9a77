"""A score table on disk: a folder of two Parquet files and ``pt_meta.json``, a PyTerrier Artifact.

- ``scores.parquet``: qid, docno: string; rank: int64; docid: double where a tie rule needs it; a double for each stage, null where
the
  pair was not scored
- ``topics.parquet``: qid, query: string - ``pt_meta.json``: type, format, package_hint (of PyTerrier); version; columns, paths,
depth, about, missing (of the table); files: rows
  and sha256 of each Parquet file; sha256: of all the rest of this file, see ``_digest``

What is read back equals what was written, scores bit by bit; otherwise a TableError names the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from pt_cascade.analysis.table import data as layout
from pt_cascade.analysis.table.checks import check_scores
from pt_cascade.analysis.table.data import OWN_COLUMNS, Column, Scores
from pt_cascade.analysis.table.parquet import decode, encode
from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.errors import CascadeError, TableError
from pt_cascade.files import PathLike, new_folder, rm_command
from pt_cascade.frames import canonical_topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = 1
_KIND = {"type": "score_table", "format": "pt_cascade", "package_hint": "pt_cascade"}
_SCORES, _TOPICS, _META = "scores.parquet", "topics.parquet", "pt_meta.json"
_AGAIN = "copy the folder again, or make the table again"
_OURS = "pass the folder that table.save wrote to ScoreTable.load"
_TOPICS_SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("qid", "query")])
_OWN_TYPES = {"qid": pa.string(), "docno": pa.string(), "rank": pa.int64(), "docid": pa.float64()}


def save_table(table: Scores, path: PathLike) -> None:
    """Write a table to a new folder, whole or not at all; only the documented columns are kept.

    Raises a TableError if the path exists or cannot be written to, or if a docno or query is not UTF-8 text.
    """
    target = Path(path)
    if os.path.lexists(target):
        raise TableError(f"cannot save the table to {path}", ["it exists already"], fix=f"another path, or {rm_command(path)}")
    problems: list[str] = []
    frames = {_SCORES: (table.frame, _scores_schema(table.own_columns, table.stages)), _TOPICS: (table.topics, _TOPICS_SCHEMA)}
    files = {name: encode(*frame, name, problems) for name, frame in frames.items()}
    if problems:
        raise TableError(f"cannot save the table to {path}", problems, fix="make every docno and query UTF-8 text")
    files[_META] = _describe(table, files)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as whole:
            if whole is None:
                raise TableError(f"cannot save the table to {path}", ["another process has just made it"], fix="another path")
            for name, data in files.items():
                (whole / name).write_bytes(data)
    except OSError as error:
        found = f"{type(error).__name__}: {error.strerror}"
        raise TableError(f"cannot save the table to {target}", [found], fix="another path") from error


def load_table(path: PathLike) -> Scores:
    """Read a table that ``save_table`` wrote, and check that it is whole; otherwise raise a TableError."""
    folder = Path(path)
    meta = _read_meta(folder)
    try:
        columns = tuple(Column(**{**entry, "rule": TieRule(*entry["rule"])}) for entry in meta["columns"])
        vectors = ("stages", "cutoffs", "depths")
        paths = tuple(layout.Path(**{**entry, **{name: tuple(entry[name]) for name in vectors}}) for entry in meta["paths"])
        rest = (meta["depth"], meta["about"], pd.DataFrame(meta["missing"]))
        files = [dict(meta["files"][name]) for name in (_SCORES, _TOPICS)]
    except (LookupError, TypeError, ValueError, AttributeError, CascadeError) as error:
        raise _refusal(folder, [f"{_META} does not describe a score table ({type(error).__name__}: {error})"]) from error
    problems: list[str] = []
    own = OWN_COLUMNS if any("docid" in column.rule for column in columns) else OWN_COLUMNS[:-1]
    frame = _read_frame(folder, _SCORES, _scores_schema(own, [column.stage for column in columns]), files[0], problems)
    topics = _read_frame(folder, _TOPICS, _TOPICS_SCHEMA, files[1], problems)
    if frame is None or topics is None or problems:
        raise _refusal(folder, problems)
    try:
        scores = Scores(frame, canonical_topics(topics), columns, paths, *rest)
        check_scores(scores)
    except CascadeError as error:
        raise _refusal(folder, [f"its files do not match: {problem}" for problem in error.problems]) from error
    return scores


def _read_meta(folder: Path) -> dict[str, Any]:
    """Read the metadata; refuse what is not a score table before anything is called damaged."""
    if not folder.is_dir():
        found = "it is a file, expected a folder" if folder.is_file() else "there is no such folder"
        raise _refusal(folder, [found], fix=_OURS)
    problems: list[str] = []
    data = _read_bytes(folder, _META, problems)
    if data is None:
        raise _refusal(folder, [f"it is not a score table: {problem}" for problem in problems], fix=_OURS)
    try:
        given = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refusal(folder, [f"{_META} is not JSON: {error}"]) from error
    kind = (given.get("type"), given.get("format")) if isinstance(given, dict) else "no JSON object"
    if kind != (expected := (_KIND["type"], _KIND["format"])):
        raise _refusal(folder, [f"it is not a score table: {_META} holds {kind}, expected {expected}"], fix=_OURS)
    if given.get("version") != VERSION:
        found = f"its version is {given.get('version')!r}, expected {VERSION}"
        raise _refusal(folder, [found], fix="make the table again, or pip install --upgrade pt_cascade")
    if given.pop("sha256", None) != _digest(given):
        raise _refusal(folder, [f"{_META} is damaged: its content does not match its sha256"])
    return dict(given)


def _describe(table: Scores, files: Mapping[str, bytes]) -> bytes:
    """Write the metadata, with its checksum."""
    rows = {_SCORES: len(table.frame), _TOPICS: len(table.topics)}
    meta = {
        **_KIND,
        "version": VERSION,
        "columns": [asdict(column) for column in table.columns],
        "paths": [asdict(path) for path in table.paths],
        "depth": table.depth,
        "about": dict(table.about),
        "missing": {str(name): table.missing[name].tolist() for name in table.missing},
        "files": {name: {"rows": rows[name], "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()},
    }
    plain = json.loads(json.dumps(meta, default=operator.index))  # NumPy's integers become Python's
    return json.dumps({**plain, "sha256": _digest(plain)}, indent=1).encode()


def _digest(meta: Mapping[str, object]) -> str:
    """Hash metadata as JSON with sorted keys, without blanks, in ASCII."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _scores_schema(own: Iterable[str], stages: Iterable[str]) -> pa.Schema:
    fields = [pa.field(name, _OWN_TYPES[name], nullable=name == "docid") for name in own]
    return pa.schema([*fields, *(pa.field(stage, pa.float64()) for stage in stages)])


def _read_frame(
    folder: Path, name: str, schema: pa.Schema, noted: Mapping[str, object], problems: list[str]
) -> pd.DataFrame | None:
    """Read one Parquet file, or note what is wrong with it."""
    data = _read_bytes(folder, name, problems)
    if data is None:
        return None
    if hashlib.sha256(data).hexdigest() != noted.get("sha256"):
        problems.append(f"{name} is damaged: its {len(data):,} bytes do not match the sha256 in {_META}")
        return None
    frame = decode(data, schema, name, problems)
    if frame is not None and len(frame) != noted.get("rows"):
        problems.append(f"{name} has {len(frame):,} row(s), expected {noted.get('rows')}")
    return frame


def _read_bytes(folder: Path, name: str, problems: list[str]) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        problems.append(f"{name} is missing")
    except OSError as error:
        problems.append(f"{name} cannot be read: {error.strerror}")
    return None


def _refusal(folder: Path, problems: Iterable[str], fix: str = _AGAIN) -> TableError:
    return TableError(f"cannot load the table {folder}", problems, fix=fix)
