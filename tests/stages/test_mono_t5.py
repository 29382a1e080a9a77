"""MonoT5: the scores of pyterrier_t5 one document at a time, whatever else is in the batch.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

import pickle
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
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.errors import CascadeWarning, FrameError, MissingError, PipelineError
from pt_cascade.stages.inference.t5_step import first_logits
from pt_cascade.stages.mono_t5 import MonoT5, mono_t5

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 32128, "decoder_start_token_id": 0}
CLOSE = 1e-5
WORDS = [
    "the",
    "flow",
    "of",
    "heat",
    "past",
    "a",
    "blunt",
    "body",
    "Café",
    "naïve",
    "東京",
    "10.5",
    "<pad>",
    "</s>",
    "Relevant:",
    "\u200b🚀",
]
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=90).map(" ".join), st.just("heat " * 700))
ABSENT = "castorini/absent"


def _save(model: Any, folder: Path, tokenizer: Path | None) -> str:
    model.save_pretrained(folder)
    for file in tokenizer.glob("*token*") if tokenizer else ():
        shutil.copy(file, folder)
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models are slower on several threads, the more so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory, t5_tokenizer: Path) -> str:
    """A tiny T5 of random weights with the real tokenizer."""
    torch.manual_seed(0)
    config = transformers.T5Config(**SIZE, n_positions=512, initializer_factor=1.5)
    return _save(transformers.T5ForConditionalGeneration(config), tmp_path_factory.mktemp("t5"), t5_tokenizer)


@pytest.fixture(scope="session")
def mt5(tmp_path_factory: pytest.TempPathFactory, t5_tokenizer: Path) -> str:
    """A tiny mT5 of random weights, its output layer apart from its embeddings as in every mT5, with the T5 tokenizer."""
    torch.manual_seed(1)
    model = transformers.MT5ForConditionalGeneration(transformers.MT5Config(**SIZE))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(32128, 32))
    return _save(model, tmp_path_factory.mktemp("mt5"), t5_tokenizer)


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """Two queries with 12 documents each, of 0 to 900 words, in an order and with an index of their own."""
    random = np.random.default_rng(0)
    rows = [
        {
            "qid": f"q{query}",
            "query": " ".join(random.choice(WORDS, 4)),
            "docno": f"d{number}",
            "text": " ".join(random.choice(WORDS, n)),
        }
        for query in range(2)
        for number, n in enumerate((0, 1, 3, 8, 20, 40, 60, 80, 100, 120, 500, 900))
    ]
    return pd.DataFrame(rows, index=random.permutation(24)).assign(rank=7, score=0.0, url="u")


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


def test_a_query_that_fills_the_prompt_is_cut_as_there_and_told(t5: str) -> None:
    """Where nothing of a document fits, the score is still that of pyterrier_t5, and a warning says that it read none."""
    rows = [("q1", "heat " * 900, "d1", "flow"), ("q1", "heat " * 900, "d2", "body"), ("q2", "heat", "d1", "flow")]
    results = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])
    said = r"^mono_t5: 1 query\(ies\) fill all 512 tokens, so none of their documents are read$"
    with pytest.warns(CascadeWarning, match=said):
        scores = _scores(mono_t5(t5), results)
    assert scores == pytest.approx(_scores(_stock(t5, 1), results), abs=CLOSE, rel=0)
    assert scores[0] == pytest.approx(scores[1], abs=CLOSE)


def test_the_warning_comes_exactly_where_no_token_of_the_document_fits(t5: str) -> None:
    """While one token fits another text gives another score; from then on the warning says that it does not."""
    warned = []
    for words in range(499, 507):
        query = " ".join(["the"] * words)
        results = pd.DataFrame([("q", query, "d1", "flow"), ("q", query, "d2", "body")], columns=["qid", "query", "docno", "text"])
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            first, second = _scores(_cached(t5), results)
        warned.append(bool(told))
        assert warned[-1] == (abs(first - second) < 1e-6)
    assert set(warned) == {False, True}


@settings(max_examples=25, deadline=None)
@given(
    results=st.lists(st.tuples(st.text(max_size=20), TEXTS), min_size=1, max_size=12), budget=st.integers(1, 3000), data=st.data()
)
def test_a_score_depends_on_query_and_document_alone(
    t5: str, results: list[tuple[str, str]], budget: int, data: st.DataObject
) -> None:
    """One at a time, together, in any order, in any batch: the same scores."""
    frame = pd.DataFrame(results, columns=["query", "text"]).assign(qid="q", docno=[f"d{number}" for number in range(len(results))])
    stage = _cached(t5)
    alone = np.concatenate([_scores(stage, frame.iloc[[row]]) for row in range(len(frame))])
    order = data.draw(st.permutations(range(len(frame))))
    together = MonoT5(t5, batch_tokens=budget)
    together.__dict__["_loaded"] = stage._loaded
    assert _scores(together, frame.iloc[order]) == pytest.approx(alone[order], abs=CLOSE, rel=0)


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
    ids = stage._encode(["heat flow"], ["past a blunt body " * 9])[0].tolist()
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
        model.lm_head.weight[[4273, 150]] *= -30  # ▁yes and ▁no
    folder = _save(model, tmp_path, None)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{mt5}/{file}", folder)
    stock = _scores(pyterrier_t5.mT5ReRanker(folder, folder, batch_size=1, verbose=False), pairs)
    ours = _scores(mono_t5(folder), pairs)
    sure = stock == 0.0
    assert sure.sum() > 1
    assert len(set(ours[sure])) == sure.sum()
    assert (ours < 0).all()


@pytest.mark.avx512
def test_a_lower_precision_is_near_and_ties_nothing(t5: str, pairs: pd.DataFrame) -> None:
    """Within half of how far the scores spread on random weights, not equal, and as many different scores as there were."""
    exact, coarse = _scores(_cached(t5), pairs), _scores(mono_t5(t5, dtype="bf16"), pairs)
    assert 0 < np.abs(coarse - exact).max() < 0.5 * exact.std()
    assert len(set(coarse)) == len(set(exact.round(6)))


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


def test_rows_and_columns_stay_as_they_were(t5: str, pairs: pd.DataFrame) -> None:
    """Same rows, same order, same index, other columns kept; old score and rank replaced; the input untouched."""
    before = pairs.copy(deep=True)
    out = _cached(t5).transform(pairs)
    kept = ["qid", "query", "docno", "text", "url"]
    pd.testing.assert_frame_equal(out[kept], before[kept])
    pd.testing.assert_frame_equal(pairs, before)
    assert {*out.columns} == {*kept, "score", "rank"}
    assert (out["score"].dtype, out["rank"].dtype) == (np.float64, np.int64)
    pd.testing.assert_frame_equal(pt.model.add_ranks(out.drop(columns="rank")), out, check_dtype=False, check_like=True)


def test_no_rows_need_no_model() -> None:
    """An empty frame gives an empty frame with score and rank, and loads nothing; so does PyTerrier's inspection."""
    stage = mono_t5(ABSENT, text_field="body")
    out = stage.transform(pd.DataFrame({"qid": [], "query": [], "docno": [], "body": [], "url": []}, dtype=str))
    assert {*out.columns} == {"qid", "query", "docno", "body", "url", "score", "rank"}
    assert pt.inspect.transformer_inputs(stage) == [["qid", "docno", "query", "body"]]
    assert pt.inspect.transformer_outputs(stage, ["qid", "docno", "query", "body"])[-2:] == ["score", "rank"]
    assert {a.name: a.value for a in pt.inspect.transformer_attributes(stage)}["text_field"] == "body"
    assert pt.inspect.transformer_apply_attributes(stage, max_length=99) == mono_t5(ABSENT, text_field="body", max_length=99)
    assert pt.schematic.transformer_schematic(stage)["label"] == "MonoT5"
    assert "_loaded" not in vars(stage)


def test_stages_built_alike_are_equal() -> None:
    """Equality and hash go by value, so that pipelines can share a prefix."""
    assert mono_t5(ABSENT) == mono_t5(ABSENT)
    assert hash(mono_t5(ABSENT)) == hash(mono_t5(ABSENT))
    assert hash(mono_t5(ABSENT, tokens=["▁sim", "▁não"])) == hash(mono_t5(ABSENT, tokens=("▁sim", "▁não")))
    assert mono_t5(ABSENT) != mono_t5(ABSENT, max_length=256)


def test_a_pickle_carries_the_arguments_and_not_the_model(t5: str, pairs: pd.DataFrame) -> None:
    """A copy is equal, small, loads its own model and scores alike."""
    stage = mono_t5(t5)
    scores = _scores(stage, pairs)
    sent = pickle.dumps(stage)
    copy = pickle.loads(sent)  # noqa: S301 - our own
    assert len(sent) < 1000
    assert copy == stage
    assert "_loaded" not in vars(copy)
    assert _scores(copy, pairs) == pytest.approx(scores, abs=CLOSE, rel=0)


def test_a_tokenizer_may_stand_elsewhere(t5: str, t5_tokenizer: Path, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """A checkpoint without a tokenizer takes the one that is named."""
    folder = _save(transformers.T5ForConditionalGeneration.from_pretrained(t5), tmp_path, None)
    stage = mono_t5(folder, tokenizer=t5_tokenizer)
    assert _scores(stage, pairs) == pytest.approx(_scores(_cached(t5), pairs), abs=CLOSE, rel=0)


def test_a_tokenizer_that_is_named_must_be_there(t5: str, pairs: pd.DataFrame) -> None:
    """Nothing is taken in its place."""
    with pytest.raises(MissingError) as error:
        mono_t5(t5, tokenizer="/no/such/folder").transform(pairs)
    assert error.value.what == "mono_t5 cannot load '/no/such/folder'"
    assert error.value.fix == 'mono_t5(model, tokenizer="...") with the name or the folder of the tokenizer it was trained with'


def test_a_t5_without_a_tokenizer_takes_that_of_t5_base(
    t5: str, t5_tokenizer: Path, pairs: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pyterrier_t5 does by default; offline, the error says which and what to do."""
    folder = _save(transformers.T5ForConditionalGeneration.from_pretrained(t5), tmp_path, None)
    load = transformers.AutoTokenizer.from_pretrained
    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", lambda name: load(t5_tokenizer if name == "t5-base" else name)
    )
    assert _scores(mono_t5(folder), pairs) == pytest.approx(_scores(_cached(t5), pairs), abs=CLOSE, rel=0)
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", _offline)
    with pytest.raises(MissingError) as error:
        mono_t5(folder).transform(pairs)
    assert str(error.value) == (
        "mono_t5 cannot load 't5-base': there is no such folder, and the model hub gave: We couldn't connect."
        ' Fix: mono_t5(model, tokenizer="...") with the name or the folder of the tokenizer it was trained with'
    )


def _offline(name: str) -> None:
    """Fail as transformers does without a network."""
    raise OSError("We couldn't connect.\nCheck your connection to load " + name)


def test_no_network_is_said_with_the_name(pairs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be reached names the model, and that a folder would do."""
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", _offline)
    with pytest.raises(MissingError) as error:
        mono_t5(ABSENT).transform(pairs)
    assert str(error.value) == (
        "mono_t5 cannot load 'castorini/absent': there is no such folder, and the model hub gave: We couldn't connect."
        " Fix: pass the name of a model on the hub, or the folder that it was saved to with save_pretrained"
    )


def test_another_kind_of_model_is_refused(minilm: str, pairs: pd.DataFrame) -> None:
    """A BERT cannot be asked for a word."""
    with pytest.raises(MissingError) as error:
        mono_t5(minilm).transform(pairs)
    assert str(error.value) == (
        f"mono_t5 cannot ask {minilm!r}: it is a bert model, expected one of t5, mt5."
        " Fix: pass a MonoT5 checkpoint, e.g. castorini/monot5-base-msmarco"
    )


def test_answers_that_the_vocabulary_lacks_are_refused(t5: str, pairs: pd.DataFrame) -> None:
    """An unknown piece would be the unknown token, and the score that of nothing."""
    with pytest.raises(PipelineError) as error:
        mono_t5(t5, tokens=("▁zzqq", "▁false")).transform(pairs)
    assert str(error.value) == (
        "mono_t5 cannot read the answer: '▁zzqq' is not a piece of the vocabulary."
        " Fix: a word begins with ▁ (U+2581): tokens=('▁true', '▁false')"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 4}, "mono_t5 cannot be made: max_length is 4, expected 16 or more tokens"),
        ({"batch_tokens": 0}, "mono_t5 cannot be made: batch_tokens is 0, expected 1 or more"),
        (
            {"max_length": 4, "batch_tokens": 0},
            "mono_t5 cannot be made:\n  - max_length is 4, expected 16 or more tokens\n  - batch_tokens is 0, expected 1 or more",
        ),
        (
            {"tokens": ["▁true", "▁true"]},
            "mono_t5 cannot be made: tokens is ('▁true', '▁true'), expected two different pieces, relevant and not relevant",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    """Before any model is loaded, and all of them together."""
    with pytest.raises(PipelineError) as error:
        mono_t5(ABSENT, **options)
    assert str(error.value) == message


@pytest.mark.parametrize("column", ["query", "text", "docno"])
def test_a_missing_column_is_pyterriers_error(column: str, pairs: pd.DataFrame) -> None:
    """So that pt.Experiment can tell which stage lacks what."""
    with pytest.raises(pt.validate.InputValidationError):
        mono_t5(ABSENT).transform(pairs.drop(columns=column))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_text_is_refused(missing: float | None, pairs: pd.DataFrame) -> None:
    """The stock re-ranker would score the word None."""
    texts = pairs["text"].astype(object)
    texts.iloc[3] = missing
    with pytest.raises(FrameError, match="text is missing or not text"):
        mono_t5(ABSENT).transform(pairs.assign(text=texts))


def test_a_progress_bar_is_shown_only_when_asked_for(t5: str, pairs: pd.DataFrame, capfd: pytest.CaptureFixture[str]) -> None:
    """Quiet by default, loading included."""
    mono_t5(t5).transform(pairs)
    assert capfd.readouterr() == ("", "")
    mono_t5(t5, verbose=True).transform(pairs)
    assert "24/24" in capfd.readouterr().err
