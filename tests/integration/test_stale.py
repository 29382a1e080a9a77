"""What is used is what was fingerprinted: whatever changes under its old name, on the disk or in memory, is made or asked anew."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import sentence_transformers
import torch
import transformers
from ir_measures import RR
from toys.encoders import ToyEncoder, tiny_model
from toys.rankers import ToyReranker, ToyRetriever, topics

from pt_cascade import Cascade, compare, score
from pt_cascade.cascade import Stage
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.collections import Collection, open_collection
from pt_cascade.collections.packages import Package, package_members
from pt_cascade.collections.texts import TextLoader
from pt_cascade.errors import CascadeError, CollectionError, PipelineError, StageError, TableError
from pt_cascade.execution.defaults import default_cascade, score_collection, store_index, store_vectors
from pt_cascade.stages import bm25, build_index, build_vectors, cross_encoder, dense
from pt_cascade.stages.vectors.provenance import hash_model

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = {"a": "the flow of heat", "b": "a blunt body", "c": "heat past the body", "d": "sleep in grass"}
DOCS = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
QUERIES = {"1": "heat flow", "2": "blunt body"}
LETTERS = list("abcdefghijklmnopqrstuvwxyz")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A collection in a folder."""
    place = tmp_path / "collection"
    place.mkdir()
    write_documents(place, TEXTS)
    (place / "topics.tsv").write_text("".join(f"{qid}\t{query}\n" for qid, query in QUERIES.items()))
    (place / "qrels.txt").write_text("1 0 c 1\n2 0 b 1\n")
    return place


def write_documents(folder: Path, texts: dict[str, str]) -> None:
    """Write the documents, as an editor does."""
    lines = (json.dumps({"docno": docno, "text": text}) + "\n" for docno, text in texts.items())
    (folder / "docs.jsonl").write_text("".join(lines))


def write_cross_encoder(folder: Path, seed: int = 0, letters: list[str] = LETTERS) -> Path:
    """Save a tiny cross-encoder of random weights that reads letters."""
    torch.manual_seed(seed)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(vocabulary), num_labels=1, initializer_range=0.5, **size)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 64}))
    return folder


# --- models


@pytest.mark.parametrize("change", [{"seed": 1}, {"letters": LETTERS[::-1]}], ids=["weights", "tokenizer"])
@pytest.mark.usefixtures("minilm", "cache")
def test_the_quickstart_shows_the_scores_of_the_model_that_is_there(
    change: dict[str, object], folder: Path, tmp_path: Path
) -> None:
    """Golden: what sentence-transformers gives the same pairs, before and after the model of --reranker FOLDER has changed."""
    model, found = tmp_path / "model", []
    for options in ({}, change):
        write_cross_encoder(model, **options)
        opened = open_collection(folder)
        cascade = default_cascade(opened, engine="pisa", reranker=model)
        table = score_collection(opened, cascade, opened.judged())
        rows = table.frame.dropna()
        reference = sentence_transformers.CrossEncoder(str(model), device="cpu", activation_fn=torch.nn.Identity())
        pairs = [(QUERIES[row.qid], TEXTS[row.docno]) for row in rows.itertuples()]
        found.append(rows["cross_encoder"].to_numpy())
        np.testing.assert_allclose(found[-1], reference.predict(pairs, show_progress_bar=False), atol=1e-5)
    assert len(found[0]) > 2
    assert not np.allclose(*found, atol=1e-3)


def test_a_model_that_was_written_to_after_it_was_loaded_is_not_scored(tmp_path: Path) -> None:
    """Its scores would be kept under the name of the new files."""
    model = write_cross_encoder(tmp_path / "model")
    results = pd.DataFrame({"qid": "1", "query": "heat", "docno": ["a", "b"], "text": ["flow", "body"], "score": [2.0, 1.0]})
    results["rank"] = [0, 1]
    cascade = Cascade.of(pt.Transformer.from_df(results) >> cross_encoder(model))
    asked = pd.DataFrame({"qid": ["1"], "query": ["heat"]})
    score(cascade, asked)
    write_cross_encoder(model, seed=1)
    with pytest.raises(StageError) as error:
        score(cascade, asked)
    problem = "its files have changed since it loaded them"
    assert str(error.value) == f"stage 'cross_encoder' does not match its files: {problem}. Fix: build the stage again"
    fresh = Cascade.of(pt.Transformer.from_df(results) >> cross_encoder(model))
    assert score(fresh, asked).frame["cross_encoder"].notna().all()


def test_a_model_whose_weights_were_overwritten_is_not_used(tmp_path: Path) -> None:
    """Weights are mapped from the disk, so that those of the new file would be mixed with what is in memory."""
    model, other = write_cross_encoder(tmp_path / "model"), write_cross_encoder(tmp_path / "other", seed=1)
    results = pd.DataFrame({"qid": "1", "query": "heat", "docno": ["a", "b"], "text": ["flow", "body"], "score": [2.0, 1.0]})
    stage = cross_encoder(model)
    stage.transform(results)
    shutil.copy(other / "model.safetensors", model / "model.safetensors")
    for call in (lambda: stage.transform(results), stage.identify):
        with pytest.raises(StageError, match=r"its files have changed since it loaded them\. Fix: build the stage again"):
            call()
    reference = sentence_transformers.CrossEncoder(str(other), device="cpu", activation_fn=torch.nn.Identity())
    golden = reference.predict([("heat", "flow"), ("heat", "body")], show_progress_bar=False)
    np.testing.assert_allclose(cross_encoder(model).transform(results)["score"], golden, atol=1e-5)


def test_every_weight_counts() -> None:
    """One value of a large weight, wherever it stands, and two weights that changed places: another model."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(600, 600), torch.nn.Linear(600, 600))
    first, second = (layer.weight.data.clone() for layer in layers)
    before = hash_model(layers)
    layers[0].weight.data[7, 11] += 1
    one = hash_model(layers)
    layers[0].weight.data, layers[1].weight.data = second, first
    exchanged = hash_model(layers)
    layers[0].weight.data, layers[1].weight.data = first, second
    assert hash_model(layers) == before
    assert len({before, one, exchanged}) == 3


def test_a_tokenizer_that_was_used_is_the_same() -> None:
    """How many tokens a call cuts off or fills in is no part of a model; what its tokens are, is."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    def make(letters: str) -> transformers.PreTrainedTokenizerFast:
        tokens = Tokenizer(models.WordLevel({token: n for n, token in enumerate(["?", "[PAD]", *letters])}, unk_token="?"))  # noqa: S106
        tokens.pre_tokenizer, tokens.normalizer = pre_tokenizers.Whitespace(), normalizers.Lowercase()
        return transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="[PAD]", unk_token="?")  # noqa: S106

    layer, used = torch.nn.Linear(2, 2), make("abc")
    before = hash_model(layer, used)
    used(["a b c", "a"], padding=True, truncation=True, max_length=2)
    assert hash_model(layer, used) == before == hash_model(layer, make("abc"))
    assert hash_model(layer, make("acb")) != before
    used.truncation_side = "left"
    assert hash_model(layer, used) != before


class Scaled(ToyEncoder):
    """A bi-encoder with a network, and with what no weight tells: whether its vectors have length 1."""

    def __init__(self, tokenizer: object = None, *, unit: bool = False) -> None:
        """Make the same network each time."""
        super().__init__()
        torch.manual_seed(0)
        object.__setattr__(self, "model", torch.nn.Linear(2, 2))
        object.__setattr__(self, "tokenizer", tokenizer)
        object.__setattr__(self, "unit", unit)

    def __repr__(self) -> str:
        """Say nothing of it."""
        return "Scaled()"

    def vector(self, text: str) -> np.ndarray:
        """Scale."""
        vector = super().vector(text)
        return vector / np.linalg.norm(vector) if self.unit else vector


class Words:
    """A tokenizer without a file."""

    def __init__(self, *words: str) -> None:
        """Number the words."""
        self.words = words

    def get_vocab(self) -> dict[str, int]:
        """Give them."""
        return {word: n for n, word in enumerate(self.words)}


def test_a_bi_encoder_of_pyterrier_dr_is_more_than_its_network(tmp_path: Path) -> None:
    """Of one class, name and weights: another tokenizer or other pooling is another encoder, for search and for build_vectors."""
    path = build_vectors(DOCS, Scaled(Words("a", "b")), tmp_path / "v")
    assert build_vectors(DOCS, Scaled(Words("a", "b")), path) == path
    assert len(dense(path, model=Scaled(Words("a", "b"))).search("heat")) == 4
    for other in (Scaled(Words("b", "a")), Scaled(Words("a", "b"), unit=True)):
        with pytest.raises(PipelineError, match="cannot be searched by another model: they were made by 'Scaled"):
            dense(path, model=other)
        with pytest.raises(CascadeError, match="the folder holds other vectors: they were made by 'Scaled"):
            build_vectors(DOCS, other, path)


# --- documents


@pytest.mark.parametrize("store", [store_index, store_vectors])
@pytest.mark.usefixtures("minilm")
def test_documents_that_were_edited_after_their_fingerprint_are_not_stored(
    store: Callable[[Collection], Path], folder: Path, cache: Path
) -> None:
    """Nothing is kept under the fingerprint of other text; the cure is to open the collection again, and then all goes well."""
    opened = open_collection(folder)
    before = opened.fingerprint
    write_documents(folder, {**TEXTS, "d": "a lion in grass"})
    with pytest.raises(CollectionError) as error:
        store(opened)
    assert error.value.what == f"the documents of collection {str(folder)!r} have changed since it was opened"
    assert error.value.fix == f"open_collection({str(folder)!r}) again, when nothing writes to it"
    assert not list(cache.glob(f"stored/{before[:16]}/[!.]*"))
    again = open_collection(folder)
    kept = store(again)
    assert again.fingerprint[:16] in str(kept)
    if store is store_index:
        assert bm25(kept).search("lions")["docno"].tolist() == ["d"]
    write_documents(folder, TEXTS)
    assert before[:16] in str(store(open_collection(folder)))


def test_what_is_read_twice_is_the_same_twice(folder: Path) -> None:
    """Also without a fingerprint: an index and texts of one collection are of the same documents, or there is an error."""
    opened = open_collection(folder)
    assert len(list(opened.docs())) == 4
    next(reading := opened.docs())
    write_documents(folder, {**TEXTS, "a": "another flow"})
    with pytest.raises(CollectionError, match="have changed since it was opened: the SHA-256 of docnos and texts is "):
        TextLoader(opened).transform(pd.DataFrame({"qid": ["1"], "docno": ["a"]}))
    with pytest.raises(CollectionError, match="have changed since it was opened"):
        opened.fingerprint  # noqa: B018 - it reads
    del reading
    write_documents(folder, TEXTS)
    assert TextLoader(opened).transform(pd.DataFrame({"qid": ["1"], "docno": ["a"]}))["text"].tolist() == ["the flow of heat"]


def test_a_loader_of_other_texts_is_another_stage(folder: Path) -> None:
    """The same name and the same number of documents: their texts tell, so that chunks of a table are not taken for another's."""
    marks = []
    for texts in (TEXTS, {**TEXTS, "a": "a flow"}, TEXTS):
        write_documents(folder, texts)
        marks.append(fingerprint(Stage("s", (TextLoader(open_collection(folder)),))))
    assert (marks[0] == marks[2], marks[0] == marks[1]) == (True, False)


# --- what lies in a folder under its old name


def make_vectors(docs: list[dict[str, str]], path: Path) -> pt.Transformer:
    """Encode and search."""
    return dense(build_vectors(docs, str(path.parent / "model"), path))


def make_pisa(docs: list[dict[str, str]], path: Path) -> pt.Transformer:
    """Index and search with PISA."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    return bm25(build_index(docs, path, engine="pisa"))


def make_terrier(docs: list[dict[str, str]], path: Path) -> pt.Transformer:
    """Index and search with Terrier."""
    return bm25(build_index(docs, path, engine="terrier"))


@pytest.mark.parametrize("make", [make_vectors, make_pisa, pytest.param(make_terrier, marks=pytest.mark.java)])
def test_an_index_that_was_made_again_is_another_stage(make: Callable[..., pt.Transformer], tmp_path: Path) -> None:
    """At the same path, of other documents; one that is opened again is the same, and so is one elsewhere with the same files."""
    tiny_model(tmp_path)
    path, other = tmp_path / "index", [*DOCS[:3], {"docno": "d", "text": "sleep in water"}]
    before, again = (fingerprint(Stage("s", (make(DOCS, path),))) for _ in range(2))
    elsewhere = fingerprint(Stage("s", (make(other, tmp_path / "elsewhere"),)))
    shutil.rmtree(path)
    after = fingerprint(Stage("s", (make(other, path),)))
    assert before == again
    assert before != after
    assert make is make_terrier or elsewhere == after  # Terrier's files hold the time


@pytest.mark.parametrize("make", [make_vectors, make_pisa, pytest.param(make_terrier, marks=pytest.mark.java)])
def test_a_rebuilt_index_is_not_searched_by_a_stage_of_the_old_one(make: Callable[..., pt.Transformer], tmp_path: Path) -> None:
    """Its documents would stand in a table under the fingerprint of the new ones; the cure finds the new ones."""
    tiny_model(tmp_path)
    path, asked = tmp_path / "index", pd.DataFrame({"qid": ["1"], "query": ["heat"]})
    old = make(DOCS, path)
    compiled = (old % 2).compile()
    old.transform(asked)
    compiled.transform(asked)
    shutil.rmtree(path)
    new = make([{"docno": name, "text": TEXTS[name]} for name in TEXTS if name != "a"], path)
    for call in (lambda: old.transform(asked), lambda: compiled.transform(asked), lambda: score(old >> ToyReranker(), asked)):
        with pytest.raises(StageError, match=r"its files have changed since it loaded them\. Fix: build the stage again"):
            call()
    found = score(new >> ToyReranker(), asked).frame["docno"]
    assert 0 < len(found) < 4
    assert "a" not in set(found)


def test_a_table_is_compared_under_its_own_name() -> None:
    """The scores of another model in a stage of this name are not shown as this cascade's: it is asked itself, or refused."""
    qrels = pd.DataFrame({"qid": ["q0", "q1"], "docno": ["d3", "d4"], "label": [1, 1]})
    one, other = (ToyRetriever() % 9 >> ToyReranker(seed=seed) % 3 for seed in (1, 2))
    table = score(one, topics(2))
    live = compare(one, topics(2), qrels, [RR]).effectiveness
    assert compare(one, topics(2), qrels, [RR], table=table).effectiveness["RR"].tolist() == live["RR"].tolist()
    live = compare(other, topics(2), qrels, [RR]).effectiveness
    assert compare(other, topics(2), qrels, [RR], table=table).effectiveness["RR"].tolist() == live["RR"].tolist()
    with pytest.raises(TableError, match="the table does not hold this cascade") as error:
        compare(ToyRetriever(seed=3) % 9 >> ToyReranker(seed=1) % 3, topics(2), qrels, [RR], table=table)
    assert error.value.fix == "table = score(cascade, topics)"


def test_a_package_that_was_edited_is_read_again(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its old version, as an editable install is; what was not edited is not read again."""
    module = tmp_path / "site" / "ptc_edited.py"
    module.parent.mkdir()
    monkeypatch.syspath_prepend(module.parent)
    for word in ("One", "Two"):
        module.write_text(f'def f():\n    """{word}."""\n')
        assert [member.docstring for member in package_members(Package("ptc_edited", "1"))] == [f"{word}."]
    files = {file: file.stat().st_mtime_ns for file in cache.rglob("members.json")}
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert [member.docstring for member in package_members(Package("ptc_edited", "1"))] == ["Two."]
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("members.json")} == files


def test_scores_that_pisa_did_not_finish_are_written_again(tmp_path: Path) -> None:
    """Half a file, as a killed process leaves it, is no score; a file of the user's own in the folder stays."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    index = build_index(DOCS, tmp_path / "index", engine="pisa")
    expected = bm25(shutil.copytree(index, tmp_path / "copy"), k1=1.5).search("heat")
    names = {file.name for file in (tmp_path / "copy").iterdir()} - {file.name for file in index.iterdir()} - {".lock"}
    assert names
    for name in names:
        (index / name).write_bytes((tmp_path / "copy" / name).read_bytes()[:100])
    (index / "notes.txt").write_text("mine")
    pd.testing.assert_frame_equal(bm25(index, k1=1.5).search("heat"), expected)
    (index / "notes.txt").write_text("still mine")
    pd.testing.assert_frame_equal(bm25(index, k1=1.5).search("heat"), expected)


def test_cures_are_for_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of a message removes the folder that it names, whatever is in its name, and nothing else."""
    monkeypatch.chdir(tmp_path)
    odd = "it's $HOME; touch x"
    (tmp_path / "it").touch()
    build_vectors(DOCS, ToyEncoder(), odd)
    with pytest.raises(CascadeError) as error:
        build_vectors(DOCS[:2], ToyEncoder(), odd)
    subprocess.run(["/bin/sh", "-c", error.value.fix], check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert shlex.split(error.value.fix) == ["rm", "-r", odd]
    assert [file.name for file in tmp_path.iterdir()] == ["it"]
    build_vectors(DOCS[:2], ToyEncoder(), odd)
