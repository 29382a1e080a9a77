"""Finished chunks on the disk: read back as they were, never another table's, never half a file."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pandas as pd
import pytest
from toys.checkpoints import PARTS, SCORES

from pt_cascade.errors import TableError
from pt_cascade.execution.scoring.checkpoint import open_checkpoint
from pt_cascade.execution.scoring.chunk import ChunkScores


def write(folder: Path, number: int, scores: ChunkScores = SCORES) -> None:
    """Save one batch."""
    with open_checkpoint(folder, PARTS) as checkpoint:
        checkpoint.write(number, scores)


def read(folder: Path) -> dict[int, ChunkScores]:
    """Read all batches."""
    with open_checkpoint(folder, PARTS) as checkpoint:
        return checkpoint.read()


def test_a_chunk_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Scores bit by bit, text as text, what was seen of the stages; the folder may be opened again, and is removed at the end."""
    write(tmp_path / "a" / "b", 3)
    write(tmp_path / "a" / "b", 0, ChunkScores(SCORES.frame.head(0), {}, cut=False))
    chunks = read(tmp_path / "a" / "b")
    assert list(chunks) == [0, 3]
    pd.testing.assert_frame_equal(chunks[3].frame, SCORES.frame, check_exact=True)
    assert (chunks[3].rules, chunks[3].cut, chunks[0].cut, len(chunks[0].frame)) == (SCORES.rules, True, False, 0)
    with open_checkpoint(tmp_path / "a" / "b", PARTS) as checkpoint:
        checkpoint.remove()
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_is_used_by_one_call_at_a_time(tmp_path: Path) -> None:
    """A second one waits until the first is done, which leaves it the batches."""
    opened = Event()

    def wait() -> dict[int, ChunkScores]:
        with open_checkpoint(tmp_path / "c", PARTS) as two:
            opened.set()
            return two.read()

    with ThreadPoolExecutor(1) as pool:
        with open_checkpoint(tmp_path / "c", PARTS) as one:
            one.write(0, SCORES)
            later = pool.submit(wait)
            assert not opened.wait(0.2)
            assert list(one.read()) == [0]
            one.remove()
        assert list(later.result()) == [0]
    with open_checkpoint(tmp_path / "c", PARTS) as last:
        last.remove()
    assert not (tmp_path / "c").exists()


def test_the_rest_of_a_killed_write_is_not_a_chunk(tmp_path: Path) -> None:
    """A temporary file is neither read nor in the way, and goes with the rest; a stranger's file stays."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".12ab.tmp").write_bytes(b"PAR1")
    with open_checkpoint(tmp_path / "c", PARTS) as checkpoint:
        assert checkpoint.read() == {}
        (tmp_path / "c" / "notes.txt").write_text("mine")
        checkpoint.remove()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["notes.txt"]


def damage(folder: Path, name: str, text: bytes) -> Path:
    """Put something else in place of a file, and give it."""
    write(folder, 0)
    (file,) = folder.glob(name)
    file.write_bytes(text)
    return file


def test_a_damaged_chunk_is_reported(tmp_path: Path) -> None:
    """A truncated file names itself and how to go on; a Parquet file that is no chunk as well."""
    folder = tmp_path / "c"
    file = damage(folder, "000000-*.parquet", b"PAR1 and no more")
    with pytest.raises(TableError) as error:
        read(folder)
    problem = f"{file}: ValueError: the content of {file.name} (16 bytes) does not have the SHA-256 in its name"
    fix = f"rm -r {file}"
    assert str(error.value) == f"a finished batch is damaged: {problem}. Fix: {fix}, and score again"
    subprocess.run(shlex.split(fix), check=True)
    assert read(folder) == {}
    foreign = pd.DataFrame({"x": [1]}).to_parquet()
    (folder / f"000000-{hashlib.sha256(foreign).hexdigest()}.parquet").write_bytes(foreign)
    with pytest.raises(TableError, match=r"000000-.*.parquet: KeyError"):
        read(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "chunks.json",
            b"",
            "its chunks.json is damaged: Expecting value: line 1 column 1 (char 0). Fix: rm -r {}",
        ),
        ("chunks.json", b"[]", "it holds other files: {file}. Fix: score(..., checkpoint='a/new/folder')"),
        (
            "chunks.json",
            json.dumps({"stages": "1a", "topics": "3c"}).encode(),
            "it holds batches of another table, with other topics. "
            "Fix: score(..., checkpoint='a/new/folder'), or rm -r {} if they are not needed",
        ),
    ],
)
def test_a_folder_of_something_else_is_refused(name: str, text: bytes, message: str, tmp_path: Path) -> None:
    """Damaged, foreign, of another table: refused before anything runs."""
    damage(tmp_path / "c", name, text)
    file = min(file.name for file in (tmp_path / "c").glob("[!.]*"))
    with pytest.raises(TableError) as error:
        read(tmp_path / "c")
    assert str(error.value) == f"{tmp_path / 'c'} cannot be used as a checkpoint: {message.format(tmp_path / 'c', file=file)}"


def test_an_unusable_checkpoint_folder_is_reported(tmp_path: Path) -> None:
    """A folder with other files, and a file, are refused and left alone."""
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.pdf").write_text("a")
    with pytest.raises(
        TableError,
        match=r"papers cannot be used as a checkpoint: it holds other files: a.pdf. Fix: score\(..., checkpoint='a/new/folder'\)",
    ):
        read(tmp_path / "papers")
    assert [file.name for file in (tmp_path / "papers").iterdir()] == ["a.pdf"]
    with pytest.raises(TableError, match=r"a\.pdf cannot be used as a checkpoint: FileExistsError: File exists"):
        read(tmp_path / "papers" / "a.pdf")
    assert (tmp_path / "papers" / "a.pdf").read_text() == "a"
