"""DuoT5: a sequence-to-sequence model is asked whether one document is more relevant than another, for every two of a query."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.analysis.fusion.pair_aggregation import Aggregation, check_aggregation
from pt_cascade.errors import CascadeWarning, FrameError
from pt_cascade.stages.base.pairwise import PairReranker, list_pairs
from pt_cascade.stages.inference.batching import check_limits, find_budget, score_in_batches
from pt_cascade.stages.inference.dtypes import check_dtype
from pt_cascade.stages.inference.duo_prompts import DuoPrompts
from pt_cascade.stages.inference.loading import find_model
from pt_cascade.stages.inference.t5 import AskedT5, ask, check_answers, load_t5

if TYPE_CHECKING:
    import os

    import pandas as pd
    import pyterrier as pt
    from numpy.typing import NDArray

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.inference.dtypes import Dtype

_SHORTEST = 32
_MAX_LENGTH = 512


def duo_t5(  # noqa: PLR0913 - options, each with a default
    model: str | os.PathLike[str],
    *,
    aggregation: Aggregation = "sym-sum",
    tokenizer: str | os.PathLike[str] | None = None,
    tokens: tuple[str, str] | None = None,
    text_field: str = "text",
    max_length: int = _MAX_LENGTH,
    batch_tokens: int | None = None,
    device: str | None = None,
    verbose: bool = False,
    dtype: Dtype = "fp32",
) -> pt.Transformer:
    """Re-rank with DuoT5: each document's score adds up the probabilities that it beats each other document of its query.

    The model reads ``Query: {query} Document0: {text} Document1: {text} Relevant:`` and answers true where the first document
    is the more relevant one; n documents take n(n - 1) readings, so cut before it: ``mono_t5(...) % 20 >> duo_t5(...)``. Where
    a prompt is too long, each document may have half of what the query leaves, and what one does not need is the other's.

    The stock ``pyterrier_t5.DuoT5ReRanker`` adds *log* p to one document and 1 - log p to the other, so that its scores have no
    bound, where those of the paper lie between 0 and 2(n - 1). It pads before ``Relevant:``, so that a score changes with its
    batch, and cuts the same number of tokens off both documents, so that a short one may lose all of its own.

    Args:
        model: A name on the model hub, or a local folder, of a T5 or mT5 checkpoint, e.g. ``castorini/duot5-base-msmarco``.
        aggregation: How the probabilities add up, see ``analysis.preferences``: ``sym-sum`` is what PyGaggle does;
            ``sum``, ``binary``, ``sum-log``, ``sym-sum-log``, ``min``, ``max``. All of them read all n(n - 1) pairs.
        tokenizer: Name or folder of its tokenizer. None takes the model's own; a T5 checkpoint without one, as some larger
            ones are, takes that of ``t5-base``.
        tokens: The pieces of the vocabulary that mean more relevant and not. None is ``("▁true", "▁false")`` for T5 and
            ``("▁yes", "▁no")`` for mT5.
        text_field: The column with the document's text.
        max_length: Tokens of the whole prompt, 32 or more.
        batch_tokens: Padded tokens a batch may hold; None: 2048 on a CPU, 32768 elsewhere.
        device: E.g. ``cpu``, ``cuda:1``; None takes cuda where there is one.
        verbose: Show progress bars.
        dtype: ``fp32``, or ``bf16`` on a GPU or a processor with AVX-512 BF16; on others it is slower, and refused. Below
            ``fp32`` a probability still depends on its query and two documents alone, but only to about the precision's own error,
            so that a score table needs e.g. ``score(..., tolerance=0.05)``.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score and rank. It loads the model when
        first used.

    Raises:
        MissingError: The folder is not there or holds no model. When first used: the model cannot be loaded.
        PipelineError: An option is out of range.

    References:
        Pradeep, Nogueira & Lin, "The Expando-Mono-Duo Design Pattern for Text Ranking with Pretrained Sequence-to-Sequence
        Models", arXiv:2101.05667, 2021: the prompt, the softmax over the logits of true and false, the aggregations.

    Example:
        >>> duo_t5("castorini/duot5-base-msmarco", aggregation="sum").depends
        'pairwise'
    """
    name = find_model(model, DuoT5.stage_name)
    words = None if tokenizer is None else str(tokenizer)
    answers = None if tokens is None else tuple(tokens)  # a list would have no hash
    return DuoT5(name, aggregation, words, answers, text_field, max_length, batch_tokens, device, verbose, dtype)


@dataclass(frozen=True)
class DuoT5(PairReranker):
    """The stage that ``duo_t5`` makes; its fields are the arguments of that function."""

    model: str
    aggregation: Aggregation = "sym-sum"
    tokenizer: str | None = None
    tokens: tuple[str, str] | None = None
    text_field: str = "text"
    max_length: int = _MAX_LENGTH
    batch_tokens: int | None = None
    device: str | None = None
    verbose: bool = False
    dtype: Dtype = "fp32"

    stage_name: ClassVar[str] = "duo_t5"
    schematic: ClassVar[dict[str, str | None]] = {"label": "DuoT5", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse options that no model could be run with."""
        check_aggregation(self.aggregation, self.stage_name)
        more = check_dtype(self.dtype, self.device) + check_answers(self.tokens)
        check_limits(self.stage_name, self.max_length, _SHORTEST, self.batch_tokens, more)

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return ["query", self.text_field]

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Tell how sure the model is that one document beats another: p(true), of true and false.

        Only the rows that are compared are tokenized, each text once; prompts are put together batch by batch, so that memory
        grows by some 120 bytes a pair.

        Args:
            results: Frame[qid, query, docno, text].
            first: Shape (m,). Numbers of rows of ``results``, from 0: the documents that the model is shown first.
            second: Shape (m,). Another row of the same query for each.

        Returns:
            Shape (m,). Probabilities, 0 to 1, that do not change with what else is compared, to 1e-5 in float32.

        Raises:
            FrameError: Two rows that are to be compared have different queries.
        """
        prompts, one, two = self._encode(results, first, second)
        progress = self.stage_name if self.verbose else None

        def answer(pairs: Ints) -> Floats:
            odds = ask(self._loaded, prompts.build(one[pairs], two[pairs]))
            wins: Floats = np.exp(-np.logaddexp(0.0, -odds))
            return wins

        budget = find_budget(self.batch_tokens, str(self._loaded.model.device))
        return score_in_batches(prompts.count_tokens(one, two), budget, answer, progress=progress)

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: those of all prompts in which it stands first; no padding.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            One number a row, in row order; 0 for the only document of a query. They add up to what the model reads.
        """
        first, second = list_pairs(results["qid"])
        prompts, one, two = self._encode(results, first, second)
        tokens = np.bincount(first, prompts.count_tokens(one, two), minlength=len(results))
        return [int(count) for count in tokens]

    @cached_property
    def _loaded(self) -> AskedT5:
        name, words, device = self.model, self.tokenizer, self.device
        return load_t5(name, words, self.tokens, self.stage_name, device=device, verbose=self.verbose, dtype=self.dtype)

    def _encode(self, results: pd.DataFrame, first: Ints, second: Ints) -> tuple[DuoPrompts, Ints, Ints]:
        """Encode the rows that are compared, and number the pairs by them."""
        rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        tokenizer, _, tail = self._loaded
        queries, texts = (results[column].iloc[rows].tolist() for column in ("query", self.text_field))
        prompts = DuoPrompts.encode(tokenizer, tail, self.max_length, queries, texts)
        one, two = places[: len(first)], places[len(first) :]
        _refuse_apart(results, first, second, prompts.head_of[one] != prompts.head_of[two])
        if full := prompts.count_full():
            problem = f"duo_t5: {full} query(ies) fill all {self.max_length} tokens, so none of their documents are read"
            warnings.warn(problem, CascadeWarning, stacklevel=2)
        return prompts, one, two


def _refuse_apart(results: pd.DataFrame, first: Ints, second: Ints, apart: NDArray[np.bool_]) -> None:
    if apart.any():
        at = np.flatnonzero(apart)[0]
        shown = " and ".join("qid {}, docno {}".format(*results.iloc[rows[at]][["qid", "docno"]]) for rows in (first, second))
        problem = f"{int(apart.sum())} of {len(apart)} pair(s), e.g. {shown}"
        raise FrameError("duo_t5 cannot compare documents of different queries", [problem], fix="give each qid one query text")
