"""Cross-encoders: one transformer reads query and document together and gives one score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from pt_cascade.errors import CascadeWarning, PipelineError
from pt_cascade.stages.batching import BATCH_TOKENS, check_limits, score_in_batches, tokenize
from pt_cascade.stages.loading import find_model, load_config, load_model, load_tokenizer
from pt_cascade.stages.reranker import Reranker

if TYPE_CHECKING:
    import os

    import pandas as pd
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats, Ints

_SHORTEST = 16
_NO_LIMIT = 1_000_000  # transformers writes 1e30 where a tokenizer was saved without one


class _Loaded(NamedTuple):
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    label: int
    limit: int


def cross_encoder(
    model: str | os.PathLike[str],
    *,
    label: int | str | None = None,
    text_field: str = "text",
    max_length: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    verbose: bool = False,
) -> CrossEncoder:
    """Re-rank with a cross-encoder: each document's score is the log-odds that it is relevant.

    With one logit that is the logit itself, what ``sentence_transformers.CrossEncoder.predict`` gives with
    ``activation_fn=torch.nn.Identity()``. Its usual sigmoid keeps the order but not in float32: above a logit of 17 every
    score is 1.0, and a tie. Several labels give log p/(1-p) of the label that means relevant, with p their softmax: the order
    of monoBERT. For a probability: ``stage >> pt.apply.doc_score(lambda row: scipy.special.expit(row["score"]))``.

    The query is kept and the document cut where both are too long. A score depends on query and document alone, whatever
    else is in the batch, to 1e-5.

    Args:
        model: A name on the model hub, or a local folder, of a sentence-transformers cross-encoder or any transformers
            model for sequence classification, e.g. ``cross-encoder/ms-marco-MiniLM-L6-v2``.
        label: Which label means relevant, its number or name; needed above two labels. Of two it is the second.
        text_field: The column with the document's text.
        max_length: Tokens of query and document together, 16 or more; None is what the model was made for.
        batch_tokens: Padded tokens a batch may hold. A GPU wants more, e.g. 32768, where its memory allows.
        device: E.g. ``cpu``, ``cuda:1``; None takes cuda where there is one.
        verbose: Show progress bars.

    Returns:
        A transformer from Frame[qid, query, docno, text] to the same rows with score and rank. It loads the model when
        first used.

    Raises:
        MissingError: The folder is not there or holds no model. When first used: the model cannot be loaded.
        PipelineError: An option is out of range. When first used: the model has more labels, or fewer positions.

    References:
        Nogueira & Cho, "Passage Re-ranking with BERT", arXiv:1901.04085, 2019.

    Example:
        >>> cross_encoder("cross-encoder/ms-marco-MiniLM-L6-v2", max_length=256).max_length
        256
    """
    name = find_model(model, CrossEncoder.stage_name)
    return CrossEncoder(name, label, text_field, max_length, batch_tokens, device, verbose)


@dataclass(frozen=True)
class CrossEncoder(Reranker):
    """The stage that ``cross_encoder`` makes; its fields are the arguments of that function."""

    model: str
    label: int | str | None = None
    text_field: str = "text"
    max_length: int | None = None
    batch_tokens: int = BATCH_TOKENS
    device: str | None = None
    verbose: bool = False

    stage_name: ClassVar[str] = "cross_encoder"
    schematic: ClassVar[dict[str, str | None]] = {"label": "CrossEncoder", "help_url": None}  # without it: a look-up on the network

    def __post_init__(self) -> None:
        """Refuse options that no model could be run with."""
        check_limits(self.stage_name, self.max_length, _SHORTEST, self.batch_tokens)

    def needs(self) -> list[str]:
        """Name the columns that must be there beside qid and docno."""
        return ["query", self.text_field]

    def score(self, results: pd.DataFrame) -> Floats:
        """Score each row by the log-odds that its document is relevant.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            Shape (n,), log-odds, in row order.
        """
        inputs = self._encode(results["query"].tolist(), results[self.text_field].tolist())
        lengths = np.array([len(row) for row in inputs["input_ids"]])
        progress = self.stage_name if self.verbose else None
        return score_in_batches(lengths, self.batch_tokens, lambda rows: self._forward(inputs, rows), progress=progress)

    def count_tokens(self, results: pd.DataFrame) -> list[int]:
        """Count the tokens that the model reads for each row: query and document together, after cutting; padding is not counted.

        Args:
            results: Frame[qid, query, docno, text], at least one row.

        Returns:
            One number a row, in row order.
        """
        inputs = self._encode(results["query"].tolist(), results[self.text_field].tolist())
        return [len(row) for row in inputs["input_ids"]]

    @cached_property
    def _loaded(self) -> _Loaded:
        config = load_config(self.model, self.stage_name, verbose=self.verbose)
        label = _find_label(config, self.label)
        tokenizer = load_tokenizer(self.model, config, self.stage_name, verbose=self.verbose)
        limit = _find_limit(config, tokenizer, self.max_length)
        from transformers import AutoModelForSequenceClassification  # noqa: PLC0415 - heavy

        kind = AutoModelForSequenceClassification
        model = load_model(self.model, kind, self.stage_name, device=self.device, verbose=self.verbose)
        return _Loaded(tokenizer, model, label, limit)

    def _encode(self, queries: list[str], texts: list[str]) -> dict[str, list[NDArray[np.int32]]]:
        tokenizer, limit = self._loaded.tokenizer, self._loaded.limit
        different = list(dict.fromkeys(queries))
        taken = tokenize(tokenizer, different, [""] * len(different), truncation="only_first", max_length=limit)["input_ids"]
        full = {query for query, ids in zip(different, taken, strict=True) if len(ids) >= limit}
        if not full:
            return tokenize(tokenizer, queries, texts, truncation="only_second", max_length=limit)
        warnings.warn(_too_long(len(full), limit), CascadeWarning, stacklevel=2)
        return _encode_apart(tokenizer, queries, texts, full, limit)

    def _forward(self, inputs: dict[str, list[NDArray[np.int32]]], rows: Ints) -> Floats:
        import torch  # noqa: PLC0415 - heavy

        tokenizer, model, label, _ = self._loaded
        batch = {name: [column[row].tolist() for row in rows] for name, column in inputs.items()}
        padded = tokenizer.pad(batch, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            logits = model(**padded).logits.double()
        return _log_odds(logits.cpu().numpy(), label)


def _log_odds(logits: Floats, label: int) -> Floats:
    """With p = softmax(logits)[label]: log p/(1-p) is the label's logit less the log-sum-exp of the others."""
    others = np.delete(logits, label, axis=1)
    return logits[:, label] - np.logaddexp.reduce(others, axis=1) if others.size else logits[:, label]


def _encode_apart(
    tokenizer: PreTrainedTokenizerBase, queries: list[str], texts: list[str], full: set[str], limit: int
) -> dict[str, list[NDArray[np.int32]]]:
    """Where the query alone is too long, cut the longer of the two, token by token, as sentence-transformers does."""
    columns: dict[str, list[NDArray[np.int32]]] = {}
    for truncation, wanted in (("only_second", False), ("longest_first", True)):
        rows = [row for row, query in enumerate(queries) if (query in full) == wanted]
        first, second = [queries[row] for row in rows], [texts[row] for row in rows]
        for name, values in tokenize(tokenizer, first, second, truncation=truncation, max_length=limit).items():
            column = columns.setdefault(name, [np.empty(0, np.int32)] * len(queries))
            for row, value in zip(rows, values, strict=True):
                column[row] = value
    return columns


def _too_long(queries: int, limit: int) -> str:
    return f"cross_encoder: {queries} query(ies) fill all {limit} tokens; they and their documents are cut, the longer first"


def _find_label(config: PretrainedConfig, label: int | str | None) -> int:
    names = {int(number): name for number, name in config.id2label.items()}
    if label is None and len(names) <= 2:  # noqa: PLR2004 - relevant or not
        return len(names) - 1
    for number, name in names.items():
        if label in (number, name):
            return number
    have = ", ".join(f"{number} {name}" for number, name in sorted(names.items()))
    found = "which one means relevant is not said" if label is None else f"none of them is {label!r}"
    fix = f"cross_encoder(model, label={max(names)})"
    raise PipelineError("cross_encoder cannot choose a label", [f"the model has {have}; {found}"], fix=fix)


def _find_limit(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> int:
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if max_length is None:
        return min(int(tokenizer.model_max_length), int(positions))
    if max_length > positions:
        fix = f"cross_encoder(model, max_length={positions})"
        problem = f"max_length is {max_length}, the model reads {positions} tokens at most"
        raise PipelineError("cross_encoder cannot read so much", [problem], fix=fix)
    return max_length
