"""Stored vectors, and the two stages that score with them. Real MiniLM weights; random vectors are named."""

from __future__ import annotations

import pickle
import shutil
import unittest
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pt_cascade import Cascade
from pt_cascade.errors import CascadeError, FrameError, MissingError, PipelineError, StageError
from pt_cascade.stages import bi_encoder, build_vectors, cross_encoder, late_interaction, mono_t5
from pt_cascade.stages.dense import dense
from pt_cascade.stages.late_interaction import max_sim
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.store import open_vectors

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.stages.bi_encoder import BiEncoder
    from pt_cascade.stages.late_interaction import LateInteraction

TEXTS = {
    "NA": "The cumulative sum does not change when NaNs are encountered.",
    "d1": "Return the cumulative product of elements along a given axis.",
    "d2": "Sort an array in place, by quicksort unless told otherwise.",
    "d3": "",
    "d4": "A long text. " * 200,
}
RESULTS = pd.DataFrame(
    [(qid, query, docno) for qid, query in (("1", "running total"), ("2", "order elements")) for docno in TEXTS],
    columns=["qid", "query", "docno"],
).assign(text=lambda df: df["docno"].map(TEXTS), extra=range(10))


@pytest.fixture(scope="module")
def folder(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five documents, encoded by MiniLM to vectors and token vectors."""
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    return build_vectors(docs, minilm, tmp_path_factory.mktemp("vectors") / "v", tokens=True, max_length=64)


@pytest.fixture(scope="module")
def stages(folder: Path, minilm: str) -> dict[str, BiEncoder | LateInteraction]:
    """The stages that use them, and the one that encodes as it goes."""
    return {
        "dot": bi_encoder(folder),
        "cos": bi_encoder(folder, similarity="cos"),
        "stored": late_interaction(vectors=folder),
        "on the fly": late_interaction(minilm, max_length=64),
    }


NAMES = ["dot", "cos", "stored", "on the fly"]


def test_vectors_are_those_of_sentence_transformers(folder: Path, minilm: str) -> None:
    """Golden: what was stored is what SentenceTransformer.encode gives, read through pyterrier_dr's own FlexIndex."""
    from pyterrier_dr import FlexIndex
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(minilm, device="cpu")
    reference.max_seq_length = 64
    stored, meta = FlexIndex(str(folder)).payload(return_docnos=False)
    np.testing.assert_allclose(stored, reference.encode(list(TEXTS.values())), atol=1e-6)
    assert meta["doc_count"] == len(TEXTS)


def test_dot_and_cos_equal_pyterrier_dr(stages: dict[str, BiEncoder], folder: Path, minilm: str) -> None:
    """Golden: scores are those of pyterrier_dr's encoder and NumpyScorer on the same index."""
    from pyterrier_dr import FlexIndex, SBertBiEncoder

    for similarity in ("dot", "cos"):
        index = FlexIndex(str(folder), sim_fn=similarity, verbose=False)
        upstream = (SBertBiEncoder(minilm).query_encoder() >> index.np_scorer()).transform(RESULTS)
        ours = stages[similarity].transform(RESULTS)
        both = ours.merge(upstream, on=["qid", "docno"])
        np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-5)


def test_max_sim_equals_sentence_transformers(stages: dict[str, LateInteraction]) -> None:
    """Golden: scores are those of sentence_transformers.util.maxsim on the same token vectors; float16 moves them little."""
    from sentence_transformers.util import maxsim

    on_the_fly, stored = stages["on the fly"], stages["stored"]
    frame = RESULTS[RESULTS["qid"] == "1"]
    documents = on_the_fly.encoder.document_tokens(frame["text"].tolist())
    golden = maxsim([on_the_fly.encoder.query_tokens("running total")], documents)[0].numpy()
    np.testing.assert_allclose(on_the_fly.transform(frame)["score"], golden, atol=1e-5)
    np.testing.assert_allclose(stored.transform(frame)["score"], golden, atol=5e-3)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-1, 1, width=32)),
    arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-1, 1, width=32)),
)
def test_max_sim_is_the_sum_of_best_matches(query: np.ndarray, document: np.ndarray) -> None:
    """By the definition, in plain Python; and the order of a document's tokens does not matter."""
    by_hand = sum(max(sum(float(a) * float(b) for a, b in zip(q, d, strict=True)) for d in document) for q in query)
    both = max_sim(query, [document, document[::-1], query])
    np.testing.assert_allclose(both[:2], by_hand, atol=1e-5)
    assert max_sim(query, [document])[0] == both[0]


@pytest.mark.parametrize("name", ["dot", "cos", "stored"])
@settings(max_examples=20)
@given(st.permutations(range(10)), st.integers(1, 10))
def test_a_score_is_bitwise_the_same_in_any_batch(stages: dict[str, BiEncoder], name: str, order: list[int], count: int) -> None:
    """Scores from stored vectors do not depend on which other rows are scored, nor on their order: not in the last bit."""
    alone = stages[name].transform(RESULTS)["score"].to_numpy()
    picked = order[:count]
    assert stages[name].transform(RESULTS.iloc[picked])["score"].tolist() == alone[picked].tolist()


def test_on_the_fly_scores_agree_to_1e_5_in_any_batch(stages: dict[str, LateInteraction]) -> None:
    """Where the texts are encoded as they come, batches differ, and scores by no more than float32's rounding."""
    stage = stages["on the fly"]
    whole = stage.transform(RESULTS)["score"].to_numpy()
    alone = np.concatenate([stage.transform(RESULTS.iloc[[n]])["score"] for n in range(len(RESULTS))])
    np.testing.assert_allclose(whole, alone, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_columns_stay(stages: dict[str, BiEncoder], name: str) -> None:
    """Every column that is not score or rank, the row order and the index stay; the input is not changed."""
    before = RESULTS.set_index(np.arange(10) * 3)
    kept = before.copy(deep=True)
    out = stages[name].transform(before)
    pd.testing.assert_frame_equal(out[kept.columns], kept)
    pd.testing.assert_frame_equal(before, kept)
    assert out.groupby("qid")["rank"].apply(sorted).tolist() == [list(range(5))] * 2


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_nothing_out(stages: dict[str, BiEncoder], name: str) -> None:
    """0 rows give 0 rows with score and rank of the right type, and no model is loaded for it."""
    stage = pickle.loads(pickle.dumps(stages[name]))  # noqa: S301 - our own bytes; a copy has no model yet
    out = stage.transform(RESULTS.iloc[:0])
    assert (len(out), out["score"].dtype, out["rank"].dtype) == (0, np.float64, np.int64)
    assert not {"_pooled", "_late"} & set(vars(stage.encoder))


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_values(stages: dict[str, BiEncoder], name: str, folder: Path, minilm: str) -> None:
    """Built alike they are equal, pickled too; PyTerrier's inspection knows their columns and their arguments."""
    stage = stages[name]
    again = {
        "dot": lambda: bi_encoder(str(folder)),
        "cos": lambda: bi_encoder(folder, similarity="cos"),
        "stored": lambda: late_interaction(vectors=folder),
        "on the fly": lambda: late_interaction(minilm, max_length=64),
    }[name]()
    assert (again, hash(again)) == (stage, hash(stage))
    assert pickle.loads(pickle.dumps(stage)) == stage  # noqa: S301 - our own bytes
    wanted = ["qid", "docno", "query", *(["text"] if name == "on the fly" else [])]
    assert pt.inspect.transformer_inputs(stage) == [wanted]
    assert {"score", "rank"} <= set(pt.inspect.transformer_outputs(stage, wanted))
    assert pt.inspect.transformer_apply_attributes(stage) == stage
    assert pt.schematic.transformer_schematic(stage, input_columns=wanted)["type"] == "transformer"
    assert Cascade.of(stage % 3)[0].depends == "pointwise"


def test_an_unknown_document_is_an_error_not_the_last_documents_score(folder: Path) -> None:
    """pyterrier_dr gives a docno it does not know the last document's vector (notes, 3.3); we refuse."""
    strange = pd.DataFrame({"qid": ["1"], "query": ["x"], "docno": ["unknown"], "text": ["y"]})
    for stage in (bi_encoder(folder), late_interaction(vectors=folder)):
        with pytest.raises(StageError) as error:
            stage.transform(strange)
        assert str(error.value) == (
            f"stage {stage.stage_name!r} has no vector for a document: 1 of 1 row, first docno unknown; "
            f"{folder} has 5 documents. "
            "Fix: build_vectors over these documents"
        )


def test_any_flex_index_works_with_its_model_given(minilm: str, tmp_path: Path) -> None:
    """A FlexIndex made elsewhere (random vectors here) needs the model's name; ours says it itself."""
    from pyterrier_dr import FlexIndex

    index = FlexIndex(str(tmp_path / "flex"), verbose=False)
    rng = np.random.default_rng(0)
    index.index([{"docno": docno, "doc_vec": rng.standard_normal(384).astype(np.float32)} for docno in TEXTS])
    with pytest.raises(PipelineError, match="does not say which model made its vectors"):
        bi_encoder(index)
    assert len(bi_encoder(index, model=minilm).transform(RESULTS)) == 10
    with pytest.raises(MissingError, match=r"no token vectors are stored: .* has no tokens.npy"):
        late_interaction(minilm, vectors=index.index_path).transform(RESULTS)


def test_missing_files_are_reported(minilm: str, tmp_path: Path, folder: Path) -> None:
    """A folder, a model, a text, a column: each has its own words."""
    with pytest.raises(MissingError, match=r"there are no vectors: .* is not a folder. Fix: build_vectors\(docs, model, path\)"):
        bi_encoder(tmp_path / "nowhere")
    with pytest.raises(PipelineError, match="late_interaction cannot be made: neither model nor vectors was given"):
        late_interaction()
    assert late_interaction(minilm).transform(RESULTS)["score"].notna().all()
    assert late_interaction(vectors=folder).transform(RESULTS)["score"].notna().all()
    with pytest.raises(PipelineError, match=r"^bi_encoder: similarity is 'l2': expected one of dot, cos"):
        bi_encoder(folder, similarity="l2")  # type: ignore[arg-type]
    with pytest.raises(MissingError, match="there is no such folder"):
        late_interaction(str(tmp_path / "no-model")).transform(RESULTS)
    with pytest.raises(FrameError, match="text is missing or not text in 10 of 10"):
        late_interaction(minilm).transform(RESULTS.assign(text=None))
    with pytest.raises(pt.validate.InputValidationError):
        bi_encoder(folder).transform(RESULTS.drop(columns="query"))
    unfit = {
        "docs cannot be stored: docs has no document": [],
        "there are too few documents to encode: docs has 1 document, expected 2 or more": [{"docno": "a", "text": "x"}],
        "a document cannot be stored: the text of docno 'a' is missing, expected text": [{"docno": "a", "text": None}],
        "a document cannot be stored: docno 'a' occurs more than once": [{"docno": "a", "text": "x"}] * 2,
    }
    for message, docs in unfit.items():
        with pytest.raises(CascadeError) as error:
            build_vectors(docs, minilm, tmp_path / "none")
        assert str(error.value) == message
    assert not (tmp_path / "none").exists()


def test_long_texts_are_cut_at_the_limit(minilm: str, folder: Path) -> None:
    """max_length bounds the tokens that are read and stored; None leaves the model its own limit (256 for MiniLM)."""
    tokens, starts = open_vectors(folder).tokens
    assert np.diff(starts).max() == 64
    assert np.diff(starts).min() == 2  # an empty text still has its two markers
    assert tokens.shape == (starts[-1], 384)
    assert len(Encoder(minilm).document_tokens([TEXTS["d4"]])[0]) == 256


def test_token_vectors_are_stored_on_request_only(minilm: str, tmp_path: Path) -> None:
    """build_vectors keeps token vectors only where they are asked for."""
    plain = build_vectors([{"docno": docno, "text": "x"} for docno in "ab"], minilm, tmp_path / "plain")
    names = {file.name for file in plain.iterdir()}
    assert names == {"SHA256SUMS", "docnos.npids", "encoder.json", "pt_meta.json", "vecs.f4"}


@pytest.fixture(scope="module")
def colbert(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ColBERT-like model: MiniLM and a random projection to 32 dimensions; its rankings mean nothing, its mechanics are real."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    torch.manual_seed(0)
    named = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    projection = Dense(384, 32, bias=False, activation_function=torch.nn.Identity(), **named)
    model = MultiVectorEncoder(modules=[Transformer(minilm), projection, MultiVectorMask(), Normalize(**named)], device="cpu")
    path = tmp_path_factory.mktemp("colbert") / "model"
    model.save(str(path))
    return str(path)


def test_a_multi_vector_model_runs_as_it_was_trained(colbert: str, tmp_path: Path) -> None:
    """A ColBERT-like model (random projection) scores as its own similarity does, stored or not, and has no single vector."""
    from sentence_transformers import MultiVectorEncoder

    reference = MultiVectorEncoder(colbert, device="cpu")
    frame = RESULTS[RESULTS["qid"] == "1"]
    golden = reference.similarity(reference.encode_query(["running total"]), reference.encode_document(frame["text"].tolist()))[0]
    ours = late_interaction(colbert).transform(frame)
    np.testing.assert_allclose(ours["score"], golden.numpy(), atol=1e-4)
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    stored = build_vectors(docs, colbert, tmp_path / "late")
    np.testing.assert_allclose(late_interaction(vectors=stored).transform(frame)["score"], golden.numpy(), atol=1e-2)
    with pytest.raises(MissingError, match="does not encode a text as one vector: it is a multi-vector model"):
        Encoder(colbert).queries(["x"])


@pytest.mark.parametrize(
    "docnos",
    [["1", "2", "10", "300"], ["d1", "d2", "d10", "d01"], ["é", "日本", "a b".replace(" ", "_"), "x" * 200]],
    ids=["numbers", "prefixed numbers", "unicode"],
)
def test_docnos_are_compared_as_text(docnos: list[str], minilm: str, tmp_path: Path) -> None:
    """01 is not 1, and a docno may be any text: FlexIndex's own look-up confuses the first and fails on the second."""
    store = open_vectors(build_vectors([{"docno": docno, "text": docno} for docno in docnos], minilm, tmp_path / "v"))
    assert store.rows(pd.Series(docnos[::-1]), "s").tolist() == [3, 2, 1, 0]
    for strange in ("01", "d", "", "d001", "ü"):
        with pytest.raises(StageError, match="has no vector for a document"):
            store.rows(pd.Series([strange]), "s")


def test_other_vectors_are_not_taken_for_ours(minilm: str, folder: Path) -> None:
    """A folder that is there is used again if it was made in the same way, else it is an error with the line that removes it."""
    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    assert build_vectors(docs, minilm, folder, tokens=True, max_length=64) == folder
    with pytest.raises(CascadeError) as error:
        build_vectors(docs, minilm, folder, max_length=32)
    assert str(error.value) == (f"the folder holds other vectors: they were made with max_length 64, not 32. Fix: rm -r {folder}")


DAMAGE = {
    "pt_meta.json": b"{",
    "vecs.f4": b"xx",
    "docnos.npids": b"",
    "encoder.json": b"[",
    "tokens.npy": b"",
    "tokens.f2": b"x" * 7,
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # npids leaves an empty file open
def test_damaged_vectors_are_reported(name: str, folder: Path, minilm: str, tmp_path: Path) -> None:
    """A file that is cut short or overwritten is an error that names the folder, not a wrong score; so without checksums."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / name).write_bytes(DAMAGE[name])
    make = late_interaction if name.startswith("tokens") else bi_encoder
    with pytest.raises(MissingError) as error:
        make(**stage_arguments(name, copy, minilm)).transform(RESULTS)
    problem, fix = f"{name} does not have the SHA-256 in SHA256SUMS", f"rm -r {copy}, and build_vectors again"
    assert str(error.value).endswith(f"{copy} is damaged: {problem}. Fix: {fix}")
    (copy / "SHA256SUMS").unlink()
    with pytest.raises(MissingError, match=r"these vectors are damaged: .*copy: .*Fix: rm -r .*copy, and build_vectors again"):
        make(**stage_arguments(name, copy, minilm)).transform(RESULTS)


@pytest.mark.parametrize("told", ["[1]", "null", '"x"', "[]", "3"])
def test_an_encoder_json_that_tells_nothing_is_damage(told: str, folder: Path, tmp_path: Path) -> None:
    """JSON that is no table of words is damage, not a crash, and not a folder of an unknown maker."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "encoder.json").write_text(told)
    (copy / "SHA256SUMS").unlink()
    for stage in (bi_encoder, dense):
        with pytest.raises(MissingError, match=r"these vectors are damaged: .*copy: "):
            stage(copy)


def test_no_message_asks_to_delete_a_foreign_index(folder: Path, minilm: str, tmp_path: Path) -> None:
    """Damage in a FlexIndex that build_vectors did not make is no reason to delete it."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "encoder.json").unlink()
    (copy / "pt_meta.json").write_text("{")
    with pytest.raises(MissingError) as error:
        bi_encoder(copy, model=minilm).transform(RESULTS)
    assert error.value.fix == "make this FlexIndex again"


def stage_arguments(name: str, folder: Path, model: str) -> dict[str, object]:
    """Tell the model, unless what is damaged is the file that says it."""
    return {"vectors": folder} if name == "encoder.json" else {"vectors": folder, "model": model}


def test_vectors_of_another_size_are_reported(tmp_path: Path, minilm: str) -> None:
    """A model whose vectors have another size than the stored ones (random here) is an error of ours, not of numpy."""
    from pyterrier_dr import FlexIndex

    index = FlexIndex(str(tmp_path / "flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.ones(8, np.float32)} for docno in TEXTS])
    with pytest.raises(StageError, match=r"makes vectors of size 384, .* holds size 8"):
        bi_encoder(index, model=minilm).transform(RESULTS)


def test_a_vector_of_zeros_is_similar_to_nothing(tmp_path: Path, minilm: str) -> None:
    """Its cosine is 0, not NaN."""
    from pyterrier_dr import FlexIndex

    index = FlexIndex(str(tmp_path / "flex"), verbose=False)
    index.index([{"docno": docno, "doc_vec": np.zeros(384, np.float32)} for docno in TEXTS])
    assert bi_encoder(index, model=minilm, similarity="cos").transform(RESULTS)["score"].eq(0).all()


def test_impossible_limits_are_refused(minilm: str) -> None:
    """max_length and batch_size are 1 or more; one error names both."""
    with pytest.raises(PipelineError) as error:
        late_interaction(minilm, max_length=0, batch_size=0)
    assert (
        str(error.value)
        == "the encoder cannot be made:\n  - max_length is 0, expected 1 or more\n  - batch_size is 0, expected 1 or more"
    )


def test_a_relative_folder_stays_what_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stage built with a relative path works after the working directory has changed."""
    monkeypatch.chdir(folder.parent)
    stage = bi_encoder(folder.name)
    monkeypatch.chdir(tmp_path)
    assert len(stage.transform(RESULTS)) == 10


@pytest.mark.parametrize("name", [*NAMES, "cross_encoder", "mono_t5"])
def test_pyterriers_own_suite_passes(stages: dict[str, BiEncoder], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every re-ranking stage of ours passes pt.testing, offline, and no model is loaded for it."""
    monkeypatch.setenv("PT_TEST_TRANSFORMER_REPORTS", "0")
    makers = {"cross_encoder": cross_encoder, "mono_t5": mono_t5}
    stage = stages[name] if name in stages else makers[name]("org/name-that-nobody-loads")
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(pt.testing.transformer_test_class(lambda: stage))
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun == 2
    assert result.wasSuccessful(), result.errors + result.failures
