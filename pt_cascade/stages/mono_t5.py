"""MonoT5: a sequence-to-sequence model is asked whether a document is relevant, and the score is how sure its yes is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from pt_cascade.errors import CascadeWarning, MissingError, PipelineError
from pt_cascade.stages.batching import BATCH_TOKENS, check_limits, score_in_batches, tokenize
from pt_cascade.stages.loading import find_model, load_config, load_model, load_tokenizer
from pt_cascade.stages.reranker import Reranker
from pt_cascade.stages.stock_t5 import check_options, load_stock

if TYPE_CHECKING:
    import os

    import pandas as pd
    import pyterrier as pt
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats, Ints

_SHORTEST = 16
_MAX_LENGTH = 512
_ANSWERS = {"t5": ("▁true", "▁false"), "mt5": ("▁yes", "▁no")}
_FALLBACK = "t5-base"


class _Loaded(NamedTuple):
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    prompt: list[int]


def mono_t5(  # noqa: PLR0913 - options, each with a default
    model: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    tokens: tuple[str, str] | None = None,
    text_field: str = "text",
    max_length: int = _MAX_LENGTH,
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    verbose: bool = False,
    compat: Literal["pyterrier_t5"] | None = None,
    batch_size: int | None = None,
) -> pt.Transformer:
    """Re-rank with MonoT5: each document's score is the log-probability that the model answers true, not false.

    The model reads ``Query: {query} Document: {text} Relevant:``; the text is cut where that is too long. The score of a
    document is that of ``pyterrier_t5.MonoT5ReRanker(batch_size=1)``, whatever else is in the batch, to 1e-5. The stock
    re-ranker itself pads *before* ``Relevant:``, so that there a score changes with its neighbours, by 0.1 and more.

    Args:
        model: A name on the model hub, or a local folder, of a T5 or mT5 checkpoint, e.g. ``castorini/monot5-base-msmarco``.
        tokenizer: Name or folder of its tokenizer. None takes the model's own; a T5 checkpoint without one, as some larger
            ones are, takes that of ``t5-base``.
        tokens: The pieces of the vocabulary that mean relevant and not relevant. None is ``("▁true", "▁false")`` for T5
            and ``("▁yes", "▁no")`` for mT5.
        text_field: The column with the document's text.
        max_length: Tokens of the whole prompt, 16 or more.
        batch_tokens: Padded tokens a batch may hold. A GPU wants more, e.g. 32768, where its memory allows.
        device: E.g. ``cpu``, ``cuda:1``; None takes cuda where there is one.
        verbose: Show progress bars.
        compat: ``"pyterrier_t5"`` gives the stock re-ranker, neighbours and all, to repeat what was measured with it. It
            loads the model at once.
        batch_size: Documents a batch, for the stock re-ranker only; 4 unless told.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score and rank. It loads the model when
        first used.

    Raises:
        MissingError: The folder is not there or holds no model. When first used: the model cannot be loaded.
        PipelineError: An option is out of range, or does not go with ``compat``.

    References:
        Nogueira, Jiang, Pradeep & Lin, "Document Ranking with a Pretrained Sequence-to-Sequence Model", Findings of EMNLP
        2020, section 3: the prompt, and the softmax over the logits of true and false.

    Example:
        >>> mono_t5("castorini/monot5-base-msmarco", max_length=256).max_length
        256
    """
    name = find_model(model, MonoT5.stage_name)
    words = None if tokenizer is None else str(tokenizer)
    answers = None if tokens is None else tuple(tokens)  # a list would have no hash
    stage = MonoT5(name, words, answers, text_field, max_length, batch_tokens, device, verbose)
    if compat is None and batch_size is None:
        return stage
    changed = [field for field in ("tokens", "max_length", "batch_tokens") if getattr(stage, field) != getattr(MonoT5, field)]
    check_options(compat, batch_size, changed)
    config = load_config(name, MonoT5.stage_name, verbose=verbose)
    _answers(config, name)
    words = _load_tokenizer(stage, config).name_or_path
    return load_stock(config, name, words, batch_size, text_field=text_field, device=device, verbose=verbose)


@dataclass(frozen=True)
class MonoT5(Reranker):
    """The stage that ``mono_t5`` makes; its fields are the arguments of that function."""

    model: str
    tokenizer: str | None = None
    tokens: tuple[str, str] | None = None
    text_field: str = "text"
    max_length: int = _MAX_LENGTH
    batch_tokens: int = BATCH_TOKENS
    device: str | None = None
    verbose: bool = False

    stage_name: ClassVar[str] = "mono_t5"
    schematic: ClassVar[dict[str, str | None]] = {"label": "MonoT5", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse options that no model could be run with."""
        more = []
        if self.tokens is not None and (len(self.tokens), len(set(self.tokens))) != (2, 2):
            more.append(f"tokens is {self.tokens!r}, expected two different pieces, relevant and not relevant")
        check_limits(self.stage_name, self.max_length, _SHORTEST, self.batch_tokens, more)

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return ["query", self.text_field]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row by log p(true), of true and false.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            Shape (n,), log-probabilities, 0 or less, in row order.
        """
        ids = self._encode(results["query"].tolist(), results[self.text_field].tolist())
        lengths = np.array([len(row) for row in ids]) + len(self._loaded.prompt)
        progress = self.stage_name if self.verbose else None
        return score_in_batches(lengths, self.batch_tokens, lambda rows: self._forward(ids, rows), progress=progress)

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: the whole prompt, after cutting; padding is not counted.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            One number a row, in row order.
        """
        ids = self._encode(results["query"].tolist(), results[self.text_field].tolist())
        return [len(row) + len(self._loaded.prompt) for row in ids]

    @cached_property
    def _loaded(self) -> _Loaded:
        config = load_config(self.model, self.stage_name, verbose=self.verbose)
        pieces = self.tokens or _answers(config, self.model)
        tokenizer = _load_tokenizer(self, config)
        answers = _find_answers(tokenizer, pieces)
        from transformers import AutoModelForSeq2SeqLM  # noqa: PLC0415 - heavy

        kind = AutoModelForSeq2SeqLM
        model = load_model(self.model, kind, self.stage_name, device=self.device, verbose=self.verbose)
        _keep_answers(model, answers)
        return _Loaded(tokenizer, model, tokenizer("Relevant:")["input_ids"])

    def _encode(self, queries: list[str], texts: list[str]) -> list[NDArray[np.int32]]:
        tokenizer, _, prompt = self._loaded
        room = self.max_length - len(prompt)
        heads = [f"Query: {query} Document:" for query in dict.fromkeys(queries)]
        taken = tokenize(tokenizer, heads, truncation=True, max_length=room + 1)["input_ids"]  # with the end token
        full = sum(len(ids) > room for ids in taken)
        if full:
            problem = f"mono_t5: {full} query(ies) fill all {self.max_length} tokens, so none of their documents are read"
            warnings.warn(problem, CascadeWarning, stacklevel=2)
        items = [f"Query: {query} Document: {text}" for query, text in zip(queries, texts, strict=True)]
        return tokenize(tokenizer, items, truncation=True, max_length=room, add_special_tokens=False)["input_ids"]

    def _forward(self, ids: list[NDArray[np.int32]], rows: Ints) -> Floats:
        import torch  # noqa: PLC0415 - heavy

        tokenizer, model, prompt = self._loaded
        batch = {"input_ids": [ids[row].tolist() + prompt for row in rows]}
        padded = tokenizer.pad(batch, padding_side="right", return_tensors="pt").to(model.device)
        start = torch.full((len(rows), 1), model.config.decoder_start_token_id, device=model.device)
        with torch.inference_mode():
            logits = model(**padded, decoder_input_ids=start, use_cache=False).logits[:, 0].double()
        yes, no = logits.cpu().numpy().T
        scores: Floats = -np.logaddexp(0.0, no - yes)
        return scores  # log softmax; in float32 a sure yes is 0.0, and a tie


def _keep_answers(model: PreTrainedModel, answers: list[int]) -> None:
    """Leave two rows of the output layer, those of the two answers: no other logit is looked at."""
    import torch  # noqa: PLC0415 - heavy

    rows = model.get_output_embeddings().weight[answers].detach()
    head = torch.nn.Linear(rows.shape[1], len(answers), bias=False, device=rows.device)
    head.weight = torch.nn.Parameter(rows, requires_grad=False)
    model.set_output_embeddings(head)


def _load_tokenizer(stage: MonoT5, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    fix = 'mono_t5(model, tokenizer="...") with the name or the folder of the tokenizer it was trained with'
    try:
        return load_tokenizer(stage.tokenizer or stage.model, config, stage.stage_name, verbose=stage.verbose, fix=fix)
    except MissingError:
        if stage.tokenizer or config.model_type != "t5":
            raise
        return load_tokenizer(_FALLBACK, config, stage.stage_name, verbose=stage.verbose, fix=fix)


def _answers(config: PretrainedConfig, model: str) -> tuple[str, str]:
    if config.model_type in _ANSWERS:
        return _ANSWERS[config.model_type]
    problem = f"it is a {config.model_type} model, expected one of {', '.join(_ANSWERS)}"
    fix = "pass a MonoT5 checkpoint, e.g. castorini/monot5-base-msmarco"
    raise MissingError(f"mono_t5 cannot ask {model!r}", [problem], fix=fix)


def _find_answers(tokenizer: PreTrainedTokenizerBase, pieces: tuple[str, str]) -> list[int]:
    ids = [int(tokenizer.convert_tokens_to_ids(piece)) for piece in pieces]
    unknown = [repr(piece) for piece, number in zip(pieces, ids, strict=True) if number == tokenizer.unk_token_id]
    if unknown:
        problem = f"{', '.join(unknown)} is not a piece of the vocabulary"
        fix = "a word begins with ▁ (U+2581): tokens=('▁true', '▁false')"
        raise PipelineError("mono_t5 cannot read the answer", [problem], fix=fix)
    return ids
