"""Cross-encoders: one transformer reads query and document together and gives one score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pt_cascade.stages.base.reranker import Reranker
from pt_cascade.stages.inference.batching import CHUNK, check_limits, find_budget, score_in_chunks
from pt_cascade.stages.inference.classifiers import load_classifier
from pt_cascade.stages.inference.dtypes import check_dtype
from pt_cascade.stages.inference.loading import find_model
from pt_cascade.stages.inference.prompts import check_prompt, fill, find_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pandas as pd

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.inference.classifiers import Classifier
    from pt_cascade.stages.inference.dtypes import Dtype
    from pt_cascade.stages.inference.token_ids import Ids

_SHORTEST = 16


def cross_encoder(  # noqa: PLR0913 - options, each with a default
    model: str | os.PathLike[str],
    *,
    label: int | str | None = None,
    text_field: str = "text",
    max_length: int | None = None,
    batch_tokens: int | None = None,
    device: str | None = None,
    verbose: bool = False,
    dtype: Dtype = "fp32",
    prompt: str | None = None,
) -> CrossEncoder:
    """Re-rank with a cross-encoder: each document's score is the log-odds that it is relevant.

    A model is read as ``sentence_transformers.CrossEncoder`` reads it, with the length, prompt, chat template, modules and other
    settings that it was saved with. Where both texts are too long the longer one is cut, as there.

    With one logit the score is the logit itself, what ``predict`` gives with ``activation_fn=torch.nn.Identity()``. Its usual
    sigmoid keeps the order but not in float32: above a logit of 17 every score is 1.0, and a tie. Several labels give log p/(1-p)
    of the label that means relevant, with p their softmax, the order of monoBERT; or with p the sigmoid of its own logit, if the
    model was saved with a sigmoid or as a multi-label one. A language model that answers yes or no, e.g. Qwen3-Reranker, gives the
    log-odds of yes against no as the next word. For a probability:
    ``stage >> pt.apply.doc_score(lambda row: scipy.special.expit(row["score"]))``.

    In ``fp32`` a score depends on query and document alone, to 1e-5, whatever else is in the batch; a model of which that is not so
    is refused. A lower precision rounds more than that, and so may a batch: then ``ptc.score`` refuses the stage, unless its
    ``tolerance`` allows it.

    An instruction in ``prompt`` reaches this stage only: earlier ones are asked the query as it is.

    Args:
        model: A name on the model hub, or a local folder, of a sentence-transformers cross-encoder or any transformers
            model for sequence classification, e.g. ``cross-encoder/ms-marco-MiniLM-L6-v2``, or of a causal language model.
        label: Which label means relevant, its number or name; needed above two labels. Of two it is the one that is called
            relevant, positive, true, yes or 1, or ``LABEL_1``; needed where neither is, or both.
        text_field: The column with the document's text.
        max_length: Tokens of query and document together, 16 or more; None is what the model was saved with.
        batch_tokens: Padded tokens a batch may hold; None: 2048 on a CPU, 32768 elsewhere; 1 reads each pair alone.
        device: E.g. ``cpu``, ``cuda:1``; None takes cuda where there is one.
        verbose: Show progress bars.
        dtype: ``fp32``, or ``bf16`` on a GPU or a processor with AVX-512 BF16; on others it is slower, and refused. On one core
            of an AMD EPYC it takes 0.6 of the time; with the weights of all-MiniLM-L6-v2 under a random last layer it changes
            scores by up to 0.04 standard deviations, and a batch moves one by up to as much. The last layer is always float32.
        prompt: What the model is told beside the query; ``{name}`` stands for a column, e.g. ``{instruction}`` of the topics. It
            stands before the query, as sentence-transformers' own ``prompt`` does, and is the system message of a chat; with
            ``{query}`` in it, it is all that is read as the query. None is what the model was saved with; empty is none.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score and rank. It loads the model when
        first used.

    Raises:
        MissingError: The folder is not there or holds no model. When first used: the model cannot be loaded.
        PipelineError: An option is out of range. When first used: which label means relevant is not said, the model has fewer
            positions, an activation that loses the order of its outputs, or scores that move with padding.
        StageError: When used: the model fails on some pairs, e.g. as it knows no padding.

    References:
        Nogueira & Cho, "Passage Re-ranking with BERT", arXiv:1901.04085, 2019.

    Example:
        >>> cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2", max_length=256).max_length
        256
        >>> cross_encoder("Qwen/Qwen3-Reranker-0.6B", prompt="{instruction}").needs()
        ['query', 'text', 'instruction']
    """
    name = find_model(model, CrossEncoder.stage_name)
    return CrossEncoder(name, label, text_field, max_length, batch_tokens, device, verbose, dtype, prompt)


@dataclass(frozen=True)
class CrossEncoder(Reranker):
    """The stage that ``cross_encoder`` makes; its fields are the arguments of that function."""

    model: str
    label: int | str | None = None
    text_field: str = "text"
    max_length: int | None = None
    batch_tokens: int | None = None
    device: str | None = None
    verbose: bool = False
    dtype: Dtype = "fp32"
    prompt: str | None = None

    stage_name: ClassVar[str] = "cross_encoder"
    schematic: ClassVar[dict[str, str | None]] = {"label": "CrossEncoder", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse options that no model could be run with."""
        more = [*check_dtype(self.dtype, self.device), *check_prompt(self.prompt, ("docno", self.text_field))]
        check_limits(self.stage_name, self.max_length, _SHORTEST, self.batch_tokens, more)

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return ["query", self.text_field, *find_columns(self.prompt)]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row by the log-odds that its document is relevant.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            Shape (n,), log-odds, in row order.
        """
        read = self._reader(results)
        progress = self.stage_name if self.verbose else None
        budget = find_budget(self.batch_tokens, self._loaded.device)
        return score_in_chunks(len(results), budget, lambda rows: self._open(read(rows)), progress=progress)

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: query and document together, after cutting; padding is not counted.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            One number a row, in row order.
        """
        read = self._reader(results)
        parts = (read(slice(start, start + CHUNK)) for start in range(0, len(results), CHUNK))
        return [len(ids) for part in parts for ids in part["input_ids"]]

    def _reader(self, results: pd.DataFrame) -> Callable[[slice], Ids]:
        """Make what tokenizes some of the rows."""
        model = self._loaded
        prefixes, queries = fill(self.prompt, results)
        if self.prompt is None:
            prefixes = [model.prompt] * len(queries)
        model.warn_of_long(prefixes, queries)
        texts = results[self.text_field].tolist()
        return lambda rows: model.encode(prefixes[rows], queries[rows], texts[rows])

    def _open(self, inputs: Ids) -> tuple[Ints, Callable[[Ints], Floats]]:
        lengths = np.array([len(ids) for ids in inputs["input_ids"]])
        return lengths, lambda rows: self._loaded.forward(inputs, rows)

    @cached_property
    def _loaded(self) -> Classifier:
        return load_classifier(
            self.model,
            label=self.label,
            max_length=self.max_length,
            device=self.device,
            verbose=self.verbose,
            dtype=self.dtype,
            padded=self.batch_tokens != 1,
        )
