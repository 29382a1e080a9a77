"""Texts on disk: looked up as they were given, kept apart from the index, whole or not there."""

from __future__ import annotations

import os
import pickle
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from toys.batches import SERVER
from toys.counted import collection
from toys.folders import write_folder

from pt_cascade.collections import open_collection
from pt_cascade.errors import CascadeError, FrameError, MissingError, StageError
from pt_cascade.execution.defaults import load_texts, store_index, store_texts
from pt_cascade.stages import build_texts, text_loader
from pt_cascade.stages.indexing.text_store import TextStore

TEXTS = {"NA": "a sum,\nof floats", "007": "", "7": "größer \U0001f600", "é'\"": "x" * 5000, "1e5": "NaN"}


def documents(texts: dict[str, str] = TEXTS) -> list[dict[str, str]]:
    """The documents of a dict."""
    return [{"docno": docno, "text": text} for docno, text in texts.items()]


def test_texts_are_looked_up_as_they_were_given(tmp_path: Path) -> None:
    """Whatever the docnos look like, also by a copy in another process; golden: the dict. A docno that is not there is named."""
    loader = text_loader(build_texts(iter(documents()), tmp_path / "a b%?#"))
    frame = pd.DataFrame({"qid": "1", "docno": [*TEXTS, "7"]}, index=range(6, 0, -1))
    for one in (loader, pickle.loads(pickle.dumps(loader))):  # noqa: S301 - our own
        assert one.transform(frame)["text"].tolist() == [*TEXTS.values(), TEXTS["7"]]
    with pytest.raises(StageError, match=r"no text of a document: 2 of 3 rows, first docno '07'"):
        loader.transform(pd.DataFrame({"docno": ["7", "07", "8"]}))


def test_a_folder_is_of_its_documents(tmp_path: Path) -> None:
    """The same documents change nothing; others are refused; the printed command makes room; a refusal leaves nothing."""
    folder = build_texts(documents(), tmp_path / "texts")
    before = (folder / "texts.sqlite").stat()
    assert build_texts(documents(), folder) == folder
    assert (folder / "texts.sqlite").stat() == before
    other = documents({**TEXTS, "7": "smaller"})
    with pytest.raises(CascadeError, match="the folder holds other texts: a text has changed") as refused:
        build_texts(other, folder)
    subprocess.run(shlex.split(refused.value.fix), check=True)
    build_texts(other, folder)
    with pytest.raises(FrameError, match="'7' occurs more than once"):
        build_texts([*other, {"docno": "7", "text": ""}], tmp_path / "twice")
    assert [*tmp_path.iterdir()] == [folder]


def test_damaged_texts_are_refused(tmp_path: Path) -> None:
    """One byte; and a folder that holds none."""
    file = build_texts(documents(), tmp_path / "texts") / "texts.sqlite"
    file.write_bytes(file.read_bytes().replace(b"floats", b"fl0ats"))
    with pytest.raises(MissingError, match=r"texts is damaged: texts\.sqlite .* Fix: rm -r "):
        text_loader(tmp_path / "texts")
    with pytest.raises(MissingError, match="there are no texts"):
        text_loader(tmp_path)


def build_badly(path: Path, told: Path | None) -> None:
    """Build where the process is killed in the middle, or where the disk is full and the error is written down."""

    def docs() -> Iterator[dict[str, str]]:
        yield from documents()
        if told is None:
            os.kill(os.getpid(), signal.SIGKILL)

    if told is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        build_texts(docs(), path)
    except CascadeError as error:
        told.write_text(str(error))


@pytest.mark.parametrize("full", [False, True], ids=["kill -9", "full disk"])
def test_what_was_cut_short_is_made_again(tmp_path: Path, full: bool) -> None:  # noqa: FBT001 - of parametrize
    """Nothing is there after it; the next call makes all of it, and leaves nothing beside it."""
    folder, told = tmp_path / "texts", tmp_path / "told"
    process = SERVER.Process(target=build_badly, args=(folder, told if full else None))
    process.start()
    process.join()
    assert process.exitcode == (0 if full else -signal.SIGKILL)
    assert not folder.exists()
    assert not full or "free some space on the disk" in told.read_text()
    told.unlink(missing_ok=True)
    assert text_loader(build_texts(documents(), folder)).transform(pd.DataFrame({"docno": ["NA"]}))["text"].item() == TEXTS["NA"]
    assert [*tmp_path.iterdir()] == [folder]


def test_a_collection_on_disk_has_its_texts_apart_from_its_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line reads them from there; another index leaves them as they are; a collection in memory needs none."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    write_folder(collection(), tmp_path / "toy")
    opened = open_collection(tmp_path / "toy")
    index, texts = store_index(opened, engine="pisa"), store_texts(opened)
    before = (texts / "texts.sqlite").stat()
    shutil.rmtree(index)
    store_index(opened, engine="pisa")
    assert store_texts(opened) == texts
    assert (texts / "texts.sqlite").stat() == before
    assert load_texts(opened).collection == TextStore(str(texts), opened.name)
    assert load_texts(opened).identify() == opened.text_loader().identify()
    in_memory = replace(opened, documents=[*opened.docs()])
    assert load_texts(in_memory) == in_memory.text_loader()
