"""Hostile paths and files: each public function that takes a path gives its result or a CascadeError with a remedy, in time."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toys.encoders import ToyEncoder
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import ScoreTable, open_collection, profile, score, stages, trec
from pt_cascade.analysis.cost.timings import Timings
from pt_cascade.errors import CascadeError
from pt_cascade.stages.vectors.store import open_vectors

pytestmark = [
    pytest.mark.filterwarnings("ignore::pt_cascade.errors.CascadeWarning"),
    pytest.mark.filterwarnings("ignore:magic header not found", "ignore::pytest.PytestUnraisableExceptionWarning"),  # of npids
]
SECONDS = 10
RUN = b"q0 Q0 d0 1 2.5 t\nq0 Q0 d1 2 1.5 t\n"
DEEP = b"[" * 100_000
BOMB = b"\0" * (1 << 24)


def _write(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _link(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "link").symlink_to(target)
        return folder / "link"

    return make


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _socket(folder: Path) -> Path:
    here = Path.cwd()
    os.chdir(folder)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket")
    finally:
        os.chdir(here)
    return folder / "socket"


def _folder(**files: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "folder").mkdir()
        for name, data in files.items():
            (folder / "folder" / name.replace("__", ".")).write_bytes(data)
        return folder / "folder"

    return make


def _sqlite(folder: Path) -> Path:
    with sqlite3.connect(folder / "other.sqlite") as file:
        file.execute("CREATE TABLE t (x)")
    return folder / "other.sqlite"


def _block(following: int, documents: int) -> bytes:
    """A block of npids with the docnos 0, 1, 2, ..., and where the next one is; -1: there is none."""
    config = json.dumps({"format": "intsequence", "start": 0}).encode()
    return struct.pack("<IqqI", 0, following, documents, len(config)) + config


FLEX = b'{"type": "dense_index", "format": "flex", "doc_count": 1, "vec_size": 1}'
NPIDS = struct.pack("<IqqI", int.from_bytes(b"NPID", "little"), 0, 0, 14) + b'{"version": 1}'
PATHS: dict[str, Callable[[Path], object]] = {
    "empty name": lambda _: "",
    "dot": lambda _: ".",
    "a folder of the kernel": lambda _: "/proc",
    "None": lambda _: None,
    "a number": lambda _: 5,
    "a list": lambda _: ["a"],
    "bytes": lambda folder: os.fsencode(folder / "b"),
    "NUL": lambda folder: f"{folder}/a\0b",
    "half a surrogate": lambda folder: f"{folder}/\udcff",
    "a lone high surrogate": lambda folder: f"{folder}/\ud800",
    "too long a name": lambda folder: folder / ("x" * 300),
    "too long a path": lambda folder: folder / "/".join(["y" * 200] * 30),
    "nothing": lambda folder: folder / "none",
    "nothing in no folder": lambda folder: folder / "none" / "none",
    "home": lambda _: "~/pt_cascade_no_such_file",
    "nobody's home": lambda _: "~nobody_here/x",
    "a quote in its name": lambda folder: folder / "a 'b\" $(c)",
    "an escape in its name": lambda folder: folder / "a\x1b[2Jb",
    "below a file": lambda folder: _write("file", b"x")(folder) / "x",
    "a link to nothing": _link("none"),
    "a link to itself": _link("link"),
    "a link to a folder": _link("."),
    "a pipe without a writer": _fifo,
    "a socket": _socket,
    "/dev/null": lambda _: "/dev/null",
    # "/dev/zero": lambda _: "/dev/zero",
    "/dev/full": lambda _: "/dev/full",
    "a file of the kernel": lambda _: "/proc/self/mem",
    "a read-only disk": lambda _: "/proc/none",
    "an empty folder": _folder(),
    "an empty file": _write("empty", b""),
    "binary": _write("binary", bytes(range(256)) * 40),
    "UTF-16": _write("utf16", "q0 Q0 d0 1 2.5 t\n".encode("utf-16")),
    "Latin-1": _write("latin1", "q0 Q0 d\xe9 1 2.5 t\n".encode("latin-1")),
    "a run": _write("run", RUN),
    "a long number": _write("number", b"q0 Q0 d0 1 " + b"1" * 100_000 + b"x t\n"),
    "a long line": _write("line", b"x" * 5_000_000),
    "deep JSON": _write("deep", DEEP),
    "an empty gzip": _write("empty.gz", gzip.compress(b"")),
    "a gzip cut off": _write("cut.gz", gzip.compress(RUN * 99)[:-9]),
    "a gzip with junk": _write("junk.gz", gzip.compress(RUN) + b"junk"),
    "a gzip header alone": _write("header.gz", b"\x1f\x8b"),
    # "a gzip bomb": _write("bomb.gz", gzip.compress(BOMB, 9) * 9),
    "another database": _sqlite,
    "an Artifact of another kind": _folder(pt_meta__json=b'{"type": "x", "format": "y"}'),
    "an Artifact with deep JSON": _folder(pt_meta__json=DEEP),
    "an Artifact with a list": _folder(pt_meta__json=b"[]"),
    "a FlexIndex with deep JSON": _folder(pt_meta__json=DEEP, encoder__json=DEEP, docnos__npids=b"x", vecs__f4=b"x"),
    "a FlexIndex with long docnos": _folder(
        pt_meta__json=FLEX,
        vecs__f4=np.ones(1, np.float32).tobytes(),
        docnos__npids=b"\xff" * 100_000,
    ),
    "a FlexIndex whose docnos lead to themselves": _folder(
        pt_meta__json=FLEX, vecs__f4=np.ones(1, np.float32).tobytes(), docnos__npids=NPIDS + _block(len(NPIDS), 1)
    ),
    "a FlexIndex of too many docnos": _folder(
        pt_meta__json=FLEX, vecs__f4=np.ones(1, np.float32).tobytes(), docnos__npids=NPIDS + _block(-1, 1 << 40)
    ),
    "a collection of deep JSON": _folder(docs__jsonl=DEEP, topics__tsv=b"q0\ta\n", qrels__txt=b"q0 0 d0 1\n"),
    "a collection of a long docno": _folder(
        docs__jsonl=b'{"docno": "' + b"1" * 1_000_000 + b' ", "text": "a"}', topics__tsv=b"q0\ta\n", qrels__txt=b"q0 0 d0 1\n"
    ),
    "a collection of a gzip bomb": _folder(
        docs__jsonl__gz=gzip.compress(BOMB, 9) * 9, topics__tsv=b"q0\ta\n", qrels__txt=b"q0 0 d0 1\n"
    ),
    "a collection in UTF-16": _folder(docs__jsonl="{}".encode("utf-16"), topics__tsv=b"\xff\xfe", qrels__txt=b"\xff\xfe"),
    "a language that is not text": _folder(
        docs__jsonl=b'{"docno": "d0", "text": "a"}', topics__tsv=b"q0\ta\n", qrels__txt=b"q0 0 d0 1\n", language__txt=b"\xff\xfe"
    ),
    "checksums that are not text": _folder(SHA256SUMS=b"\xff\xfe", pt_meta__json=b"{}", pt_meta2__json=b""),
}
TOPICS = topics(1)
FRAME = pd.DataFrame({"qid": ["q0", "q0"], "docno": ["d0", "d1"], "score": [2.0, 1.0], "label": [1, 0]})
DOCS = [{"docno": "d0", "text": "a lion"}, {"docno": "d1", "text": "a bear"}]
PIPELINE = ToyRetriever(docs=4) % 3 >> ToyReranker() % 2
make_table, make_timings = (cache(partial(call, PIPELINE, TOPICS)) for call in (score, profile))
CALLS: dict[str, Callable[[object], object]] = {
    "read_run": trec.read_run,
    "read_qrels": trec.read_qrels,
    "read_topics": trec.read_topics,
    "write_run": lambda path: trec.write_run(FRAME, path),
    "write_qrels": lambda path: trec.write_qrels(FRAME, path),
    "write_topics": lambda path: trec.write_topics(TOPICS, path),
    "ScoreTable.load": ScoreTable.load,
    "ScoreTable.save": lambda path: make_table().save(path),
    "ScoreTable.from_runs": lambda path: ScoreTable.from_runs({"a": path, "b": FRAME}),
    "Timings.load": Timings.load,
    "Timings.save": lambda path: make_timings().save(path),
    "open_collection": open_collection,
    "checkpoint": lambda path: score(ToyRetriever(docs=4) % 3, TOPICS, checkpoint=path),
    "score_cache": lambda path: score(PIPELINE, TOPICS, score_cache=path),
    "cached": lambda path: stages.cached(ToyReranker(), path, identity="toy").transform(ToyRetriever(docs=3).transform(TOPICS)),
    "build_index": lambda path: stages.build_index(DOCS, path),
    "build_vectors": lambda path: stages.build_vectors(DOCS, ToyEncoder(), path),
    "build_texts": lambda path: stages.build_texts(DOCS, path),
    "text_loader": stages.text_loader,
    "bm25": stages.bm25,
    "vectors": lambda path: open_vectors(path).vectors,
    "dense": lambda path: stages.dense(path).transform(TOPICS),
    "bi_encoder": lambda path: stages.bi_encoder(path).transform(FRAME.assign(query="a")),
    "late_interaction": lambda path: stages.late_interaction(path).transform(FRAME.assign(query="a")),
    "cross_encoder": lambda path: stages.cross_encoder(path).transform(FRAME.assign(query="a", text="b")),
    "mono_t5": lambda path: stages.mono_t5(path).transform(FRAME.assign(query="a", text="b")),
    "llm_judge": lambda path: stages.llm_judge("toy", prompt=path),
}


class _TooLongError(BaseException):
    """Not an OSError, which the code under test would catch."""


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


BUILDS = ("build_index", "build_vectors")  # which take seconds where the path is good
GOOD = ("nothing", "home", "nobody's home", "a quote", "an escape", "half a surrogate", "an empty folder", "dot")


@pytest.mark.parametrize("function", CALLS)
def test_a_hostile_path_gives_a_result_or_a_cascade_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Nothing hangs, and no error of another kind comes out."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    failures = []
    for number, (case, make) in enumerate(PATHS.items()):
        if function in BUILDS and case.startswith(GOOD):
            continue
        folder = tmp_path / str(number)
        (folder / "work").mkdir(parents=True)
        monkeypatch.chdir(folder / "work")
        monkeypatch.setenv("HOME", str(folder))
        path = make(folder)
        try:
            with _time_limit():
                CALLS[function](path)
        except CascadeError as error:
            failures += [] if error.fix or error.problems else [f"{case}: no remedy: {error}"]
        except BaseException as error:  # noqa: BLE001 - what must not come out
            failures.append(f"{case}: {type(error).__name__}: {error}")
    assert failures == []
