"""Damage on the disk: whatever bit is turned, wherever a file ends: what is read is what was written, or an error with a cure."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TESTS
from toys.checkpoints import PARTS, SCORES
from toys.encoders import ToyEncoder, collection, tiny_model

from pt_cascade import checksums, trec
from pt_cascade.analysis.cost.timing_files import COLUMNS
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.checksums import build_once, check_sealed, hash_file, seal
from pt_cascade.collections.packages import Package, package_members
from pt_cascade.errors import CascadeError, MissingError
from pt_cascade.execution.score_table import ScoreTable
from pt_cascade.execution.scoring.checkpoint import open_checkpoint
from pt_cascade.files import write_file
from pt_cascade.stages import bm25, build_index, build_vectors
from pt_cascade.stages.vectors.store import open_vectors

DOCS = collection(40)
QUERIES = pd.DataFrame({"qid": ["1", "2"], "query": ["text 7", "text 12 xxxxx"]})


@dataclass(frozen=True)
class Kept:
    """What the package writes, and how it is made and read again.

    Attributes:
        path: The folder or file.
        make: Writes it.
        read: Gives all that it holds, in a form that can be compared.
    """

    path: Path
    make: Callable[[], object]
    read: Callable[[], object]

    def files(self) -> list[Path]:
        """List its files, also the one of the checksums."""
        found = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def keep_table(folder: Path) -> Kept:
    """Make a score table."""
    run = pd.DataFrame({"qid": "1", "docno": [f"d{n}" for n in range(30)], "score": np.linspace(9, 1, 30)})
    path = folder / "table"

    def read() -> object:
        table = ScoreTable.load(path)
        return table.frame.to_csv(), table.topics.to_csv(), table.columns, table.paths, table.depth, dict(table.about)

    return Kept(path, lambda: ScoreTable.from_runs({"bm25": run}).save(path), read)


def keep_chunk(folder: Path) -> Kept:
    """Make the chunks of an unfinished score table."""
    path = folder / "chunks"

    def read() -> object:
        with open_checkpoint(path, PARTS) as checkpoint:
            chunks = checkpoint.read()
        rules = {number: {name: sorted(map(str, some)) for name, some in scores.rules.items()} for number, scores in chunks.items()}
        return [(number, scores.frame.to_csv(), rules[number], scores.cut) for number, scores in chunks.items()]

    def write() -> None:
        with open_checkpoint(path, PARTS) as checkpoint:
            for number in range(2):
                checkpoint.write(number, SCORES)

    return Kept(path, write, read)


def keep_timings(folder: Path) -> Kept:
    """Make a file of timings."""
    path = folder / "timings.parquet"
    rows = [("bm25", f"q{n}", 0, 1.0, 0, 50, 50, 0, 0.0, 1 / (n + 3)) for n in range(9)]

    def read() -> object:
        timings = Timings.load(path)
        return timings.frame.to_csv(), timings.mode, dict(timings.machine), timings.pairwise

    return Kept(path, lambda: Timings(pd.DataFrame(rows, columns=list(COLUMNS)), machine={"cores": "2"}).save(path), read)


def keep_vectors(folder: Path) -> Kept:
    """Make vectors and token vectors, by a model of random weights."""
    tiny_model(folder)
    path = folder / "vectors"

    def read() -> object:
        store = open_vectors(path)
        tokens, starts = store.tokens
        return store.vectors.tobytes(), tokens.tobytes(), starts.tobytes(), store.docnos.tolist(), store.encoder

    return Kept(path, lambda: build_vectors(DOCS, str(folder / "model"), path, tokens=True), read)


def keep_index(folder: Path, engine: str) -> Kept:
    """Make an index."""
    path = folder / "index"
    return Kept(path, lambda: build_index(DOCS, path, engine=engine), lambda: bm25(path).transform(QUERIES).to_csv())


def keep_members(folder: Path) -> Kept:
    """Make the cache of a package's documentation."""

    def read() -> object:
        os.environ["PT_CASCADE_CACHE"] = str(folder / "cache")
        return package_members(Package("base64", "1"))

    return Kept(folder / "cache", read, read)


KINDS = {
    "table": keep_table,
    "chunk": keep_chunk,
    "timings": keep_timings,
    "vectors": keep_vectors,
    "pisa": lambda folder: keep_index(folder, "pisa"),
    "terrier": lambda folder: keep_index(folder, "terrier"),
    "members": keep_members,
}
NAMES = [pytest.param(name, marks=[pytest.mark.java] if name == "terrier" else []) for name in KINDS]


@pytest.fixture(params=NAMES, scope="module")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """One of each kind, in a folder whose name a shell would split."""
    if request.param == "pisa":
        pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PT_CASCADE_CACHE", os.environ["PT_CASCADE_CACHE"])
        made = KINDS[request.param](tmp_path_factory.mktemp("my damage"))
        made.make()
        yield made


@settings(max_examples=30)
@given(st.data())
def test_what_is_read_is_what_was_written_or_an_error_with_a_cure(kept: Kept, data: st.DataObject) -> None:
    """One bit turned, or the end cut off, anywhere in any file: never another content, never an error of somebody else's."""
    file = data.draw(st.sampled_from(kept.files()))
    good, expected = file.read_bytes(), kept.read()
    place = data.draw(st.integers(0, len(good) - 1))
    spoilt = bytearray(good)
    spoilt[place] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(data.draw(st.sampled_from([bytes(spoilt), good[:place]])))
    try:
        assert kept.read() == expected
    except CascadeError as error:
        assert error.fix  # noqa: PT017 - either is right
    finally:
        file.write_bytes(good)
    assert kept.read() == expected


def test_every_file_counts_and_the_cure_works(kept: Kept) -> None:
    """Any file that is emptied is found out; after the command of the message, in a shell, it is made again, as it was."""
    for name in [file.relative_to(kept.path) for file in kept.files()]:
        expected = kept.read()
        (kept.path / name).write_bytes(b"")
        with pytest.raises(CascadeError) as error:
            kept.read()
        fix = error.value.fix.partition(", and")[0]
        if fix.startswith("rm "):
            subprocess.run(shlex.split(fix), check=True)
        else:  # a table or timings may be all that there is of them
            assert error.value.fix in ("copy the folder again, or make the table again", "profile again, or copy the file again")
            shutil.rmtree(kept.path) if kept.path.is_dir() else kept.path.unlink()
        kept.make()
        assert kept.read() == expected


# --- checksums


def test_a_sealed_folder_is_what_sha256sum_reads(tmp_path: Path) -> None:
    """Golden: sha256sum of coreutils finds all files of vectors and of an index, and what it would write stands in SHA256SUMS."""
    program = shutil.which("sha256sum")
    for folder in (build_vectors(DOCS, ToyEncoder(), tmp_path / "v"), build_index(DOCS, tmp_path / "i")):
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.name != "SHA256SUMS" and file.is_file())
        found = subprocess.run([program, *names], cwd=folder, check=True, capture_output=True, text=True).stdout
        assert sorted((folder / "SHA256SUMS").read_text().splitlines()) == sorted(found.splitlines())


def test_what_is_sealed_stays_sealed(tmp_path: Path) -> None:
    """A second seal adds what is new, and never takes another content for that of a file it knows."""
    place = build_once(tmp_path / "f", lambda folder: (folder / "a").write_text("abc"))
    before = (place / "SHA256SUMS").read_text()
    (place / "a").write_text("abd")
    (place / "b").write_text("new")
    (place / ".hidden").touch()
    seal(place)
    assert (place / "SHA256SUMS").read_text().startswith(before)
    assert len((place / "SHA256SUMS").read_text().splitlines()) == 2
    check_sealed(place, ["b"], fix="cure")
    with pytest.raises(MissingError) as error:
        check_sealed(place, fix="cure")
    assert str(error.value) == f"{place} is damaged: a does not have the SHA-256 in SHA256SUMS. Fix: cure"
    (place / "a").unlink()
    (place / "b").write_text("")
    with pytest.raises(MissingError) as error:
        check_sealed(place, fix="cure")
    assert error.value.problems == ("a is missing", "b does not have the SHA-256 in SHA256SUMS")


def test_a_large_file_is_read_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash is remembered for the next process (played by an empty memory), until anything of its stamp changes."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "_LARGE", 3)
    monkeypatch.setattr(checksums, "_TICK", 0)
    file, reads = tmp_path / "large", []
    read = checksums._read_hash
    monkeypatch.setattr(checksums, "_read_hash", lambda path: (reads.append(path), read(path))[1])
    file.write_bytes(b"abc")
    golden = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    for _ in range(2):
        assert hash_file(file) == golden
        checksums._known_hash.cache_clear()
    assert len(reads) == 1
    state = file.stat()
    with file.open("r+b") as changed:
        changed.write(b"abd")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert hash_file(file) != golden
    assert len(reads) == 2


def test_a_file_written_within_a_tick_of_the_clock_is_read_again(tmp_path: Path) -> None:
    """Two contents of one size, as fast as they can be written: the second is never taken for the first."""
    file, seen = tmp_path / "fast", set()
    for n in range(500):
        file.write_bytes(f"{n:03}".encode())
        seen.add(hash_file(file))
    assert len(seen) == 500


@settings(max_examples=20)
@given(st.binary(max_size=50), st.binary(max_size=50), st.sampled_from(["fsync", "replace", "none"]))
def test_a_file_is_the_old_one_or_the_new_one(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes, step: str) -> None:
    """Whichever step fails, the old content stays; else the new one is there, through a link, and nothing lies beside it."""
    folder = tmp_path_factory.mktemp("w")
    target, link = folder / "t", folder / "link"
    target.write_bytes(old)
    link.symlink_to(target)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", fail)
        if step == "replace":
            patch.setattr(Path, "replace", fail)
        if step == "none":
            write_file(link, new)
        else:
            with pytest.raises(CascadeError, match=r"cannot write .*/link: OSError: No space left on device. Fix: free some space"):
                write_file(link, new)
    assert target.read_bytes() == (new if step == "none" else old)
    assert sorted(folder.iterdir()) == [link, target]


def test_what_a_killed_writer_left_is_deleted(tmp_path: Path) -> None:
    """A process is killed before its file takes its place; ten minutes later (by the file's time) the next write deletes it."""
    code = (
        "import os, sys; from pathlib import Path; from pt_cascade.files import write_file;"
        "Path.replace = lambda *_: os.kill(os.getpid(), 9); write_file(sys.argv[1], b'half')"
    )
    target = tmp_path / "run[1].res"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == -9
    old, young = sorted(tmp_path.iterdir())
    os.utime(old, (time.time() - 601,) * 2)
    write_file(target, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([young, target])
    assert target.read_bytes() == b"whole"


def test_a_full_device_is_an_error_with_a_cure() -> None:
    """Linux's own device that is always full; whoever writes, a run here, has the error of ``write_file``."""
    run = pd.DataFrame({"qid": ["1"], "docno": ["d1"], "score": [1.0], "rank": [0]})
    with pytest.raises(
        CascadeError, match=r"cannot write /dev/full: OSError: No space left on device. Fix: free some space on the"
    ):
        trec.write_run(run, "/dev/full")


def test_a_full_disk_keeps_the_encoded_documents(tmp_path: Path) -> None:
    """In a real process files may not grow when the chunks are joined: an error with a cure, and the same call continues."""
    code = (
        "import resource, sys; from toys.encoders import ToyEncoder, collection; from pt_cascade.stages import build_vectors;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000));"
        "build_vectors(collection(3000), ToyEncoder(), sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "v")], check=False, cwd=TESTS, capture_output=True, text=True)
    message = f"CascadeError: cannot write {tmp_path / 'v'}: OSError: File too large. Fix: free some space on the disk"
    assert message in done.stderr.splitlines()[-1]
    encoder = ToyEncoder()
    build_vectors(collection(3000), encoder, tmp_path / "v")
    assert len(encoder.encoded) == 3000 - 5 * 512


def test_a_named_pipe_is_written_to(tmp_path: Path) -> None:
    """A device or pipe keeps its place: its reader gets the bytes, and no file takes its name."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(pipe, b"q1 Q0 d1 1 2.0 bm25\n")
        assert os.read(reader, 100) == b"q1 Q0 d1 1 2.0 bm25\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
