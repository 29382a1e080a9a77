"""Dense retrieval: exact, and the same whatever else is in the batch. Vectors are toys' unless MiniLM is named."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
import unittest
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file
from toys.encoders import ToyEncoder, collection, tiny_model

from pt_cascade import Cascade, run
from pt_cascade.errors import CascadeError, FrameError, MissingError, PipelineError, StageError
from pt_cascade.stages.bi_encoder import bi_encoder
from pt_cascade.stages.dense import dense
from pt_cascade.stages.late_interaction import late_interaction
from pt_cascade.stages.vectors.build_vectors import build_vectors
from pt_cascade.stages.vectors.encoder import Encoder
from pt_cascade.stages.vectors.exact_search import Searcher, rounding
from pt_cascade.stages.vectors.provenance import hash_model
from pt_cascade.stages.vectors.similarity import lengths, similarities

if TYPE_CHECKING:
    pass

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")
TOPICS = pd.DataFrame({"qid": ["3", "1", "2", "4"], "query": ["a b", "lion", "a b", "zebra"], "topic": list("wxyz")})
FRUIT = [{"docno": docno, "text": text} for docno, text in (("b", "pear"), ("a", "apple pie"), ("c", ""), ("d", "fig jam"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors of 600 documents."""
    return build_vectors(collection(600), ToyEncoder(), tmp_path_factory.mktemp("dense") / "v")


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vectors of 600 documents, of few whole numbers: sums are exact, and most scores tie."""
    return build_vectors(collection(600), ToyEncoder(3, 1), tmp_path_factory.mktemp("tied") / "v")


@pytest.fixture(scope="module")
def fruit(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four documents, encoded by MiniLM."""
    return build_vectors(FRUIT, minilm, tmp_path_factory.mktemp("fruit") / "v")


def searchers(vectors: np.ndarray, similarity: str, step: int) -> list[Searcher]:
    """Search in blocks of few values, as on a processor and as on a GPU."""
    return [Searcher(vectors, similarity, CPU, step, stays=stays) for stays in (False, True)]


@pytest.mark.parametrize("similarity", ["dot", "cos"])
def test_no_query_finds_nothing(similarity: str) -> None:
    """An empty batch has an empty answer."""
    for searcher in searchers(np.ones((3, 2), np.float32), similarity, 4):
        assert searcher.search(np.empty((0, 2), np.float32), 5) == []


def by_hand(documents: np.ndarray, query: np.ndarray, count: int, similarity: str) -> tuple[list[int], list[float]]:
    """Score each document by itself, in plain order, and sort all: score descending, equal scores by row."""
    scores = [float(similarities(documents[n : n + 1], query, similarity)[0]) for n in range(len(documents))]
    order = sorted(range(len(documents)), key=lambda n: (-scores[n], n))[:count]
    return order, [scores[n] for n in order]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    documents=st.integers(1, 400),
    size=st.integers(1, 40),
    count=st.integers(1, 40) | st.integers(1, 450),
    kind=st.sampled_from(["normal", "tied", "one long", "zeros", "tiny", "tinier", "huge"]),
    similarity=st.sampled_from(["dot", "cos"]),
    step=st.integers(1, 4000),
)
def test_search_equals_brute_force(seed: int, documents: int, size: int, count: int, kind: str, similarity: str, step: int) -> None:
    """In blocks of any size, search gives the lists and the bits of scoring each document alone and sorting all."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((documents, size)).astype(np.float32)
    queries = random.standard_normal((3, size)).astype(np.float32)
    if kind == "tied":
        vectors, queries = (random.integers(-1, 2, (n, size)).astype(np.float32) for n in (documents, 3))
    elif kind == "one long":
        vectors[random.integers(documents)] *= 1e6
    elif kind == "zeros":
        vectors[random.integers(documents, size=documents // 2)] = 0
    elif kind in ("tiny", "tinier", "huge"):  # for tinier and huge ones squares are beyond float32, which cos bears
        vectors *= np.float32({"tiny": 1e-18, "tinier": 1e-30, "huge": 1e17 if similarity == "dot" else 1e30}[kind])
    for searcher in searchers(vectors, similarity, step):
        found = searcher.search(queries, count)
        for query, (rows, scores) in zip(queries, found, strict=True):
            assert (rows.tolist(), scores.tolist()) == by_hand(vectors, query, count, similarity)


@pytest.mark.parametrize("similarity", ["dot", "cos"])
@pytest.mark.parametrize("seed", range(3))
def test_a_score_that_is_higher_in_its_last_bit_is_not_missed(seed: int, similarity: str) -> None:
    """Among documents whose scores differ by rounding only, which a matrix product ranks by the order of its sums, it is exact."""
    random = np.random.default_rng(seed)
    near = 1 + random.integers(-2, 3, (400, 33)) * 2.0**-24
    vectors, queries = (random.standard_normal(33) * near).astype(np.float32), random.standard_normal((3, 33)).astype(np.float32)
    for searcher in searchers(vectors, similarity, 4000):
        for query, (rows, scores) in zip(queries, searcher.search(queries, 30), strict=True):
            assert (rows.tolist(), scores.tolist()) == by_hand(vectors, query, 30, similarity)


@pytest.mark.parametrize("similarity", ["dot", "cos"])
def test_whole_numbers_are_ranked_as_in_integer_arithmetic(tied: Path, similarity: str) -> None:
    """Golden: where all sums are exact, the ranking is that of Python's integers (for cos by exact fractions of squares)."""
    toy = ToyEncoder(3, 1)
    found = dense(tied, model=toy, num_results=100, similarity=similarity).search("a b")
    query, documents = (np.stack([toy.vector(text) for text in texts]).astype(int) for texts in (["a b"], texts_of(600)))
    dot = documents @ query[0]
    if similarity == "cos":
        squares = np.maximum((documents**2).sum(axis=1), 1)
        dot = np.round(np.sign(dot) * 6 * dot**2 / squares).astype(int)  # squares are 1, 2 or 3: whole numbers
    order = sorted(range(600), key=lambda n: (-dot[n], n))[:100]
    assert found["docno"].tolist() == [f"d{n}" for n in order]


def texts_of(count: int) -> list[str]:
    """The texts of the collection."""
    return [doc["text"] for doc in collection(count)]


def test_results_are_those_of_pyterrier_dr(folder: Path) -> None:
    """Golden: lists of its NumpyRetriever on the same index, scores to 1e-6 (it sums in another order, in float32)."""
    from pyterrier_dr import FlexIndex

    toy = ToyEncoder()
    ours = dense(folder, model=toy, num_results=50).transform(TOPICS)
    encoded = TOPICS.assign(query_vec=[toy.vector(query) for query in TOPICS["query"]])
    theirs = FlexIndex(str(folder), verbose=False).np_retriever(num_results=50).transform(encoded)
    assert ours["docno"].tolist() == theirs["docno"].tolist()
    np.testing.assert_allclose(ours["score"], theirs["score"], atol=1e-6)


@pytest.mark.parametrize("similarity", ["dot", "cos"])
def test_scores_are_the_bi_encoders_to_the_bit(folder: Path, similarity: str) -> None:
    """A bi-encoder after it, on the same vectors, changes neither a score nor a place."""
    options = {"model": ToyEncoder(), "similarity": similarity}
    first = dense(folder, num_results=90, **options)
    ours = first.transform(TOPICS)
    pd.testing.assert_frame_equal((first >> bi_encoder(folder, **options)).transform(TOPICS), ours)
    assert len(ours) == 4 * 90


@pytest.mark.parametrize("which", ["folder", "tied"])
@settings(max_examples=30)
@given(order=st.permutations(range(4)), some=st.integers(1, 4), count=st.integers(1, 700))
def test_a_query_has_the_same_results_in_any_batch(
    request: pytest.FixtureRequest, which: str, order: list[int], some: int, count: int
) -> None:
    """Documents, scores and ranks do not depend on the other queries, nor on their order; fewer results are the first of more."""
    path = request.getfixturevalue(which)
    stage = dense(path, model=ToyEncoder() if which == "folder" else ToyEncoder(3, 1), num_results=700)
    alone = pd.concat([stage.transform(TOPICS.iloc[[n]]) for n in order[:some]])
    few = replace(stage, num_results=count)
    together = few.transform(TOPICS.iloc[order[:some]])
    pd.testing.assert_frame_equal(together, alone[alone["rank"] < count].reset_index(drop=True))


def test_ties_are_ranked_as_stored(tied: Path) -> None:
    """Equal scores stand in the order in which the documents were stored, whatever their docnos."""
    found = dense(tied, model=ToyEncoder(3, 1)).search("lion")
    place = found["docno"].str[1:].astype(int)
    assert found["score"].nunique() < 10
    assert all((np.diff(part) > 0).all() for _, part in place.groupby(found["score"]))


def test_rounded_products_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a GPU (here the processor) may round to bfloat16 before it multiplies, more is proposed; the results are the same."""
    random = np.random.default_rng(0)
    vectors, queries = (random.standard_normal((n, 256)).astype(np.float32) for n in (3000, 4))
    vectors = vectors[0] + vectors * np.float32(0.05)  # much alike
    exact = Searcher(vectors, "dot", CPU).search(queries, 20)
    assert rounding() == 0
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert rounding() == 2**-8

    def rounded(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return torch.matmul(left.bfloat16().float(), right.bfloat16().float())

    monkeypatch.setattr(torch, "mm", rounded)
    on_gpu = Searcher(vectors, "dot", CPU, stays=True).search(queries, 20)
    for (rows, scores), (same_rows, same_scores) in zip(on_gpu, exact, strict=True):
        assert (rows.tolist(), scores.tolist()) == (same_rows.tolist(), same_scores.tolist())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("similarity", ["dot", "cos"])
def test_a_gpu_gives_the_same_bits(folder: Path, similarity: str) -> None:
    """On a GPU products are summed otherwise, and the results are those of the processor; the vectors stay there."""
    stage = dense(folder, model=ToyEncoder(), num_results=100, similarity=similarity)
    on_gpu = replace(stage, device="cuda")
    pd.testing.assert_frame_equal(on_gpu.transform(TOPICS), replace(stage, device="cpu").transform(TOPICS))
    assert len(on_gpu._searcher._on_device) == 1


def test_vectors_are_not_copied_whole(tmp_path: Path) -> None:
    """Vectors mapped from disk are read block by block: what numpy takes stays far below their size."""
    np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32).tofile(tmp_path / "v")
    mapped = np.memmap(tmp_path / "v", mode="r", dtype=np.float32).reshape(1 << 15, 32)
    tracemalloc.start()
    Searcher(mapped, "cos", CPU, 1 << 14).search(np.ones((2, 32), np.float32), 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mapped.nbytes / 4


def test_lengths_are_square_roots_of_sums_of_squares() -> None:
    """Golden: Pythagorean triples; a vector of zeros has length 0 and is similar to nothing."""
    documents = np.array([[3, 4], [5, 12], [0, 0]], np.float32)
    assert lengths(documents).tolist() == [5, 13, 0]
    assert similarities(documents, np.array([8, 15], np.float32), "dot").tolist() == [84, 220, 0]
    np.testing.assert_allclose(similarities(documents, np.array([8, 15], np.float32), "cos"), [84 / 85, 220 / 221, 0], rtol=1e-6)


@pytest.mark.parametrize("query", ["lion", None])
def test_nothing_in_nothing_out(fruit: Path, query: str | None) -> None:
    """0 topics give 0 rows with the columns and types of results, and load no model."""
    stage = dense(fruit)
    empty = stage.transform(TOPICS.iloc[:0] if query else pd.DataFrame({"qid": [], "query": []}))
    some = stage.transform(TOPICS) if query else empty
    assert len(empty) == 0
    assert [*empty.columns[-3:], *empty.dtypes[-2:]] == ["docno", "score", "rank", np.float64, np.int64]
    assert empty.dtypes.equals(some.dtypes)
    assert empty["docno"].dtype == pd.Series(["text"]).dtype
    assert "_pooled" not in vars(dense(fruit).encoder)


def test_topic_columns_stay(folder: Path) -> None:
    """Queries come in their order, each with all its columns, which are not changed, and its rows by rank from 0."""
    before = TOPICS.set_axis([7, 5, 3, 1])
    kept = before.copy(deep=True)
    out = dense(folder, model=ToyEncoder(), num_results=2).transform(before)
    pd.testing.assert_frame_equal(before, kept)
    assert list(out) == ["qid", "query", "topic", "docno", "score", "rank"]
    assert out["topic"].tolist() == list("wwxxyyzz")
    assert (out.index.tolist(), out["rank"].tolist()) == ([*range(8)], [0, 1] * 4)
    assert dense(folder, model=ToyEncoder()).transform(TOPICS.assign(qid=[1, 2, 3, 4]))["qid"].unique().tolist() == list("1234")


def test_unfit_topics_are_refused(folder: Path) -> None:
    """A query that is missing, a qid that stands twice, results instead of topics."""
    stage = dense(folder, model=ToyEncoder())
    with pytest.raises(FrameError, match="query is missing in 1 of 4"):
        stage.transform(TOPICS.assign(query=["a", None, "b", "c"]))
    with pytest.raises(FrameError, match="qid repeats an earlier row"):
        stage.transform(TOPICS.assign(qid="1"))
    for rows in (TOPICS, TOPICS.iloc[:0]):
        with pytest.raises(FrameError, match=r"dense cannot take documents: its input has a column docno.*Fix: bi_encoder"):
            stage.transform(rows.assign(docno="d1"))


def test_each_text_is_encoded_once(folder: Path) -> None:
    """Two topics of one query share its vector and its search, and get the same list."""

    class Counted(ToyEncoder):
        def encode_queries(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
            asked.extend(texts)
            return super().encode_queries(texts, batch_size)

    asked: list[str] = []
    shutil.copytree(folder, path := folder.with_name("counted"))
    (path / "encoder.json").unlink()
    out = dense(path, model=Counted(), num_results=3).transform(TOPICS)
    assert asked == ["a b", "lion", "zebra"]
    assert out[out["qid"] == "3"]["docno"].tolist() == out[out["qid"] == "2"]["docno"].tolist()


def test_stages_are_values(fruit: Path, folder: Path) -> None:
    """Built alike they are equal, pickled too; PyTerrier knows what they take and give, and a cascade that they retrieve."""
    for path, model in ((fruit, None), (folder, ToyEncoder())):
        stage = dense(path, model=model)
        assert (dense(str(path), model=model), hash(stage)) == (stage, hash(stage))
        stage.search("x")
        assert pickle.loads(pickle.dumps(stage)) == stage  # noqa: S301 - our own bytes
        assert pt.inspect.transformer_inputs(stage) == [["qid", "query"]]
        assert pt.inspect.transformer_outputs(stage, ["qid", "query"]) == ["qid", "query", "docno", "score", "rank"]
        assert pt.inspect.transformer_apply_attributes(stage) == stage
        (first,) = Cascade.of(stage % 3)
        assert (first.name, first.depends, first.documents) == ("dense", "pointwise", "retrieves")
    assert dense(folder, model=ToyEncoder()) != dense(folder, model=ToyEncoder(), num_results=3)


def test_pyterriers_own_suite_passes(fruit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage passes pt.testing, offline."""
    monkeypatch.setenv("PT_TEST_TRANSFORMER_REPORTS", "0")
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(pt.testing.transformer_test_class(lambda: dense(fruit)))
    result = unittest.TestResult()
    suite.run(result)
    assert (result.testsRun, result.errors + result.failures) == (2, [])


def test_a_cut_off_may_be_pushed_into_it(tied: Path) -> None:
    """Compiling a cut-off away gives the same frame, ties included; one that is no smaller stays where it is."""
    stage = dense(tied, model=ToyEncoder(3, 1), num_results=30)
    assert (stage % 7).compile() == replace(stage, num_results=7)
    pd.testing.assert_frame_equal((stage % 7).compile().transform(TOPICS), (stage % 7).transform(TOPICS))
    assert stage.fuse_rank_cutoff(30) is None
    assert stage.fuse_rank_cutoff(0) is None


def test_the_textbook_shape_runs(fruit: Path) -> None:
    """Dense → 3 · bi_encoder → 2, with MiniLM's real weights, as a cascade: the nearest fruit stays on top."""
    cascade = Cascade.of(dense(fruit) % 3 >> bi_encoder(fruit) % 2)
    assert repr(cascade) == "dense → 3 · bi_encoder → 2"
    results = run(cascade, pd.DataFrame({"qid": ["1"], "query": ["apple cake"]})).results
    assert results["docno"].iloc[0] == "a"
    assert len(results) == 2


def test_invalid_models_and_vectors_are_reported(folder: Path) -> None:
    """A class, a number, an empty name, a lack of vectors: each is refused when the stage is made, with its own message."""
    for stage in (dense, bi_encoder):
        with pytest.raises(PipelineError, match=r"vectors is None \(NoneType\), expected a folder or a FlexIndex"):
            stage(None)
        with pytest.raises(
            PipelineError, match=r"model is <class 'toys.encoders.ToyEncoder'> \(type\), expected .*BiEncoder object"
        ):
            stage(folder, model=ToyEncoder)
        with pytest.raises(PipelineError, match=r"model is 5 \(int\), expected a name on the hub, a folder or a pyterrier_dr"):
            stage(folder, model=5)
        with pytest.raises(PipelineError, match=r"model is '' \(str\), expected a name on the hub"):
            stage(folder, model="")


@pytest.mark.usefixtures("no_hub")
def test_a_model_that_cannot_be_reached_is_reported_at_once(folder: Path, tmp_path: Path) -> None:
    """Without the hub a name that is not in its cache is refused after one attempt, not after minutes of retries."""
    (bare := shutil.copytree(folder, tmp_path / "bare") / "encoder.json").unlink()
    with pytest.raises(MissingError) as error:
        dense(bare.parent, model="org/name-that-nobody-has").search("x")
    assert error.value.what.endswith("cannot load 'org/name-that-nobody-has'")
    assert "it is not a folder, not in the local hub cache, and the model hub cannot be reached" in error.value.problems[0]


def test_impossible_arguments_are_refused(folder: Path, tmp_path: Path) -> None:
    """Each is refused with its own message, when the stage is made."""
    for wrong in (0, -1, True, 2.0, "3"):
        with pytest.raises(PipelineError, match=r"num_results is .*, expected a whole number, 1 or more"):
            dense(folder, num_results=wrong)
    with pytest.raises(PipelineError, match="similarity is 'l2': expected one of dot, cos"):
        dense(folder, similarity="l2")  # type: ignore[arg-type]
    with pytest.raises(MissingError, match="there are no vectors"):
        dense(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="cannot use the device 'nowhere:1'"):
        replace(dense(folder, model=ToyEncoder()), device="nowhere:1").search("x")


def test_another_encoder_may_not_search(folder: Path, minilm: str) -> None:
    """A bi-encoder that did not make the vectors is refused when the stage is made; a name when its model is loaded."""
    for stage in (dense, bi_encoder):
        with pytest.raises(PipelineError) as error:
            stage(folder, model=ToyEncoder(levels=1))
        assert error.value.what.removeprefix(f"{stage.__name__}: ") == f"{folder} cannot be searched by another model"
        assert error.value.problems[0].split(" (prov")[0] == "they were made by 'ToyEncoder(size=8, levels=0)'"
        assert "not by 'ToyEncoder(size=8, levels=1)'" in error.value.problems[0]
        with pytest.raises(StageError, match="the vectors were made by another model"):
            stage(folder, model=minilm).transform(TOPICS.assign(**({"docno": "d1"} if stage is bi_encoder else {})))


def test_queries_are_encoded_one_by_one(folder: Path, tmp_path: Path) -> None:
    """An encoder whose vectors depend on what else is in the batch, as padding makes them, is never given two queries."""

    class Padded(ToyEncoder):
        def encode_queries(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
            return super().encode_queries(texts, batch_size) + (len(texts) - 1)

    (bare := shutil.copytree(folder, tmp_path / "bare") / "encoder.json").unlink()
    for stage, frame in ((dense, TOPICS), (bi_encoder, TOPICS.assign(docno="d1"))):
        padded, plain = (stage(bare.parent, model=model).transform(frame) for model in (Padded(), ToyEncoder()))
        pd.testing.assert_frame_equal(padded, plain)


def test_vectors_that_cannot_be_compared_are_reported(folder: Path, tmp_path: Path) -> None:
    """A query of another size, or not finite, or a document that is not finite: an error, not a ranking."""
    (bare := shutil.copytree(folder, tmp_path / "bare") / "encoder.json").unlink()
    with pytest.raises(StageError, match=r"stage 'dense' cannot compare: ToyEncoder\(size=4.* of size 4, .* holds size 8"):
        dense(bare.parent, model=ToyEncoder(4)).search("x")

    class Infinite(ToyEncoder):
        def vector(self, text: str) -> np.ndarray:
            return super().vector(text) * np.float32(np.inf)

    for stage in (dense, bi_encoder):
        with pytest.raises(StageError, match=r"made a vector of length (inf|nan), expected 0, or 1e-19 to 1e19"):
            stage(bare.parent, model=Infinite()).transform(TOPICS.assign(**({"docno": "d1"} if stage is bi_encoder else {})))
    (bare.parent / "SHA256SUMS").unlink()
    damaged = np.memmap(bare.parent / "vecs.f4", mode="r+", dtype=np.float32).reshape(600, 8)
    damaged[7, 3] = np.nan
    damaged.flush()
    message = r"holds a vector that cannot be compared: 1 of 600 vectors, first docno d7, of length nan"
    with pytest.raises(StageError, match=message) as error:
        dense(bare.parent, model=ToyEncoder()).search("x")
    assert error.value.fix == "make this FlexIndex again"


@pytest.mark.parametrize("size", [1e-38, 1e-25, 1e-20, 1e20, 1e30])
@pytest.mark.parametrize("similarity", ["dot", "cos"])
def test_lengths_that_float32_cannot_square_are_reported(folder: Path, tmp_path: Path, similarity: str, size: float) -> None:
    """A query or document so small or large that products vanish or overflow is an error; a zero is not, nor is what fits."""

    @dataclass(frozen=True)
    class Sized(ToyEncoder):
        by: float = 1.0

        def vector(self, text: str) -> np.ndarray:
            return super().vector(text) * np.float32(self.by)

    (bare := shutil.copytree(folder, tmp_path / "bare") / "encoder.json").unlink()
    for stage, frame in ((dense, TOPICS), (bi_encoder, TOPICS.assign(docno="d1"))):
        with pytest.raises(StageError, match=r"made a vector of length .*, expected 0, or 1e-19 to 1e19"):
            stage(bare.parent, model=Sized(by=size), similarity=similarity).transform(frame)
        assert (stage(bare.parent, model=Sized(by=0.0), similarity=similarity).transform(frame)["score"] == 0).all()
        stage(bare.parent, model=Sized(by=1e-15 if size < 1 else 1e15), similarity=similarity).transform(frame)
    (bare.parent / "SHA256SUMS").unlink()
    vectors = np.memmap(bare.parent / "vecs.f4", mode="r+", dtype=np.float32).reshape(600, 8)
    vectors[7] *= np.float32(size)
    vectors.flush()
    with pytest.raises(StageError, match=r"that cannot be compared: 1 of 600 vectors, first docno d7, of length"):
        dense(bare.parent, model=ToyEncoder(), similarity=similarity).search("x")


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.just(4)), elements=st.floats(-8, 8, width=32)),
    st.sampled_from([-120, -70, 0, 60, 110]),
    st.sampled_from([-120, -70, 0, 60, 110]),
)
def test_a_cosine_has_no_size(vectors: np.ndarray, power: int, other: int) -> None:
    """Documents and a query times powers of two have the same cosine to the last bit, unless a value itself is lost."""
    vectors = vectors.round(2)
    scaled, query = np.ldexp(vectors, power), np.ldexp(vectors[0], other)
    expected = similarities(vectors, vectors[0], "cos")
    assert similarities(scaled, query, "cos").tolist() == expected.tolist()
    assert expected[0] == (1 if vectors[0].any() else 0)


def test_docnos_of_other_vectors_are_reported(folder: Path, fruit: Path, tmp_path: Path) -> None:
    """A list of docnos that is not these vectors' is damage, not a ranking of other documents; so without checksums."""
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    shutil.copy(fruit / "docnos.npids", mixed)
    with pytest.raises(MissingError, match=r"mixed is damaged: docnos.npids does not have the SHA-256 in SHA256SUMS"):
        dense(mixed, model=ToyEncoder()).search("x")
    (mixed / "SHA256SUMS").unlink()
    with pytest.raises(MissingError, match="ValueError: there are vectors of 600 documents, and 4 docnos"):
        dense(mixed, model=ToyEncoder()).search("x")


def test_a_full_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the vectors do not fit on a GPU (simulated on the processor), the error has a cure."""

    def full(*_: object, **__: object) -> None:
        message = "CUDA out of memory. Tried to allocate 13 GiB."
        raise torch.cuda.OutOfMemoryError(message)

    monkeypatch.setattr(torch, "tensor", full)
    searcher = Searcher(np.ones((90, 2), np.float32), "dot", CPU, stays=True)
    with pytest.raises(StageError) as error:
        searcher.search(np.ones((1, 2), np.float32), 1)
    fix = "dense(vectors, device='cpu')"
    assert str(error.value) == f"the vectors do not fit on cpu: CUDA out of memory. Fix: {fix}"


def test_bi_encoders_of_pyterrier_dr_make_the_same_vectors(minilm: str, fruit: Path, tmp_path: Path) -> None:
    """SBertBiEncoder's vectors are sentence-transformers' to 1e-5, and so are the scores; its folder needs it, and no other."""
    from pyterrier_dr import SBertBiEncoder

    upstream = SBertBiEncoder(minilm)
    path = build_vectors(FRUIT, upstream, tmp_path / "v")
    ours, theirs = dense(fruit).transform(TOPICS), dense(path, model=upstream).transform(TOPICS)
    both = ours.merge(theirs, on=["qid", "docno"])
    assert len(both) == len(ours) == 4 * len(FRUIT)
    np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-5)
    again = dense(path, model=SBertBiEncoder(minilm))
    assert (again, hash(again)) == (dense(path, model=upstream), hash(dense(path, model=upstream)))
    with pytest.raises(PipelineError) as error:
        dense(path)
    described = f"SBertBiEncoder('{Path(minilm).name}') of pyterrier_dr.sbert_models.SBertBiEncoder"
    made_by = f"{path} was made by {described}, which has no name to load it by"
    assert str(error.value) == f"the query encoder is unknown: {made_by}. Fix: dense(vectors, model=the_bi_encoder)"
    for others, model in ((path, minilm), (fruit, upstream)):  # the same model, whoever runs it
        found = dense(others, model=model).transform(TOPICS).merge(ours, on=["qid", "docno"])
        np.testing.assert_allclose(found["score_x"], found["score_y"], atol=1e-5)
        assert build_vectors(FRUIT, model, others) == others
    with pytest.raises(PipelineError, match="the query encoder is unknown"):
        late_interaction(vectors=path)
    with pytest.raises(PipelineError, match=r"a SBertBiEncoder does not take this option here: prompt is 'q: ', expected None"):
        dense(path, model=upstream, prompt="q: ")


def test_vectors_are_refused_by_another_model(tmp_path: Path) -> None:
    """By weights, which no name hides: a copy elsewhere serves, another model under the same name does not (random weights)."""
    tiny_model(tmp_path / "one")
    tiny_model(tmp_path / "other", seed=1)
    name = str(tmp_path / "one" / "model")
    path = build_vectors(FRUIT, name, tmp_path / "v", tokens=True)
    scores = dense(path).transform(TOPICS)["score"].tolist()
    moved = shutil.copytree(name, tmp_path / "moved")
    assert dense(path, model=moved).transform(TOPICS)["score"].tolist() == scores
    other = str(tmp_path / "other" / "model")
    results = TOPICS.assign(docno="a")
    stages = (
        (dense(path, model=other), TOPICS),
        (bi_encoder(path, model=other), results),
        (late_interaction(other, vectors=path), results),
    )
    for stage, frame in stages:
        with pytest.raises(StageError, match=r"the vectors were made by another model: .*other/model' has the provenance"):
            stage.transform(frame)
    shutil.rmtree(name)
    shutil.copytree(other, name)
    with pytest.raises(StageError, match="the vectors were made by another model"):
        dense(path).transform(TOPICS)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("1_Pooling/config.json", '"mean"', '"cls"'),
        ("config_sentence_transformers.json", '"query": ""', '"query": "ask: "'),
        ("sentence_bert_config.json", None, {"max_seq_length": 7}),
        ("config.json", '"num_attention_heads": 2', '"num_attention_heads": 4'),
        ("modules.json", None, "Normalize"),
        ("model.safetensors", None, None),
        ("tokenizer_config.json", None, {"do_lower_case": False}),
        ("tokenizer.json", '"i": 13,\n      "j": 14,', '"i": 14,\n      "j": 13,'),
        ("tokenizer_config.json", None, {"truncation_side": "left"}),
    ],
    ids=["pooling", "prompts", "limit", "heads", "normalised", "trained on", "normaliser", "vocabulary", "truncation"],
)
def test_another_model_is_more_than_other_weights(tmp_path: Path, file: str, old: str | None, new: object) -> None:
    """What changes in a model's folder after its vectors were made is detected by search and by build_vectors; the cure works."""
    tiny_model(tmp_path)
    name = tmp_path / "model"
    path = build_vectors(FRUIT, str(name), tmp_path / "v")
    dense(path).search("lion")
    assert build_vectors(FRUIT, str(name), path) == path
    if old:
        text = (name / file).read_text()
        assert old in text
        (name / file).write_text(text.replace(old, str(new)))
    elif file == "model.safetensors":  # as fine-tuning does, here beyond the first four values of each
        weights = load_file(name / file)
        changed = {
            key: torch.cat([value.flatten()[:4], value.flatten()[4:] + 0.01]).view(value.shape) for key, value in weights.items()
        }
        save_file(changed, name / file, metadata={"format": "pt"})
    elif file == "modules.json":
        listed = json.loads((name / file).read_text())
        listed.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
        (name / file).write_text(json.dumps(listed))
    else:
        (name / file).write_text(json.dumps({**json.loads((name / file).read_text()), **new}))
    with pytest.raises(
        StageError, match=r"the vectors were made by another model.*delete their folder \(rm -r\), and build_vectors"
    ):
        dense(path).search("lion")
    with pytest.raises(CascadeError, match=r"the folder holds other vectors: they were made by .*Fix: rm -r .*v$"):
        build_vectors(FRUIT, str(name), path)
    shutil.rmtree(path)
    dense(build_vectors(FRUIT, str(name), path)).search("lion")


def test_a_model_has_one_name_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is known by where it lies: relative or not, with a slash or without; its vectors are searched from anywhere."""
    tiny_model(tmp_path)
    name = tmp_path / "model"
    monkeypatch.chdir(tmp_path)
    path = build_vectors(FRUIT, "model", tmp_path / "v")
    told = json.loads((path / "encoder.json").read_text())
    assert (told["model"], told["limit"], told["max_length"]) == (str(name), 64, 64)
    for same in ("./model", "model/", name, Path("model")):
        assert build_vectors(FRUIT, same, path) == path
    assert build_vectors(FRUIT, name, path, max_length=64) == path  # the model's own limit
    with pytest.raises(CascadeError, match="they were made with max_length 64, not 9"):
        build_vectors(FRUIT, name, path, max_length=9)
    stage = dense(path, model="model")
    monkeypatch.chdir("/")
    assert stage.search("lion").equals(dense(path).search("lion"))


def test_a_model_with_prompts_is_not_anybodys(tmp_path: Path) -> None:
    """SBertBiEncoder does not use the prompts for queries and documents, so that its vectors are not sentence-transformers'."""
    from pyterrier_dr import SBertBiEncoder

    tiny_model(tmp_path, prompts={"query": "query: ", "document": "passage: "})
    name = str(tmp_path / "model")
    ours, theirs = build_vectors(FRUIT, name, tmp_path / "v"), build_vectors(FRUIT, SBertBiEncoder(name), tmp_path / "w")
    with pytest.raises(PipelineError, match="cannot be searched by another model"):
        dense(ours, model=SBertBiEncoder(name))
    with pytest.raises(StageError, match="the vectors were made by another model"):
        dense(theirs, model=name).search("lion")


def test_what_is_known_without_loading_loads_nothing(fruit: Path, minilm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there is compared by the model's files: the same call loads no model."""
    monkeypatch.setattr(Encoder, "_loaded", property(lambda _: pytest.fail("the model was loaded")))
    assert build_vectors(FRUIT, minilm, fruit) == fruit


@given(st.integers(0, 3), st.integers(0, 3))
def test_weights_tell_models_apart(one: int, other: int) -> None:
    """The hash sees values and shapes, and not the names, which libraries change (random weights)."""

    def model(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return torch.nn.Linear(2, 1 + seed)

    assert (hash_model(model(one)) == hash_model(model(other))) == (one == other)
    assert hash_model(torch.nn.Sequential(model(one))) == hash_model(model(one))
    assert hash_model(ToyEncoder()) is None
    assert hash_model(torch.nn.Identity()) is None


def test_a_models_prompts_are_used(tmp_path: Path) -> None:
    """Golden: sentence-transformers' encode of texts with the prompts written out, as E5 wants them (random weights)."""
    model = tiny_model(tmp_path, prompts={"query": "query: ", "document": "passage: "})
    name = str(tmp_path / "model")
    path = build_vectors(FRUIT, name, tmp_path / "v")
    passages = model.encode([f"passage: {doc['text']}" for doc in FRUIT])
    for prompt, written in ((None, "query: lion"), ("ask: ", "ask: lion"), ("", "lion")):
        query = model.encode(written)
        np.testing.assert_allclose(Encoder(name, prompt=prompt).queries(["lion"])[0], query, atol=1e-5)
        found = dense(path, prompt=prompt).search("lion").set_index("docno")["score"]
        np.testing.assert_allclose(found[[doc["docno"] for doc in FRUIT]], passages @ query, atol=1e-4)
        scored = bi_encoder(path, prompt=prompt).transform(pd.DataFrame({"qid": "1", "query": "lion", "docno": list("abcd")}))
        assert scored["score"].tolist() == found[list("abcd")].tolist()
    assert not np.allclose(passages, model.encode([doc["text"] for doc in FRUIT]), atol=1e-3)
