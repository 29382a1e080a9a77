"""T5 models that answer a question with one of two words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.inference.batching import pad, tokenize
from pt_cascade.stages.inference.loading import load_config, load_model, load_tokenizer

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.inference.batching import Ids, Rows
    from pt_cascade.stages.inference.loading import ModelSpec

_ANSWERS = {"t5": ("▁true", "▁false"), "mt5": ("▁yes", "▁no")}
_FALLBACK = "t5-base"
_TOKENIZER = 'pass tokenizer="...", the name or the folder of the tokenizer that the model was trained with'


class AnsweringT5(NamedTuple):
    """A loaded T5 model whose output layer computes the two answers only."""

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    tail: NDArray[np.int32]  # the ids that every prompt ends with: Relevant: and the end token
    limit: int  # tokens of a whole prompt

    @property
    def device(self) -> str:
        """The device of the model."""
        return str(self.model.device)

    def find_full(self, rows: Rows) -> list[str]:
        """List the different queries that leave no token for a document."""
        room, queries = self.limit - len(self.tail), list(dict.fromkeys(query for _, query, _ in rows))
        heads = [f"Query: {query} Document:" for query in queries]
        ids = tokenize(self.tokenizer, heads, truncation=True, max_length=room + 1)  # with the end token
        return [query for query, row in zip(queries, ids, strict=True) if len(row) > room]

    def encode(self, rows: Rows) -> Ids:
        """Tokenize MonoT5's prompts; the text is cut where a prompt is too long."""
        items = [f"Query: {query} Document: {text}" for _, query, text in rows]
        room = self.limit - len(self.tail)
        ids = tokenize(self.tokenizer, items, truncation=True, max_length=room, add_special_tokens=False)
        return {"input_ids": [np.concatenate([row, self.tail]) for row in ids]}

    def forward(self, ids: Ids) -> Floats:
        """Give log p(yes) - log p(no) of b prompts, of the two answers alone: shape (b,), float64."""
        import torch  # noqa: PLC0415 - heavy

        from pt_cascade.stages.inference.t5_step import first_logits  # noqa: PLC0415 - heavy

        padded = pad(ids, {})  # after the end of each prompt, so that it is read as it would be alone
        given, mask = (torch.from_numpy(padded[name]).to(self.model.device) for name in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            yes, no = first_logits(self.model, given, mask).double().cpu().numpy().T
        odds: Floats = yes - no
        return odds


def check_answers(tokens: tuple[str, str] | None) -> list[str]:
    """List what is wrong with a choice of two answers.

    Example:
        >>> check_answers(("▁true", "▁true"))
        ["tokens is ('▁true', '▁true'), expected two different pieces, relevant and not relevant"]
    """
    if tokens is None or (isinstance(tokens, tuple) and [*map(type, tokens)] == [str, str] and tokens[0] != tokens[1]):
        return []
    return [f"tokens is {tokens!r}, expected two different pieces, relevant and not relevant"]


def load_t5(spec: ModelSpec, tokenizer: str | os.PathLike[str] | None, tokens: tuple[str, str] | None, limit: int) -> AnsweringT5:
    """Load a T5 or mT5 checkpoint that answers with one of two ``tokens``; None: those that its kind was trained with."""
    config = load_config(spec.name, verbose=spec.verbose)
    pieces = tokens or _find_answers(config, spec.name)
    words = _load_words(tokenizer, spec, config)
    answers = _find_ids(words, pieces)
    from transformers import AutoModelForSeq2SeqLM  # noqa: PLC0415 - heavy

    from pt_cascade.stages.inference.dtypes import Float32Linear  # noqa: PLC0415 - heavy
    from pt_cascade.stages.inference.t5_step import READ  # noqa: PLC0415 - heavy

    model = load_model(spec, AutoModelForSeq2SeqLM, READ)
    model.set_output_embeddings(Float32Linear(model.get_output_embeddings(), answers))
    return AnsweringT5(words, model, np.asarray(words("Relevant:")["input_ids"], np.int32), limit)


def _find_answers(config: PretrainedConfig, name: str) -> tuple[str, str]:
    if config.model_type in _ANSWERS:
        return _ANSWERS[config.model_type]
    problem = f"it is a {config.model_type} model, expected one of {', '.join(_ANSWERS)}"
    fix = "pass a checkpoint such as castorini/monot5-base-msmarco or castorini/duot5-base-msmarco"
    raise MissingError(f"cannot rank by {name!r}", [problem], fix=fix)


def _load_words(tokenizer: str | os.PathLike[str] | None, spec: ModelSpec, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """Load the tokenizer; a T5 checkpoint without one, as some larger ones are, takes that of ``t5-base``."""
    try:
        return load_tokenizer(str(tokenizer or spec.name), config, verbose=spec.verbose, fix=_TOKENIZER)
    except MissingError:
        if tokenizer or config.model_type != "t5":
            raise
        return load_tokenizer(_FALLBACK, config, verbose=spec.verbose, fix=_TOKENIZER)


def _find_ids(tokenizer: PreTrainedTokenizerBase, pieces: tuple[str, str]) -> list[int]:
    ids = [int(tokenizer.convert_tokens_to_ids(piece)) for piece in pieces]
    unknown = [repr(piece) for piece, number in zip(pieces, ids, strict=True) if number == tokenizer.unk_token_id]
    if unknown:
        problem = f"{', '.join(unknown)} is not a piece of the vocabulary"
        fix = "a word begins with ▁ (U+2581): tokens=('▁true', '▁false')"
        raise PipelineError("the answer tokens are unknown", [problem], fix=fix)
    return ids
