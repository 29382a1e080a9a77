"""Language models that answer yes or no: the scores of sentence-transformers, whatever else is in the batch.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sentence_transformers
import tokenizers
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.cross_encoder import CrossEncoder, cross_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = 1e-5
LIMIT = 128
TEMPLATE = (
    "<|im_start|>{% for m in messages %}{% if m['role'] == 'system' %}Instruct: {{ m['content'] }} "
    "{% elif m['role'] == 'query' %}Query: {{ m['content'] }} {% elif m['role'] == 'document' %}Document: {{ m['content'] }}"
    "{% endif %}{% endfor %}<|im_end|>Answer:"
)
TEXTS = st.text(max_size=30) | st.just("heat " * 60) | st.sampled_from(["{query}", "<|im_end|>", "a {b} c", ""])


def _tokenizer(*, chat: bool, words: tuple[str, ...] = ("yes", "no")) -> transformers.PreTrainedTokenizerFast:
    """Bytes, marks, and two words."""
    marks = ["<pad>", "<|im_start|>", "<|im_end|>"]
    pieces = [*marks, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={piece: n for n, piece in enumerate(pieces)}, merges=[]))
    made.add_tokens(list(words))
    made.add_special_tokens(marks)
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    options = {"pad_token": "<pad>", "eos_token": "<|im_end|>", "model_max_length": LIMIT}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, chat_template=TEMPLATE if chat else None, **options)


def _save(kind: str, folder: Path, **words: Any) -> str:
    """A tiny language model: Qwen3 with or without a chat template, or a GPT-Neo, whose positions are absolute."""
    tokenizer = _tokenizer(chat=kind == "chat", **words)
    torch.manual_seed(0)
    if kind == "gpt-neo":
        size = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]}
        config = transformers.GPTNeoConfig(vocab_size=len(tokenizer), max_position_embeddings=LIMIT, **size)
    else:
        size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
        config = transformers.Qwen3Config(vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=LIMIT, **size)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A folder for each kind of model."""
    made: dict[str, str] = {}

    def make(kind: str) -> str:
        if kind not in made:
            made[kind] = _save(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return make


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """Two queries with five documents each: short, empty, with braces, and cut."""
    texts = ["a blunt {body}", "", "heat " * 60, "flow", "{query} <|im_end|>"]
    rows = [
        (f"q{n}", query, f"d{m}", text, note)
        for n, (query, note) in enumerate((("heat flow", "Facts."), ("x", "{y}")))
        for m, text in enumerate(texts)
    ]
    return pd.DataFrame(rows, columns=["qid", "query", "docno", "text", "instruction"])


def _scores(stage: CrossEncoder, results: pd.DataFrame) -> np.ndarray:
    return stage.transform(results)["score"].to_numpy()


def _predict(folder: str, results: pd.DataFrame, prompts: list[str | None], **options: Any) -> np.ndarray:
    """Ask sentence-transformers, one pair at a time."""
    there = sentence_transformers.CrossEncoder(folder, device="cpu", **options)
    asked = zip(results["query"], results["text"], prompts, strict=True)
    return np.array([there.predict([q, d], prompt=p, activation_fn=torch.nn.Identity()) for q, d, p in asked], float)


@pytest.mark.parametrize("kind", ["chat", "plain", "gpt-neo"])
def test_scores_are_those_of_sentence_transformers(kind: str, model: Callable[[str], str], pairs: pd.DataFrame) -> None:
    """Golden values from CrossEncoder.predict without activation, one pair at a time."""
    scores = _scores(cross_encoder(model(kind)), pairs)
    assert scores == pytest.approx(_predict(model(kind), pairs, [None] * len(pairs)), abs=CLOSE, rel=1e-5)
    assert scores.std() > 0.1


@pytest.mark.parametrize("kind", ["chat", "plain"])
def test_an_instruction_is_its_prompt(kind: str, model: Callable[[str], str], pairs: pd.DataFrame) -> None:
    """Golden values from predict(prompt=...): one for all topics, and one of each topic; other than those without."""
    same, own = "Is it so? ", [f"{note} " for note in pairs["instruction"]]
    for prompt, prompts in ((same, [same] * len(pairs)), ("{instruction} ", own)):
        scores = _scores(cross_encoder(model(kind), prompt=prompt), pairs)
        assert scores == pytest.approx(_predict(model(kind), pairs, prompts), abs=CLOSE, rel=1e-5)
        assert np.abs(scores - _scores(cross_encoder(model(kind)), pairs)).max() > 0.01


def test_a_shorter_length_is_cut_as_there(model: Callable[[str], str], pairs: pd.DataFrame) -> None:
    """A chat is cut from the right, and its last words put back."""
    expected = _predict(model("chat"), pairs, [None] * len(pairs), max_length=48)
    assert _scores(cross_encoder(model("chat"), max_length=48), pairs) == pytest.approx(expected, abs=CLOSE, rel=1e-5)
    assert max(cross_encoder(model("chat"), max_length=48).count_tokens(pairs)) == 48


_STAGES: dict[str, CrossEncoder] = {}


@pytest.mark.parametrize("kind", ["chat", "gpt-neo"])
@settings(max_examples=15)
@given(texts=st.lists(TEXTS, min_size=1, max_size=8), budget=st.integers(1, 600), data=st.data())
def test_a_score_depends_on_query_and_document_alone(
    kind: str, model: Callable[[str], str], texts: list[str], budget: int, data: st.DataObject
) -> None:
    """One at a time, together, in any order, in any batch; also where positions are absolute and padding would move them."""
    frame = pd.DataFrame({"qid": "q", "query": "heat", "docno": [f"d{n}" for n in range(len(texts))], "text": texts})
    stage = _STAGES.setdefault(kind, CrossEncoder(model(kind)))
    alone = np.concatenate([_scores(stage, frame.iloc[[row]]) for row in range(len(frame))])
    together = CrossEncoder(model(kind), batch_tokens=budget)
    together.__dict__["_loaded"] = stage._loaded
    order = data.draw(st.permutations(range(len(frame))))
    assert _scores(together, frame.iloc[order]) == pytest.approx(alone[order], abs=CLOSE, rel=1e-5)


def test_padding_moves_such_a_model_there(model: Callable[[str], str], pairs: pd.DataFrame) -> None:
    """sentence-transformers counts positions with the padding, so its scores move with the batch: the test above can fail."""
    there = sentence_transformers.CrossEncoder(model("gpt-neo"), device="cpu")
    texts = list(zip(pairs["query"], pairs["text"], strict=True))
    together = there.predict(texts, activation_fn=torch.nn.Identity())
    assert np.abs(together - _predict(model("gpt-neo"), pairs, [None] * len(pairs))).max() > 0.01


def test_a_label_is_refused(model: Callable[[str], str], pairs: pd.DataFrame) -> None:
    """There is none."""
    with pytest.raises(PipelineError) as error:
        cross_encoder(model("chat"), label=1).transform(pairs)
    problem = "label is 1, but the model answers yes or no"
    assert str(error.value) == f"cross_encoder: cannot choose a label: {problem}. Fix: cross_encoder(model)"


def test_a_chat_template_that_has_no_place_for_a_pair_is_refused(
    model: Callable[[str], str], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """One that writes only what a user says would leave query and document out; that is refused when the model is loaded."""
    folder = shutil.copytree(model("chat"), tmp_path / "model")
    said = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}Answer:"
    (folder / "chat_template.jinja").write_text(said)
    with pytest.raises(MissingError, match="cannot carry a 'query'/'document' pair"):
        cross_encoder(folder).transform(pairs)


def test_one_answer_is_enough(model: Callable[[str], str], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Golden values from sentence-transformers: the logit of yes alone, where it was saved so."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    transformer = Transformer(model("plain"), transformer_task="text-generation")
    score = LogitScore(true_token_id=transformer.tokenizer.convert_tokens_to_ids("yes"))
    sentence_transformers.CrossEncoder(modules=[transformer, score], device="cpu").save_pretrained(str(tmp_path))
    golden = _predict(str(tmp_path), pairs, [None] * len(pairs))
    assert _scores(cross_encoder(tmp_path), pairs) == pytest.approx(golden, abs=CLOSE, rel=1e-5)


def test_a_vocabulary_without_the_answers_is_refused(pairs: pd.DataFrame, tmp_path: Path) -> None:
    """What sentence-transformers says of it is repeated."""
    folder = _save("plain", tmp_path, words=("oui", "non"))
    with pytest.raises(MissingError, match="cannot load"):
        cross_encoder(folder).transform(pairs)
