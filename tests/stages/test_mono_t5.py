"""MonoT5: the scores of pyterrier_t5 one document at a time, whatever else is in the batch.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pyterrier_t5
import pytest
import sentencepiece
import torch
import transformers
from toys.t5 import SIZE, save_model

from pt_cascade.errors import CascadeWarning
from pt_cascade.stages.inference.t5_step import first_logits
from pt_cascade.stages.mono_t5 import MonoT5, mono_t5

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = 1e-5
ABSENT = "castorini/absent"


def _scores(stage: pt.Transformer, results: pd.DataFrame) -> np.ndarray:
    return stage.transform(results)["score"].to_numpy()


def _stock(folder: str, batch_size: int) -> pt.Transformer:
    return pyterrier_t5.MonoT5ReRanker(folder, folder, batch_size=batch_size, verbose=False)


@pytest.mark.parametrize("kind", ["t5", "mt5"])
def test_scores_are_those_of_pyterrier_t5_one_document_at_a_time(kind: str, pairs: pd.DataFrame, request: Any) -> None:
    """Golden values from pyterrier_t5 at batch size 1: short, empty, odd and cut documents alike."""
    folder = request.getfixturevalue(kind)
    stock = {"t5": pyterrier_t5.MonoT5ReRanker, "mt5": pyterrier_t5.mT5ReRanker}[kind](folder, folder, batch_size=1, verbose=False)
    scores = _scores(mono_t5(folder), pairs)
    assert scores == pytest.approx(_scores(stock, pairs), abs=CLOSE, rel=0)
    assert scores.std() > 0.1


def test_tokens_are_those_that_the_model_is_given(t5: str, pairs: pd.DataFrame) -> None:
    """Golden counts from transformers' own tokenizer of the whole prompt, where it fits; 512 where it is cut; in row order."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(t5)
    prompts = [f"Query: {row.query} Document: {row.text} Relevant:" for row in pairs.itertuples()]
    whole = [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
    assert mono_t5(t5).count_tokens(pairs) == [min(count, 512) for count in whole]
    assert (min(whole) < 40, max(whole) > 512) == (True, True)


def test_a_query_that_fills_the_prompt_is_cut_as_there_with_a_warning(t5: str) -> None:
    """Where nothing of a document fits, the score is still that of pyterrier_t5, and a warning says that it read none."""
    rows = [("q1", "heat " * 900, "d1", "flow"), ("q1", "heat " * 900, "d2", "body"), ("q2", "heat", "d1", "flow")]
    results = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])
    said = (
        r"^mono_t5: all 512 tokens are filled by 1 query, first '(heat ){8}', so the model reads little or nothing"
        r" of their documents: shorten them, or pass a larger max_length if the model has one$"
    )
    with pytest.warns(CascadeWarning, match=said):
        scores = _scores(mono_t5(t5), results)
    assert scores == pytest.approx(_scores(_stock(t5, 1), results), abs=CLOSE, rel=0)
    assert scores[0] == pytest.approx(scores[1], abs=CLOSE)
    for cured in (_scores(mono_t5(t5), results.assign(query="heat")), _scores(mono_t5(t5, max_length=1000), results)):
        assert abs(cured[0] - cured[1]) > 1000 * CLOSE


def test_the_warning_comes_exactly_where_no_token_of_the_document_fits(t5: str) -> None:
    """While one token fits another text gives another score; from then on the warning says that it does not."""
    warned = []
    for words in range(499, 507):
        query = " ".join(["the"] * words)
        results = pd.DataFrame([("q", query, "d1", "flow"), ("q", query, "d2", "body")], columns=["qid", "query", "docno", "text"])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            first, second = _scores(_cached(t5), results)
        warned.append(bool(caught))
        assert warned[-1] == (abs(first - second) < 1e-6)
    assert set(warned) == {False, True}


_STAGES: dict[str, MonoT5] = {}


def _cached(folder: str) -> MonoT5:
    return _STAGES.setdefault(folder, MonoT5(folder))


def test_the_stock_re_ranker_fails_that_test(t5: str, pairs: pd.DataFrame) -> None:
    """Its scores move by far more than the tolerance when the batch changes: the tests above can fail."""
    alone, four = (_scores(_stock(t5, size), pairs) for size in (1, 4))
    assert np.abs(alone - four).max() > 0.01


def test_the_prompt_is_that_of_the_paper(t5: str, t5_tokenizer: Path) -> None:
    """Golden ids from SentencePiece itself: the prompt's pieces, then the end token, the text cut and nothing else."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(t5_tokenizer / "spiece.model"))
    stage = MonoT5(t5, max_length=24)
    ids = stage._loaded.encode([("", "heat flow", "past a blunt body " * 9)])["input_ids"][0].tolist()
    suffix = [*pieces.encode("Relevant:"), 1]
    assert ids == pieces.encode("Query: heat flow Document: " + "past a blunt body " * 9)[: 24 - len(suffix)] + suffix


def test_a_shorter_prompt_is_cut_as_pyterrier_t5_cuts_it(t5: str, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """max_length is what n_positions is there."""
    folder = shutil.copytree(t5, tmp_path / "short")
    config = transformers.T5Config.from_pretrained(folder)
    config.n_positions = 32
    config.save_pretrained(folder)
    stock = _stock(folder, 1)
    assert _scores(mono_t5(folder, max_length=32), pairs) == pytest.approx(_scores(stock, pairs), abs=CLOSE, rel=0)


def test_the_two_answers_share_one_probability(t5: str, pairs: pd.DataFrame) -> None:
    """p(true) + p(false) = 1: with the answers exchanged the scores are the logs of the rest."""
    true = _scores(_cached(t5), pairs)
    false = _scores(mono_t5(t5, tokens=("▁false", "▁true")), pairs)
    assert (true <= 0).all()
    assert np.exp(true) + np.exp(false) == pytest.approx(np.ones(len(pairs)), abs=1e-12)


def test_sure_answers_do_not_tie(mt5: str, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Where the stock re-ranker's float32 rounds several scores to 0.0, and ties them, ours keep their order."""
    model = transformers.MT5ForConditionalGeneration.from_pretrained(mt5)
    with torch.no_grad():
        model.lm_head.weight[[4273, 150]] *= -120  # ▁yes and ▁no
    folder = save_model(model, tmp_path, None)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{mt5}/{file}", folder)
    stock = _scores(pyterrier_t5.mT5ReRanker(folder, folder, batch_size=1, verbose=False), pairs)
    ours = _scores(mono_t5(folder), pairs)
    sure = stock == 0.0
    assert sure.sum() > 1
    assert len(set(ours[sure])) == sure.sum()
    assert (ours < 0).all()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("T5", {}),
        ("T5", {"tie_word_embeddings": False}),
        ("T5", {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 3}),
        ("MT5", {"d_kv": 12}),
    ],
)
def test_the_first_step_of_the_decoder_is_that_of_transformers(kind: str, changes: dict[str, Any]) -> None:
    """Golden logits from the whole model: T5, T5 1.1, mT5, heads as wide as they like, with and without padding."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**{**SIZE, "vocab_size": 64, "initializer_factor": 1.5, **changes})
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    ids = torch.randint(2, 64, (5, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [4], [1], [9], [7]])).long()
    with torch.inference_mode():
        golden = model(ids, mask, decoder_input_ids=torch.zeros(5, 1, dtype=torch.long)).logits[:, 0]
        assert torch.allclose(first_logits(model, ids, mask), golden, atol=1e-5 * golden.abs().max().item())
    assert golden.std() > 0.1


def test_a_decoder_whose_layers_have_other_names_is_run_by_transformers() -> None:
    """Golden logits from the whole model: a BART has no T5 blocks, so that its own forward gives the first word."""
    torch.manual_seed(0)
    size = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = transformers.BartConfig(vocab_size=64, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=2, **size)
    model = transformers.BartForConditionalGeneration(config).eval()
    ids = torch.randint(4, 64, (3, 7))
    mask = (torch.arange(7) < torch.tensor([[7], [4], [1]])).long()
    with torch.inference_mode():
        golden = model(ids, mask, decoder_input_ids=torch.full((3, 1), 2)).logits[:, 0]
        assert torch.allclose(first_logits(model, ids, mask), golden, atol=1e-6)
    assert golden.std() > 0.01
