"""Encoding that goes on where it was stopped. Toy vectors where nothing else is said: their values mean nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from encoder_toys import ToyEncoder, collection
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.errors import CascadeError, CascadeWarning, CollectionError, FrameError, PipelineError, StageError
from pt_cascade.stages.claiming import growing_folder
from pt_cascade.stages.encoding import build_vectors
from pt_cascade.stages.records import cut, hash_text, read_records
from pt_cascade.stages.vectors import open_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 512
DOCS = collection(2 * CHUNK + 100)


def content(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def stopped(docs: list[dict[str, str]], at: int, error: BaseException | None = None) -> Iterator[dict[str, str]]:
    """Give some documents, then fail."""
    yield from docs[:at]
    raise error or KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The folder of the documents, made at one go."""
    return content(build_vectors(DOCS, ToyEncoder(), tmp_path_factory.mktemp("whole") / "v"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that is stopped in its third chunk; tests take copies."""
    path = tmp_path_factory.mktemp("begun") / "v"
    with pytest.raises(KeyboardInterrupt):
        build_vectors(stopped(DOCS, 2 * CHUNK + 50), ToyEncoder(), path)
    return growing_folder(path)


def resume_from(begun: Path, folder: Path) -> Path:
    """Lay a copy of what was begun beside another place, and name the place."""
    shutil.copytree(begun, growing_folder(folder / "v"))
    return folder / "v"


def test_vectors_are_the_encoders_in_the_order_of_the_documents(tmp_path: Path) -> None:
    """Golden: the toy's vectors, document by document, though texts of like length are encoded together."""
    store = open_vectors(build_vectors(DOCS, ToyEncoder(), tmp_path / "v"))
    np.testing.assert_array_equal(store.vectors, [ToyEncoder().vector(doc["text"]) for doc in DOCS])
    assert store.docnos.tolist() == [doc["docno"] for doc in DOCS]


def interrupt(count: int) -> None:
    """Fail in the second chunk that is encoded."""
    if count > CHUNK:
        raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_encoded(whole: dict[str, bytes], tmp_path: Path) -> None:
    """Whether documents are being read, encoded, or read again, full chunks are kept; the rest is encoded to the same bytes."""
    path = tmp_path / "v"
    for docs, encoder, encoded, chunks in (
        (DOCS, ToyEncoder(told=interrupt), 2, 1),
        (stopped(DOCS, 2 * CHUNK + 50), ToyEncoder(), 1, 2),
        (stopped(DOCS, 50), ToyEncoder(), 0, 2),
    ):
        with pytest.raises(KeyboardInterrupt):
            build_vectors(docs, encoder, path)
        assert len(encoder.encoded) == encoded * CHUNK
        assert [len(record.docnos) for record in read_records(growing_folder(path))] == [CHUNK] * chunks
    encoder = ToyEncoder()
    build_vectors(iter(DOCS), encoder, path)
    assert sorted(encoder.encoded) == sorted(doc["text"] for doc in DOCS[2 * CHUNK :])
    assert content(path) == whole
    assert [file.name for file in tmp_path.iterdir()] == ["v"]


def test_a_killed_process_loses_its_last_chunk_at_most(tmp_path: Path) -> None:
    """A real process is killed (SIGKILL) at work, again and again; each goes on from the last one's work, to the same bytes."""
    docs, path = collection(20 * CHUNK), tmp_path / "v"
    script = [sys.executable, str(Path(__file__).parent / "encoder_toys.py"), str(path), str(len(docs))]
    kept = [0]
    for chunks in (2, 1, 4, 3):
        with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = []
            while len(said) < chunks and "waiting\n" not in said:
                said.append(process.stdout.readline())
            process.kill()
        assert not path.exists()
        kept.append(sum(len(record.docnos) for record in read_records(growing_folder(path))))
        assert kept[-1] >= kept[-2] + CHUNK * (chunks - 1) or "waiting\n" in said
    encoder = ToyEncoder()
    build_vectors(docs, encoder, path)
    assert len(encoder.encoded) == len(docs) - kept[-1]
    assert content(path) == content(build_vectors(docs, ToyEncoder(), tmp_path / "at one go"))


@settings(max_examples=25)
@given(st.data())
def test_torn_files_are_cut_to_what_is_sound(begun: Path, whole: dict[str, bytes], data: st.DataObject) -> None:
    """However long each file got before the end, and whatever half a line says, the result is the same, byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        path = resume_from(begun, Path(folder))
        left = growing_folder(path)
        for name in ("encoded.jsonl", "whole/vecs.f4"):
            good = (left / name).read_bytes()
            length = data.draw(st.integers(0, len(good)) | st.sampled_from([len(good), len(good) - 1, len(good) // 2]))
            junk = data.draw(st.sampled_from([b"", b"{", b"\n", b"{}\n", b"[1]\n", b"\xff\xfe"]))
            torn = name.endswith("jsonl") or length == len(good)  # a vector once written stays: it is on the disk before its line
            (left / name).write_bytes(good[:length] + (junk if torn else b""))
        sound = sum(len(record.docnos) for record in read_records(left))
        encoder = ToyEncoder()
        build_vectors(DOCS, encoder, path)
        assert len(encoder.encoded) == len(DOCS) - sound
        assert content(path) == whole


def test_a_last_step_that_was_cut_short_is_done_again(begun: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """What a process that died between encoding and delivering had written beside the vectors is written anew."""
    path = resume_from(begun, tmp_path)
    for name in ("docnos.npids", "tokens.npy", "pt_meta.json"):
        (growing_folder(path) / "whole" / name).write_bytes(b"half")
    assert content(build_vectors(DOCS, ToyEncoder(), path)) == whole


def test_a_line_without_its_end_does_not_count(begun: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """All of a line but the line break was written: its chunk is encoded again, and the next line is a line of its own."""
    path = resume_from(begun, tmp_path)
    lines = growing_folder(path) / "encoded.jsonl"
    lines.write_bytes(lines.read_bytes()[:-1])
    encoder = ToyEncoder()
    assert content(build_vectors(DOCS, encoder, path)) == whole
    assert len(encoder.encoded) == len(DOCS) - CHUNK


def test_records_end_where_their_vectors_end(begun: Path, tmp_path: Path) -> None:
    """A line counts only if the vectors that it counts are there: one byte too few, and its chunk is encoded again."""
    left = growing_folder(resume_from(begun, tmp_path))
    vecs = left / "whole" / "vecs.f4"
    vecs.write_bytes(vecs.read_bytes()[:-1])
    assert cut(left, CHUNK) == CHUNK
    assert vecs.stat().st_size == CHUNK * 8 * 4
    assert cut(left, CHUNK) == CHUNK


@pytest.mark.parametrize(
    ("docs", "problem"),
    [
        ([{"docno": "d0", "text": "x"}, *DOCS[1:]], "document 1 was 'd0' and has another text"),
        ([*DOCS[:600], {"docno": "new", "text": DOCS[600]["text"]}, *DOCS[601:]], "document 601 was 'd600' and is 'new'"),
        (DOCS[:1000], "document 1001 was 'd1000' and is not there"),
    ],
    ids=["text", "docno", "fewer"],
)
def test_other_documents_are_told(docs: list[dict[str, str]], problem: str, begun: Path, tmp_path: Path) -> None:
    """Documents that are encoded already must be the same, text for text, and the way out is said; nothing is lost by asking."""
    path = resume_from(begun, tmp_path)
    left = growing_folder(path)
    before = content(left / "whole")
    with pytest.raises(CascadeError) as error:
        build_vectors(docs, ToyEncoder(), path)
    fix = f"rm -r {left}, or give the same documents in the same order"
    assert str(error.value) == f"{left} was begun with other documents: {problem}. Fix: {fix}"
    assert content(left / "whole") == before
    shutil.rmtree(left)
    assert build_vectors(docs, ToyEncoder(), path) == path


def test_later_documents_may_change(begun: Path, tmp_path: Path) -> None:
    """What is not encoded yet is free: a document that could not be stored is mended, and the work goes on."""
    path = resume_from(begun, tmp_path)
    with pytest.raises(FrameError, match="the text of docno 'bad' is None"):
        build_vectors([*DOCS[: 2 * CHUNK], {"docno": "bad", "text": None}], ToyEncoder(), path)
    encoder = ToyEncoder()
    build_vectors([*DOCS[: 2 * CHUNK], {"docno": "bad", "text": "good"}], encoder, path)
    assert encoder.encoded == ["good"]


def test_another_way_of_encoding_is_told(begun: Path, minilm: str, tmp_path: Path) -> None:
    """Another model, limit or want of tokens does not go on with what was begun, nor throw it away."""
    path = resume_from(begun, tmp_path)
    left = growing_folder(path)
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, ToyEncoder(size=4), path)
    problem = "model is 'ToyEncoder(size=4, levels=0)', was 'ToyEncoder(size=8, levels=0)'"
    assert str(error.value) == f"{left} was begun in another way: {problem}. Fix: rm -r {left}, or go on as it was begun"
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, minilm, path, max_length=7, tokens=True)
    assert [problem.split(" is ")[0] for problem in error.value.problems] == ["model", "max_length", "weights", "tokens"]
    assert sum(len(record.docnos) for record in read_records(left)) == 2 * CHUNK


def test_real_vectors_and_tokens_go_on_to_the_same_bytes(minilm: str, tmp_path: Path) -> None:
    """MiniLM's own vectors and token vectors, stopped after a chunk: the chunks meet the model as they would have."""
    docs = [{"docno": str(n), "text": f"{n % 10}"} for n in range(CHUNK + 5)]
    once = build_vectors(docs, minilm, tmp_path / "once", tokens=True)
    with pytest.raises(KeyboardInterrupt):
        build_vectors(stopped(docs, CHUNK + 1), minilm, tmp_path / "twice", tokens=True)
    twice = build_vectors(docs, minilm, tmp_path / "twice", tokens=True)
    assert content(once) == content(twice)
    assert open_vectors(twice).tokens[1].tolist()[-1] == 3 * len(docs)


@pytest.mark.parametrize(
    "docs",
    [[], DOCS[:1], [{"docno": "a", "text": None}], lambda: stopped(DOCS, 300)],
    ids=["none", "one", "unfit", "stopped in the first chunk"],
)
def test_what_comes_to_nothing_leaves_nothing(docs: object, tmp_path: Path) -> None:
    """Where no full chunk was encoded, no folder is left beside the place."""
    with pytest.raises((CascadeError, KeyboardInterrupt)):
        build_vectors(docs() if callable(docs) else docs, ToyEncoder(), tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def wait_while(work: threading.Thread, go: threading.Event, path: Path, encoder: ToyEncoder) -> None:
    """Ask for a folder that another is making; let that one go on when it is told that we wait."""
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", CascadeWarning)
        warnings.showwarning = lambda message, *_, **__: (told.append(str(message)), go.set())
        build_vectors(DOCS, encoder, path)
    work.join()
    assert told == [f"another process is making {path}; waiting for it"]


def test_who_comes_second_waits_and_takes_what_is_there(whole: dict[str, bytes], tmp_path: Path) -> None:
    """Of two that make one folder, one encodes; the other says that it waits, and encodes nothing."""
    go, started, second = threading.Event(), threading.Event(), ToyEncoder()
    first = ToyEncoder(told=lambda _: (started.set(), go.wait(60)))
    work = threading.Thread(target=build_vectors, args=(DOCS, first, tmp_path / "v"))
    work.start()
    assert started.wait(60)
    wait_while(work, go, tmp_path / "v", second)
    assert second.encoded == []
    assert content(tmp_path / "v") == whole


def test_who_comes_second_goes_on_if_the_first_fails(whole: dict[str, bytes], tmp_path: Path) -> None:
    """If the first one fails with nothing to show, its folder and its lock are deleted under the second one, which begins anew."""
    go, started, second = threading.Event(), threading.Event(), ToyEncoder()

    def failing() -> Iterator[dict[str, str]]:
        started.set()
        go.wait(60)
        yield {"docno": "no text"}

    def first() -> None:
        with pytest.raises(FrameError):
            build_vectors(failing(), ToyEncoder(), tmp_path / "v")

    work = threading.Thread(target=first)
    work.start()
    assert started.wait(60)
    wait_while(work, go, tmp_path / "v", second)
    assert len(second.encoded) == len(DOCS)
    assert content(tmp_path / "v") == whole


def test_a_folder_deleted_before_its_lock_is_taken_is_made_again(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process deletes the growing folder just after we made it (played by one that is not made), we make it again."""
    made, mkdir = [], Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: made.append(path) or (len(made) > 2 and mkdir(path, **options)))
    build_vectors(DOCS, ToyEncoder(), tmp_path / "v")
    assert made[:4] == [tmp_path, growing_folder(tmp_path / "v")] * 2
    assert content(tmp_path / "v") == whole


def test_progress_goes_on_from_where_it_was(begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bar begins at the documents that are encoded, of all where their number is known, and says nothing unless asked."""
    build_vectors(DOCS, ToyEncoder(), resume_from(begun, tmp_path), verbose=True)
    shown = capsys.readouterr().err
    assert f"| {2 * CHUNK}/{len(DOCS)} [" in shown.split("\r")[1]
    assert f"| {len(DOCS)}/{len(DOCS)} [" in shown
    build_vectors(iter(DOCS), ToyEncoder(), tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")


class Odd(ToyEncoder):
    """An encoder of vectors that cannot be used."""

    def encode_docs(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        """Give the third longest document a value that is no number, or, for one of many levels, everything a dimension more."""
        found = super().encode_docs(texts, batch_size)
        found[2, 0] = np.nan
        return found[None] if self.levels else found


def test_vectors_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """A value that is not finite, or not one vector a text, is an error where it arises, with the document."""
    with pytest.raises(StageError, match=r"made a vector with a value that is not finite: 1 of 4 document.s., first docno d2"):
        build_vectors([DOCS[n] for n in (1, 6, 4, 2)], Odd(), tmp_path / "v")
    with pytest.raises(
        StageError, match=r"one vector a text: Odd.* gave shape \(1, 4, 8\) for 4 text.s., expected \(4, dimension\)"
    ):
        build_vectors(DOCS[:4], Odd(levels=2), tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_a_bi_encoder_of_pyterrier_dr_is_told_nothing_that_it_knows(tmp_path: Path) -> None:
    """Its limit and its device are its own, and it has no token vectors: all is refused at once."""
    with pytest.raises(PipelineError) as error:
        build_vectors(DOCS, ToyEncoder(), tmp_path / "v", max_length=9, device="cpu", tokens=True)
    expected = ("max_length is 9, expected None", "device is 'cpu', expected None", "tokens is True, expected None")
    assert error.value.problems == expected


def test_a_finished_folder_says_what_made_it(tmp_path: Path) -> None:
    """The same call finds it and encodes nothing; another encoder is refused, and so is a file at its place."""
    path = build_vectors(DOCS, ToyEncoder(), tmp_path / "v")
    made_by = {"model": "ToyEncoder(size=8, levels=0)", "max_length": None, "class": "encoder_toys.ToyEncoder", "weights": None}
    assert json.loads((path / "encoder.json").read_text()) == made_by
    again = ToyEncoder()
    assert build_vectors(DOCS, again, path) == path
    assert again.encoded == []
    with pytest.raises(CascadeError, match=r"there are other vectors already: .* was made with model 'ToyEncoder.size=8"):
        build_vectors(DOCS, ToyEncoder(size=4), path)
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, "org/model", path, tokens=True)
    made_with = ("class 'encoder_toys.ToyEncoder', not None", "model 'ToyEncoder(size=8, levels=0)', not 'org/model'")
    assert error.value.problems == (*(f"{path} was made with {what}" for what in made_with), f"{path} has no token vectors")
    (tmp_path / "file").touch()
    with pytest.raises(CollectionError, match="it is a file, expected a folder or nothing"):
        build_vectors(DOCS, ToyEncoder(), tmp_path / "file")


@given(st.text(), st.text())
def test_texts_are_told_apart_by_their_hash(one: str, other: str) -> None:
    """Equal texts have equal hashes, others have others, whatever is in them."""
    assert (hash_text(one) == hash_text(other)) == (one == other)


def test_hash_is_blake2() -> None:
    """Golden: BLAKE2b of 8 bytes, from coreutils: ``printf 'a lion' | b2sum -l 64``."""
    assert hash_text("a lion") == "1e8b93961d762270"
