"""DuoT5: a sequence-to-sequence model answers whether one document is more relevant than another, for every two of a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.analysis.fusion.pair_aggregation import Aggregation, check_aggregation
from pt_cascade.errors import FrameError, naming
from pt_cascade.stages.base.pairwise import PairReranker, list_pairs
from pt_cascade.stages.base.transformer import T5Reranker
from pt_cascade.stages.inference.duo_prompts import DuoPrompts
from pt_cascade.stages.inference.loading import find_model

if TYPE_CHECKING:
    import os

    import pandas as pd
    import pyterrier as pt

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.inference.options import Dtype


def duo_t5(  # noqa: PLR0913 - options, each with a default
    model: str | os.PathLike[str],
    *,
    aggregation: Aggregation = "sym-sum",
    tokenizer: str | os.PathLike[str] | None = None,
    tokens: tuple[str, str] | None = None,
    text_field: str = "text",
    max_length: int = 512,
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
    bound; those of the paper lie between 0 and 2(n - 1). It pads before ``Relevant:``, so that a score changes with its batch.

    Args:
        model: A name on the model hub, or a local folder, of a T5 or mT5 checkpoint, e.g. ``castorini/duot5-base-msmarco``.
        aggregation: How the probabilities add up: ``sym-sum`` is what PyGaggle does; ``sum``, ``binary``, ``sum-log``,
            ``sym-sum-log``, ``min``, ``max``. All of them read all n(n - 1) pairs.
        tokenizer: Name or folder of its tokenizer, as in ``mono_t5``.
        tokens: The pieces of the vocabulary that mean that the first document is the more relevant one, and not; as in ``mono_t5``.
        text_field: The column with the document's text.
        max_length: Tokens of the whole prompt, 32 or more.
        batch_tokens: Padded tokens a batch may hold.
        device: E.g. ``cpu``, ``cuda:1``.
        verbose: Show progress bars.
        dtype: ``fp32`` or ``bf16``, as in ``mono_t5``.

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
    words = None if tokenizer is None else str(tokenizer)
    answers = None if tokens is None else tuple(tokens)  # a list would have no hash
    with naming(DuoT5.stage_name):
        shared = find_model(model), text_field, max_length, batch_tokens, device, verbose, dtype
        return DuoT5(*shared, words, answers, aggregation)


@dataclass(frozen=True)
class DuoT5(PairReranker, T5Reranker):
    """The stage that ``duo_t5`` makes; its fields are the arguments of that function."""

    aggregation: Aggregation = "sym-sum"

    shortest: ClassVar[int] = 32
    stage_name: ClassVar[str] = "duo_t5"
    schematic: ClassVar[dict[str, str | None]] = {"label": "DuoT5", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        check_aggregation(self.aggregation, self.stage_name)
        super().__post_init__()

    def compare(self, results: pd.DataFrame, first: Ints, second: Ints) -> Floats:
        """Give the probability that one document is more relevant than another: p(true), of true and false.

        Args:
            results: Frame[qid, query, docno, text].
            first: Shape (m,). Numbers of rows of ``results``, from 0: the documents that the model is shown first.
            second: Shape (m,). Another row of the same query for each.

        Returns:
            Shape (m,). Probabilities that change by 1e-5 at most with what else is compared, in float32.

        Raises:
            FrameError: Two rows that are to be compared have different queries.
        """
        odds = self._run([self._prompts(results, first, second)], len(first))
        wins: Floats = np.exp(-np.logaddexp(0.0, -odds))
        return wins

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: those of all prompts in which it stands first; no padding."""
        first, second = list_pairs(results["qid"])
        tokens = np.bincount(first, self._prompts(results, first, second).lengths, minlength=len(results))
        return [int(count) for count in tokens]

    def _prompts(self, results: pd.DataFrame, first: Ints, second: Ints) -> DuoPrompts:
        """Tokenize the rows that are compared, each text once; memory grows by some 120 bytes a pair."""
        rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        queries, texts = (results[column].iloc[rows].tolist() for column in ("query", self.text_field))
        prompts = DuoPrompts.encode(self._loaded, queries, texts, places[: len(first)], places[len(first) :])
        if (apart := prompts.head_of[prompts.first] != prompts.head_of[prompts.second]).any():
            at = np.flatnonzero(apart)[0]
            pair = (results.iloc[side[at]][["qid", "docno"]] for side in (first, second))
            shown = " and ".join("qid {}, docno {}".format(*row) for row in pair)
            problem = f"{int(apart.sum())} of {len(apart)} pair(s), e.g. {shown}"
            raise FrameError("duo_t5 cannot compare documents of different queries", [problem], fix="give each qid one query text")
        self._warn_of_long(prompts.count_full())
        return prompts
