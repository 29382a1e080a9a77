"""Encoding that goes on where it was stopped. Toy vectors unless stated otherwise: their values mean nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import TESTS
from toys.encoders import ToyEncoder, Unnamed, collection

from pt_cascade.checksums import hash_text
from pt_cascade.collections.intake import Intake
from pt_cascade.errors import CascadeError, CollectionError, FrameError, MissingError, PipelineError, StageError
from pt_cascade.files import beside
from pt_cascade.progress import show_progress
from pt_cascade.stages.bi_encoder import bi_encoder
from pt_cascade.stages.dense import dense
from pt_cascade.stages.vectors import build_vectors as build_module
from pt_cascade.stages.vectors.build_vectors import build_vectors
from pt_cascade.stages.vectors.chunks import list_chunks
from pt_cascade.stages.vectors.provenance import hash_encoder, record_model
from pt_cascade.stages.vectors.store import open_vectors

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
    return beside(path, "partial")


def resume_from(begun: Path, folder: Path) -> Path:
    """Copy an interrupted build to another place, and return the place."""
    shutil.copytree(begun, beside(folder / "v", "partial"))
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
        (DOCS, ToyEncoder(after=interrupt), CHUNK + 32, 1),
        (stopped(DOCS, 2 * CHUNK + 50), ToyEncoder(), CHUNK, 2),
        (stopped(DOCS, 50), ToyEncoder(), 0, 2),
    ):
        with pytest.raises(KeyboardInterrupt) as stop:
            build_vectors(docs, encoder, path)
        assert len(encoder.encoded) == encoded
        left = beside(path, "partial")
        assert sorted(list_chunks(left)) == [*range(chunks)]
        kept = f"{chunks * CHUNK:,} encoded documents are kept in {left}"
        assert stop.value.__notes__ == [f"{kept}: the same call of build_vectors, or the same command, continues from there"]
    encoder = ToyEncoder()
    build_vectors(iter(DOCS), encoder, path)
    assert sorted(encoder.encoded) == sorted(doc["text"] for doc in DOCS[2 * CHUNK :])
    assert content(path) == whole
    assert [file.name for file in tmp_path.iterdir()] == ["v"]


def test_an_interrupted_process_says_how_to_continue(tmp_path: Path) -> None:
    """A real process gets Ctrl-C: its last line says what is kept and where, and the same call encodes the rest only."""
    docs, path = collection(2 * CHUNK + 9), tmp_path / "v"
    script = [sys.executable, "-m", "toys.encoders", str(path), str(len(docs))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(script, cwd=TESTS, text=True, **pipes) as process:
        while process.stdout.readline() != "waiting\n":
            pass
        process.send_signal(signal.SIGINT)
        last = process.communicate()[1].splitlines()[-1]
    kept = f"{2 * CHUNK:,} encoded documents are kept in {beside(path, 'partial')}"
    assert last == f"{kept}: the same call of build_vectors, or the same command, continues from there"
    encoder = ToyEncoder()
    build_vectors(docs, encoder, path)
    assert len(encoder.encoded) == 9


def test_a_killed_process_loses_its_last_chunk_at_most(tmp_path: Path) -> None:
    """A real process is killed (SIGKILL) at work, again and again; each goes on from the last one's work, to the same bytes."""
    docs, path = collection(20 * CHUNK), tmp_path / "v"
    script = [sys.executable, "-m", "toys.encoders", str(path), str(len(docs))]
    kept = [0]
    for chunks in (2, 1, 4, 3):
        with subprocess.Popen(script, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = []
            while len(said) < chunks and "waiting\n" not in said:
                said.append(process.stdout.readline())
            process.kill()
        assert not path.exists()
        kept.append(CHUNK * len(list_chunks(beside(path, "partial"))))
        assert kept[-1] >= kept[-2] + CHUNK * (chunks - 1) or "waiting\n" in said
    encoder = ToyEncoder()
    build_vectors(docs, encoder, path)
    assert len(encoder.encoded) == len(docs) - kept[-1]
    assert content(path) == content(build_vectors(docs, ToyEncoder(), tmp_path / "at one go"))


@settings(max_examples=25)
@given(st.integers(0), st.integers(0), st.integers(0, 7), st.booleans())
def test_a_damaged_chunk_is_found_and_the_cure_works(
    begun: Path,
    whole: dict[str, bytes],
    chunk: int,
    place: int,
    bit: int,
    cut: bool,  # noqa: FBT001 - drawn
) -> None:
    """A chunk with one bit turned, or cut off, is an error that names its file; after the cure this chunk is encoded again."""
    with tempfile.TemporaryDirectory() as folder:
        path = resume_from(begun, Path(folder))
        files = list_chunks(beside(path, "partial"))
        file = files[sorted(files)[chunk % len(files)]]
        good = file.read_bytes()
        at = place % len(good)
        file.write_bytes(good[:at] if cut else good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
        with pytest.raises(MissingError, match=rf"partial is damaged: the content of {file.name} ") as error:
            build_vectors(DOCS, ToyEncoder(), path)
        command = error.value.fix.removesuffix(", and build_vectors again")
        subprocess.run(shlex.split(command), check=True)
        encoder = ToyEncoder()
        assert content(build_vectors(DOCS, encoder, path)) == whole
        assert len(encoder.encoded) == CHUNK + 100


def test_a_last_step_that_was_cut_short_is_done_again(begun: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """What a process had joined before it died is joined again; half a written chunk does not count."""
    path = resume_from(begun, tmp_path)
    (beside(path, "partial") / "whole").mkdir()
    for name in ("whole/docnos.npids", "whole/tokens.npy", "whole/pt_meta.json", ".0123.tmp"):
        (beside(path, "partial") / name).write_bytes(b"half")
    assert content(build_vectors(DOCS, ToyEncoder(), path)) == whole
    assert [file.name for file in tmp_path.iterdir()] == ["v"]


@pytest.mark.parametrize(
    ("docs", "problem"),
    [
        ([{"docno": "d0", "text": "x"}, *DOCS[1:]], "the text of document 1, 'd0', has changed"),
        ([*DOCS[:600], {"docno": "new", "text": DOCS[600]["text"]}, *DOCS[601:]], "document 601 is 'new', expected 'd600'"),
        (DOCS[:1000], "document 1001 is missing, expected 'd1000'"),
        (DOCS[:CHUNK], "document 513 is missing, expected 'd512'"),
    ],
    ids=["text", "docno", "fewer", "fewer chunks"],
)
def test_other_documents_are_refused(docs: list[dict[str, str]], problem: str, begun: Path, tmp_path: Path) -> None:
    """Documents that are encoded already must be the same, text for text; the error has a cure, and nothing is lost."""
    path = resume_from(begun, tmp_path)
    left = beside(path, "partial")
    before = content(left)
    with pytest.raises(CascadeError) as error:
        build_vectors(docs, ToyEncoder(), path)
    fix = f"rm -r {left}, or give the same documents in the same order"
    assert str(error.value) == f"{left} was built with other documents: {problem}. Fix: {fix}"
    assert content(left) == before
    shutil.rmtree(left)
    assert build_vectors(docs, ToyEncoder(), path) == path


def test_later_documents_may_change(begun: Path, tmp_path: Path) -> None:
    """What is not encoded yet is free: a document that could not be stored is mended, and the work goes on."""
    path = resume_from(begun, tmp_path)
    with pytest.raises(FrameError, match="the text of docno 'bad' is missing"):
        build_vectors([*DOCS[: 2 * CHUNK], {"docno": "bad", "text": None}], ToyEncoder(), path)
    encoder = ToyEncoder()
    build_vectors([*DOCS[: 2 * CHUNK], {"docno": "bad", "text": "good"}], encoder, path)
    assert encoder.encoded == ["good"]


def test_another_way_of_encoding_is_refused(begun: Path, minilm: str, tmp_path: Path) -> None:
    """Another model, limit or choice of tokens neither resumes an interrupted build nor deletes it."""
    path = resume_from(begun, tmp_path)
    left = beside(path, "partial")
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, ToyEncoder(size=4), path)
    made, asked = (f"'{toy!r}' (provenance {hash_encoder(toy)})" for toy in (ToyEncoder(), ToyEncoder(size=4)))
    problem = f"they were made by {made}, not by {asked}"
    fix = f"rm -r {left}, or use the same model and options"
    assert str(error.value) == f"{left} was built with other options: {problem}. Fix: {fix}"
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, minilm, path, max_length=7, tokens=True)
    model = record_model(str(Path(minilm).resolve()))
    expected = [f"they were made by {made}, not by '{model}'", "tokens is True"]
    assert all(problem.startswith(start) for problem, start in zip(error.value.problems, expected, strict=True))
    assert len(list_chunks(left)) == 2


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


def wait_while(work: threading.Thread, go: threading.Event, path: Path, encoder: ToyEncoder, log: pytest.LogCaptureFixture) -> None:
    """Ask for a folder that another thread is making; let that one go on when the log says that we wait."""
    log.handler.addFilter(lambda _: go.set() or True)
    build_vectors(DOCS, encoder, path)
    work.join()
    assert log.messages == [f"another thread or process is building {path}; waiting for it"]


def test_a_second_process_waits_and_takes_the_finished_vectors(
    whole: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two that make one folder, one encodes; the other says that it waits, and encodes nothing."""
    go, started, second = threading.Event(), threading.Event(), ToyEncoder()
    first = ToyEncoder(after=lambda _: (started.set(), go.wait(60)))
    work = threading.Thread(target=build_vectors, args=(DOCS, first, tmp_path / "v"))
    work.start()
    assert started.wait(60)
    wait_while(work, go, tmp_path / "v", second, caplog)
    assert second.encoded == []
    assert content(tmp_path / "v") == whole


def test_a_second_process_goes_on_if_the_first_fails(
    whole: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    wait_while(work, go, tmp_path / "v", second, caplog)
    assert len(second.encoded) == len(DOCS)
    assert content(tmp_path / "v") == whole


def test_a_folder_deleted_before_its_lock_is_taken_is_made_again(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process deletes the growing folder just after we made it (played by one that is not made), we make it again."""
    made, mkdir = [], Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: made.append(path) or (len(made) > 2 and mkdir(path, **options)))
    build_vectors(DOCS, ToyEncoder(), tmp_path / "v")
    assert made[:4] == [tmp_path, beside(tmp_path / "v", "partial")] * 2
    assert content(tmp_path / "v") == whole


def test_progress_goes_on_from_where_it_was(begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It begins at the documents that are encoded, of all where their number is known; nothing is written unless asked."""
    build_vectors(DOCS, ToyEncoder(), resume_from(begun, tmp_path), verbose=True)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"encode: {2 * CHUNK}/{len(DOCS)} [")
    assert last.startswith(f"encode: {len(DOCS)}/{len(DOCS)} [")
    build_vectors(iter(DOCS), ToyEncoder(), tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")


def test_progress_moves_in_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count moves batch by batch, here of 8 documents, not by chunks of 512."""
    counts: list[float] = []

    with show_progress("encode", "doc", 40, shown=True, file=io.StringIO()) as bar:
        monkeypatch.setattr(build_module, "show_progress", lambda *_, **__: nullcontext(bar))
        build_vectors(DOCS[:40], ToyEncoder(after=lambda _: counts.append(bar.n)), tmp_path / "v", batch_size=8)
    assert counts == [0, 8, 16, 24, 32]


class Odd(ToyEncoder):
    """An encoder of vectors that cannot be used."""

    def encode_docs(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        """Give the third longest document a value that is no number, or, for one of many levels, everything a dimension more."""
        found = super().encode_docs(texts, batch_size)
        if len(texts) > 1:
            found[2, 0] = np.nan
        return found[None] if self.levels and len(texts) > 1 else found


def test_vectors_that_cannot_be_used_are_reported(tmp_path: Path) -> None:
    """A value that is not finite, or not one vector a text, is an error where it arises, with the document."""
    with pytest.raises(StageError, match=r"vector that cannot be compared: 1 of 4 vectors, first docno d2, of length nan"):
        build_vectors([DOCS[n] for n in (1, 6, 4, 2)], Odd(), tmp_path / "v")
    with pytest.raises(StageError, match=r"one vector a text: Odd.* gave shape \(1, 4, 8\) for 4 texts, expected \(4, dimension\)"):
        build_vectors(DOCS[:4], Odd(levels=2), tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


def test_a_bi_encoder_of_pyterrier_dr_takes_no_option_of_its_own(tmp_path: Path) -> None:
    """Its limit and its device are its own, and it has no token vectors: all is refused at once."""
    with pytest.raises(PipelineError) as error:
        build_vectors(DOCS, ToyEncoder(), tmp_path / "v", max_length=9, device="cpu", tokens=True)
    expected = ("max_length is 9, expected None", "device is 'cpu', expected None", "tokens is True, expected None")
    assert error.value.problems == expected


def test_a_finished_folder_says_what_made_it(minilm: str, tmp_path: Path) -> None:
    """The same call finds it and encodes nothing; another encoder is refused, and so is a file at its place."""
    path = build_vectors(DOCS, ToyEncoder(), tmp_path / "v")
    made_by = {
        "model": "ToyEncoder(size=8, levels=0)",
        "class": "toys.encoders.ToyEncoder",
        "provenance": hash_encoder(ToyEncoder()),
    }
    lines = "".join(f"{doc['docno']} {hash_text(doc['text'])}\n" for doc in DOCS)
    read = hashlib.blake2b(lines.encode(), digest_size=16).hexdigest()
    assert json.loads((path / "encoder.json").read_text()) == {
        **made_by,
        "max_length": None,
        "provenance": hash_encoder(ToyEncoder()),
        "documents": len(DOCS),
        "content": read,
    }
    again = ToyEncoder()
    assert build_vectors(DOCS, again, path) == path
    assert again.encoded == []
    with pytest.raises(CascadeError, match=r"the folder holds other vectors: they were made by 'ToyEncoder.size=8") as error:
        build_vectors(DOCS, ToyEncoder(size=4), path)
    assert error.value.fix == f"rm -r {path}"
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, minilm, path, tokens=True)
    assert "not by" in error.value.problems[0]
    assert error.value.problems[1:] == (f"{path} has no token vectors",)
    (tmp_path / "file").touch()
    with pytest.raises(CollectionError, match="it is a file, expected a folder"):
        build_vectors(DOCS, ToyEncoder(), tmp_path / "file")


def test_a_finished_folder_is_of_these_documents(tmp_path: Path) -> None:
    """Other documents than were encoded are refused; so is a generator that was read already."""
    path = build_vectors(DOCS, ToyEncoder(), tmp_path / "v")
    assert build_vectors(iter(DOCS), ToyEncoder(), path) == path
    changed = {"docno": "d7", "text": "other"}
    for docs, problem in (
        (DOCS[:600], "document 601 is missing, expected 'd600'"),
        ([*DOCS, {"docno": "new", "text": ""}], "document 1125 is 'new', expected none"),
        ([*DOCS[:5], DOCS[6], DOCS[5], *DOCS[7:]], "document 6 is 'd6', expected 'd5'"),
        ([*DOCS[:7], changed, *DOCS[8:]], "a text has changed, while the docnos are the same"),
    ):
        with pytest.raises(CascadeError) as error:
            build_vectors(docs, ToyEncoder(), path)
        assert str(error.value) == f"the folder holds other vectors: {problem}. Fix: rm -r {path}"
    with pytest.raises(CascadeError, match="docs has no document"):
        build_vectors(iter([]), ToyEncoder(), path)
    with pytest.raises(FrameError, match="the text of docno 'bad' is missing"):
        build_vectors([*DOCS, {"docno": "bad", "text": None}], ToyEncoder(), path)
    with pytest.raises(KeyboardInterrupt):
        build_vectors(stopped(DOCS, 9), ToyEncoder(), path)


@pytest.mark.parametrize("other", [Unnamed(4), Unnamed(8, levels=2), Unnamed(0)], ids=["another size", "other values", "no values"])
def test_encoders_of_one_name_are_distinguished_by_their_settings(other: Unnamed, tmp_path: Path) -> None:
    """Without weights, and with one name, an encoder of other settings neither resumes, nor takes a folder, nor searches it."""
    path = tmp_path / "v"
    with pytest.raises(KeyboardInterrupt):
        build_vectors(stopped(DOCS, CHUNK + 50), Unnamed(), path)
    with pytest.raises(CascadeError, match=r"was built with other options: they were made by .Unnamed"):
        build_vectors(DOCS, other, path)
    build_vectors(DOCS, Unnamed(), path)
    with pytest.raises(CascadeError, match=r"the folder holds other vectors: they were made by .Unnamed"):
        build_vectors(DOCS, other, path)
    for stage in (dense, bi_encoder):
        with pytest.raises(PipelineError, match=r"cannot be searched by another model: they were made by .Unnamed") as error:
            stage(path, model=other)
        assert f"rm -r {path}, and build_vectors again" in error.value.fix
        stage(path, model=Unnamed())


def test_an_unusable_vector_is_reported_when_it_is_made(tmp_path: Path) -> None:
    """A length that float32 cannot square is an error at the first chunk, not after all are encoded; a vector of zeros is none."""

    class Sized(ToyEncoder):
        def vector(self, text: str) -> np.ndarray:
            return super().vector(text) * np.float32({"text 3 xxx": 1e25, "text 4 xxxx": 0}.get(text, 1))

    with pytest.raises(StageError, match=r"cannot be compared: 1 of 9 vectors, first docno d3, of length .*e\+25"):
        build_vectors(DOCS[:9], Sized(), tmp_path / "v")
    build_vectors(DOCS[4:9], Sized(), tmp_path / "v")


@pytest.mark.parametrize("damage", ["{", "[1]", None], ids=["half", "list", "missing"])
def test_chunks_of_an_unknown_encoder_are_refused(damage: str | None, begun: Path, tmp_path: Path) -> None:
    """Without job.json, or with half of it, chunks are neither used nor deleted."""
    path = resume_from(begun, tmp_path)
    left = beside(path, "partial")
    (left / "job.json").write_text(damage) if damage else (left / "job.json").unlink()
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS, ToyEncoder(), path)
    problem = "job.json, which names the encoder of the chunks, is missing or damaged"
    assert str(error.value) == f"the encoder of {left} is unknown: {problem}. Fix: rm -r {left}"
    assert len(list_chunks(left)) == 2


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """What build_vectors did not make it never advises to delete: a folder with a thesis, a FlexIndex; an empty folder is used."""
    (thesis := tmp_path / "thesis").mkdir()
    (thesis / "thesis.tex").write_text("x")
    flex = shutil.copytree(build_vectors(DOCS, ToyEncoder(), tmp_path / "v"), tmp_path / "flex")
    (flex / "encoder.json").unlink()
    for folder, holds in ((thesis, "thesis.tex"), (flex, "SHA256SUMS, docnos.npids, pt_meta.json")):
        with pytest.raises(CascadeError) as error:
            build_vectors(DOCS, ToyEncoder(), folder)
        problem = f"{folder} holds {holds}, ..., expected encoder.json and vecs.f4, or nothing"
        fix = "choose another path"
        assert str(error.value) == f"this folder is not made by build_vectors: {problem}. Fix: {fix}"
    (tmp_path / "empty").mkdir()
    assert len(open_vectors(build_vectors(DOCS, ToyEncoder(), tmp_path / "empty")).docnos) == len(DOCS)


def test_an_impossible_path_is_reported_before_anything_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that is no new folder, a link to nothing, a read-only place: an error with a cure before any work."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    encoder = ToyEncoder()
    for path, message in {
        ".": "this folder is not made by build_vectors: . holds file, link, ..., expected",
        "/": "this folder is not made by build_vectors: / holds ",
        "link": "cannot build link: it is a broken link. Fix: rm -r link",
        "file/v": "cannot build file/v: .*Fix: choose a folder where you may write",
        "/proc/v": "cannot build /proc/v: .*Fix: choose a folder where you may write",
    }.items():
        with pytest.raises(CascadeError, match=message) as error:
            build_vectors(DOCS, encoder, path)
        assert error.value.fix
    assert encoder.encoded == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        (pd.DataFrame(DOCS), r"document 1 is 'docno' \(str\), expected a dict .*for a DataFrame: docs=docs.to_dict\(\"records\"\)"),
        (DOCS[0], r"docs is {'docno': .*, expected a series of dicts.*Fix: docs=\[{\"docno\": \"d1\", \"text\": \"...\"}\];"),
        (["a", "b"], r"document 1 is 'a' \(str\), expected a dict with docno and text"),
        ([DOCS[0], None], r"document 2 is None \(NoneType\), expected a dict"),
        ("docs.jsonl", r"docs is 'docs.jsonl', expected a series of dicts with docno and text. Fix: docs=\["),
        (None, r"docs is None, expected a series of dicts with docno and text. Fix: docs=\["),
        ([{"docno": "\ud800a", "text": "x"}, DOCS[0]], r"docno is '\\ud800a', which has half a surrogate pair"),
        ([DOCS[0], {"docno": "a", "text": "x\ud800"}], "the text of docno 'a' has half a surrogate pair"),
    ],
    ids=["frame", "dict", "list of text", "list with None", "text", "None", "docno", "surrogate"],
)
def test_invalid_documents_are_reported(docs: object, message: str, tmp_path: Path) -> None:
    """What is not one dict after the other, each of whole characters, is an error of ours before it is encoded."""
    encoder = ToyEncoder()
    with pytest.raises(FrameError, match=message):
        build_vectors(docs, encoder, tmp_path / "v")  # type: ignore[arg-type]
    assert encoder.encoded == []
    assert list(tmp_path.iterdir()) == []


class Foreign:
    """What sentence-transformers' own models have."""

    def save_pretrained(self, path: str) -> None:
        """Save."""


def test_invalid_models_are_reported(tmp_path: Path) -> None:
    """A class, a number, a loaded model of another library, and a batch of nothing, each with the line that mends it."""
    for model, message in (
        (ToyEncoder, r"model is <class 'toys.encoders.ToyEncoder'> \(type\), expected .*BiEncoder object"),
        (5, r"model is 5 \(int\), expected a name on the hub, a folder or a pyterrier_dr.BiEncoder"),
        (Foreign(), r'model is .*Foreign.* Fix: .* model.save_pretrained\("folder"\) and model="folder"'),
    ):
        with pytest.raises(PipelineError, match=message):
            build_vectors(DOCS, model, tmp_path / "v")  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match="batch_size is 0, expected 1 or more"):
        build_vectors(DOCS, ToyEncoder(), tmp_path / "v", batch_size=0)
    assert list(tmp_path.iterdir()) == []


PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=3, unique_by=lambda pair: pair[0])


@given(PAIRS, PAIRS)
def test_collections_are_distinguished_by_their_hash(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """Another docno, text, order or number of documents is another hash, however they are read."""
    read = [Intake(iter([{"docno": docno, "text": text} for docno, text in some])) for some in (one, other)]
    assert [len(list(intake)) for intake in read] == [len(one), len(other)]
    assert (read[0].content == read[1].content) == (one == other)


@given(st.text(), st.text())
def test_texts_are_distinguished_by_their_hash(one: str, other: str) -> None:
    """Equal texts have equal hashes, others have others, whatever is in them."""
    assert (hash_text(one) == hash_text(other)) == (one == other)


def test_hash_is_blake2() -> None:
    """Golden: BLAKE2b of 8 bytes, from coreutils: ``printf 'a lion' | b2sum -l 64``."""
    assert hash_text("a lion") == "1e8b93961d762270"
