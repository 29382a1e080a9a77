"""DuoT5: a sequence-to-sequence model answers whether one document is more relevant than another, for every two of a query."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.analysis.fusion.pair_aggregation import Aggregation, check_aggregation
from pt_cascade.errors import FrameError
from pt_cascade.numbers import count_of
from pt_cascade.stages.base.pairwise import PairReranker, list_pairs
from pt_cascade.stages.base.transformer import T5Reranker, name_row
from pt_cascade.stages.inference.batching import CHUNK
from pt_cascade.stages.inference.duo_prompts import DuoPrompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.inference.batching import Ids

_A_TOKEN_EACH = 2


@dataclass(frozen=True, kw_only=True)
class DuoT5(PairReranker, T5Reranker):
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
        odds = self._run(self._join(results, first, second), len(first), partial(_name_pair, results, first, second))
        wins: Floats = np.exp(-np.logaddexp(0.0, -odds))
        return wins

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: those of all prompts in which it stands first; no padding."""
        first, second = list_pairs(results["qid"])
        lengths = [len(ids) for chunk in self._join(results, first, second) for ids in chunk["input_ids"]]
        return [int(count) for count in np.bincount(first, lengths, minlength=len(results))]

    def _join(self, results: pd.DataFrame, first: Ints, second: Ints) -> Iterator[Ids]:
        """Tokenize the rows that are compared, and join their prompts, some thousands at a time."""
        rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        query, text = (results[column].iloc[rows].to_numpy(object) for column in ("query", self.text_field))
        one, two = places[: len(first)], places[len(first) :]
        if (apart := query[one] != query[two]).any():
            pair = _name_pair(results, first, second, int(apart.argmax()))
            problem = f"{apart.sum()} of {count_of(len(apart), 'pair')}, first {pair}"
            fix = 'results = results.assign(query=results.groupby("qid")["query"].transform("first"))'
            raise FrameError("duo_t5 cannot compare documents of different queries", [problem], fix=fix)
        prompts = DuoPrompts.encode(self._loaded, query.tolist(), text.tolist())
        self._warn_of_long(list(dict.fromkeys(query[prompts.rooms < _A_TOKEN_EACH])))
        for start in range(0, len(one), CHUNK):
            yield prompts.join(one[start : start + CHUNK], two[start : start + CHUNK])


def _name_pair(results: pd.DataFrame, first: Ints, second: Ints, pair: int) -> str:
    return " and ".join(name_row(results, int(side[pair])) for side in (first, second))


duo_t5 = DuoT5
