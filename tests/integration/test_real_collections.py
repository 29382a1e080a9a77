"""Cascades on real collections: the plain pipeline, the cascade and the executor agree, and BM25 has its known numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from ir_measures import AP, RR, R, nDCG

from pt_cascade import Cascade, Runner, open_collection, run
from pt_cascade.stages import bi_encoder, bm25, build_index, build_vectors, late_interaction

if TYPE_CHECKING:
    from pathlib import Path

    from pt_cascade.collections import Collection

MEASURES = [nDCG @ 10, RR @ 10, AP, R @ 100, R @ 1000]
SIZE = 16


@pytest.fixture(scope="module", params=["vaswani", "scifact", "dl19"])
def collection(request: pytest.FixtureRequest) -> Collection:
    """A real collection of ../shared/data."""
    return open_collection(request.getfixturevalue(f"{request.param}_folder"))


@pytest.fixture(scope="module")
def index(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its documents, indexed by PISA."""
    pytest.importorskip("pyterrier_pisa", reason="pip install pyterrier-pisa (Linux)")
    return build_index(collection.docs(), tmp_path_factory.mktemp("real") / "index", engine="pisa")


@pytest.fixture(scope="module")
def random_vectors(collection: Collection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FlexIndex of SMALL INTEGER RANDOM vectors: rankings mean nothing, scores tie heavily, the mechanics are real."""
    from pyterrier_dr import FlexIndex

    rng = np.random.default_rng(7)
    path = tmp_path_factory.mktemp("random") / "flex"
    vectors = ({"docno": doc["docno"], "doc_vec": rng.integers(0, 2, SIZE).astype(np.float32)} for doc in collection.docs())
    FlexIndex(str(path), verbose=False).index(vectors)
    return path


def query_vectors(topics: pd.DataFrame) -> pd.DataFrame:
    """Add a random query vector of small integers (a toy encoder; see ``random_vectors``)."""
    rng = np.random.default_rng(11)
    return topics.assign(query_vec=list(rng.integers(0, 2, (len(topics), SIZE)).astype(np.float32)))


def keep_rows(path: Path) -> pt.Transformer:
    """Score by the random vectors and keep the input's row order, as most re-rankers do."""
    from pyterrier_dr import FlexIndex

    index = FlexIndex(str(path), verbose=False)

    def score(results: pd.DataFrame) -> pd.DataFrame:
        if not len(results):
            return results.assign(score=pd.Series(dtype=float), rank=pd.Series(dtype=int))
        vectors = index.vec_loader().transform(results)["doc_vec"]
        products = [float(query @ document) for query, document in zip(results["query_vec"], vectors, strict=True)]
        return pt.model.add_ranks(results.assign(score=products))

    return pt.apply.generic(score)


# PisaIndex.bm25(k1=0.9, b=0.4, query_weighted=True); where a word that stands twice in a query counts once: .467, .678, .472
GOLDEN_BM25 = {"vaswani": 0.465, "scifact": 0.676, "dl19": 0.472}


def test_bm25_has_its_known_numbers(collection: Collection, index: Path) -> None:
    """Golden: nDCG@10 of BM25 by PISA, within .001."""
    table = pt.Experiment([bm25(index)], collection.topics, collection.qrels, [nDCG @ 10])
    folder = next(name for name in GOLDEN_BM25 if name in collection.name)
    assert table["nDCG@10"].iloc[0] == pytest.approx(GOLDEN_BM25[folder], abs=0.001)


@pytest.mark.parametrize("sorts", [False, True], ids=["row-keeping", "sorting"])
def test_cascade_and_plain_pipeline_agree(collection: Collection, index: Path, random_vectors: Path, *, sorts: bool) -> None:
    """pt.Experiment gives the plain pipeline, the Cascade and the executor the same numbers for every query, to 1e-12.

    The second and third stage score by random vectors of small integers, so that ties are heavy; the third either keeps its
    rows in order or is pyterrier_dr's own scorer, which sorts them.
    """
    from pyterrier_dr import FlexIndex

    topics = query_vectors(collection.judged(60))
    stock = FlexIndex(str(random_vectors), verbose=False).np_scorer()
    last = stock if sorts else keep_rows(random_vectors)
    pipeline = bm25(index) % 1000 >> keep_rows(random_vectors) % 100 >> last % 20
    cascade = Cascade.of(bm25(index) % 1000 >> Cascade.of(keep_rows_stage(random_vectors)) % 100 >> last % 20)
    systems = {"plain": pipeline, "cascade": cascade, "run": Runner(cascade, query_batch_size=7)}
    table = pt.Experiment(systems, topics, collection.qrels, MEASURES, perquery=True, validate="ignore")
    values = table.pivot_table(index=["qid", "measure"], columns="name", values="value")
    assert len(values) == len(topics) * len(MEASURES)
    np.testing.assert_allclose(values["cascade"], values["plain"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(values["run"], values["plain"], rtol=0, atol=1e-12)
    plain, ours = (frame[["qid", "docno", "rank", "score"]] for frame in (pipeline.transform(topics), cascade.transform(topics)))
    pd.testing.assert_frame_equal(plain.reset_index(drop=True), ours.reset_index(drop=True), check_dtype=False)


def keep_rows_stage(path: Path) -> Cascade:
    """Tell by hand what inspection cannot see: a function that scores whatever it is given."""
    from pt_cascade.cascade import Stage

    return Cascade((Stage("random", (keep_rows(path),), depends="pointwise", documents="reranks"),))


@pytest.mark.parametrize("collection", ["dl19"], indirect=True)
def test_real_rankers_on_dl19(collection: Collection, index: Path, minilm: str, tmp_path: Path) -> None:
    """BM25's top 30 for every fourth query, re-ranked with real MiniLM weights: each stage is better than the one before.

    Golden: nDCG@10 by SentenceTransformer.encode, NumPy's products and ir_measures, without this package's stages. (All 43
    queries and the top 50, six times the texts to encode, have .472, .620 and .639.)
    """
    first = bm25(index) % 30
    topics = collection.judged().iloc[1::4]
    wanted = set(first.transform(topics)["docno"])
    docs = (doc for doc in collection.docs() if doc["docno"] in wanted)
    vectors = build_vectors(docs, minilm, tmp_path / "vectors", tokens=True, max_length=192)
    bi, late = bi_encoder(vectors), late_interaction(vectors=vectors)
    cascade = Cascade.of(first >> bi % 20 >> late % 10)
    systems = {"bm25": first, "bi": first >> bi, "late": first >> late, "plain": cascade.pipeline(), "cascade": cascade}
    table = pt.Experiment(systems, topics, collection.qrels, [nDCG @ 10]).set_index("name")["nDCG@10"]
    assert table["bm25"] == pytest.approx(0.472, abs=0.002)
    assert table["bi"] == pytest.approx(0.589, abs=0.005)
    assert table["late"] == pytest.approx(0.621, abs=0.005)
    assert table["cascade"] == pytest.approx(table["plain"], abs=1e-12)
    done = run(cascade, topics, query_batch_size=4)
    assert done.trace.groupby("stage")["pairs"].sum()["bi_encoder"] == len(first.transform(topics))
