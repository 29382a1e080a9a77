"""Score tables on the disk: what is written is read back bit by bit, and every damage is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.analysis.table import data
from pt_cascade.analysis.table.data import Column
from pt_cascade.analysis.table.storage import load_table, save_table
from pt_cascade.analysis.table.tie_rules import EVERY_RULE, TieRule
from pt_cascade.errors import TableError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.ranking import ranks

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
IDS = st.one_of(TEXT, st.sampled_from(["NA", "null", "nan", "None", "01", "1", "1e5", "-inf", "True", "a.b"]))
FINITE = st.one_of(st.sampled_from([0.0, -0.0, 5e-324, 1.0, 1.0 + 2**-52, 0.1]), st.floats(allow_nan=False, allow_infinity=False))
RULES = sorted(rule for rule in EVERY_RULE if "docid" not in rule)
CUTS = st.one_of(st.none(), st.integers(1, 10**12))


@st.composite
def score_tables(draw: st.DrawFn) -> ScoreTable:
    """Any table: odd ids, ties, pairs without a score, queries without a result, rows in any order."""
    qids = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    topics = pd.DataFrame({"qid": qids, "query": [draw(TEXT) for _ in qids]}, dtype=object)
    pairs = [(qid, docno) for qid in qids for docno in draw(st.lists(IDS, max_size=5, unique=True))]
    stages = draw(
        st.lists(
            IDS.filter(lambda name: name.isprintable() and name not in ("", "qid", "docno", "rank")),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    frame = pd.DataFrame(pairs, columns=["qid", "docno"], dtype=object)
    for place, stage in enumerate(stages):
        scores = FINITE if place == 0 else st.one_of(FINITE, st.just(np.nan))
        frame[stage] = np.array([draw(scores) for _ in pairs], np.float64)
    frame.insert(2, "rank", ranks(frame["qid"], frame[stages[0]].to_numpy()))
    columns = tuple(Column(stage, draw(st.sampled_from(RULES)), draw(TEXT), draw(st.text())) for stage in stages)
    size = len(stages)
    vectors = st.lists(CUTS, min_size=size, max_size=size).map(tuple)
    paths = tuple(data.Path(tuple(stages), draw(vectors), draw(vectors)[1:], draw(TEXT)) for _ in range(draw(st.integers(1, 2))))
    missing = pd.DataFrame({"stage": stages[1:], "queries": 1, "pairs": 2, "extra": 0})
    return ScoreTable(frame, topics, columns, paths, draw(CUTS), draw(st.dictionaries(TEXT, TEXT, max_size=2)), missing)


def small() -> ScoreTable:
    """One query, three documents, the last of them not scored by the second stage."""
    docnos, t5 = ["NA", "01", "null"], [0.1, -0.0, np.nan]
    frame = pd.DataFrame({"qid": "1", "docno": docnos, "rank": [0, 1, 2], "bm25": [3.0, 2.0, 1.0], "t5": t5})
    path = data.Path(("bm25", "t5"), (np.int64(2), 1), (2,))
    topics = pd.DataFrame({"qid": ["1", "2"], "query": ["a query", ""]})
    return ScoreTable(
        frame, topics, (Column("bm25", TieRule("rank", "rank"), "f1"), Column("t5")), (path,), 3, {"collection": "toy"}
    )


def assert_same(one: ScoreTable, other: ScoreTable) -> None:
    """Everything that a table documents is the same, scores bit by bit."""
    for name in ("qid", "docno", "rank"):
        assert one.frame[name].tolist() == other.frame[name].tolist()
    for stage in one.stages:
        bits = [
            np.where(np.isnan(score), -1, score.view(np.int64))
            for score in (one.frame[stage].to_numpy(), other.frame[stage].to_numpy())
        ]
        assert (bits[0] == bits[1]).all()
    assert one.topics[["qid", "query"]].to_numpy().tolist() == other.topics[["qid", "query"]].to_numpy().tolist()
    assert (one.columns, one.paths, one.depth, dict(one.about)) == (other.columns, other.paths, other.depth, dict(other.about))
    assert one.missing.to_dict("list") == other.missing.to_dict("list")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small table in the folder ``t``, which stands in the messages."""
    monkeypatch.chdir(tmp_path)
    small().save("t")
    return Path("t")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the examples of one property share."""
    return tmp_path_factory.mktemp("scratch")


# round trips


@given(score_tables())
@settings(max_examples=30)
def test_a_table_is_read_back_as_it_was(scratch: Path, table: ScoreTable) -> None:
    """Odd ids, signed zeros, subnormals, unscored pairs, empty queries and all metadata of a table survive."""
    place = scratch / "table"
    save_table(table, place)
    again = load_table(place)
    shutil.rmtree(place)
    assert_same(table, again)
    assert list(again.frame.columns) == ["qid", "docno", "rank", *table.stages]
    assert again.frame.index.equals(pd.RangeIndex(len(table.frame)))
    assert [str(again.frame[name].dtype) for name in ("rank", *table.stages)] == ["int64"] + ["float64"] * len(table.stages)


def test_others_can_read_the_files(folder: Path) -> None:
    """Without this package: plain Parquet with null for what was not scored, and JSON whose hashes hashlib confirms."""
    scores = pq.read_table(folder / "scores.parquet").to_pydict()
    assert scores["docno"] == ["NA", "01", "null"]
    assert scores["t5"] == [0.1, 0.0, None]
    assert pd.read_parquet(folder / "topics.parquet")["query"].tolist() == ["a query", ""]
    meta = json.loads((folder / "pt_meta.json").read_text())
    assert (meta["type"], meta["format"], meta["package_hint"]) == ("score_table", "pt_cascade", "pt_cascade")
    assert meta["paths"] == [{"stages": ["bm25", "t5"], "cutoffs": [2, 1], "depths": [2], "live": ""}]
    for name in ("scores.parquet", "topics.parquet"):
        assert meta["files"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_undocumented_columns_are_not_saved(tmp_path: Path) -> None:
    """Further columns of the frame stay behind, and a frame with another index is no trouble."""
    table = small()
    more = ScoreTable(table.frame.assign(text="long").set_index([[7, 7, 9]]), table.topics, table.columns, table.paths)
    more.save(tmp_path / "t")
    assert list(ScoreTable.load(tmp_path / "t").frame.columns) == ["qid", "docno", "rank", "bm25", "t5"]


def test_loaded_scores_may_be_changed(folder: Path) -> None:
    """The arrays are the reader's own, not read-only views of a file."""
    frame = load_table(folder).frame
    frame.loc[0, "bm25"] = 9.0
    assert frame["bm25"].tolist() == [9.0, 2.0, 1.0]


def test_a_published_table_is_small(dl19_folder: Path, tmp_path: Path) -> None:
    """Three real runs of 42,005 pairs come back equal, from two thirds of the bytes of their gzipped files."""
    names = {stage: dl19_folder / "runs" / f"colbertprf.bm25-doct5q{stage}.res.gz" for stage in ("", ".colbert", ".vbert")}
    table = ScoreTable.from_runs({stage or "bm25": path for stage, path in names.items()})
    table.save(tmp_path / "t")
    assert_same(table, ScoreTable.load(tmp_path / "t"))
    size = sum(file.stat().st_size for file in (tmp_path / "t").iterdir())
    assert size < 0.67 * sum(path.stat().st_size for path in names.values())


# writing


@pytest.mark.parametrize("there", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: Callable[[Path], object]) -> None:
    """A folder, a file, even a link to nowhere stays as it is."""
    monkeypatch.chdir(tmp_path)
    there(Path("t"))
    with pytest.raises(TableError) as caught:
        small().save("t")
    assert str(caught.value) == "cannot save the table to t: it exists already. Fix: another path, or rm -r t"
    assert [file.name for file in tmp_path.iterdir()] == ["t"]
    assert not Path("t").is_dir() or not list(Path("t").iterdir())


def test_folders_above_are_made(tmp_path: Path) -> None:
    """A path in folders that do not exist yet is created."""
    small().save(tmp_path / "a" / "b" / "t")
    assert_same(small(), ScoreTable.load(tmp_path / "a" / "b" / "t"))


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            OSError(28, "No space left on device"),
            (TableError, "cannot save the table to t: OSError: No space left on device. Fix: another path"),
        ),
        (KeyboardInterrupt(), (KeyboardInterrupt, "")),
    ],
)
def test_a_table_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, told: tuple[type[BaseException], str]
) -> None:
    """Whatever stops the writing leaves nothing behind."""

    def stop(_: int) -> None:
        raise failure

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pt_cascade.files.os.fsync", stop)
    with pytest.raises(told[0]) as caught:
        small().save("t")
    assert str(caught.value) == told[1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where a folder should be is a TableError."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(TableError) as caught:
        small().save("file/t")
    assert str(caught.value).startswith("cannot save the table to file/t: ")


@pytest.mark.parametrize(
    ("docno", "problem"),
    [
        ([1, 2, 3], "Expected bytes, got a 'int' object; Conversion failed for column docno with type object"),
        (["a", None, "b"], "Field pyarrow.Field<docno: string not null> was non-nullable but pandas column had 1 null values"),
        (
            ["a", "\ud800", "b"],
            "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed",
        ),
    ],
)
def test_docnos_that_cannot_be_saved_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docno: list[object], problem: str
) -> None:
    """A docno that would come back as something else is refused, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    table = small()
    frame = table.frame.assign(docno=pd.Series(docno, dtype=object))
    with pytest.raises(TableError) as caught:
        ScoreTable(frame, table.topics, table.columns, table.paths).save("t")
    told = f"cannot save the table to t: scores.parquet: {problem}. Fix: make every docno and query UTF-8 text"
    assert str(caught.value) == told
    assert list(tmp_path.iterdir()) == []


# damage

AGAIN = "Fix: copy the folder again, or make the table again"
FOREIGN = "Fix: pass the folder that table.save wrote to ScoreTable.load"
SCORES, TOPICS, META = Path("t/scores.parquet"), Path("t/topics.parquet"), Path("t/pt_meta.json")


def cut(path: Path) -> None:
    """Lose the last byte."""
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def meta_of(change: Callable[[dict[str, object]], object], *, seal: bool = True) -> None:
    """Change the metadata, and seal it again as its module says."""
    meta = json.loads(META.read_text())
    del meta["sha256"]
    change(meta)
    if seal:
        plain = json.dumps(meta, sort_keys=True, separators=(",", ":"))
        meta["sha256"] = hashlib.sha256(plain.encode()).hexdigest()
    META.write_text(json.dumps(meta))


def scores_of(change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the scores, and note their new hash."""
    pq.write_table(change(pq.read_table(SCORES)), SCORES)
    note()


def note() -> None:
    """Put the hash of the scores, as they are, into sealed metadata."""
    meta_of(lambda meta: meta["files"].update({"scores.parquet": hashlib.sha256(SCORES.read_bytes()).hexdigest()}))


def foreign() -> None:
    """An Artifact of somebody else."""
    shutil.rmtree("t")
    Path("t").mkdir()
    META.write_text('{"type": "sparse_index", "format": "terrier"}')


def emptied() -> None:
    """A folder without anything."""
    shutil.rmtree("t")
    Path("t").mkdir()


def a_file() -> None:
    """A file instead of a folder."""
    shutil.rmtree("t")
    Path("t").write_text("scores")


FITS = "cannot load the table t: its files do not match: "
DAMAGE: dict[str, tuple[Callable[[], object], str]] = {
    "no folder": (lambda: shutil.rmtree("t"), f"cannot load the table t: there is no such folder. {FOREIGN}"),
    "a file": (a_file, f"cannot load the table t: it is a file, expected a folder. {FOREIGN}"),
    "an empty folder": (emptied, f"cannot load the table t: it is not a score table: pt_meta.json is missing. {FOREIGN}"),
    "a foreign folder": (
        foreign,
        "cannot load the table t: it is not a score table: pt_meta.json holds ('sparse_index', 'terrier'), "
        f"expected ('score_table', 'pt_cascade'). {FOREIGN}",
    ),
    "another format": (
        lambda: meta_of(lambda meta: meta.update(format="other")),
        "cannot load the table t: it is not a score table: pt_meta.json holds ('score_table', 'other'), "
        f"expected ('score_table', 'pt_cascade'). {FOREIGN}",
    ),
    "metadata of a list": (
        lambda: META.write_text("[1]"),
        "cannot load the table t: it is not a score table: pt_meta.json holds no JSON object, "
        f"expected ('score_table', 'pt_cascade'). {FOREIGN}",
    ),
    "no JSON": (
        lambda: META.write_text("{"),
        "cannot load the table t: pt_meta.json is not JSON: Expecting property name enclosed in double quotes: "
        f"line 1 column 2 (char 1). {AGAIN}",
    ),
    "no UTF-8": (
        lambda: META.write_bytes(b'{"type": "\xff"}'),
        "cannot load the table t: pt_meta.json is not JSON: 'utf-8' codec can't decode byte 0xff in position 10: "
        f"invalid start byte. {AGAIN}",
    ),
    "metadata changed": (
        lambda: META.write_text(META.read_text().replace("given", "rank")),
        f"cannot load the table t: pt_meta.json is damaged: its content does not match its sha256. {AGAIN}",
    ),
    "metadata without its seal": (
        lambda: meta_of(lambda meta: meta, seal=False),
        f"cannot load the table t: pt_meta.json is damaged: its content does not match its sha256. {AGAIN}",
    ),
    "metadata without columns": (
        lambda: meta_of(lambda meta: meta.pop("columns")),
        f"cannot load the table t: pt_meta.json does not describe a score table (KeyError: 'columns'). {AGAIN}",
    ),
    "a column of no kind": (
        lambda: meta_of(lambda meta: meta["columns"][0].update(rule=["shuffled", "given"])),
        "cannot load the table t: pt_meta.json does not describe a score table (TableError: stage 'bm25' cannot be in a table: "
        "the tie rule is TieRule(rows='shuffled', ties='given'), expected two of given, rank, docno, docno descending, docid). "
        f"{AGAIN}",
    ),
    "scores missing": (SCORES.unlink, f"cannot load the table t: scores.parquet is missing. {AGAIN}"),
    "scores a folder": (
        lambda: (SCORES.unlink(), SCORES.mkdir()),
        f"cannot load the table t: scores.parquet cannot be read: Is a directory. {AGAIN}",
    ),
    "two damages": (
        lambda: (SCORES.unlink(), TOPICS.write_bytes(b"")),
        "cannot load the table t:\n"
        "  - scores.parquet is missing\n"
        "  - topics.parquet is damaged: its 0 bytes do not match the sha256 in pt_meta.json\n"
        f"{AGAIN}",
    ),
    "scores that are no Parquet": (
        lambda: (SCORES.write_bytes(b"PAR1"), note()),
        f"{FITS}Could not open Parquet input source '<Buffer>': Parquet file size is 4 bytes, smaller than the minimum file footer "
        f"(8 bytes). {AGAIN}",
    ),
    "a column less": (
        lambda: scores_of(lambda table: table.drop_columns(["t5"])),
        f"{FITS}missing columns: t5, found qid, docno, rank, bm25. {AGAIN}",
    ),
    "a column of text": (
        lambda: scores_of(lambda table: table.set_column(4, "t5", pa.array(["a", "b", "c"]))),
        f"{FITS}column 't5' holds str, expected numbers. {AGAIN}",
    ),
    "ranks of another order": (
        lambda: scores_of(lambda table: table.set_column(2, table.schema.field(2), pa.array([1, 0, 2]))),
        f"{FITS}rank is not that of 'bm25' by descending score, from 0. {AGAIN}",
    ),
    "a query that nobody asked": (
        lambda: scores_of(lambda table: table.set_column(0, table.schema.field(0), pa.array(["1", "1", "9"]))),
        f"{FITS}qid '9' is not among the topics. {AGAIN}",
    ),
    "a first stage without a score": (
        lambda: scores_of(lambda table: table.set_column(3, "bm25", pa.array([3.0, None, 1.0]))),
        f"{FITS}1 score of the first stage 'bm25' not finite. {AGAIN}",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(folder: Path, damage: str) -> None:
    """Each kind of damage is a TableError that says which file it is and what is wrong."""
    harm, message = DAMAGE[damage]
    harm()
    with pytest.raises(TableError) as caught:
        ScoreTable.load(folder)
    assert str(caught.value) == message


@pytest.mark.parametrize("harm", [cut, flip])
@pytest.mark.parametrize("path", [SCORES, TOPICS])
def test_parquet_that_is_not_whole_is_named(folder: Path, path: Path, harm: Callable[[Path], None]) -> None:
    """A byte lost or a bit flipped is found by the hash, before Parquet could stumble over it."""
    harm(path)
    found = f"{path.name} is damaged: its {path.stat().st_size:,} bytes do not match the sha256 in pt_meta.json"
    with pytest.raises(TableError) as caught:
        ScoreTable.load(folder)
    assert str(caught.value) == f"cannot load the table t: {found}. {AGAIN}"


@given(
    st.sampled_from(["scores.parquet", "topics.parquet", "pt_meta.json"]), st.floats(0, 1, exclude_max=True), st.integers(1, 255)
)
def test_no_changed_byte_goes_unseen(scratch: Path, name: str, where: float, change: int) -> None:
    """Whatever byte of whatever file is changed to whatever, loading refuses; or what JSON takes for blank was changed to blank."""
    place = scratch / "whole"
    if not place.exists():
        small().save(place)
    whole = (place / name).read_bytes()
    data = bytearray(whole)
    data[int(where * len(data))] ^= change
    (place / name).write_bytes(data)
    try:
        if name == "pt_meta.json" and data.translate(None, b" \t\n\r") == whole.translate(None, b" \t\n\r"):
            assert_same(small(), load_table(place))
        else:
            with pytest.raises(TableError):
                load_table(place)
    finally:
        (place / name).write_bytes(whole)


def test_deep_nesting_does_not_crash(folder: Path) -> None:
    """JSON that would exhaust the stack is refused as JSON."""
    META.write_text("[" * 100_000)
    with pytest.raises(TableError, match=r"^cannot load the table t: pt_meta.json is not JSON: "):
        ScoreTable.load(folder)


# the Artifact


def test_pyterrier_loads_it(folder: Path) -> None:
    """``pt.Artifact.load`` finds the class by the metadata, and gives the table that was saved."""
    import pyterrier as pt

    table = pt.Artifact.load(str(folder))
    assert (type(table), table.path) == (ScoreTable, folder)
    assert pt.inspect.artifact_type_format(table) == ("score_table", "pt_cascade")
    assert_same(small(), table)


def test_a_table_knows_where_it_was_saved(tmp_path: Path) -> None:
    """A new one has no path, which PyTerrier's own packing asks for; a saved one has, and its package is whole."""
    import pyterrier as pt

    table = ScoreTable.of(small())
    assert table.path is pt.Artifact.NO_PATH
    saved = table.save(tmp_path / "t")
    assert saved.path == tmp_path / "t"
    assert Path(saved.build_package(verbose=False)).is_file()


def test_a_package_of_it_is_whole(folder: Path) -> None:
    """What PyTerrier packs to publish it, and unpacks elsewhere, is the same table."""
    import tarfile

    import pyterrier as pt
    from lz4.frame import LZ4FrameFile

    told: dict[str, object] = {}
    package = pt.Artifact.load(str(folder)).build_package("t.tar.lz4", metadata_out=told, verbose=False)
    assert (told["type"], told["format"], told["package_hint"]) == ("score_table", "pt_cascade", "pt_cascade")
    with LZ4FrameFile(package) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        tar.extractall("fetched", filter="data")
    assert_same(small(), pt.Artifact.load("fetched"))


def test_the_artifact_names_damage(folder: Path) -> None:
    """Damage is an error when PyTerrier loads it."""
    import pyterrier as pt

    cut(SCORES)
    with pytest.raises(TableError, match=r"scores\.parquet is damaged"):
        pt.Artifact.load(str(folder))
