"""Cross-encoders: the logits of sentence-transformers, whatever else is in the batch.

The models are tiny and their weights random: what they prove is the mechanism, not how well it ranks.
"""

from __future__ import annotations

import json
import re
import shutil
import string
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import sentence_transformers
import torch
import transformers
from scipy.special import logit, softmax
from toys.pairs import PLAIN

from pt_cascade.errors import CascadeWarning, FrameError, MissingError, PipelineError, StageError
from pt_cascade.stages.cross_encoder import CrossEncoder, cross_encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = 1e-5
LIMIT = 64
LETTERS = [*string.ascii_lowercase, *string.digits]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), *PLAIN]
ABSENT = "cross-encoder/absent"
LABELS = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A tiny BERT of random weights with 1, 2 or 3 labels, that reads 64 tokens, and a WordPiece tokenizer of letters."""
    made: dict[int, str] = {}

    def make(labels: int = 1) -> str:
        if labels not in made:
            torch.manual_seed(labels)
            size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
            names = {"id2label": dict(enumerate(LABELS))} if labels == 3 else {"num_labels": labels}
            config = transformers.BertConfig(
                vocab_size=len(VOCABULARY), max_position_embeddings=LIMIT, initializer_range=0.3, **size, **names
            )
            folder = tmp_path_factory.mktemp("bert")
            transformers.BertForSequenceClassification(config).save_pretrained(folder)
            (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
            settings = {"tokenizer_class": "BertTokenizer", "model_max_length": LIMIT}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            made[labels] = str(folder)
        return made[labels]

    return make


def _scores(stage: pt.Transformer, results: pd.DataFrame) -> np.ndarray:
    return stage.transform(results)["score"].to_numpy()


def _predict(folder: str, results: pd.DataFrame) -> np.ndarray:
    """Ask sentence-transformers for the logits."""
    model = sentence_transformers.CrossEncoder(folder, device="cpu")
    texts = list(zip(results["query"], results["text"], strict=True))
    return model.predict(texts, activation_fn=torch.nn.Identity()).astype(float)


_STAGES: dict[str, CrossEncoder] = {}


def _cached(folder: str) -> CrossEncoder:
    return _STAGES.setdefault(folder, CrossEncoder(folder))


def test_scores_are_those_of_sentence_transformers(bert: Callable[..., str], pairs: pd.DataFrame) -> None:
    """Golden values from CrossEncoder.predict without activation: short, empty, odd and cut documents alike."""
    scores = _scores(cross_encoder(bert()), pairs)
    assert scores == pytest.approx(_predict(bert(), pairs), abs=CLOSE, rel=0)
    assert scores.std() > 0.1


@pytest.mark.parametrize(("labels", "label", "column"), [(2, None, 1), (2, 0, 0), (3, 2, 2), (3, "entailment", 1)])
def test_of_several_labels_the_score_is_the_log_odds(
    labels: int, label: int | str | None, column: int, bert: Callable[..., str], pairs: pd.DataFrame
) -> None:
    """Golden values from SciPy: the logit of the softmax of what sentence-transformers predicts."""
    expected = logit(softmax(_predict(bert(labels), pairs), axis=1)[:, column])
    assert _scores(cross_encoder(bert(labels), label=label), pairs) == pytest.approx(expected, abs=CLOSE, rel=0)


def test_a_model_saved_by_sentence_transformers_is_read(bert: Callable[..., str], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Its folder has files of its own beside those of transformers."""
    sentence_transformers.CrossEncoder(bert(), device="cpu").save_pretrained(str(tmp_path))
    assert _scores(cross_encoder(tmp_path), pairs) == pytest.approx(_predict(bert(), pairs), abs=CLOSE, rel=0)


def test_logits_keep_apart_what_a_sigmoid_ties(bert: Callable[..., str], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Large logits are distinct; predict with its own activation, sigmoid in float32, gives several of them 1.0."""
    model = transformers.BertForSequenceClassification.from_pretrained(bert())
    with torch.no_grad():
        model.classifier.bias += 25
    folder = str(tmp_path)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(bert()).save_pretrained(folder)
    texts = list(zip(pairs["query"], pairs["text"], strict=True))
    sure = sentence_transformers.CrossEncoder(folder, device="cpu").predict(texts) == 1.0
    different = {*zip(pairs["query"][sure], pairs["text"][sure].str.slice(0, 20), strict=True)}
    assert len(different) > 2
    assert len(set(_scores(cross_encoder(folder), pairs)[sure])) >= len(different)


class Scribe:
    """Stands for a loaded model: it writes down how many rows it was given at once, and what of them is still held."""

    device = "cpu"

    def __init__(self) -> None:
        """Begin empty."""
        self.chunks: list[int] = []
        self.held: list[int] = []
        self._made: list[weakref.ref[np.ndarray]] = []

    def find_full(self, rows: list[tuple[str, str, str]]) -> list[str]:
        """No query is too long."""
        return [query for _, query, _ in rows if not query]

    def encode(self, rows: list[tuple[str, str, str]]) -> dict[str, list[np.ndarray]]:
        """Give each row a token for each letter."""
        self.held.append(sum(ids() is not None for ids in self._made))
        self.chunks.append(len(rows))
        ids = [np.zeros(len(text) + len(prompt), np.int32) for prompt, _, text in rows]
        self._made.extend(weakref.ref(row) for row in ids)
        return {"input_ids": ids}

    def forward(self, ids: dict[str, list[np.ndarray]]) -> np.ndarray:
        """Score by length."""
        return np.array([float(len(row)) for row in ids["input_ids"]])


def test_the_ids_of_many_rows_are_never_all_in_memory() -> None:
    """Of 10,000 pairs no more than 4,096 are tokenized at once, and those before are let go first; counting tokens likewise."""
    texts = ["a" * (1 + number % 7) for number in range(10_000)]
    results = pd.DataFrame({"qid": "q", "query": "heat", "docno": [f"d{n}" for n in range(10_000)], "text": texts})
    stage, scribe = cross_encoder(ABSENT, prompt=""), Scribe()
    stage.__dict__["_loaded"] = scribe
    assert stage.score(results).tolist() == [float(len(text)) for text in texts]
    assert (scribe.chunks, scribe.held) == ([4096, 4096, 1808], [0, 0, 0])
    assert stage.count_tokens(results) == [len(text) for text in texts]
    assert max(scribe.chunks) == 4096


def test_a_wrong_mask_would_fail_that_test(bert: Callable[..., str]) -> None:
    """Read without its mask, padding moves a score by far more than the tolerance: the test above can fail."""
    reader = _cached(bert())._loaded.reader
    tokenizer, model = reader.tokenizer, reader.transformers_model
    alone, padded = (tokenizer(["heat"], ["flow"], return_tensors="pt", padding="max_length", max_length=n) for n in (5, 30))
    moved = model(**alone).logits - model(padded["input_ids"], token_type_ids=padded["token_type_ids"]).logits
    assert moved.abs().item() > 0.01


@pytest.mark.parametrize("query", [20, 29, 30, 31, 32, 45, 58])
def test_a_pair_is_cut_as_there(query: int, bert: Callable[..., str]) -> None:
    """Golden values from predict: the longer one loses its last tokens, also where that is the query."""
    rows = [("q", " ".join(["the"] * (query - 1)) + " heat", f"d{n}", "flow of " * n) for n in (1, 10, 20, 50)]
    results = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])
    assert _scores(cross_encoder(bert()), results) == pytest.approx(_predict(bert(), results), abs=CLOSE, rel=0)


def test_tokens_are_those_that_sentence_transformers_reads(bert: Callable[..., str], pairs: pd.DataFrame) -> None:
    """Golden counts from its own tokenizer, cut at 64 as predict cuts them, padding not counted; in row order."""
    model = sentence_transformers.CrossEncoder(bert(), device="cpu")
    texts = [list(pair) for pair in zip(pairs["query"], pairs["text"], strict=True)]
    read = model.tokenizer(texts, padding=True, truncation=True, max_length=LIMIT)["attention_mask"]
    counted = cross_encoder(bert()).count_tokens(pairs)
    assert counted == [sum(row) for row in read]
    assert (min(counted) < 20, max(counted)) == (True, LIMIT)


def test_a_query_that_is_too_long_is_cut_as_there_with_a_warning(bert: Callable[..., str]) -> None:
    """Where no token of a document would fit, both are cut as sentence-transformers cuts them, and a warning says so."""
    rows = [("q1", "heat " * 90, "d1", "flow"), ("q2", "heat", "d1", "flow"), ("q1", "heat " * 90, "d2", "body " * 90)]
    results = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])
    said = (
        r"^cross_encoder: all 64 tokens are filled by 1 query, first '(heat ){8}', so the model reads little or nothing"
        r" of their documents: shorten them, or pass a larger max_length if the model has one$"
    )
    with pytest.warns(CascadeWarning, match=said):
        scores = _scores(cross_encoder(bert()), results)
    assert scores == pytest.approx(_predict(bert(), results), abs=CLOSE, rel=0)


def test_the_warning_comes_exactly_where_no_token_of_the_document_fits(bert: Callable[..., str]) -> None:
    """64 tokens hold three marks, 60 words of the query and one of the document."""
    warned = []
    for words in (59, 60, 61, 62):
        rows = [("q", " ".join(["the"] * words), "d", "flow of heat")]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _scores(_cached(bert()), pd.DataFrame(rows, columns=["qid", "query", "docno", "text"]))
        warned.append(bool(caught))
    assert warned == [False, False, True, True]


def test_a_shorter_length_is_cut_as_there(bert: Callable[..., str], pairs: pd.DataFrame) -> None:
    """max_length is that of sentence-transformers."""
    model = sentence_transformers.CrossEncoder(bert(), device="cpu", max_length=56)
    texts = list(zip(pairs["query"], pairs["text"], strict=True))
    expected = model.predict(texts, activation_fn=torch.nn.Identity())
    assert _scores(cross_encoder(bert(), max_length=56), pairs) == pytest.approx(expected, abs=CLOSE, rel=0)


@pytest.mark.parametrize("ours", ["Is it so? ", "Is it so? {query}", "{note}"])
def test_a_prompt_stands_before_the_query_as_there(ours: str, bert: Callable[..., str], pairs: pd.DataFrame) -> None:
    """Golden values from predict(prompt=...), however it is written here."""
    model = sentence_transformers.CrossEncoder(bert(), device="cpu")
    texts = list(zip(pairs["query"], pairs["text"], strict=True))
    golden = model.predict(texts, prompt="Is it so? ", activation_fn=torch.nn.Identity())
    scores = _scores(cross_encoder(bert(), prompt=ours), pairs.assign(note="Is it so? "))
    assert scores == pytest.approx(golden, abs=CLOSE, rel=0)
    assert np.abs(scores - _scores(_cached(bert()), pairs)).max() > 0.01


def test_the_prompt_of_each_topic_is_its_own(bert: Callable[..., str], pairs: pd.DataFrame) -> None:
    """A column of the topics, braces and all; the query itself, which other stages read, stays as it was."""
    noted = pairs.assign(instruction=pairs["qid"].map({"q0": "the body", "q1": "{query} {x}", "q2": ""}))
    out = cross_encoder(bert(), prompt="{instruction} past {query}").transform(noted)
    read = pairs.assign(query=noted["instruction"] + " past " + pairs["query"])
    assert out["score"].to_numpy() == pytest.approx(_scores(_cached(bert()), read), abs=CLOSE, rel=0)
    assert out["query"].tolist() == pairs["query"].tolist()


def test_a_missing_instruction_is_refused(pairs: pd.DataFrame) -> None:
    """A topic without one, or topics without the column, are refused before a model is loaded."""
    stage = cross_encoder(ABSENT, prompt="{instruction} ")
    with pytest.raises(pt.validate.InputValidationError):
        stage.transform(pairs)
    with pytest.raises(FrameError, match="instruction is missing or not text"):
        stage.transform(pairs.assign(instruction=[None, *["x"] * (len(pairs) - 1)]))


def test_a_saved_prompt_is_read_as_there_by_default(bert: Callable[..., str], pairs: pd.DataFrame, tmp_path: Path) -> None:
    """Golden values from a model that was saved with a prompt of its own; an empty prompt is none."""
    saved = sentence_transformers.CrossEncoder(bert(), device="cpu", prompts={"web": "the {query} of "}, default_prompt_name="web")
    saved.save_pretrained(str(tmp_path))
    golden = _predict(str(tmp_path), pairs)
    assert _scores(cross_encoder(tmp_path), pairs) == pytest.approx(golden, abs=CLOSE, rel=0)
    assert _scores(cross_encoder(tmp_path, prompt=""), pairs) == pytest.approx(_predict(bert(), pairs), abs=CLOSE, rel=0)
    assert np.abs(golden - _predict(bert(), pairs)).max() > 0.01


def test_a_prompt_that_names_the_document_is_refused_at_once() -> None:
    """Before any model is loaded."""
    with pytest.raises(PipelineError) as error:
        cross_encoder(ABSENT, prompt="{text}")
    problem = "prompt names {text}, but the model reads the document beside the prompt: leave it out"
    assert str(error.value) == f"cross_encoder cannot be made: {problem}"


THREE = "cross_encoder: cannot choose a label: the model has 0 contradiction, 1 entailment, 2 neutral"
MEANT = "cross_encoder(model, label=...) with the label that means relevant"
CHOOSE = f"{MEANT}: label=0 for contradiction, or label=1 for entailment, or label=2 for neutral"
ONE = "cross_encoder: cannot choose a label: the model has 0 LABEL_0"
FEW = "cross_encoder: max_length is too large: max_length is 512, the model reads 64 tokens at most"


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (3, {}, f"{THREE}; it does not say which one means relevant. Fix: {CHOOSE}"),
        (3, {"label": "relevant"}, f"{THREE}; none of them is 'relevant'. Fix: {CHOOSE}"),
        (1, {"label": 1}, f"{ONE}; none of them is 1. Fix: {MEANT}: label=0 for LABEL_0"),
        (1, {"max_length": 512}, f"{FEW}. Fix: cross_encoder(model, max_length=64)"),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    labels: int, options: dict[str, Any], message: str, bert: Callable[..., str], pairs: pd.DataFrame
) -> None:
    """When first used: which label means relevant is never guessed, no position is read that is not there."""
    with pytest.raises(PipelineError) as error:
        cross_encoder(bert(labels), **options).transform(pairs)
    assert str(error.value) == message


def test_the_cures_of_what_is_refused_are_tried(bert: Callable[..., str], pairs: pd.DataFrame) -> None:
    """The printed call with fewer tokens, each label that the error lists, and the model without one."""
    for labels, options in ((1, {"max_length": 512}), (3, {})):
        with pytest.raises(PipelineError) as error:
            cross_encoder(bert(labels), **options).transform(pairs)
        if labels == 1:
            cures = [eval(error.value.fix, {"cross_encoder": cross_encoder, "model": bert()})]  # noqa: S307 - our own line
        else:
            cures = [cross_encoder(bert(3), label=int(label)) for label in re.findall(r"label=(\d)", error.value.fix)]
            assert len(cures) == 3
        assert all(np.isfinite(_scores(cure, pairs)).all() for cure in cures)


def test_damaged_weights_are_named_with_the_first_row_and_a_copy_cures_it(
    bert: Callable[..., str], pairs: pd.DataFrame, tmp_path: Path
) -> None:
    """A weight that is not a number: the error names stage, query and document; the model that was copied is sound."""
    folder = shutil.copytree(bert(), tmp_path / "model")
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("nan")
    model.save_pretrained(folder)
    some = pairs.head(5)
    with pytest.raises(StageError) as error:
        cross_encoder(folder, batch_tokens=1).transform(some)
    qid, docno = some[["qid", "docno"]].iloc[0]
    assert str(error.value) == (
        f"cross_encoder: the model gave no score: 5 of 5 scores are not finite, first of qid {qid!r}, docno {docno!r}: its"
        " weights are damaged. Fix: load an undamaged copy of the model"
    )
    assert np.isfinite(_scores(cross_encoder(bert()), some)).all()


def test_a_model_without_weights_for_it_is_refused(minilm: str, pairs: pd.DataFrame) -> None:
    """A bi-encoder would be given a random last layer, and rank at random."""
    with pytest.raises(MissingError) as error:
        cross_encoder(minilm, label=1).transform(pairs)
    assert str(error.value) == (
        f"cross_encoder: cannot load {minilm!r}: it has no weights for classifier.bias, classifier.weight, so it was not trained"
        " for this stage. Fix: pass the name of a model on the hub, or the folder that it was saved to with save_pretrained"
    )
