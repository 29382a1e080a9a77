"""The identity of a stage, by value: other weights make another stage, and a faster device or batch size does not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st

from pt_cascade import checksums
from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.base.identity import hash_identity, identify, identify_any
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.bi_encoder import BiEncoder
from pt_cascade.stages.cross_encoder import cross_encoder
from pt_cascade.stages.duo_t5 import duo_t5
from pt_cascade.stages.inference import weights
from pt_cascade.stages.inference.weights import Weights, tell_files, tell_weights
from pt_cascade.stages.late_interaction import LateInteraction
from pt_cascade.stages.mono_t5 import mono_t5
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.store import VectorStore

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()), lambda x: st.tuples(x, x)
)


@dataclass(frozen=True)
class Sized(Reranker):
    """A stage of plain arguments."""

    size: object = 1
    prompt: str = ""
    batch_size: int = 1
    device: str | None = None
    stage_name: ClassVar[str] = "sized"

    def score(self, results: pd.DataFrame) -> np.ndarray:
        """Score by nothing."""
        return np.zeros(len(results))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a model's."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return folder


@given(PLAIN, PLAIN, st.text(), st.text(), st.integers())
def test_settings_count_and_speed_does_not(one: object, two: object, prompt: str, device: str, batch: int) -> None:
    """Two stages have one identity if and only if what can change a score is equal; it is words, and the same in a copy."""
    mine, theirs = Sized(one, prompt), Sized(two, prompt, batch, device)
    equal = json.dumps(one) == json.dumps(two)
    assert (mine.identify() == theirs.identify()) == equal
    assert (hash_identity(mine.identify()) == hash_identity(theirs.identify())) == equal
    assert set(mine.identify()) == {"class", "size", "prompt"}
    assert all(isinstance(word, str) for word in mine.identify().values())
    assert pickle.loads(pickle.dumps(mine)).identify() == mine.identify()  # noqa: S301 - our own
    assert (replace(mine, prompt=prompt + "!").identify() == mine.identify()) is False


def test_weights_are_identified_by_their_files(tmp_path: Path) -> None:
    """Golden: sha256sum of coreutils for an empty file and for "abc", then for the two lines of name and hash."""
    (tmp_path / "a").touch()
    (tmp_path / "b").write_bytes(b"abc")
    assert tell_files(Weights(str(tmp_path))) == "files 4bd1ea011ddd5c07b4e2"


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "weights, of the same size": (lambda model: (model / "model.safetensors").write_bytes(b"\0" * 63 + b"\1"), True),
    "its configuration": (lambda model: (model / "config.json").write_text('{"model_type": "BERT"}'), True),
    "the configuration of a part": (lambda model: (model / "1_Pooling" / "config.json").write_text("[]"), True),
    "a new file": (lambda model: (model / "tokenizer.json").touch(), True),
    "a file gone": (lambda model: (model / "1_Pooling" / "config.json").unlink(), True),
    "another name of a file": (lambda model: (model / "model.safetensors").rename(model / "pytorch_model.bin"), True),
    "the same written again": (lambda model: (model / "model.safetensors").write_bytes(b"\0" * 64), False),
    "a model card": (lambda model: (model / "README.md").write_text("# A model"), False),
    "a log": (lambda model: (model / "eval.csv").write_text("epoch,steps"), False),
    "a checkpoint": (lambda model: shutil.copytree(model / "1_Pooling", model / "checkpoint-500"), False),
    "a hidden file": (lambda model: (model / ".git").mkdir(), False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_is_another_when_what_is_loaded_of_it_is(model: Path, change: str) -> None:
    """Trained on in place, under its old name, it is another model; with a card or a log beside it, it is the same."""
    write, other = CHANGES[change]
    before = cross_encoder(model).identify()
    write(model)
    assert (cross_encoder(model).identify() != before) is other
    assert (before["model"].split()[0], set(before) - set(cross_encoder(model).identify())) == ("files", set())


def test_links_are_followed(model: Path, tmp_path: Path) -> None:
    """A part of a model that lies elsewhere, behind a linked folder, counts."""
    shutil.move(model / "1_Pooling", tmp_path / "elsewhere")
    (model / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    before = cross_encoder(model).identify()
    (tmp_path / "elsewhere" / "config.json").write_text("[]")
    assert cross_encoder(model).identify() != before


def test_a_file_whose_time_was_put_back_is_read_again(model: Path) -> None:
    """Same size, same time of content, as a copy that keeps times leaves it: the time of its state tells."""
    weights = model / "model.safetensors"
    state, before = weights.stat(), cross_encoder(model).identify()
    with weights.open("r+b") as file:
        file.write(b"\1")
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert weights.stat().st_mtime_ns == state.st_mtime_ns
    assert cross_encoder(model).identify() != before


def test_where_a_model_lies_does_not_matter(model: Path, tmp_path: Path) -> None:
    """A copy of a folder is the same model."""
    shutil.copytree(model, tmp_path / "elsewhere" / "copy")
    assert mono_t5(tmp_path / "elsewhere" / "copy").identify() == mono_t5(model).identify()


def test_weights_are_read_once_a_process(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was written, no file is opened again, once the file system's clock has gone on since it was written."""
    monkeypatch.setattr(checksums, "_TICK", 0)
    before = tell_weights(str(model))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("builtins.open", refuse)
    assert tell_weights(str(model)) == before


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of one's own, off the network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def _fetch(hub: Path, name: str, commit: str) -> None:
    """Put a repository into the cache, as a download does."""
    repository = hub / f"models--{name.replace('/', '--')}"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)


def test_a_name_on_the_hub_is_identified_by_its_commit(hub: Path) -> None:
    """Of the local cache; when another one is downloaded, it is another model. A bare name is one of sentence-transformers."""
    _fetch(hub, "owner/name", "a" * 40)
    before = cross_encoder("owner/name").identify()
    assert before["model"] == f"owner/name at {'a' * 40}"
    _fetch(hub, "owner/name", "b" * 40)
    assert cross_encoder("owner/name").identify() == {**before, "model": f"owner/name at {'b' * 40}"}
    _fetch(hub, "sentence-transformers/small", "c" * 40)
    assert identify(Encoder("small"))["model"] == f"small at {'c' * 40}"


@pytest.mark.usefixtures("hub")
def test_an_unknown_revision_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the cache nor the hub knows it: no score may be kept of it, or read for it."""
    with pytest.raises(MissingError, match="cross_encoder: cannot load 'owner/absent'"):
        cross_encoder("owner/absent").identify()
    monkeypatch.setattr(weights, "load_config", lambda *_: None)  # the hub gives it, and the cache does not keep it
    with pytest.raises(MissingError, match="cross_encoder: cannot find the revision of 'owner/absent'") as refused:
        cross_encoder("owner/absent").identify()
    assert refused.value.fix == "hf download owner/absent"


def test_stored_vectors_are_identified_by_their_content(model: Path, tmp_path: Path) -> None:
    """Vectors, docnos and encoder count; an index that somebody built beside them, the device and the batch size do not."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    for name in ("encoder.json", "pt_meta.json", "docnos.npids", "vecs.f4"):
        (folder / name).write_text(name)
    stage = BiEncoder(VectorStore(str(folder)), Encoder(str(model), "cpu", 64, 32))
    before = stage.identify()
    assert {"class", "store", "encoder.class", "encoder.model", "encoder.max_length", "similarity"} <= set(before)
    (folder / "hnsw.faiss").touch()
    assert replace(stage, encoder=Encoder(str(model), "cuda", 64, 8)).identify() == before
    assert replace(stage, similarity="cos").identify() != before
    assert replace(stage, encoder=Encoder(str(model), "cpu", 32)).identify() != before
    shutil.copytree(folder, tmp_path / "copy")
    assert replace(stage, store=VectorStore(str(tmp_path / "copy"))).identify() == before
    (folder / "vecs.f4").write_text("vecs.F4")
    assert stage.identify() != before


def test_what_a_stage_reads_tells_its_documents(model: Path, tmp_path: Path) -> None:
    """Its text, whichever column that is; where vectors are stored, the docno."""
    store, encoder = VectorStore(str(tmp_path)), Encoder(str(model))
    assert cross_encoder(model, text_field="body").reads() == ["body"]
    assert BiEncoder(store, encoder).reads() == ["docno"]
    assert (LateInteraction(encoder).reads(), LateInteraction(encoder, store).reads()) == (["text"], ["docno"])


def test_what_has_no_value_is_refused() -> None:
    """An object without a value is refused, not left out of the identity."""
    with pytest.raises(PipelineError, match=r"sized: cannot be identified: its field 'size' is <object .*\(object\)") as refused:
        Sized(object()).identify()
    assert refused.value.fix == "def identify(self): return {..., 'size': text that changes with its value}"

    class Cured(Sized):
        def identify(self) -> dict[str, str]:
            return {"class": "Cured", "size": "of this value"}

    assert identify_any(Cured(object())) == {"class": "Cured", "size": "of this value"}


@pytest.mark.parametrize("returned", [{}, None, {"model": 1}, "a name"])
def test_an_identity_that_is_not_text_is_refused_and_the_cure_is_taken(returned: object) -> None:
    """The error shows what was returned, and the method that the error prints gives an identity."""
    stage = pt.apply.doc_score(lambda _: 1.0)
    stage.identify = lambda: returned
    with pytest.raises(
        PipelineError, match=r"cannot be cached: its identify\(\) returned .*, expected a dict of text by name"
    ) as error:
        identify_any(stage)
    scope: dict[str, Callable[..., dict[str, str]]] = {}
    exec(error.value.fix.replace("...", "'v1'"), scope)  # noqa: S102 - our own line
    stage.identify = lambda: scope["identify"](stage)
    assert identify_any(stage, "words") == {"model": "v1", "version": "v1", "settings": "v1", "identity": "words"}


def test_a_foreign_stage_is_identified_by_its_user() -> None:
    """Golden: its class and the user's words, and nothing that is guessed; its own word goes first, and the user's beside it."""
    one = pt.apply.doc_score(lambda _: 1.0)
    found = identify_any(one, "ones, v1")
    assert found == {"class": "pyterrier.apply_base.ApplyDocumentScoringTransformer", "identity": "ones, v1"}
    assert identify(one) == {"class": found["class"]}
    one.identify = lambda: {"mine": "v2"}
    assert identify_any(one) == {"mine": "v2"}
    assert identify_any(one, "more") == {"mine": "v2", "identity": "more"}


@pytest.mark.parametrize("make", [cross_encoder, mono_t5, duo_t5])
@pytest.mark.parametrize(("kind", "default"), [("cuda", 32768), pytest.param("cpu", 2048, marks=pytest.mark.avx512)])
def test_below_fp32_the_device_and_the_batches_count(model: Path, make: Callable[..., Reranker], kind: str, default: int) -> None:
    """Where they change a score: the kind of device, and the budget, given or by default; in fp32 neither does."""
    before = make(model, dtype="bf16", device=kind).identify()
    assert (before["device"], before["batch_tokens"]) == (kind, str(default))
    assert make(model, dtype="bf16", device=kind, batch_tokens=default).identify() == before
    assert make(model, dtype="bf16", device=kind, batch_tokens=100).identify() == {**before, "batch_tokens": "100"}
    assert make(model, dtype="bf16", device="cuda:1").identify() == make(model, dtype="bf16", device="cuda").identify()
    assert make(model, device="cpu", batch_tokens=9).identify() == make(model, device="cuda").identify() == make(model).identify()


@pytest.mark.avx512
@pytest.mark.parametrize("make", [cross_encoder, mono_t5, duo_t5])
def test_below_fp32_the_device_that_would_be_taken_counts(model: Path, make: Callable[..., Reranker]) -> None:
    """Without a name it is the one that is there."""
    assert make(model, dtype="bf16", device="cuda").identify() != make(model, dtype="bf16", device="cpu").identify()
    here = "cuda" if torch.cuda.is_available() else "cpu"
    assert make(model, dtype="bf16").identify() == make(model, dtype="bf16", device=here).identify()
