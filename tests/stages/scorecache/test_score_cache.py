"""The file of a score cache: scores bit for bit, batches whole or not at all, other processes, damage, foreign files."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import TESTS
from toys.storing import GROUPS, IDENTITY, MEMORY

from pt_cascade.errors import ScoreCacheError
from pt_cascade.stages.scorecache import score_cache as module
from pt_cascade.stages.scorecache.score_cache import ScoreCache

SCORES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([-0.0, 0.0, 5e-324, 1.7e308, 3.0, 2.0**53 + 2])
)
ITEMS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
PUTS = st.lists(st.dictionaries(st.tuples(st.integers(0, 3), ITEMS), SCORES, min_size=1, max_size=8), max_size=5)


def start(task: str, path: Path, *numbers: int) -> str:
    """Run a task of ``toys.storing`` in a process of its own."""
    command = [sys.executable, "-m", "toys.storing", task, str(path), *map(str, numbers)]
    done = subprocess.run(
        command, check=False, cwd=TESTS, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def put(store: ScoreCache, scores: dict[tuple[int, int], float]) -> None:
    """Put scores by (number of the group, item)."""
    store.put(
        GROUPS, np.array([group for group, _ in scores]), np.array([item for _, item in scores]), np.array([*scores.values()])
    )


def get(store: ScoreCache, keys: list[tuple[int, int]]) -> np.ndarray:
    """Get scores by (number of the group, item)."""
    return store.get(GROUPS, np.array([group for group, _ in keys], np.int64), np.array([item for _, item in keys], np.int64))


@pytest.fixture
def store(tmp_path: Path) -> ScoreCache:
    """A store of three scores."""
    made = ScoreCache(str(tmp_path / "scores.sqlite"), IDENTITY)
    put(made, {(0, 1): 0.25, (0, 2): 0.5, (1, 1): -1.0})
    return made


@given(PUTS, st.lists(st.tuples(st.integers(0, 3), ITEMS), max_size=5))
def test_what_is_put_is_had_back(puts: list[dict[tuple[int, int], float]], others: list[tuple[int, int]]) -> None:
    """Oracle: a dictionary in which the first value of a key stays; compared bit by bit, in any order, with keys asked twice."""
    expected: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = ScoreCache(f"{folder}/s", IDENTITY)
        for scores in puts:
            put(store, scores)
            expected = {**scores, **expected}
        keys = [*reversed(expected), *others, *expected]
        found = get(store, keys)
        assert store.count() == len(expected)
    wanted = np.array([expected.get(key, np.nan) for key in keys], np.float64)
    assert np.isnan(found).tolist() == np.isnan(wanted).tolist()
    assert found[~np.isnan(found)].tobytes() == wanted[~np.isnan(wanted)].tobytes()


def test_the_file_is_plain_sqlite(store: ScoreCache) -> None:
    """Golden: Python's own sqlite3, struct and zlib read the scores, their checksums, the identity and the application."""
    file = sqlite3.connect(store.path)
    found = file.execute("SELECT query, scores, crc FROM scores ORDER BY id").fetchall()
    wanted = [(GROUPS[0], struct.pack("<qdqd", 1, 0.25, 2, 0.5)), (GROUPS[1], struct.pack("<qd", 1, -1.0))]
    assert found == [(group, scores, zlib.crc32(group + scores)) for group, scores in wanted]
    identity = '{"class": "toy"}'
    assert file.execute("SELECT * FROM meta").fetchall() == [("identity", identity, zlib.crc32(f"identity {identity}".encode()))]
    pragmas = [file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "journal_mode")]
    assert pragmas == [0x70746373, "delete"]
    file.close()


def test_reading_makes_no_file(tmp_path: Path) -> None:
    """A store that nobody wrote to has no scores, no notes and no file."""
    store = ScoreCache(str(tmp_path / "deep" / "scores"), IDENTITY)
    assert np.isnan(get(store, [(0, 1)])).all()
    assert (store.count(), store.notes(), store.size(), [*tmp_path.iterdir()]) == (0, {}, 0, [])
    put(store, {(0, 1): 1.0})
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["scores"]


@pytest.mark.parametrize("name", ["a b?mode=memory", "50%25#é", "-wal", "'\"; DROP TABLE scores"])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What means something in an address or in SQL is part of the name; a relative path too."""
    monkeypatch.chdir(tmp_path)
    put(ScoreCache(name, IDENTITY), {(0, 1): 0.5})
    assert get(ScoreCache(str(tmp_path / name), IDENTITY), [(0, 1)]).tolist() == [0.5]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def _garble(path: Path) -> None:
    path.write_bytes(b"qid docno score\n" * 100)


def _other(path: Path) -> None:
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE scores (key, score)")
    file.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_garble, "it is not an SQLite file"),
        (lambda path: path.write_bytes(b"text\n"), "it is not an SQLite file"),
        (_other, "it is an SQLite file of another application"),
    ],
)
def test_other_files_are_refused_and_not_changed(tmp_path: Path, make: Callable[[Path], object], problem: str) -> None:
    """Neither the bytes nor the time of the file change, no file appears beside it, and the cure works."""
    path = tmp_path / "file"
    make(path)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    store = ScoreCache(str(path), IDENTITY)
    for use in (lambda: get(store, [(0, 1)]), lambda: put(store, {(0, 1): 0.5}), store.count, store.notes, store.check_writable):
        with pytest.raises(ScoreCacheError, match=f"file is not a score cache: {problem}. Fix: cached\\(stage, 'another/path'\\)"):
            use()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [*tmp_path.iterdir()] == [path]
    put(ScoreCache(str(tmp_path / "another"), IDENTITY), {(0, 1): 0.5})


def test_an_empty_file_is_an_empty_cache(tmp_path: Path) -> None:
    """A process that is killed while it creates the file leaves one; reads find nothing, the next write fills it."""
    (tmp_path / "s").touch()
    store = ScoreCache(str(tmp_path / "s"), IDENTITY)
    assert (np.isnan(get(store, [(0, 1)])).all(), store.count(), store.notes()) == (True, 0, {})
    put(store, {(0, 1): 0.5})
    assert get(store, [(0, 1)]).tolist() == [0.5]


def test_scores_of_another_stage_are_refused(store: ScoreCache) -> None:
    """What differs is named, with what was found and what was expected; nothing is read or written."""
    other = ScoreCache(store.path, {"class": "toy", "model": "files 12ab"})
    for use in (lambda: get(other, [(0, 1)]), lambda: put(other, {(0, 9): 0.5}), other.check_writable):
        with pytest.raises(
            ScoreCacheError, match=r"belong to another stage: its model is not given, expected files 12ab\. Fix: cached"
        ):
            use()
    assert (store.count(), list(store.notes())) == (3, ["identity"])
    assert ScoreCache(store.path, {}).count() == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_never_stored(store: ScoreCache, bad: float) -> None:
    """It is refused, and so is all that comes with it."""
    with pytest.raises(ScoreCacheError, match="scores cannot be cached: 1 of 2 are not finite"):
        put(store, {(2, 1): 1.0, (2, 2): bad})
    assert store.count() == 3


def cure(error: ScoreCacheError, path: Path) -> None:
    """Run the command that the error gives; afterwards the cache is empty and can be used."""
    command = error.fix.partition(", so that")[0]
    assert command == f"rm {path}"
    subprocess.run(command.split(), check=True)
    put(ScoreCache(str(path), IDENTITY), {(0, 1): 0.75})
    assert get(ScoreCache(str(path), IDENTITY), [(0, 1), (1, 1)])[0] == 0.75


def test_a_damaged_file_is_an_error_with_its_cure(store: ScoreCache) -> None:
    """All pages behind the header overwritten: an error that names the file and the command that removes it."""
    path = Path(store.path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(255 - byte for byte in whole[100:]))
    with pytest.raises(ScoreCacheError, match=r"scores.sqlite cannot be used: DatabaseError: .*malformed\. Fix: rm") as refused:
        get(store, [(0, 1)])
    cure(refused.value, path)


def test_a_flipped_bit_never_gives_a_wrong_score(store: ScoreCache) -> None:
    """Each byte of the file that is not 0, and some that are, with one bit flipped: the right score, none, or an error.

    Every bit of the stored scores is found: the error names the checksum, and its cure works.
    """
    path = Path(store.path)
    whole, dice = path.read_bytes(), np.random.default_rng(0)
    places = {*np.flatnonzero(np.frombuffer(whole, np.uint8)), *dice.integers(0, len(whole), 200)}
    scores, errors = whole.index(struct.pack("<qdqd", 1, 0.25, 2, 0.5)), {}
    for place in sorted(map(int, places | {*range(scores, scores + 32)})):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(dice.integers(8))]) + whole[place + 1 :])
        try:
            found = get(store, [(0, 1), (0, 2), (1, 1)])
        except ScoreCacheError as error:
            errors[place] = error
        else:
            assert ((found == [0.25, 0.5, -1.0]) | np.isnan(found)).all()
    for place in range(scores, scores + 32):
        assert "ValueError: scores: the checksum is wrong, so the file is damaged" in str(errors[place])
    cure(errors[scores], path)


DAMAGE = {
    "scores that are text": "UPDATE scores SET scores = 'high'",
    "half of the scores": "UPDATE scores SET scores = substr(scores, 1, 8)",
    "scores of another query": "UPDATE scores SET query = (SELECT min(query) FROM scores)",
    "a checksum that is text": "UPDATE scores SET crc = 'none'",
    "no identity": "DELETE FROM meta",
    "another identity": """UPDATE meta SET value = '{"class": "toy"} '""",
    "an identity in bytes": "UPDATE meta SET value = x'ff'",
    "an identity that is no text": "UPDATE meta SET value = CAST(x'ff' AS TEXT)",
    "no table": "DROP TABLE scores",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_changed_content_is_an_error(store: ScoreCache, damage: str) -> None:
    """Whatever was changed by other means: an error with its cure, and no score."""
    file = sqlite3.connect(store.path)
    file.execute(DAMAGE[damage])
    file.commit()
    file.close()
    with pytest.raises(ScoreCacheError, match=r"scores.sqlite cannot be used: .*Fix: rm .*") as refused:
        get(store, [(0, 1), (1, 1)])
    cure(refused.value, Path(store.path))


def test_a_path_is_resolved_when_the_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the process is then, or to its home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    stores = [ScoreCache(path, IDENTITY) for path in ("here", "~/there")]
    monkeypatch.chdir("/")
    for number, one in enumerate(stores):
        put(one, {(0, 1): float(number)})
        assert get(one, [(0, 1)]).tolist() == [number]
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == {"here", "home/there"}


def test_a_batch_that_fails_half_way_leaves_nothing(store: ScoreCache) -> None:
    """SQLite itself refuses its second query, by a trigger: nothing of the batch is there, and the next batch is written."""
    file = sqlite3.connect(store.path)
    refusal = "(SELECT count(*) FROM scores) = 3 BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    file.execute(f"CREATE TRIGGER t BEFORE INSERT ON scores WHEN {refusal}")
    file.close()
    with pytest.raises(ScoreCacheError, match="cannot be used: IntegrityError: not this one"):
        put(store, {(5, 6): 1.0, (5, 7): 1.0, (6, 1): 1.0})
    put(store, {(5, 8): 2.0})
    assert get(store, [(5, 6), (5, 7), (5, 8), (0, 1)])[2:].tolist() == [2.0, 0.25]
    assert store.count() == 4


def test_a_writer_waits_and_then_says_so(store: ScoreCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one writes for longer than anybody waits: an error that says what to do; readers are not held up."""
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ScoreCacheError, match=r"database is locked\. Fix: wait until the other process is done"):
        put(store, {(5, 6): 1.0})
    assert get(store, [(0, 1)]).tolist() == [0.25]
    other.close()
    put(store, {(5, 6): 1.0})


def test_the_journal_of_a_removed_file_is_not_part_of_a_new_one(store: ScoreCache) -> None:
    """A killed process left a journal, somebody removed the file alone: the new file has its own scores and no old ones."""
    path, journal = Path(store.path), Path(f"{store.path}-journal")
    killed = sqlite3.connect(path, isolation_level=None)
    killed.execute("PRAGMA cache_size = 1")
    killed.execute("BEGIN IMMEDIATE")
    killed.execute("UPDATE scores SET crc = 0")
    killed.execute("INSERT INTO scores (query, scores, crc) VALUES (x'00', zeroblob(1000000), 0)")  # writes the journal
    left = journal.read_bytes()
    assert left.startswith(bytes.fromhex("d9d505f920a163d7"))  # as SQLite's documentation of its file format has it
    killed.execute("ROLLBACK")
    killed.close()
    path.unlink()
    journal.write_bytes(left)
    other = ScoreCache(store.path, {"class": "other"})
    assert np.isnan(get(other, [(0, 1)])).all()
    put(other, {(0, 2): 1.0})
    found = get(other, [(0, 1), (0, 2)])
    assert (np.isnan(found[0]), found[1], other.count(), journal.exists()) == (True, 1.0, 1, False)


def test_notes_are_replaced(store: ScoreCache) -> None:
    """A note stands until the next of its name; the identity stays beside it."""
    nothing = np.zeros(0, np.int64)
    for note in ("first", "second"):
        store.put([], nothing, nothing, np.zeros(0), {"order": note})
    assert store.notes() == {"identity": json.dumps(IDENTITY), "order": "second"}
    assert store.count() == 3


def test_a_score_takes_few_bytes(tmp_path: Path) -> None:
    """At most 24 bytes a score in batches of 500 of one query, 16 of them its item and score; the first score of a key stays."""
    item = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, (len(GROUPS), 2000))
    scores, mixed = np.sqrt(np.arange(16_000)).reshape(item.shape), ScoreCache(str(tmp_path / "s"), IDENTITY)
    sizes = []
    for _ in range(2):
        for number, part in [(n, slice(start, start + 500)) for n in range(len(GROUPS)) for start in range(0, 2000, 500)]:
            mixed.put(GROUPS[number : number + 1], np.zeros(500, np.int64), item[number, part], scores[number, part])
        sizes.append(mixed.size())
        scores = scores + 1
    assert sizes[0] / 16_000 < 24
    found = mixed.get(GROUPS, np.repeat(np.arange(8), 2000), item.ravel())
    assert found.tolist() == np.sqrt(np.arange(16_000)).tolist()
    assert mixed.count() == 16_000


def test_nothing_stays_open(store: ScoreCache) -> None:
    """After each call no file of the store is open, and none lies beside it: it may be copied, moved, forked and pickled."""
    before = sorted(Path("/proc/self/fd").iterdir())
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    put(copy, {(3, 3): 3.0})
    assert get(store, [(3, 3)]).tolist() == [3.0]
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert [file.name for file in Path(store.path).parent.iterdir()] == ["scores.sqlite"]


def test_threads_may_share_a_store(store: ScoreCache) -> None:
    """Eight threads that read and write at once lose nothing."""

    def work(thread: int) -> float:
        for n in range(10):
            put(store, {(thread, 100 + n): float(thread)})
        return float(get(store, [(thread, 100 + n) for n in range(10)]).sum())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [10.0 * thread for thread in range(8)]
    assert store.count() == 83


def test_processes_may_make_and_write_a_store_at_once(tmp_path: Path) -> None:
    """Four processes, forked, race to make the file and to put other scores under the same keys: of each batch one's stay."""
    start("race", tmp_path / "scores")
    store = ScoreCache(str(tmp_path / "scores"), IDENTITY)
    assert store.count() == 8 * 50
    found = store.get(GROUPS, np.repeat(np.arange(8), 50), np.tile(np.arange(50), 8)).reshape(8, 50)
    writer = np.round(found[:, :1])
    assert set(writer.ravel()) <= {0.0, 1.0, 2.0, 3.0}
    assert (found == writer + np.arange(50) / 100).all()


@pytest.mark.parametrize(("task", "batches"), [("threads", 60), ("forks", 150), ("users", 80)])
def test_no_commit_is_lost_to_other_writers(tmp_path: Path, task: str, batches: int) -> None:
    """Threads beside another process, children that a stage forks while it scores, three users of a stage."""
    start(task, tmp_path / "scores", batches)


def test_a_killed_process_loses_at_most_its_last_batch(tmp_path: Path) -> None:
    """Killed 10 times while it scores and writes: what it was asked for before its last batch is there, whole and right."""
    _check_kills(start("killed", tmp_path / "scores", 10))


def _check_kills(said: str) -> None:
    """The kills did hit work: batches were kept before them, and some lost their last."""
    kills, lost, kept = (int(number) for number in re.findall(r"\d+", said))
    assert 0 < lost <= kills
    assert kept > 16 * kills


@pytest.mark.slow
def test_a_process_killed_many_times_loses_at_most_its_last_batch(tmp_path: Path) -> None:
    """The same 500 times, into one file."""
    _check_kills(start("killed", tmp_path / "scores", 500))


def test_a_file_that_cannot_be_made_leaves_no_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails half way, here by a line that SQLite refuses: an empty file is left, which the next write fills."""
    monkeypatch.setattr(module, "_SCHEMA", (*module._SCHEMA, "INSERT INTO absent VALUES (1)"))
    store = ScoreCache(str(tmp_path / "scores"), IDENTITY)
    with pytest.raises(ScoreCacheError, match=r"cannot be used: OperationalError: no such table: absent"):
        put(store, {(0, 1): 0.5})
    assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("scores", 0)]
    monkeypatch.undo()
    put(store, {(0, 1): 0.5})
    assert store.count() == 1


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    """Files that may not grow: the write is refused with the reason, stored scores remain, and later writes work."""
    assert "cannot be used" in start("full", tmp_path / "scores")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter (those of pytest they may not)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_where_nothing_may_be_written_scores_are_read(open_folder: Path) -> None:
    """A file in a folder, both read-only, to a user who is not root: reads give the scores, writes say why not."""
    path = open_folder / "scores"
    put(ScoreCache(str(path), IDENTITY), {(0, 1): 0.25, (0, 2): 0.5})
    assert "cannot be used: OperationalError: attempt to write a readonly database" in start("forbidden", path)


def test_an_unwritable_place_is_reported(tmp_path: Path) -> None:
    """A folder that is a file: an error of ours, and nothing half made."""
    (tmp_path / "file").touch()
    with pytest.raises(ScoreCacheError, match="cannot be used: FileExistsError"):
        put(ScoreCache(str(tmp_path / "file" / "scores"), IDENTITY), {(0, 1): 0.5})
    with pytest.raises(ScoreCacheError, match="cannot be used: OperationalError: unable to open"):
        ScoreCache(str(tmp_path), IDENTITY).count()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
