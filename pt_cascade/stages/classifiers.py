"""Models with a label that means relevant: what they read, and the log-odds of that label."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.errors import CascadeWarning, PipelineError
from pt_cascade.stages.loading import load_model, load_tokenizer
from pt_cascade.stages.token_ids import pad, tokenize

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.precision import Precision
    from pt_cascade.stages.token_ids import Ids

_STAGE = "cross_encoder"
_NO_LIMIT = 1_000_000  # transformers writes 1e30 where a tokenizer was saved without one


class Classifier(NamedTuple):
    """A sequence classifier, loaded.

    Attributes:
        tokenizer: What makes its ids.
        model: The model, on its device.
        label: The number of the label that means relevant.
        limit: Tokens of query and document together that it reads.
    """

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel
    label: int
    limit: int

    @property
    def device(self) -> str:
        """Where it is."""
        return str(self.model.device)

    def find_long(self, queries: list[str]) -> set[str]:
        """Find the queries beside which no token of a document fits, and warn of them.

        Args:
            queries: Any number, prompts included.

        Returns:
            Those that are too long.
        """
        different = list(dict.fromkeys(queries))
        options = {"truncation": "only_first", "max_length": self.limit}
        taken = tokenize(self.tokenizer, different, [""] * len(different), **options)["input_ids"]
        full = {query for query, ids in zip(different, taken, strict=True) if len(ids) >= self.limit}
        if full:
            said = f"{len(full)} query(ies) fill all {self.limit} tokens; they and their documents are cut, the longer first"
            warnings.warn(f"{_STAGE}: {said}", CascadeWarning, stacklevel=2)
        return full

    def encode(self, prefixes: list[str], queries: list[str], texts: list[str], full: set[str]) -> Ids:
        """Tokenize pairs: the document is cut where both are too long, but for the queries that ``find_long`` found.

        Args:
            prefixes: Shape (n,). What stands before each query.
            queries: Shape (n,).
            texts: Shape (n,).
            full: What ``find_long`` gave.

        Returns:
            As ``batching.tokenize``.
        """
        queries = [prefix + query for prefix, query in zip(prefixes, queries, strict=True)]
        if full:
            return self._encode_apart(queries, texts, full)
        return tokenize(self.tokenizer, queries, texts, truncation="only_second", max_length=self.limit)

    def forward(self, inputs: Ids, rows: Ints) -> Floats:
        """Give the log-odds of some rows.

        Args:
            inputs: What ``encode`` gave.
            rows: Shape (b,). Which.

        Returns:
            Shape (b,).
        """
        import torch  # noqa: PLC0415 - heavy

        filler = {"input_ids": self.tokenizer.pad_token_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        padded = pad(inputs, rows, filler, left=self.tokenizer.padding_side == "left")
        with torch.inference_mode():
            given = {name: torch.from_numpy(ids).to(self.model.device) for name, ids in padded.items()}
            logits = self.model(**given).logits.double()
        return _log_odds(logits.cpu().numpy(), self.label)

    def _encode_apart(self, queries: list[str], texts: list[str], full: set[str]) -> Ids:
        """Where the query alone is too long, cut the longer of the two, token by token, as sentence-transformers does."""
        columns: dict[str, list[NDArray[np.int32]]] = {}
        for truncation, wanted in (("only_second", False), ("longest_first", True)):
            rows = [row for row, query in enumerate(queries) if (query in full) == wanted]
            first, second = [queries[row] for row in rows], [texts[row] for row in rows]
            for name, values in tokenize(self.tokenizer, first, second, truncation=truncation, max_length=self.limit).items():
                column = columns.setdefault(name, [np.empty(0, np.int32)] * len(queries))
                for row, value in zip(rows, values, strict=True):
                    column[row] = value
        return columns


def load_classifier(
    name: str,
    config: PretrainedConfig,
    *,
    label: int | str | None = None,
    max_length: int | None = None,
    device: str | None = None,
    verbose: bool = False,
    precision: Precision = "fp32",
) -> Classifier:
    """Load a model for sequence classification.

    Args:
        name: A folder, or a name on the model hub.
        config: Its configuration.
        label: Which label means relevant, its number or name; of two it is the second.
        max_length: Tokens that are read; None: what the model was made for.
        device: As in ``loading.find_device``.
        verbose: Show progress bars.
        precision: As in ``precision.check_precision``.

    Returns:
        The model, ready.

    Raises:
        MissingError: It cannot be loaded.
        PipelineError: It has more labels, or fewer positions.
    """
    found = _find_label(config, label)
    tokenizer = load_tokenizer(name, config, _STAGE, verbose=verbose)
    limit = find_limit(config, tokenizer, max_length)
    from transformers import AutoModelForSequenceClassification as Kind  # noqa: PLC0415 - heavy

    model = load_model(name, Kind, _STAGE, device=device, verbose=verbose, precision=precision)
    return Classifier(tokenizer, model, found, limit)


def find_limit(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> int:
    """Tell how many tokens are read.

    Args:
        config: The model's.
        tokenizer: Its tokenizer.
        max_length: What was asked for; None: what the model was made for.

    Returns:
        Tokens.

    Raises:
        PipelineError: The model has fewer positions than were asked for.
    """
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    if max_length is None:
        return min(int(tokenizer.model_max_length), int(positions))
    if max_length > positions:
        fix = f"cross_encoder(model, max_length={positions})"
        problem = f"max_length is {max_length}, the model reads {positions} tokens at most"
        raise PipelineError("cross_encoder cannot read so much", [problem], fix=fix)
    return max_length


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


def _log_odds(logits: Floats, label: int) -> Floats:
    """With p = softmax(logits)[label]: log p/(1-p) is the label's logit less the log-sum-exp of the others."""
    others = np.delete(logits, label, axis=1)
    return logits[:, label] - np.logaddexp.reduce(others, axis=1) if others.size else logits[:, label]
