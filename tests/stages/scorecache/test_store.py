"""Scores on the disk: bit for bit as they were put, whole or not at all, whoever else writes; what is not ours is not touched."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import TESTS
from toys.storing import GROUPS, IDENTITY, MEMORY

from pt_cascade.errors import StoreError
from pt_cascade.stages.scorecache import sqlite_file as store_files
from pt_cascade.stages.scorecache import sqlite_locks as store_opening
from pt_cascade.stages.scorecache.store import ScoreStore

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


def put(store: ScoreStore, scores: dict[tuple[int, int], float]) -> None:
    """Put scores by (number of the group, item)."""
    store.put(
        GROUPS, np.array([group for group, _ in scores]), np.array([item for _, item in scores]), np.array([*scores.values()])
    )


def get(store: ScoreStore, keys: list[tuple[int, int]]) -> np.ndarray:
    """Get scores by (number of the group, item)."""
    return store.get(GROUPS, np.array([group for group, _ in keys], np.int64), np.array([item for _, item in keys], np.int64))


@pytest.fixture
def store(tmp_path: Path) -> ScoreStore:
    """A store of three scores."""
    made = ScoreStore(str(tmp_path / "scores.sqlite"), IDENTITY)
    put(made, {(0, 1): 0.25, (0, 2): 0.5, (1, 1): -1.0})
    return made


@given(PUTS, st.lists(st.tuples(st.integers(0, 3), ITEMS), max_size=5))
def test_what_is_put_is_had_back(puts: list[dict[tuple[int, int], float]], others: list[tuple[int, int]]) -> None:
    """Oracle: a dictionary in which the first value of a key stays; compared bit by bit, in any order, with keys asked twice."""
    expected: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = ScoreStore(f"{folder}/s", IDENTITY)
        for scores in puts:
            put(store, scores)
            expected = {**scores, **expected}
        keys = [*reversed(expected), *others, *expected]
        found = get(store, keys)
        assert store.count() == len(expected)
    wanted = np.array([expected.get(key, np.nan) for key in keys], np.float64)
    assert np.isnan(found).tolist() == np.isnan(wanted).tolist()
    assert found[~np.isnan(found)].tobytes() == wanted[~np.isnan(wanted)].tobytes()


def test_the_file_is_plain_sqlite(store: ScoreStore) -> None:
    """Golden: Python's own sqlite3 reads the three scores, by salted groups, the identity, and that the file is in WAL mode."""
    file = sqlite3.connect(store.path)
    rows = file.execute("SELECT key, item, score FROM scores JOIN groups ON id = owner ORDER BY score").fetchall()
    salt = bytes.fromhex(file.execute("SELECT value FROM about WHERE name = 'salt'").fetchone()[0])
    first, second = (hashlib.blake2b(group, digest_size=16, salt=salt).digest() for group in GROUPS[:2])
    assert rows == [(second, 1, -1.0), (first, 1, 0.25), (first, 2, 0.5)]
    assert file.execute("SELECT value FROM about WHERE name = 'identity'").fetchone() == ('{"class": "toy"}',)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def test_reading_makes_no_file(tmp_path: Path) -> None:
    """A store that nobody wrote to has no scores, no notes and no file."""
    store = ScoreStore(str(tmp_path / "deep" / "scores"), IDENTITY)
    assert np.isnan(get(store, [(0, 1)])).all()
    assert (store.count(), store.notes(), store.size(), [*tmp_path.iterdir()]) == (0, {}, 0, [])
    put(store, {(0, 1): 1.0})
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["scores"]


@pytest.mark.parametrize("name", ["a b?mode=memory", "50%25#é", "-wal", "'\"; DROP TABLE scores"])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What means something in an address or in SQL is part of the name; a relative path too."""
    monkeypatch.chdir(tmp_path)
    put(ScoreStore(name, IDENTITY), {(0, 1): 0.5})
    assert get(ScoreStore(str(tmp_path / name), IDENTITY), [(0, 1)]).tolist() == [0.5]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def _garble(path: Path) -> None:
    path.write_bytes(b"qid docno score\n" * 100)


def _other(path: Path) -> None:
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE scores (key, score)")
    file.close()


def _newer(path: Path) -> None:
    put(ScoreStore(str(path), IDENTITY), {(0, 1): 0.5})
    file = sqlite3.connect(path)
    file.execute("PRAGMA user_version = 3")
    file.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_garble, "it is no SQLite file"),
        (Path.touch, "it is no SQLite file"),
        (_other, "it is an SQLite file of something else"),
        (_newer, "its format is 3, expected 2: another version of pt_cascade made it"),
    ],
)
def test_what_is_not_ours_is_refused_and_not_touched(tmp_path: Path, make: object, problem: str) -> None:
    """Neither its bytes nor its time change, and nothing is left beside it."""
    path = tmp_path / "file"
    make(path)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    store = ScoreStore(str(path), IDENTITY)
    for use in (lambda: get(store, [(0, 1)]), lambda: put(store, {(0, 1): 0.5}), store.count, store.notes):
        with pytest.raises(
            StoreError, match=f"there are no kept scores in .*file: {problem}. Fix: cached\\(stage, 'another/path'\\)"
        ):
            use()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [*tmp_path.iterdir()] == [path]


def test_scores_of_another_stage_are_refused(store: ScoreStore) -> None:
    """What differs is named, with what was found and what was expected; nothing is read or written."""
    other = ScoreStore(store.path, {"class": "toy", "model": "files 12ab"})
    for use in (lambda: get(other, [(0, 1)]), lambda: put(other, {(0, 9): 0.5}), lambda: other.note("a", "b")):
        with pytest.raises(StoreError, match=r"are of another stage: its model is not told, expected files 12ab\. Fix: cached"):
            use()
    assert repr(other) == f"ScoreStore('{store.path}': the scores in {store.path} are of another stage, {store.size()} bytes)"
    assert (store.count(), list(store.notes())) == (3, ["identity"])
    assert ScoreStore(store.path, {}).count() == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_never_kept(store: ScoreStore, bad: float) -> None:
    """It is refused, and so is all that comes with it."""
    with pytest.raises(StoreError, match="scores cannot be kept: 1 of 2 are not finite"):
        put(store, {(2, 1): 1.0, (2, 2): bad})
    assert store.count() == 3


def test_a_damaged_file_is_told_with_the_way_out(store: ScoreStore) -> None:
    """Its pages overwritten behind the header: an error of ours that names the file, not one of SQLite's."""
    path = Path(store.path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes(255 - byte for byte in whole[100:]))
    with pytest.raises(
        StoreError, match=r"DatabaseError: .*malformed. Fix: bring back a copy, or rm -f (.*scores.sqlite) \1-wal \1-shm$"
    ):
        get(store, [(0, 1)])


DAMAGE = {
    "a score that is text": "UPDATE scores SET score = 'high'",
    "a score in text": "UPDATE scores SET score = '0.5'",
    "a whole number": "UPDATE scores SET score = 1",
    "an infinite score": "UPDATE scores SET score = 9e999",
    "a score in bytes": "UPDATE scores SET score = x'80'",
    "no salt": "DELETE FROM about WHERE name = 'salt'",
    "half a salt": "UPDATE about SET value = '00' WHERE name = 'salt'",
    "a salt that is none": "UPDATE about SET value = 'salt' WHERE name = 'salt'",
    "a salt in bytes": "UPDATE about SET value = x'80' WHERE name = 'salt'",
    "an identity that is no JSON": "UPDATE about SET value = '{' WHERE name = 'identity'",
    "an identity that is a list": "UPDATE about SET value = '[1]' WHERE name = 'identity'",
    "an identity in bytes": "UPDATE about SET value = x'ff' WHERE name = 'identity'",
    "an identity that is no text": "UPDATE about SET value = CAST(x'ff' AS TEXT) WHERE name = 'identity'",
    "no table": "DROP TABLE groups",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_content_that_nobody_put_there_is_told(store: ScoreStore, damage: str) -> None:
    """Whatever is wrong with it: an error of ours with the way out, and no score."""
    file = sqlite3.connect(store.path)
    file.execute(DAMAGE[damage])
    file.commit()
    file.close()
    with pytest.raises(StoreError, match=r"scores.sqlite cannot be used: .*Fix: bring back a copy, or rm -f .*"):
        get(store, [(0, 1), (1, 1)])


def test_a_path_is_fixed_when_the_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to where the process is then, or to its home; bytes, too, of which some are no UTF-8."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    stores = [ScoreStore(path, IDENTITY) for path in ("here", "~/there", b"by\xff" + b"tes")]
    monkeypatch.chdir("/")
    for number, one in enumerate(stores):
        put(one, {(0, 1): float(number)})
        assert get(one, [(0, 1)]).tolist() == [number]
    files = {os.fsencode(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files == {b"here", b"home/there", b"by\xfftes"}


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Makers take turns by a lock file, of which nothing stays; a lock that is never taken away is told."""

    def refuse(*_: object) -> None:
        raise OSError(code, "not here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(store_opening, "PATIENCE", 0.05)
    store = ScoreStore(str(tmp_path / "scores"), IDENTITY)
    lock = tmp_path / ".scores.lock"
    lock.touch()
    with pytest.raises(StoreError, match=r".scores.lock is never taken away: who made it was killed. Fix: rm .*lock"):
        put(store, {(0, 1): 0.5})
    lock.unlink()
    with ThreadPoolExecutor(4) as pool:
        [*pool.map(lambda n: put(store, {(n, 1): n / 7}), range(4))]
    assert get(store, [(n, 1) for n in range(4)]).tolist() == [n / 7 for n in range(4)]
    assert [file.name for file in tmp_path.iterdir()] == ["scores"]


def test_a_batch_that_fails_half_way_leaves_nothing(store: ScoreStore) -> None:
    """SQLite itself refuses one of its scores, by a trigger: neither the others nor their group are kept, and the next batch is."""
    file = sqlite3.connect(store.path)
    file.execute("CREATE TRIGGER t BEFORE INSERT ON scores WHEN new.item = 7 BEGIN SELECT RAISE(ABORT, 'not this one'); END")
    file.close()
    with pytest.raises(StoreError, match="cannot be used: IntegrityError: not this one"):
        put(store, {(5, 6): 1.0, (5, 7): 1.0, (6, 1): 1.0})
    put(store, {(5, 8): 2.0})
    assert get(store, [(5, 6), (5, 7), (5, 8), (0, 1)])[2:].tolist() == [2.0, 0.25]
    assert store.count() == 4


def test_a_writer_waits_and_then_says_so(store: ScoreStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one writes for longer than anybody waits: an error that says what to do; readers are not held up."""
    monkeypatch.setattr(store_opening, "PATIENCE", 0.01)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"database is locked\. Fix: wait until the other process is done"):
        put(store, {(5, 6): 1.0})
    assert get(store, [(0, 1)]).tolist() == [0.25]
    other.close()
    put(store, {(5, 6): 1.0})


@pytest.fixture
def left(store: ScoreStore) -> Path:
    """A place where a file was removed, and not what lay beside it: what was written last, as a killed process leaves it."""
    path = Path(store.path)
    with store.hold():
        put(store, {(0, 7): 7.0})
        for end in ("-wal", "-shm"):
            shutil.copy(f"{path}{end}", f"{path}{end}.copy")
    path.unlink()
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}.copy").rename(f"{path}{end}")
    return path


def test_no_file_is_made_beside_what_is_left_of_another(left: Path) -> None:
    """SQLite would take the old log for a part of the new file: so it is refused, with the line that clears the place."""
    for identity in (IDENTITY, {"class": "other"}):
        store = ScoreStore(str(left), identity)
        with pytest.raises(
            StoreError, match=r"no scores can be kept in .*: .*scores.sqlite-wal and .*-shm is left of a file"
        ) as refused:
            put(store, {(0, 1): 1.0})
        assert np.isnan(get(store, [(0, 7)])).all()
    command = str(refused.value.fix).partition("or ")[2]
    assert command == f"rm -f {left}-wal {left}-shm"
    subprocess.run(command.split(), check=True)
    put(store, {(0, 1): 1.0})
    assert get(store, [(0, 1), (0, 7)])[:1].tolist() == [1.0]


def test_a_log_of_another_file_answers_for_nothing(left: Path) -> None:
    """If somebody puts a file beside it all the same, no score of the old one is taken for one of the new one."""
    new = ScoreStore(str(left.parent / "new"), {"class": "other"})
    put(new, {(0, 1): 1.0})
    Path(new.path).rename(left)
    try:
        found = get(ScoreStore(str(left), new.identity), [(0, 1), (0, 7)])
    except StoreError:
        return
    assert found[0] == 1.0 or np.isnan(found[0])
    assert np.isnan(found[1])


def test_notes_are_replaced(store: ScoreStore) -> None:
    """A note stands until the next of its name; the identity stays beside it."""
    store.note("manner", "so")
    store.note("manner", "so, too")
    assert store.notes() == {"identity": '{"class": "toy"}', "manner": "so, too"}


def test_a_store_tells_its_size(store: ScoreStore) -> None:
    """At most 40 bytes a score, for queries one after the other and for documents in any order."""
    item = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, (len(GROUPS), 2000))
    group = np.repeat(np.arange(len(GROUPS)), 2000)
    store.put(GROUPS, group, item.ravel(), np.sqrt(np.arange(16_000)))
    assert store.size() / store.count() < 40
    mixed = ScoreStore(store.path + "2", IDENTITY)
    for part in np.array_split(np.random.default_rng(1).permutation(16_000), 20):
        mixed.put(GROUPS, group[part], item.ravel()[part], np.sqrt(np.arange(16_000))[part])
    assert mixed.size() / 16_000 < 40
    assert mixed.get(GROUPS, group, item.ravel()).tolist() == np.sqrt(np.arange(16_000)).tolist()
    assert repr(mixed) == f"ScoreStore('{mixed.path}': 16000 scores, {mixed.size()} bytes)"


def test_nothing_stays_open(store: ScoreStore) -> None:
    """After each call no file of the store is open, and none lies beside it: it may be copied, moved, forked and pickled."""
    before = sorted(Path("/proc/self/fd").iterdir())
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    put(copy, {(3, 3): 3.0})
    assert get(store, [(3, 3)]).tolist() == [3.0]
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert [file.name for file in Path(store.path).parent.iterdir()] == ["scores.sqlite"]


def test_threads_may_share_a_store(store: ScoreStore) -> None:
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
    store = ScoreStore(str(tmp_path / "scores"), IDENTITY)
    assert store.count() == 8 * 50
    found = store.get(GROUPS, np.repeat(np.arange(8), 50), np.tile(np.arange(50), 8)).reshape(8, 50)
    writer = np.round(found[:, :1])
    assert set(writer.ravel()) <= {0.0, 1.0, 2.0, 3.0}
    assert (found == writer + np.arange(50) / 100).all()


@pytest.mark.parametrize(("task", "batches"), [("threads", 60), ("forks", 150), ("users", 80)])
def test_who_else_writes_does_not_matter(tmp_path: Path, task: str, batches: int) -> None:
    """Threads beside another process, children of a process that holds the file, three users of a stage: no commit is lost.

    Each failed, with lost commits or a malformed file, while the header was read by other means than SQLite's at every call, and
    while a child took over what was held open.
    """
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


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails half way, here by words that SQLite does not know: neither it nor its log stays beside its place."""
    monkeypatch.setattr(store_files, "_FIRST_GROUP", "INSERT INTO absent VALUES (1)")
    with pytest.raises(StoreError, match=r"cannot be used: OperationalError: no such table: absent"):
        put(ScoreStore(str(tmp_path / "scores"), IDENTITY), {(0, 1): 0.5})
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    """Files that may not grow: the write is refused with the reason, what was kept is kept, and later writes work."""
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
    put(ScoreStore(str(path), IDENTITY), {(0, 1): 0.25, (0, 2): 0.5})
    assert "cannot be used: OperationalError: attempt to write a readonly database" in start("forbidden", path)


def test_a_place_where_no_file_can_be_made_is_told(tmp_path: Path) -> None:
    """A folder that is a file: an error of ours, and nothing half made."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used: FileExistsError"):
        put(ScoreStore(str(tmp_path / "file" / "scores"), IDENTITY), {(0, 1): 0.5})
    with pytest.raises(StoreError, match="cannot be used: IsADirectoryError"):
        ScoreStore(str(tmp_path), IDENTITY).count()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
