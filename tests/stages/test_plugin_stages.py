"""PyTerrier's own transformers and its plugins' in a cascade: read, named, and ranked as the plain pipeline ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pt_cascade import Cascade, run
from pt_cascade.errors import FrameError
from pt_cascade.stages import bm25, build_index, build_vectors
from pt_cascade.stages.indexing.engines import terrier_index

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["lion", "tiger", "bear", "wolf", "fox", "deer", "otter", "seal", "whale", "hawk", "eagle", "owl"]
DOCS = [{"docno": f"d{n}", "text": " ".join(WORDS[(n * k) % 12] for k in range(1, 2 + n % 5))} for n in range(60)]
TOPICS = pd.DataFrame({"qid": ["1", "2", "3"], "query": ["lion bear", "otter", "no such animal"]})
TEXTS = {doc["docno"]: doc["text"] for doc in DOCS}
TEXT = pt.apply.text(lambda row: TEXTS[row["docno"]])


@pytest.fixture(scope="module")
def flex(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> object:
    """The documents' MiniLM vectors as a FlexIndex."""
    from pyterrier_dr import FlexIndex

    return FlexIndex(str(build_vectors(DOCS, minilm, tmp_path_factory.mktemp("flex") / "v")), verbose=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> pt.Transformer:
    """BM25 by whichever engine is installed."""
    return bm25(build_index(DOCS, tmp_path_factory.mktemp("first") / "index"))


@pytest.fixture(scope="module")
def encoder(minilm: str) -> pt.Transformer:
    """pyterrier_dr's own MiniLM query encoder."""
    from pyterrier_dr import SBertBiEncoder

    return SBertBiEncoder(minilm, batch_size=1).query_encoder()


def check(pipeline: pt.Transformer, text: str, documents: list[str], topics: pd.DataFrame = TOPICS) -> Cascade:
    """The cascade reads as expected and ranks as the plain pipeline, and so does a run in chunks."""
    cascade = Cascade.of(pipeline)
    assert repr(cascade) == text
    assert [stage.documents for stage in cascade] == documents
    columns = ["qid", "docno", "score", "rank"]
    plain = pipeline.transform(topics[topics["query"] != "no such animal"])[columns].sort_values(["qid", "rank"])
    for ours in (cascade.transform(topics), run(cascade, topics, query_batch_size=1).results):
        pd.testing.assert_frame_equal(
            ours[columns].sort_values(["qid", "rank"]).reset_index(drop=True),
            plain.reset_index(drop=True),
            check_dtype=False,
            atol=1e-6,
        )
    return cascade


def test_pyterrier_dr_scorers(first: pt.Transformer, flex: object, encoder: pt.Transformer) -> None:
    """np_scorer (which sorts its rows and crashes on none) and torch_scorer re-rank by stored vectors."""
    for scorer in (flex.np_scorer(), flex.torch_scorer()):
        cascade = check(first % 20 >> encoder >> scorer % 5, "bm25 → 20 · bi_encoder → 5", ["retrieves", "reranks"])
        assert cascade[1].depends == "pointwise"


def test_pyterrier_dr_retrievers(first: pt.Transformer, flex: object, encoder: pt.Transformer) -> None:
    """Exact dense retrieval is a first stage; its query encoder rides with it."""
    for retriever in (flex.np_retriever(num_results=20), flex.torch_retriever(num_results=20)):
        everything = TOPICS[TOPICS["query"] != "no such animal"]  # dense retrieval finds something for any query
        check(
            encoder >> retriever % 10 >> TEXT >> pt.apply.doc_score(len_of_text) % 5,
            "dense → 10 · doc_score → 5",
            ["retrieves", "reranks"],
            everything,
        )
    assert first is not None


def len_of_text(row: pd.Series) -> float:
    """Score a row by the length of its text: many ties."""
    return float(len(row["text"]))


def test_stock_mono_t5(first: pt.Transformer, t5_tokenizer: Path, tmp_path: Path) -> None:
    """pyterrier_t5's MonoT5 (tiny random T5: rankings mean nothing) is a stage, unknown in what its scores depend on."""
    import torch
    from pyterrier_t5 import MonoT5ReRanker
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=32128, decoder_start_token_id=0, n_positions=64
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    stock = MonoT5ReRanker(tok_model=str(t5_tokenizer), model=str(tmp_path), batch_size=1, verbose=False, device="cpu")
    cascade = check(first % 5 >> TEXT >> stock % 3, "bm25 → 5 · mono_t5 → 3", ["retrieves", "reranks"])
    assert cascade[1].depends == "unknown"  # the text loader is a function of the user's


def test_fusion(first: pt.Transformer) -> None:
    """Sum and RRFusion of two retrievers are one retrieving stage."""
    import pyterrier_alpha as pta

    seen = TOPICS[TOPICS["query"] != "no such animal"]
    check(
        (first + first) % 10 >> TEXT >> pt.apply.doc_score(len_of_text) % 3,
        "sum → 10 · doc_score → 3",
        ["retrieves", "reranks"],
        seen,
    )
    check(pta.RRFusion(first, first) % 10, "rrf → 10", ["retrieves"], seen)


@pytest.mark.java
def test_terrier_from_end_to_end(tmp_path: Path) -> None:
    """Terrier retrieves, expands the query, retrieves again, re-ranks by another model, and loads texts from its own index."""
    index = terrier_index(tmp_path / "index")
    index.indexer(meta={"docno": 20, "text": 200}, text_attrs=["text"]).index(iter(DOCS))
    found, other = index.bm25(num_results=30), index.retriever("PL2")
    seen = TOPICS[TOPICS["query"] != "no such animal"]
    check(found % 10 >> other % 5, "bm25 → 10 · pl2 → 5", ["retrieves", "any"], seen)
    check(found % 3 >> pt.rewrite.Bo1QueryExpansion(index) >> found % 10, "bm25 → 10", ["retrieves"], seen)
    loaded = found % 10 >> pt.text.get_text(index, "text") >> pt.apply.doc_score(len_of_text) % 5
    assert (
        check(loaded, "bm25 → 10 · doc_score → 5", ["retrieves", "reranks"], seen)[1].transformers[0].__class__.__name__
        == "TerrierTextLoader"
    )


def test_a_run_made_elsewhere_is_a_first_stage() -> None:
    """pt.Transformer.from_df gives a stage called run; given results instead of topics it multiplies rows, which is refused."""
    found = pd.DataFrame(
        {"qid": ["1", "1", "2"], "query": "q", "docno": ["d1", "d2", "d1"], "score": [2.0, 1.0, 1.0], "rank": [0, 1, 0]}
    )
    source = pt.Transformer.from_df(found)
    check(source % 1, "run → 1", ["retrieves"], pd.DataFrame({"qid": ["1", "2"], "query": "q"}))
    with pytest.raises(FrameError, match="repeats an earlier row"):
        Cascade.of(source % 1).transform(found)


def test_learning_to_rank(first: pt.Transformer) -> None:
    """Features from a union, then a scikit-learn model over them: one stage, whose loaders are the features."""
    from sklearn.linear_model import LinearRegression

    length = pt.apply.doc_score(len_of_text)
    learned = LinearRegression().fit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 2.0, 3.0]))
    seen = TOPICS[TOPICS["query"] != "no such animal"]
    pipeline = first % 10 >> TEXT >> (length**length) >> pt.ltr.apply_learned_model(learned) % 4
    check(pipeline, "bm25 → 10 · regression → 4", ["retrieves", "reranks"], seen)
