"""T5 models that answer a question with one word: their tokenizer, their two words, and how sure they are of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.inference.loading import load_config, load_model, load_tokenizer
from pt_cascade.stages.inference.token_ids import pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.inference.dtypes import Dtype

_ANSWERS = {"t5": ("▁true", "▁false"), "mt5": ("▁yes", "▁no")}
_WANTED = {
    "mono_t5": "a MonoT5 checkpoint, e.g. castorini/monot5-base-msmarco",
    "duo_t5": "a DuoT5 checkpoint, e.g. castorini/duot5-base-msmarco",
}
_FALLBACK = "t5-base"


class AskedT5(NamedTuple):
    """A T5 model with its tokenizer; of its output layer, only the two answers are left.

    Attributes:
        tokenizer: What makes its ids.
        model: The model, on its device.
        tail: The ids that every prompt ends with: ``Relevant:`` and the end token.
    """

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    tail: NDArray[np.int32]


def check_answers(tokens: tuple[str, str] | None) -> list[str]:
    """Say what is wrong with a choice of two answers.

    Args:
        tokens: The pieces that mean yes and no; None leaves the choice to the kind of model.

    Returns:
        The problem, or nothing.

    Example:
        >>> check_answers(("▁true", "▁true"))
        ["tokens is ('▁true', '▁true'), expected two different pieces, relevant and not relevant"]
    """
    if tokens is None or (len(tokens), len(set(tokens))) == (2, 2):
        return []
    return [f"tokens is {tokens!r}, expected two different pieces, relevant and not relevant"]


def load_t5(
    name: str,
    tokenizer: str | None,
    tokens: tuple[str, str] | None,
    stage: str,
    *,
    device: str | None = None,
    verbose: bool = False,
    dtype: Dtype = "fp32",
) -> AskedT5:
    """Load a T5 or mT5 checkpoint that answers with one of two words.

    Args:
        name: A folder, or a name on the model hub.
        tokenizer: The same, of its tokenizer; None is the model's own, see ``load_words``.
        tokens: The pieces of the vocabulary that mean yes and no; None is what that kind of model was trained on.
        stage: Who asks, for the error.
        device: E.g. ``cpu``; None takes cuda where there is one.
        verbose: Show progress bars.
        dtype: As in ``dtypes.check_dtype``.

    Returns:
        The model, ready to be asked.

    Raises:
        MissingError: The model, its tokenizer or the device is not there, or it is another kind of model.
        PipelineError: The vocabulary lacks an answer, or the device is slower with that dtype.
    """
    config = load_config(name, stage, verbose=verbose)
    pieces = tokens or find_answers(config, name, stage)
    words = load_words(tokenizer, name, config, stage, verbose=verbose)
    answers = _find_ids(words, pieces, stage)
    from transformers import AutoModelForSeq2SeqLM  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.linears import Float32Linear  # noqa: PLC0415 - heavy
    from pt_cascade.stages.inference.t5_step import PLAIN  # noqa: PLC0415 - heavy

    kind = AutoModelForSeq2SeqLM
    model = load_model(name, kind, stage, device=device, verbose=verbose, dtype=dtype, plain=PLAIN)
    model.set_output_embeddings(Float32Linear(model.get_output_embeddings(), answers))  # no other logit is looked at
    return AskedT5(words, model, np.asarray(words("Relevant:")["input_ids"], np.int32))


def find_answers(config: PretrainedConfig, name: str, stage: str) -> tuple[str, str]:
    """Give the pieces that a kind of model was trained to answer with.

    Args:
        config: What kind of model it is.
        name: Its folder or name, for the error.
        stage: Who asks, for the error.

    Returns:
        The pieces that mean yes and no.

    Raises:
        MissingError: It is neither T5 nor mT5.
    """
    if config.model_type in _ANSWERS:
        return _ANSWERS[config.model_type]
    problem = f"it is a {config.model_type} model, expected one of {', '.join(_ANSWERS)}"
    raise MissingError(f"{stage} cannot ask {name!r}", [problem], fix=f"pass {_WANTED[stage]}")


def load_words(
    tokenizer: str | None, name: str, config: PretrainedConfig, stage: str, *, verbose: bool = False
) -> PreTrainedTokenizerBase:
    """Load a T5 model's tokenizer; a T5 checkpoint without one, as some larger ones are, takes that of ``t5-base``.

    Args:
        tokenizer: A folder or a name on the model hub; None is the model's own.
        name: The model's folder or name.
        config: What kind of model it is.
        stage: Who asks, for the error.
        verbose: Show progress bars.

    Returns:
        The tokenizer.

    Raises:
        MissingError: It is not there, or does not fit the model.
    """
    fix = f'{stage}(model, tokenizer="...") with the name or the folder of the tokenizer it was trained with'
    try:
        return load_tokenizer(tokenizer or name, config, stage, verbose=verbose, fix=fix)
    except MissingError:
        if tokenizer or config.model_type != "t5":
            raise
        return load_tokenizer(_FALLBACK, config, stage, verbose=verbose, fix=fix)


def ask(asked: AskedT5, prompts: Sequence[NDArray[np.int32]]) -> Floats:
    """Give the log-odds of yes against no: of the two answers alone, log p(yes) - log p(no).

    Each prompt is padded on the right, after its end, so that it is read as it would be alone.

    Args:
        asked: The model.
        prompts: Shape (b,). The ids of each prompt, its tail included.

    Returns:
        Shape (b,), float64.
    """
    import torch  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.t5_step import first_logits  # noqa: PLC0415 - heavy

    model = asked.model
    padded = pad({"input_ids": prompts}, np.arange(len(prompts)), {})
    ids, mask = (torch.from_numpy(padded[name]).to(model.device) for name in ("input_ids", "attention_mask"))
    with torch.inference_mode():
        yes, no = first_logits(model, ids, mask).double().cpu().numpy().T
    odds: Floats = yes - no
    return odds


def _find_ids(tokenizer: PreTrainedTokenizerBase, pieces: tuple[str, str], stage: str) -> list[int]:
    ids = [int(tokenizer.convert_tokens_to_ids(piece)) for piece in pieces]
    unknown = [repr(piece) for piece, number in zip(pieces, ids, strict=True) if number == tokenizer.unk_token_id]
    if unknown:
        problem = f"{', '.join(unknown)} is not a piece of the vocabulary"
        fix = "a word begins with ▁ (U+2581): tokens=('▁true', '▁false')"
        raise PipelineError(f"{stage} cannot read the answer", [problem], fix=fix)
    return ids
