"""Cross-encoders: one transformer reads query and document together and gives one score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from pt_cascade.stages.base.transformer import TransformerReranker
from pt_cascade.stages.inference.classifiers import load_classifier
from pt_cascade.stages.inference.prompts import check_prompt, fill, find_columns

if TYPE_CHECKING:
    import pandas as pd

    from pt_cascade.stages.inference.batching import Rows
    from pt_cascade.stages.inference.classifiers import Classifier


@dataclass(frozen=True, kw_only=True)
class CrossEncoder(TransformerReranker):
    """Re-rank with a cross-encoder: each document's score is the log-odds that it is relevant.

    A model is read as ``sentence_transformers.CrossEncoder`` reads it, with the length, prompt, chat template, modules and other
    settings that it was saved with, and cuts texts as there. A single logit is the score, as ``predict`` gives it with
    ``activation_fn=torch.nn.Identity()``: after its usual sigmoid, logits above 17 would tie at 1.0. Several labels give log of
    p/(1-p) for the relevant one; p is their softmax, as in monoBERT, or the sigmoid of its own logit if the model was saved with a
    sigmoid or as a multi-label one. A language model that answers yes or no, e.g. Qwen3-Reranker, gives the log-odds of yes.

    In ``fp32`` a score depends on query and document alone, to 1e-5, whatever else is in the batch; a model for which that does not
    hold is refused. In ``bf16`` a score changes with its batch by more: then ``ptc.score`` needs a ``tolerance``.

    Args:
        model: A name on the model hub, or a local folder, of a sentence-transformers cross-encoder or any transformers
            model for sequence classification, e.g. ``cross-encoder/ms-marco-MiniLM-L6-v2``, or of a causal language model.
        label: The label that means relevant, its number or name; needed above two labels. Of two it is the one that is called
            relevant, positive, true, yes or 1, or ``LABEL_1``; needed where neither is, or both.
        text_field: The column with the document's text.
        max_length: Tokens of query and document together, 16 or more; None is what the model was saved with.
        batch_tokens: Padded tokens a batch may hold; None: 2048 on a CPU, 32768 elsewhere; 1 reads each pair alone.
        device: E.g. ``cpu``, ``cuda:1``; None takes cuda where there is one.
        verbose: Show progress bars.
        dtype: ``fp32``, or ``bf16`` on a GPU or a processor with AVX-512 BF16; on others it is slower, and refused. The last layer
            is always float32.
        prompt: Text that stands before the query, or is the system message of a chat; ``{name}`` stands for a column, e.g.
            ``{instruction}`` of the topics. With ``{query}`` in it, it replaces the query. None is the prompt that the model was
            saved with; empty is none. Other stages read the query as it is.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score and rank. It loads the model when
        first used.

    Raises:
        MissingError: The folder is not there or holds no model. When first used: the model cannot be loaded.
        PipelineError: An option is out of range. When first used: the model does not say which label means relevant, has fewer
            positions, or scores that change with padding.
        StageError: When used: the model fails on some pairs, e.g. as it knows no padding.

    References:
        Nogueira & Cho, "Passage Re-ranking with BERT", arXiv:1901.04085, 2019.

    Example:
        >>> cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2", max_length=256).max_length
        256
        >>> cross_encoder("Qwen/Qwen3-Reranker-0.6B", prompt="{instruction}").needs()
        ['query', 'text', 'instruction']
    """

    label: int | str | None = None
    prompt: str | None = None

    stage_name: ClassVar[str] = "cross_encoder"
    schematic: ClassVar[dict[str, str | None]] = {"label": "CrossEncoder", "help_url": None}  # without it: a look-up on the network

    def misfits(self) -> list[str]:
        """List what is wrong with the prompt."""
        return check_prompt(self.prompt, ("docno", self.text_field))

    def needs(self) -> list[str]:
        """Name the columns that are needed beside qid and docno."""
        return [*super().needs(), *find_columns(self.prompt)]

    def list_rows(self, results: pd.DataFrame) -> Rows:
        """Give prompt, query and text of each row."""
        prompts, queries = fill(self.prompt, results)
        if self.prompt is None:
            prompts = [self._loaded.prompt] * len(queries)
        return list(zip(prompts, queries, results[self.text_field].tolist(), strict=True))

    @cached_property
    def _loaded(self) -> Classifier:
        return load_classifier(self.spec, self.label, self.max_length, padded=self.batch_tokens != 1)


cross_encoder = CrossEncoder
