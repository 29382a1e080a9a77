"""MonoT5: a sequence-to-sequence model is asked whether a document is relevant, and the score is how sure its yes is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.errors import CascadeWarning
from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.inference.batching import CHUNK, check_limits, find_budget, score_in_chunks
from pt_cascade.stages.inference.dtypes import check_dtype
from pt_cascade.stages.inference.loading import find_model
from pt_cascade.stages.inference.t5 import AskedT5, ask, check_answers, load_t5
from pt_cascade.stages.inference.token_ids import tokenize

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pandas as pd
    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.inference.dtypes import Dtype

_SHORTEST = 16
_MAX_LENGTH = 512


def mono_t5(  # noqa: PLR0913 - options, each with a default
    model: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    tokens: tuple[str, str] | None = None,
    text_field: str = "text",
    max_length: int = _MAX_LENGTH,
    batch_tokens: int | None = None,
    device: str | None = None,
    verbose: bool = False,
    dtype: Dtype = "fp32",
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
        batch_tokens: Padded tokens a batch may hold; None: 2048 on a CPU, 32768 elsewhere.
        device: E.g. ``cpu``, ``cuda:1``; None takes cuda where there is one.
        verbose: Show progress bars.
        dtype: ``fp32``, or ``bf16`` on a GPU or a processor with AVX-512 BF16; on others it is slower, and refused. On one core
            of an AMD EPYC it takes 0.63 of the time; it changes the scores of a t5-small of random weights by up to 0.2 standard
            deviations, and a batch moves one by up to as much: then ``ptc.score`` refuses the stage, unless its ``tolerance``
            allows it.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score and rank. It loads the model when
        first used.

    Raises:
        MissingError: The folder is not there or holds no model. When first used: the model cannot be loaded.
        PipelineError: An option is out of range.

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
    return MonoT5(name, words, answers, text_field, max_length, batch_tokens, device, verbose, dtype)


@dataclass(frozen=True)
class MonoT5(Reranker):
    """The stage that ``mono_t5`` makes; its fields are the arguments of that function."""

    model: str
    tokenizer: str | None = None
    tokens: tuple[str, str] | None = None
    text_field: str = "text"
    max_length: int = _MAX_LENGTH
    batch_tokens: int | None = None
    device: str | None = None
    verbose: bool = False
    dtype: Dtype = "fp32"

    stage_name: ClassVar[str] = "mono_t5"
    schematic: ClassVar[dict[str, str | None]] = {"label": "MonoT5", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse options that no model could be run with."""
        more = check_dtype(self.dtype, self.device) + check_answers(self.tokens)
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
        queries, texts = results["query"].tolist(), results[self.text_field].tolist()
        self._warn_of_long(queries)
        progress = self.stage_name if self.verbose else None
        budget = find_budget(self.batch_tokens, str(self._loaded.model.device))
        return score_in_chunks(len(results), budget, lambda rows: self._read(queries[rows], texts[rows]), progress=progress)

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: the whole prompt, after cutting; padding is not counted.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            One number a row, in row order.
        """
        queries, texts = results["query"].tolist(), results[self.text_field].tolist()
        parts = (slice(start, start + CHUNK) for start in range(0, len(queries), CHUNK))
        return [len(ids) for part in parts for ids in self._encode(queries[part], texts[part])]

    @cached_property
    def _loaded(self) -> AskedT5:
        words, name = (self.tokenizer, self.tokens), self.stage_name
        return load_t5(self.model, *words, name, device=self.device, verbose=self.verbose, dtype=self.dtype)

    def _read(self, queries: list[str], texts: list[str]) -> tuple[Ints, Callable[[Ints], Floats]]:
        ids = self._encode(queries, texts)
        return np.array([len(row) for row in ids]), lambda rows: self._forward(ids, rows)

    def _encode(self, queries: list[str], texts: list[str]) -> list[NDArray[np.int32]]:
        tokenizer, _, tail = self._loaded
        items = [f"Query: {query} Document: {text}" for query, text in zip(queries, texts, strict=True)]
        room = self.max_length - len(tail)
        ids = tokenize(tokenizer, items, truncation=True, max_length=room, add_special_tokens=False)["input_ids"]
        return [np.concatenate([row, tail]) for row in ids]

    def _warn_of_long(self, queries: list[str]) -> None:
        tokenizer, _, tail = self._loaded
        room = self.max_length - len(tail)
        heads = [f"Query: {query} Document:" for query in dict.fromkeys(queries)]
        taken = tokenize(tokenizer, heads, truncation=True, max_length=room + 1)["input_ids"]  # with the end token
        if full := sum(len(ids) > room for ids in taken):
            problem = f"mono_t5: {full} query(ies) fill all {self.max_length} tokens, so none of their documents are read"
            warnings.warn(problem, CascadeWarning, stacklevel=2)

    def _forward(self, ids: list[NDArray[np.int32]], rows: Ints) -> Floats:
        odds = ask(self._loaded, [ids[row] for row in rows])
        scores: Floats = -np.logaddexp(0.0, -odds)
        return scores  # log softmax; in float32 a sure yes is 0.0, and a tie
