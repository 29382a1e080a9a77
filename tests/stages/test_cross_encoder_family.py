"""Cross-encoders of fourteen architectures: the scores of sentence-transformers and transformers, a pair at a time, or a refusal.

The models are tiny and their weights random. Right values come from the two libraries.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from scipy.special import expit, logit, softmax
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import Pooling
from toys.cross_encoders import ANSWERING, CLASSIFIERS, LIMIT, make_tokenizer, save

from pt_cascade.errors import CascadeError, MissingError, PipelineError, StageError
from pt_cascade.stages.cross_encoder import cross_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = {"abs": 1e-5, "rel": 1e-5}
BUDGETS = (1, 100)  # by default all pairs are one batch


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder of transformers for each kind of model and number of labels, made once; it is not to be changed."""
    made: dict[tuple[str, int], Path] = {}

    def make(kind: str, labels: int = 1) -> Path:
        if (kind, labels) not in made:
            made[kind, labels] = save(kind, tmp_path_factory.mktemp(kind), num_labels=labels)
        return made[kind, labels]

    return make


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    """Two queries, one of them longer than half of what is read, beside documents that are empty, short, upper-case and cut."""
    texts = ["", "heat", "a BLUNT body", "flow of heat past 7 bodies", "x y z " * 6, "heat flow body " * 40]
    queries = ["heat flow", "past the blunt body of heat 42"]
    rows = [(f"q{n}", query, f"d{m}", text) for n, query in enumerate(queries) for m, text in enumerate(texts)]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])


def _scores(folder: Path, pairs: pd.DataFrame, **options: Any) -> np.ndarray:
    """Score in small and large batches, forwards and backwards, see that they agree, and give the scores."""
    default = cross_encoder(folder, **options).transform(pairs)["score"].to_numpy()
    for budget in BUDGETS:
        other = cross_encoder(folder, **{"batch_tokens": budget, **options}).transform(pairs[::-1])["score"].to_numpy()[::-1]
        assert other == pytest.approx(default, **CLOSE)
    return default


def _predict(folder: Path, pairs: pd.DataFrame, **options: Any) -> np.ndarray:
    """Ask sentence-transformers for the logits, a pair at a time."""
    there, asked = CrossEncoder(str(folder), device="cpu", **options), {"activation_fn": torch.nn.Identity()}
    texts = zip(pairs["query"], pairs["text"], strict=True)
    return np.array([there.predict([list(pair)], show_progress_bar=False, **asked)[0] for pair in texts], float)


def _classify(folder: Path, pairs: pd.DataFrame, limit: int = LIMIT) -> np.ndarray:
    """Ask transformers for the logits, a pair at a time; lists, as it takes a single empty text for none."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    options = {"truncation": True, "max_length": limit, "return_tensors": "pt"}
    with torch.inference_mode():
        read = (tokenizer([pair.query], [pair.text], **options) for pair in pairs.itertuples())
        return np.array([model(**ids).logits[0].numpy() for ids in read], float)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_one_logit_is_that_of_both_libraries(kind: str, saved: Callable[..., Path], pairs: pd.DataFrame) -> None:
    """Golden values from both, a pair at a time; the log-odds of several labels from SciPy."""
    scores = _scores(saved(kind), pairs)
    assert scores == pytest.approx(_classify(saved(kind), pairs)[:, 0], **CLOSE)
    assert scores == pytest.approx(_predict(saved(kind), pairs), **CLOSE)
    assert scores.std() > 0.1


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_two_labels_are_log_odds(kind: str, saved: Callable[..., Path], pairs: pd.DataFrame) -> None:
    """Golden values from both libraries, and SciPy's logit of a softmax."""
    scores = _scores(saved(kind, 2), pairs)
    for logits in (_classify(saved(kind, 2), pairs), _predict(saved(kind, 2), pairs)):
        assert scores == pytest.approx(logit(softmax(logits, axis=1))[:, 1], **CLOSE)


@pytest.mark.parametrize("kind", ANSWERING)
def test_an_answer_is_that_of_both_libraries(kind: str, saved: Callable[..., Path], pairs: pd.DataFrame) -> None:
    """Golden values: the logit of yes less that of no, a pair at a time."""
    scores = _scores(saved(kind), pairs)
    assert scores == pytest.approx(_predict(saved(kind), pairs), **CLOSE)
    assert scores == pytest.approx(_answer(saved(kind), pairs), **CLOSE)


def _answer(folder: Path, pairs: pd.DataFrame) -> np.ndarray:
    """Ask transformers for the next word, a pair at a time."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    with torch.inference_mode():
        read = (tokenizer([p.query], [p.text], truncation=True, max_length=LIMIT, return_tensors="pt") for p in pairs.itertuples())
        logits = [model(input_ids=ids["input_ids"]).logits[0, -1] for ids in read]
    return np.array([float(of[yes] - of[no]) for of in logits])


SETTINGS: dict[str, dict[str, Any]] = {
    "max_seq_length": {"max_seq_length": 24},
    "max_length": {"processing_kwargs": {"text": {"max_length": 24}}},
    "no marks": {"processing_kwargs": {"text": {"add_special_tokens": False}}},
    "truncation": {"processing_kwargs": {"text": {"truncation": "only_second"}}},
}


def _save_settings(folder: Path, to: Path, settings: dict[str, Any], **options: Any) -> Path:
    """Save a model as sentence-transformers does, with settings of its own."""
    CrossEncoder(str(folder), device="cpu", **options).save_pretrained(str(to))
    file = to / "sentence_bert_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return to


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2", "llama", "qwen3"])
def test_saved_settings_are_read(kind: str, settings: str, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Golden values from sentence-transformers; each setting changes them."""
    folder = _save_settings(saved(kind), tmp_path, SETTINGS[settings])
    scores = _scores(folder, pairs)
    assert scores == pytest.approx(_predict(folder, pairs), **CLOSE)
    if settings != "truncation":
        assert np.abs(scores - _predict(saved(kind), pairs)).max() > 0.01


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *ANSWERING])
def test_a_folder_of_sentence_transformers_is_read_with_prompt_length_and_activation(
    kind: str, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """Golden values from it: the prompt stands before the query, 40 tokens are read; the order is that of its own activation."""
    options = {"prompts": {"web": "body of "}, "default_prompt_name": "web", "activation_fn": torch.nn.Tanh(), "max_length": 40}
    folder = _save_settings(saved(kind), tmp_path, {}, **options)
    scores = _scores(folder, pairs)
    assert scores == pytest.approx(_predict(folder, pairs), **CLOSE)
    own = CrossEncoder(str(folder), device="cpu").predict([list(pair) for pair in pairs[["query", "text"]].to_numpy()[:1]])
    assert np.tanh(scores[:1]) == pytest.approx(own, **CLOSE)
    assert np.abs(scores - _predict(saved(kind), pairs)).max() > 0.01
    assert _scores(folder, pairs, prompt="", max_length=LIMIT) == pytest.approx(_predict(saved(kind), pairs), **CLOSE)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_two_labels_of_a_folder_of_sentence_transformers_are_log_odds(
    kind: str, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """Golden values: SciPy's logit of what predict gives with apply_softmax, a pair at a time, in double precision."""
    options = {"prompts": {"web": "body of "}, "default_prompt_name": "web"}
    folder = _save_settings(saved(kind, 2), tmp_path, {"max_seq_length": 40}, **options)
    golden = logit(softmax(_predict(folder, pairs), axis=1))[:, 1]
    assert _scores(folder, pairs) == pytest.approx(golden, **CLOSE)


def test_lower_case_is_that_of_the_folder(pairs: pd.DataFrame, tmp_path: Path) -> None:
    """A tokenizer that knows small letters only, and a setting that makes them small."""
    plain, tokenizer = tmp_path / "plain", make_tokenizer("cls")
    tokenizer.backend_tokenizer.normalizer = None
    save("bert", plain, tokenizer=tokenizer)
    folder = _save_settings(plain, tmp_path / "folder", {"do_lower_case": True})
    assert _scores(folder, pairs) == pytest.approx(_predict(folder, pairs), **CLOSE)
    assert np.abs(_scores(folder, pairs) - _scores(plain, pairs)).max() > 0.01


def test_modules_of_its_own_are_read(pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Golden values from a mean of token vectors and a dense layer, which gives the score."""
    save("bert", tmp_path / "plain", num_labels=3)
    encoder = Transformer(str(tmp_path / "plain"), transformer_task="feature-extraction")
    torch.manual_seed(1)
    dense = Dense(
        32, 1, activation_function=torch.nn.Identity(), module_input_name="sentence_embedding", module_output_name="scores"
    )
    CrossEncoder(modules=[encoder, Pooling(32), dense], device="cpu").save_pretrained(str(tmp_path / "folder"))
    scores = _scores(tmp_path / "folder", pairs)
    assert scores == pytest.approx(_predict(tmp_path / "folder", pairs), **CLOSE)
    assert scores.std() > 0.01


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "mpnet", "bert", "gpt2"])
def test_no_more_is_read_than_there_are_positions(kind: str, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """A tokenizer without a limit; golden values cut at 48, all that the table of positions holds; the fix of the error works."""
    save(kind, tmp_path, tokenizer=make_tokenizer(CLASSIFIERS[kind][2], limit=None))
    golden = _classify(tmp_path, pairs, LIMIT)[:, 0]
    assert _scores(tmp_path, pairs) == pytest.approx(golden, **CLOSE)
    with pytest.raises(PipelineError) as error:
        cross_encoder(tmp_path, max_length=LIMIT + 1).transform(pairs)
    assert str(error.value) == (
        "cross_encoder: max_length is too large: max_length is 49, the model reads 48 tokens at most."
        " Fix: cross_encoder(model, max_length=48)"
    )
    assert _scores(tmp_path, pairs, max_length=LIMIT) == pytest.approx(golden, **CLOSE)


def _paddings() -> list[Any]:
    """Name the ways in which padding was misread: each kind of model by each way."""
    kinds = ("bert", "roberta", "gpt2", "llama", "t5")
    return [pytest.param(kind, way, id=f"{kind}, {way}") for kind in kinds for way in ("no token", "other token", "left")]


@pytest.mark.parametrize(("kind", "way"), _paddings())
def test_padding_is_never_read(kind: str, way: str, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """A tokenizer without a token for it, with another one than the model's, and one that pads before the text; golden as above."""
    tokenizer = make_tokenizer(CLASSIFIERS[kind][2])
    model_pads_with = tokenizer.pad_token_id
    if way != "left":
        tokenizer.pad_token = None if way == "no token" else tokenizer.unk_token
    save(kind, tmp_path, tokenizer=tokenizer, pad_token_id=model_pads_with)
    if way == "left":
        _write(tmp_path / "tokenizer_config.json", padding_side="left")
        assert transformers.AutoTokenizer.from_pretrained(tmp_path).padding_side == "left"
    assert _scores(tmp_path, pairs) == pytest.approx(_classify(tmp_path, pairs)[:, 0], **CLOSE)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_model_that_knows_no_padding_is_refused_or_reads_each_pair_alone(kind: str, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """It finds the end of a row by its padding; both cures give the scores of transformers at a pair a time."""
    tokenizer = make_tokenizer("eos")
    tokenizer.pad_token = None
    save(kind, tmp_path, tokenizer=tokenizer, pad_token_id=None)
    with pytest.raises(StageError) as error:
        cross_encoder(tmp_path).transform(pairs)
    assert str(error.value) == (
        "cross_encoder: cannot read 2 pairs of up to 11 tokens: Cannot handle batch sizes > 1 if no padding token is defined."
        " Fix: cross_encoder(model, batch_tokens=1), which reads each pair alone"
    )
    golden = _classify(tmp_path, pairs)[:, 0]
    alone = cross_encoder(tmp_path, batch_tokens=1).transform(pairs)["score"].to_numpy()
    assert alone == pytest.approx(golden, **CLOSE)


def test_a_model_whose_scores_move_with_padding_is_refused(pairs: pd.DataFrame, tmp_path: Path) -> None:
    """XLNet looks at the last token, padding or not; read alone it agrees with transformers."""
    tokenizer = make_tokenizer("s")
    size = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "num_labels": 1, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = transformers.XLNetForSequenceClassification(transformers.XLNetConfig(vocab_size=len(tokenizer), **size))
    with torch.no_grad():
        model.transformer.word_embedding.weight.mul_(30)
        model.logits_proj.weight.mul_(30)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        PipelineError, match=r"the scores of .* change with padding: .* scores \S+ alone and \S+ with a longer pair. Fix: "
    ) as error:
        cross_encoder(tmp_path).transform(pairs)
    assert error.value.fix == "cross_encoder(model, batch_tokens=1), which reads each pair alone"
    alone = cross_encoder(tmp_path, batch_tokens=1).transform(pairs)["score"].to_numpy()
    assert alone == pytest.approx(_classify(tmp_path, pairs)[:, 0], **CLOSE)


def test_a_language_model_needs_no_padding(pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Golden values from transformers; sentence-transformers itself refuses a tokenizer without a token to pad with."""
    tokenizer = make_tokenizer("eos")
    tokenizer.pad_token = None
    save("qwen3", tmp_path, tokenizer=tokenizer, pad_token_id=None, tie_word_embeddings=True)
    assert _scores(tmp_path, pairs) == pytest.approx(_answer(tmp_path, pairs), **CLOSE)


def test_a_pair_that_cannot_be_batched_is_refused(saved: Callable[..., Path], pairs: pd.DataFrame) -> None:
    """T5 looks for the end token, of which a batch must have equal numbers, and a text may hold one; the fix reads it."""
    odd = pairs.assign(text=[*pairs["text"][:-1], "heat </s> flow"])
    with pytest.raises(
        StageError, match=r"^cross_encoder: cannot read 12 pairs of up to 48 tokens, first qid 'q\d', docno 'd\d': .*<eos>"
    ) as error:
        cross_encoder(saved("t5")).transform(odd)
    assert error.value.fix == "cross_encoder(model, batch_tokens=1), which reads each pair alone"
    alone = cross_encoder(saved("t5"), batch_tokens=1).transform(odd)["score"].to_numpy()
    assert alone == pytest.approx(_classify(saved("t5"), odd)[:, 0], **CLOSE)


@pytest.mark.parametrize(
    ("names", "relevant"),
    [
        (("LABEL_0", "LABEL_1"), 1),
        (("relevant", "not relevant"), 0),
        (("Relevant", "irrelevant"), 0),
        (("not_relevant", "relevant"), 1),
        (("NEGATIVE", "POSITIVE"), 1),
        (("yes", "no"), 0),
        (("false", "true"), 1),
        (("0", "1"), 1),
    ],
)
def test_of_two_labels_the_relevant_one_is_read_by_name(
    names: tuple[str, str], relevant: int, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """Golden values from transformers and SciPy."""
    folder = shutil.copytree(saved("bert", 2), tmp_path / "model")
    _write(folder / "config.json", id2label=dict(enumerate(names)), label2id={name: n for n, name in enumerate(names)})
    golden = logit(softmax(_classify(folder, pairs), axis=1))[:, relevant]
    assert cross_encoder(folder).transform(pairs)["score"].to_numpy() == pytest.approx(golden, **CLOSE)


@pytest.mark.parametrize(
    "names",
    [
        ("contradiction", "entailment"),
        ("entailment", "not_entailment"),
        ("is_relevant", "other"),
        ("True", "Yes"),
        ("relevant", "Relevant"),
    ],
)
def test_two_labels_whose_names_do_not_tell_are_refused(
    names: tuple[str, str], saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """Neither is guessed; the fix names both, and either one, by number or name, ranks by it."""
    folder = shutil.copytree(saved("bert", 2), tmp_path / "model")
    _write(folder / "config.json", id2label=dict(enumerate(names)), label2id={name: n for n, name in enumerate(names)})
    with pytest.raises(PipelineError) as error:
        cross_encoder(folder).transform(pairs)
    assert str(error.value) == (
        f"cross_encoder: cannot choose a label: the model has 0 {names[0]}, 1 {names[1]}; it does not say which one means relevant."
        " Fix: cross_encoder(model, label=...) with the label that means relevant:"
        f" label=0 for {names[0]}, or label=1 for {names[1]}"
    )
    golden = logit(softmax(_classify(folder, pairs), axis=1))
    for label, column in ((0, 0), (1, 1), (names[0], 0)):
        assert cross_encoder(folder, label=label).transform(pairs)["score"].to_numpy() == pytest.approx(golden[:, column], **CLOSE)


def _write(file: Path, **changes: Any) -> None:
    """Change some entries of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("way", ["activation", "problem_type"])
def test_labels_that_do_not_exclude_each_other_are_read_each_by_itself(
    way: str, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """Golden values: p is the sigmoid of its own logit, what predict gives of such a model."""
    folder = tmp_path / "model"
    if way == "activation":
        CrossEncoder(str(saved("bert", 2)), device="cpu", activation_fn=torch.nn.Sigmoid()).save_pretrained(str(folder))
        own = CrossEncoder(str(folder), device="cpu").predict(list(zip(pairs["query"], pairs["text"], strict=True)))[:, 1]
    else:
        shutil.copytree(saved("bert", 2), folder)
        _write(folder / "config.json", problem_type="multi_label_classification")
        own = expit(_classify(folder, pairs)[:, 1])
    assert expit(cross_encoder(folder).transform(pairs)["score"].to_numpy()) == pytest.approx(own, **CLOSE)


CHAT = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }} {% elif m['role'] == 'query' %}heat {{ m['content'] }}"
    " {% elif m['role'] == 'document' %}flow {{ m['content'] }}{% endif %}{% endfor %} body 42"
)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_a_chat_template_is_filled_as_there(kind: str, pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Golden values from sentence-transformers; a classifier may have a template too, and what is cut keeps its last words."""
    tokenizer = make_tokenizer("eos", limit=32)
    tokenizer.chat_template = CHAT
    save(kind, tmp_path, tokenizer=tokenizer)
    few = pairs[pairs["qid"] == "q0"]
    assert _scores(tmp_path, few) == pytest.approx(_predict(tmp_path, few), **CLOSE)
    there = CrossEncoder(str(tmp_path), device="cpu", prompts={"web": "x y"}, default_prompt_name="web")
    there.save_pretrained(str(tmp_path / "saved"))
    assert _scores(tmp_path / "saved", few) == pytest.approx(_predict(tmp_path / "saved", few), **CLOSE)


@pytest.mark.parametrize("words", [("oui", "non"), ("yes", "non"), ("oui", "no")])
def test_a_language_model_without_the_answers_is_refused(words: tuple[str, str], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Both words would be the unknown one, and all scores 0; saved with the answers it has, it is read as there."""
    folder, mended = save("qwen3", tmp_path / "model", tokenizer=make_tokenizer("eos", words=words)), tmp_path / "mended"
    with pytest.raises(MissingError, match=r"its tokenizer has no token for yes and for no, found '.*<unk>'") as error:
        cross_encoder(folder).transform(pairs)
    assert error.value.fix.startswith('CrossEncoder(modules=[Transformer(model, transformer_task="text-generation"), LogitScore(')
    model = Transformer(str(folder), transformer_task="text-generation")
    yes, no = model.tokenizer.convert_tokens_to_ids(list(words))
    CrossEncoder(modules=[model, LogitScore(true_token_id=yes, false_token_id=no)], device="cpu").save_pretrained(str(mended))
    assert _scores(mended, pairs) == pytest.approx(_predict(mended, pairs), **CLOSE)
    only = tmp_path / "only"
    CrossEncoder(modules=[model, LogitScore(true_token_id=yes)], device="cpu").save_pretrained(str(only))
    assert _scores(only, pairs) == pytest.approx(_predict(only, pairs), **CLOSE)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config_sentence_transformers.json", "{"),
        ("config_sentence_transformers.json", "[]"),
        ("modules.json", '[{"type": "no.such.Module", "path": "", "name": "0", "idx": 0}]'),
        ("sentence_bert_config.json", '{"transformer_task": "none"}'),
        ("tokenizer.json", "{}"),
    ],
)
def test_a_damaged_file_is_refused(file: str, text: str, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """What was saved and cannot be read is not taken for nothing."""
    CrossEncoder(str(saved("bert")), device="cpu").save_pretrained(str(tmp_path))
    (tmp_path / file).write_text(text)
    with pytest.raises(MissingError, match=r"^cross_encoder: cannot load "):
        cross_encoder(tmp_path).transform(pairs)


def test_weights_of_another_size_are_refused(saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """A configuration of three labels beside weights for two."""
    folder = shutil.copytree(saved("bert", 2), tmp_path / "model")
    _write(folder / "config.json", id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    with pytest.raises(CascadeError, match=r"^cross_encoder: cannot load "):
        cross_encoder(folder, label=0).transform(pairs)


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_weights_that_are_not_there_are_refused(kind: str, saved: Callable[..., Path], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """A last layer that no file holds would be random, and so would the ranking."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(saved(kind), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    last = [name for name in weights if name.startswith(("classifier", "lm_head"))]
    assert last
    save_file(
        {name: weight for name, weight in weights.items() if name not in last}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(MissingError, match=f"it has no weights for {min(last)}"):
        cross_encoder(folder).transform(pairs)


def test_a_tokenizer_of_another_model_is_refused(pairs: pd.DataFrame, tmp_path: Path) -> None:
    """It has words that the model has not; with the tokenizer that was saved with the model it is read."""
    save("bert", tmp_path)
    make_tokenizer("cls", words=("yes", "no", *(f"w{n}" for n in range(40)))).save_pretrained(tmp_path)
    with pytest.raises(
        StageError,
        match=r"^cross_encoder: cannot read 12 pairs of up to 48 tokens, first qid 'q\d', docno 'd\d': index out of range",
    ) as error:
        cross_encoder(tmp_path).transform(pairs)
    assert error.value.fix == "a model and a tokenizer that were saved together"
    make_tokenizer("cls").save_pretrained(tmp_path)
    assert np.isfinite(_scores(tmp_path, pairs)).all()
