"""Scores that depend on the batch are detected: toys of every kind, stock MonoT5, and our own stages, which pass.

The models are tiny and their weights random: what they prove is the mechanism.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest
from toys.judges import Judge, Log
from toys.rankers import ToyRetriever, topics

from pt_cascade import Cascade
from pt_cascade.analysis.table.tie_rules import TieRule
from pt_cascade.cascade.fingerprints import fingerprint
from pt_cascade.errors import StageError
from pt_cascade.execution.scoring.score import score

FIRST = ToyRetriever(docs=12, levels=3)
WORDS = ["lion", "tiger", "bear", "wolf", "fox", "deer", "otter", "seal", "whale", "hawk", "eagle", "owl"]
TEXTS = {f"d{n}": " ".join(WORDS[(n * k) % 12] for k in range(1, 2 + 3 * n % 40)) for n in range(12)}
TEXT = pt.apply.text(lambda row: TEXTS[row["docno"]])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep each test's chunks to itself."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Company(pt.Transformer):
    """A re-ranker whose scores are spoilt by what is beside them."""

    spoil: Callable[[pd.DataFrame, pd.Series], pd.Series]
    documents = "reranks"
    stage_name = "company"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score by the number in the docno, then spoil."""
        pt.validate.result_frame(inp, context=self)
        own = inp["docno"].str[1:].astype(float)
        return pt.model.add_ranks(inp.assign(score=self.spoil(inp, own).astype(float)))


SPOILT = {
    "the best of a query is 1, the worst 0": lambda inp, own: own.groupby(inp["qid"]).transform(
        lambda x: (x - x.min()) / (x.max() - x.min() + 1)
    ),
    "the sum over all rows is 1": lambda _, own: own / (own.sum() + 1),
    "the rank before": lambda inp, _: 1 / (60 + inp["rank"]),
    "the place among the rows": lambda inp, own: own + 0.001 * inp.reset_index().index.to_series(index=inp.index),
    "the number of rows": lambda inp, own: own + 0.01 * len(inp),
    "batches of four, padded to the longest": lambda inp, own: (
        own + 0.01 * inp["docno"].str.len().groupby([n // 4 for n in range(len(inp))]).transform("max").to_numpy()
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_score_that_depends_on_its_batch_is_detected(case: str) -> None:
    """Normalised, counted, ranked or padded: the stage is named, and none of its scores is saved."""
    with pytest.raises(StageError, match="stage 'company' scores the same pair differently among other rows"):
        score(FIRST % 12 >> Company(SPOILT[case]), topics(5), query_batch_size=4)


def test_the_error_names_the_pair_and_the_difference_and_what_to_do() -> None:
    """Golden: the number of rows of a chunk, 18, adds 4.5 to each score, and the number of another look, 9, adds 2.25."""
    pipeline = ToyRetriever(docs=8) % 6 >> Company(lambda inp, own: own + 0.25 * len(inp))
    with pytest.raises(StageError) as error:
        score(pipeline, topics(3))
    assert str(error.value) == (
        "stage 'company' scores the same pair differently among other rows: qid 'q0', docno 'd0' scored 4.5, then 2.25; "
        "9 of 9 pairs changed, by up to 2.25; the tolerance is 0.0001. "
        "Fix: if its scores come from a cache that another model may have filled: a cache at another path; "
        "if it scores the whole list, declare it and run it last: cascade.with_stage('company', depends='listwise'); "
        "if it pads batches as pyterrier_t5 does: ptc.stages.mono_t5(model), or batch_size=1; "
        "if it compares documents as pyterrier_t5's DuoT5 does: ptc.stages.duo_t5(model); "
        "if it computes in bf16, which rounds: score(..., tolerance=0.05)"
    )
    assert score(pipeline, topics(3), tolerance=1).stages == ("toy", "company")
    told = Cascade.of(pipeline).with_stage("company", depends="listwise")
    assert score(told, topics(3)).paths[0].live == "company"


def test_a_change_within_the_tolerance_is_let_through() -> None:
    """The tolerance is relative to scores beyond 1: what moves by a millionth of a thousand passes, by a thousandth does not."""
    for part, passes in ((1e-6, True), (1e-3, False)):
        pipeline = FIRST % 12 >> Company(lambda inp, own, part=part: (own + 1000) * (1 + part * (inp.index.to_series() % 2)))
        if passes:
            assert len(score(pipeline, topics(2)).frame)
        else:
            with pytest.raises(StageError):
                score(pipeline, topics(2))


def test_a_retriever_whose_scores_depend_on_the_other_queries_is_detected() -> None:
    """A first stage is asked some queries again, last first and one alone: other scores, more or fewer documents are errors."""

    @dataclass(frozen=True)
    class Sociable(ToyRetriever):
        more: bool = False

        def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
            found = super().transform(inp)
            if self.more:
                return found if len(inp) > 1 else pt.model.add_ranks(found.iloc[:-2].copy())
            return pt.model.add_ranks(found.assign(score=found["score"] + 0.1 * len(inp)))

    for more, said in ((False, r"qid 'q\d', docno 'd\d' scored \d\.3\d*, then \d\.1"), (True, "scored 0.0, then nan")):
        with pytest.raises(StageError, match=said) as error:
            score(Sociable(docs=8, more=more), topics(5))
        assert str(error.value).endswith("Fix: retrieve each query by itself")
    assert len(score(Sociable(docs=8), topics(1)).frame)


def test_a_list_stage_may_stand_first() -> None:
    """Nothing cuts what a first stage is given, so a list re-ranker of given results replays; each query must still be its own."""
    found = FIRST.transform(topics(4))
    own = Company(lambda inp, own: own / own.groupby(inp["qid"]).transform("sum"))
    with pytest.raises(StageError):
        score(own % 3 >> Judge(), found)
    told = Cascade.of(own % 3 >> Judge()).with_stage(0, depends="listwise")
    assert score(told, found).stages == ("company", "judge")
    alone = Cascade.of(Company(lambda _, own: own / own.sum()) % 3).with_stage(0, depends="listwise")
    with pytest.raises(StageError):
        score(alone, found)


def test_a_stage_is_tested_as_soon_as_a_batch_has_other_rows() -> None:
    """Chunks of one pair cannot be tested; the first chunk with more pairs is tested, and later ones are not."""
    asked = pd.DataFrame({"qid": list("abcdef"), "query": ["nothing", *(f"query {n}" for n in range(5))]})
    log = Log()
    score(FIRST % 6 >> Judge(log=log), asked, query_batch_size=1)
    assert [{qid for qid, _ in call} for call in log.calls] == [*[{"b"}] * 5, {"c"}, {"d"}, {"e"}, {"f"}]
    assert [len(call) for call in log.calls[:5]] == [6, 2, 2, 3, 3]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory, t5_tokenizer: Path) -> str:
    """A tiny T5 of random weights with the real tokenizer."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    size = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 32128, "decoder_start_token_id": 0}
    folder = tmp_path_factory.mktemp("t5")
    T5ForConditionalGeneration(T5Config(**size, n_positions=512, initializer_factor=1.5)).save_pretrained(folder)
    for file in t5_tokenizer.glob("*token*"):
        shutil.copy(file, folder)
    return str(folder)


@pytest.mark.usefixtures("one_thread")
def test_stock_mono_t5_is_caught_and_ours_passes(t5: str) -> None:
    """pyterrier_t5 pads before its prompt, so its scores move with the batch; one document a batch, or ours, they do not."""
    from pyterrier_t5 import MonoT5ReRanker

    from pt_cascade.stages import mono_t5

    first = FIRST % 12 >> TEXT
    with pytest.raises(StageError, match="stage 'mono_t5' scores the same pair differently among other rows"):
        score(first >> MonoT5ReRanker(t5, t5, verbose=False), topics(4))
    alone = score(first >> MonoT5ReRanker(t5, t5, batch_size=1, verbose=False), topics(4))
    ours = score(first >> mono_t5(t5, batch_tokens=200), topics(4))
    pd.testing.assert_frame_equal(ours.frame, alone.frame, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_our_model_stages_pass(minilm: str, tmp_path: Path) -> None:
    """bi_encoder, late_interaction and cross_encoder give a pair the same score in any batch, to a tenth of the tolerance."""
    from pt_cascade.stages import bi_encoder, build_vectors, cross_encoder, late_interaction

    docs = [{"docno": docno, "text": text} for docno, text in TEXTS.items()]
    vectors = build_vectors(docs, minilm, tmp_path / "v", tokens=True)
    asked = pd.DataFrame({"qid": ["1", "2", "3"], "query": ["lion bear", "otter and owl", "wolf"]})
    stages = (
        bi_encoder(vectors) % 8
        >> late_interaction(vectors=vectors) % 6
        >> TEXT
        >> cross_encoder(minilm_classifier(minilm, tmp_path))
    )
    before = [fingerprint(stage) for stage in Cascade.of(FIRST % 12 >> stages)]
    table = score(FIRST % 12 >> stages, asked, tolerance=1e-5)
    assert [column.fingerprint for column in table.columns] == before  # a loaded model is the stage that it was
    assert table.stages == ("toy", "bi_encoder", "late_interaction", "cross_encoder")
    assert all(column.rule == TieRule() for column in table.columns)


def minilm_classifier(minilm: str, folder: Path) -> str:
    """MiniLM with a head of one random logit, which is no ranker, but has real attention and padding."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    torch.manual_seed(0)
    logging.set_verbosity_error()
    model = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=1)
    logging.set_verbosity_warning()
    model.save_pretrained(folder / "classifier")
    AutoTokenizer.from_pretrained(minilm).save_pretrained(folder / "classifier")
    return str(folder / "classifier")
