"""A score table on the disk: a folder of two or three Parquet files and ``pt_meta.json``, which PyTerrier reads as an Artifact.

=============== ==================================================================================================================
file            what is in it
=============== ==================================================================================================================
scores.parquet  qid, docno: string; rank: int64; a double for each stage, null where the pair was not scored
topics.parquet  qid, query: string
pt_meta.json    type, format, package_hint (PyTerrier's own); version, columns, paths, depth, about, missing (the table's);
                aggregations of pairwise stages, from version 2; files: rows and sha256 of each Parquet file;
                sha256: of all the rest of this file, see ``_digest``
=============== ==================================================================================================================

What is read back is what was written, scores bit by bit; or else a TableError names the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
_AGAIN = "fetch the folder again, or make the table again"
_OURS = "ScoreTable.load of a folder that table.save wrote"
_VECTORS = ("stages", "cutoffs", "depths")


def save_table(table: Scores, path: PathLike) -> None:
    """Write a table to a new folder; it is there whole or not at all."""
    target = Path(path)
    if os.path.lexists(target):
        fix = f"another path, or {rm_command(path)}"
        raise TableError(f"cannot save the table to {path}", ["something is there already"], fix=fix)
    problems: list[str] = []
    frames = {_SCORES: (table.frame, _scores_schema(table.own_columns, table.stages)), _TOPICS: (table.topics, _topics_schema())}
    files = {name: encode(*frame, name, problems) for name, frame in frames.items()}
    if problems:
        raise TableError(f"cannot save the table to {path}", problems, fix="make every docno and query UTF-8 text")
    files[_META] = _describe(table, files)
    _write_whole(target, files)


def load_table(path: PathLike) -> Scores:
    """Read a table that ``save_table`` wrote, and make sure that it is whole."""
    folder = Path(path)
    meta = _read_meta(folder)
    stages = [column.stage for column in meta.columns]
    problems: list[str] = []
    own = OWN_COLUMNS if any("docid" in column.rule for column in meta.columns) else OWN_COLUMNS[:-1]
    frame = _read_frame(folder, _SCORES, _scores_schema(own, stages), meta, problems)
    topics = _read_frame(folder, _TOPICS, _topics_schema(), meta, problems)
    if frame is None or topics is None or problems:
        raise _refusal(folder, problems)
    try:
        scores = Scores(frame, canonical_topics(topics), meta.columns, meta.paths, meta.depth, meta.about, meta.missing)
        check_scores(scores)
    except CascadeError as error:
        raise _refusal(folder, [f"its files do not fit: {problem}" for problem in error.problems]) from error
    return scores


@dataclass(frozen=True)
class _Meta:
    """What ``pt_meta.json`` holds, but for PyTerrier's own."""

    columns: tuple[Column, ...]
    paths: tuple[layout.Path, ...]
    depth: int | None
    about: Mapping[str, str]
    missing: pd.DataFrame
    files: Mapping[str, Mapping[str, object]]


def _read_meta(folder: Path) -> _Meta:
    """Read what the table says of itself; refuse what is not a table, before it is called damaged."""
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
    if kind != (_KIND["type"], _KIND["format"]):
        found = f"it is not a score table: {_META} says {kind}, expected {(_KIND['type'], _KIND['format'])}"
        raise _refusal(folder, [found], fix=_OURS)
    version = given.get("version")
    if type(version) is int and version > VERSION:
        found = f"its version is {version}, newer than {VERSION}, which is all that is known here"
        raise _refusal(folder, [found], fix="pip install --upgrade pt_cascade")
    if version not in range(1, VERSION + 1) or given.pop("sha256", None) != _digest(given):
        raise _refusal(folder, [f"{_META} is damaged: it is not what its own sha256 says"])
    try:
        columns = tuple(Column(**{**entry, "rule": TieRule(*entry["rule"])}) for entry in given["columns"])
        paths = tuple(layout.Path(**{**entry, **{name: tuple(entry[name]) for name in _VECTORS}}) for entry in given["paths"])
        files = {name: dict(given["files"][name]) for name in (_SCORES, _TOPICS)}
        return _Meta(columns, paths, given["depth"], given["about"], pd.DataFrame(given["missing"]), files)
    except (LookupError, TypeError, ValueError, AttributeError, CascadeError) as error:
        raise _refusal(folder, [f"{_META} does not describe a score table ({type(error).__name__}: {error})"]) from error


def _describe(table: Scores, files: Mapping[str, bytes]) -> bytes:
    """Say all that the Parquet files do not, sealed with a hash of its own."""
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
    plain = json.loads(json.dumps(meta, default=operator.index))  # numpy's whole numbers become Python's
    return json.dumps({**plain, "sha256": _digest(plain)}, indent=1).encode()


def _digest(meta: Mapping[str, object]) -> str:
    """Hash metadata as JSON with sorted keys, without blanks, in ASCII."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _scores_schema(own: Iterable[str], stages: Iterable[str]) -> pa.Schema:
    kinds = {"qid": pa.string(), "docno": pa.string(), "rank": pa.int64(), "docid": pa.float64()}
    fields = [pa.field(name, kinds[name], nullable=name == "docid") for name in own]
    return pa.schema([*fields, *(pa.field(stage, pa.float64()) for stage in stages)])


def _topics_schema() -> pa.Schema:
    return pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("qid", "query")])


def _read_frame(folder: Path, name: str, schema: pa.Schema, meta: _Meta, problems: list[str]) -> pd.DataFrame | None:
    """Read one Parquet file, or note what is wrong with it."""
    data = _read_bytes(folder, name, problems)
    if data is None:
        return None
    noted = meta.files[name]
    if hashlib.sha256(data).hexdigest() != noted.get("sha256"):
        problems.append(f"{name} is damaged: its {len(data):,} bytes are not those that {_META} has the sha256 of")
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


def _write_whole(target: Path, files: Mapping[str, bytes]) -> None:
    """Write the files to a folder beside, then rename it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as whole:
            for name, data in files.items():
                (whole / name).write_bytes(data)
    except OSError as error:
        found = f"{type(error).__name__}: {error.strerror}"
        raise TableError(f"cannot save the table to {target}", [found], fix="another path") from error


def _refusal(folder: Path, problems: Iterable[str], fix: str = _AGAIN) -> TableError:
    return TableError(f"cannot load the table {folder}", problems, fix=fix)
