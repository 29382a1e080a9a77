"""Loading: an error names what is missing, a random part is refused, and transformers logs as before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.utils import logging

from pt_cascade.errors import MissingError
from pt_cascade.stages.inference.loading import ModelSpec, find_device, find_model, load_config, load_model, load_tokenizer, loading

FIX = "Fix: pass the name of a model on the hub, or the folder that it was saved to with save_pretrained"


@pytest.mark.parametrize("name", ["bert-base-uncased", "castorini/monot5-base-msmarco"])
def test_a_name_on_the_hub_stays_as_it_is(name: str) -> None:
    """What can be a name on the hub is not searched on the disk."""
    assert find_model(name) == name


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_may_be_text_or_a_path(kind: type, tmp_path: Path) -> None:
    """Both give the same text, so that two stages built either way are equal."""
    (tmp_path / "config.json").write_text("{}")
    assert find_model(kind(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("/no/such/folder", "there is no such folder"),
        ("./folder", "there is no such folder"),
        ("a/b/c", "there is no such folder"),
        ("", "there is no such folder"),
        (Path("folder"), "there is no such folder"),
    ],
)
def test_a_path_that_is_not_a_folder_is_refused(model: str | Path, problem: str) -> None:
    """A mistyped folder is refused at once, not after a search on the hub."""
    with pytest.raises(MissingError) as error:
        find_model(model)
    assert str(error.value) == f"cannot load {str(model)!r}: {problem}. {FIX}"


@pytest.mark.parametrize(
    ("files", "found"),
    [([], "nothing"), (["a", "b"], "a, b"), (["a", "b", "c", "d", "e"], "a, b, c, d, ...")],
)
def test_a_folder_without_a_model_is_refused(files: list[str], found: str, tmp_path: Path) -> None:
    """The error names what the folder holds, and what it should."""
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(MissingError) as error:
        find_model(tmp_path)
    problem = f"the folder holds {found}; expected config.json, the weights and the tokenizer"
    assert str(error.value) == f"cannot load {str(tmp_path)!r}: {problem}. {FIX}"


@pytest.mark.parametrize(("device", "said"), [("toaster", "toaster"), ("cuda:99", "")])
def test_a_device_that_cannot_be_used_is_refused(device: str, said: str) -> None:
    """The error repeats torch's message."""
    with pytest.raises(MissingError) as error:
        find_device(device)
    assert error.value.what == f"cannot use the device {device!r}"
    assert said in error.value.problems[0]
    assert error.value.fix == "device=None uses cuda if it is available, else cpu"


def test_without_a_name_there_is_always_a_device() -> None:
    """None is cuda where there is one, else cpu."""
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_error_of_the_hub_is_repeated() -> None:
    """An error of the hub becomes one line with the name and what to do; the first error is kept."""
    offline = OSError("We couldn't connect.\nCheck your internet connection.")
    with pytest.raises(MissingError) as error, loading("castorini/monot5"):
        raise offline
    said = "there is no such folder, and the model hub answered: We couldn't connect"
    assert str(error.value) == f"cannot load 'castorini/monot5': {said}. {FIX}"
    assert error.value.__cause__ is offline


@pytest.mark.parametrize(("verbose", "terminal"), [(True, True), (True, False), (False, True)])
def test_the_logging_of_transformers_is_as_before(
    verbose: bool,  # noqa: FBT001 - a parameter
    terminal: bool,  # noqa: FBT001 - a parameter
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While loading it is quiet, but for bars in a terminal; afterwards, even after an error, level and bars are what they were."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    assert before[1]
    with loading("m", verbose=verbose):
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (logging.ERROR, verbose and terminal)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    with pytest.raises(MissingError), loading("m", verbose=verbose):
        raise ValueError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_a_model_without_its_last_layer_is_refused(minilm: str) -> None:
    """A bi-encoder has no weights to classify with; a random layer in their place would rank at random."""
    with pytest.raises(MissingError) as error:
        load_model(ModelSpec(minilm, "cpu"), AutoModelForSequenceClassification)
    problem = "it has no weights for classifier.bias, classifier.weight, so it was not trained for this stage"
    assert str(error.value) == f"cannot load {minilm!r}: {problem}. {FIX}"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """Where the files are missing transformers makes a tokenizer that knows no word; that is refused."""
    T5Config().save_pretrained(tmp_path)
    config = load_config(str(tmp_path))
    with pytest.raises(MissingError) as error:
        load_tokenizer(str(tmp_path), config, fix="tokenizer=...")
    problem = "its tokenizer knows 104 of the 32128 words of the model"
    assert str(error.value) == f"cannot load {str(tmp_path)!r}: {problem}. Fix: tokenizer=..."


@pytest.mark.parametrize("weights", [b"", b"\xff" * 64])
def test_broken_weights_are_refused(weights: bytes, tmp_path: Path) -> None:
    """A download that was cut short is refused."""
    T5Config(d_model=8, d_kv=2, d_ff=8, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(MissingError, match=r"^cannot load "):
        load_model(ModelSpec(str(tmp_path), "cpu"), AutoModelForSeq2SeqLM)


def test_a_model_is_loaded_in_float32(tmp_path: Path) -> None:
    """Half precision would make a score depend on its batch."""
    small = T5Config(vocab_size=16, d_model=8, d_kv=2, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(small).to(torch.bfloat16).save_pretrained(tmp_path)
    model = load_model(ModelSpec(str(tmp_path), "cpu"), AutoModelForSeq2SeqLM)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not model.training
