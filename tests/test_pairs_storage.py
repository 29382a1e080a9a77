"""Duels on the disk: read back as they were, every damage named, tables without any still readable by older readers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from duellists import Duellist, tabulate_duels
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import Judge
from tabling import TOPICS
from test_pairs_replay import WINS, make_table
from test_storage import small
from toys import ToyRetriever

from pt_cascade.analysis.duel_files import read_duels, write_duels
from pt_cascade.analysis.duels import Duels
from pt_cascade.analysis.preferences import Aggregation
from pt_cascade.analysis.storage import _digest, load_table
from pt_cascade.analysis.tables import Column, ScoreTable
from pt_cascade.errors import TableError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of three documents with six duels, in the folder ``t``, which stands in the messages."""
    monkeypatch.chdir(tmp_path)
    make_table(WINS, bm25=[3, 2, 1]).save("t")
    return Path("t")


def seal(folder: Path, **changed: object) -> None:
    """Change what a table says of itself, and seal it again."""
    meta = json.loads((folder / "pt_meta.json").read_text())
    meta.update(changed)
    meta["files"] = {
        name: {**meta["files"][name], "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()} for name in meta["files"]
    }
    meta.pop("sha256")
    (folder / "pt_meta.json").write_text(json.dumps({**meta, "sha256": _digest(meta)}))


PROBABILITIES = st.one_of(st.sampled_from([0.0, 1.0, 5e-324, 0.5]), st.floats(0, 1))
HOW = st.sampled_from(["sum", "sym-sum", "min"])


@settings(max_examples=25)
@given(st.dictionaries(st.text(max_size=3), st.tuples(HOW, st.lists(PROBABILITIES, max_size=6)), min_size=1, max_size=3))
def test_duels_come_back_from_a_frame(drawn: dict[str, tuple[Aggregation, list[float]]]) -> None:
    """Every stage's own, in their order, bit by bit, those without any too."""
    rows = np.arange(6)
    given = {name: Duels(how, rows[: len(p)], rows[: len(p)] + 1, np.array(p, float)) for name, (how, p) in drawn.items()}
    again = read_duels(write_duels(given), {name: each.aggregation for name, each in given.items()})
    assert list(again) == list(given)
    for name, each in given.items():
        for field in ("aggregation", "first", "second", "p"):
            assert np.array_equal(getattr(again[name], field), getattr(each, field))


def test_a_table_with_duels_replays_from_the_disk_as_before(tmp_path: Path) -> None:
    """Two pairwise stages, of which one has no duels at all: rankings are the same, and so is what the table says of itself."""
    table = tabulate_duels(ToyRetriever(docs=9), [Judge(1)], Duellist("sum-log", 2, 5), TOPICS)
    none = Duels("max", np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    table = replace(table, columns=(*table.columns, Column("other")), duels={**table.duels, "other": none})
    table.save(tmp_path / "t")
    again = ScoreTable.load(tmp_path / "t")
    assert repr(again) == repr(table)
    assert again.paths == table.paths
    assert {name: duels.aggregation for name, duels in again.duels.items()} == {"duo": "sum-log", "other": "max"}
    for cutoffs in ((7, 4, None), (3, 3, 1)):
        pd.testing.assert_frame_equal(again.replay(cutoffs), table.replay(cutoffs))


def test_others_can_read_the_file(folder: Path) -> None:
    """Golden: plain Parquet; rows are those of scores.parquet, and the aggregation stands in the JSON."""
    told = pq.read_table(folder / "duels.parquet").to_pydict()
    assert told == {
        "stage": ["duo"] * 6,
        "first": [0, 0, 1, 1, 2, 2],
        "second": [1, 2, 0, 2, 0, 1],
        "p": [0.75, 0.5, 0.5, 0.25, 0, 1],
    }
    meta = json.loads((folder / "pt_meta.json").read_text())
    assert (meta["version"], meta["aggregations"], meta["files"]["duels.parquet"]["rows"]) == (2, {"duo": "sum"}, 6)
    assert pq.read_table(folder / "scores.parquet").column_names == ["qid", "docno", "rank", "bm25"]


def test_a_table_without_duels_is_of_version_1(tmp_path: Path) -> None:
    """An older reader reads what it can understand; and what an older writer wrote is read here."""
    small().save(tmp_path / "t")
    assert sorted(file.name for file in (tmp_path / "t").iterdir()) == ["pt_meta.json", "scores.parquet", "topics.parquet"]
    meta = json.loads((tmp_path / "t" / "pt_meta.json").read_text())
    assert (meta["version"], "aggregations" in meta) == (1, False)
    assert load_table(tmp_path / "t").duels == {}


def test_damaged_duels_are_refused(folder: Path) -> None:
    """A file that is missing or changed, even where it is sealed again, is no table."""
    data = (folder / "duels.parquet").read_bytes()
    for spoilt, problem in ((data[:-1], "its 1,...? bytes are not those"), (data[::-1], "duels.parquet is damaged: its ")):
        (folder / "duels.parquet").write_bytes(spoilt)
        with pytest.raises(TableError, match=problem.replace("1,...?", "[0-9,]+")):
            load_table(folder)
    (folder / "duels.parquet").unlink()
    with pytest.raises(TableError, match=r"cannot load the table t: duels.parquet is missing"):
        load_table(folder)
    (folder / "duels.parquet").write_bytes(data)
    told = pq.read_table(folder / "duels.parquet")
    for change, problem in (
        (told.slice(1), "duels.parquet has 5 row"),
        (told.rename_columns(["stage", "first", "second", "q"]), r"has the columns .*expected stage"),
    ):
        pq.write_table(change, folder / "duels.parquet")
        seal(folder)
        with pytest.raises(TableError, match=problem):
            load_table(folder)


def test_duels_that_do_not_fit_the_table_are_refused(folder: Path) -> None:
    """They are whole, but of other stages, rows or queries."""
    for aggregations, problem in (
        ({"duo": "mean"}, "its files do not fit: aggregation is 'mean'"),
        ({"bm25": "sum"}, "scores.parquet has the columns .*expected qid"),
        ({"other": "sum", "duo": "sum"}, "it has duels of 'other', which is no stage of it"),
    ):
        seal(folder, aggregations=aggregations)
        with pytest.raises(TableError, match=problem):
            load_table(folder)
    seal(folder, aggregations={"duo": "sum"})
    told = pq.read_table(folder / "duels.parquet").to_pandas()
    for change, problem in (
        (told.assign(stage="x"), "its files do not fit: there are some of x"),
        (told.assign(first=told["first"] + 9), r"stage 'duo': 6 duel\(s\) are of rows that the table does not have"),
        (told.assign(p=2.0), r"stage 'duo': 6 duel\(s\) have no probability from 0 to 1"),
    ):
        schema = pq.read_schema(folder / "duels.parquet")
        pq.write_table(pa.Table.from_pandas(change, schema=schema, preserve_index=False), folder / "duels.parquet")
        seal(folder)
        with pytest.raises(TableError, match=problem):
            load_table(folder)
