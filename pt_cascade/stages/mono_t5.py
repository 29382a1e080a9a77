"""MonoT5: a sequence-to-sequence model answers whether a document is relevant, and the score is the log-probability of yes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.stages.base.transformer import T5Reranker

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.ranking import Floats


@dataclass(frozen=True, kw_only=True)
class MonoT5(T5Reranker):
    """Re-rank with MonoT5: each document's score is the log-probability that the model answers true, not false.

    The model reads ``Query: {query} Document: {text} Relevant:``; the text is cut where that is too long. The score of a
    document is that of ``pyterrier_t5.MonoT5ReRanker(batch_size=1)``, whatever else is in the batch, to 1e-5. The stock
    re-ranker itself pads *before* ``Relevant:``, so that there a score changes with its batch, by 0.1 and more.

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
        dtype: ``fp32``, or ``bf16`` on a GPU or a processor with AVX-512 BF16; on others it is slower, and refused. In ``bf16`` a
            score changes with its batch: then ``ptc.score`` needs a ``tolerance``.

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

    stage_name: ClassVar[str] = "mono_t5"
    schematic: ClassVar[dict[str, str | None]] = {"label": "MonoT5", "help_url": None}  # without it: a look-up on the network

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row by log p(true), of true and false, as ``Reranker.score`` says; 0 or less."""
        scores: Floats = -np.logaddexp(0.0, -super().score(results))
        return scores  # log softmax in float64; in float32 a sure yes is 0.0, and a tie


mono_t5 = MonoT5
