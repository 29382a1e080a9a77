"""Models that judge a pair, as sentence-transformers reads them: with what they were saved with, one pair like many."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.errors import CascadeWarning, PipelineError, StageError
from pt_cascade.stages.inference.causal_lm import keep_answers
from pt_cascade.stages.inference.dtypes import quicken
from pt_cascade.stages.inference.labels import check_activation, find_label, to_log_odds
from pt_cascade.stages.inference.loading import first_line, load_reader
from pt_cascade.stages.inference.token_ids import pad

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import CrossEncoder
    from transformers import PreTrainedModel

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.inference.dtypes import Dtype
    from pt_cascade.stages.inference.token_ids import Ids

_STAGE = "cross_encoder"
_TOKENIZED = 1024
_NO_LIMIT = 1_000_000  # transformers writes 1e30 where a tokenizer was saved without one
_APART = {"fp32": 1e-4, "bf16": 0.1}
_ALONE = "cross_encoder(model, batch_tokens=1), which reads each pair alone"


class Classifier(NamedTuple):
    """A sequence classifier, or a language model that answers yes or no, loaded.

    Attributes:
        reader: The model as sentence-transformers knows it: tokenizer, settings, prompts, modules.
        label: The number of the label that means relevant.
        limit: Tokens of query and document together that it reads.
        answers: Whether it is a language model, whose next word is the answer.
    """

    reader: CrossEncoder
    label: int
    limit: int
    answers: bool

    @property
    def device(self) -> str:
        """Where it is."""
        return str(self.reader.device)

    @property
    def prompt(self) -> str:
        """The prompt that it was saved with and uses unless told otherwise; empty where there is none."""
        return str(self.reader.prompts.get(self.reader.default_prompt_name) or "")

    def warn_of_long(self, prefixes: list[str], queries: list[str]) -> None:
        """Warn of queries that fill all that is read, so that they are cut beside any document."""
        different = list(dict.fromkeys(zip(prefixes, queries, strict=True)))
        first, second = [prefix for prefix, _ in different], [query for _, query in different]
        full = sum(len(ids) >= self.limit for ids in self.encode(first, second, [""] * len(different))["input_ids"])
        if full:
            said = f"{full} query(ies) fill all {self.limit} tokens; they and their documents are cut as sentence-transformers does"
            warnings.warn(f"{_STAGE}: {said}", CascadeWarning, stacklevel=2)

    def encode(self, prefixes: list[str], queries: list[str], texts: list[str]) -> Ids:
        """Tokenize pairs as sentence-transformers does, but without padding.

        Args:
            prefixes: Shape (n,). The prompt of each row: what stands before its query, or is the system message of a chat.
            queries: Shape (n,).
            texts: Shape (n,).

        Returns:
            As ``token_ids.tokenize``.
        """
        columns: dict[str, list[NDArray[np.int32]]] = {}
        settings = {"common": {"return_tensors": None}, "text": {"padding": False, "max_length": self.limit}}
        for prefix in dict.fromkeys(prefixes):
            rows = [row for row, one in enumerate(prefixes) if one == prefix]
            for start in range(0, len(rows), _TOKENIZED):
                part = rows[start : start + _TOKENIZED]
                pairs = [[queries[row], texts[row]] for row in part]
                for name, values in self.reader.preprocess(pairs, prompt=prefix or None, processing_kwargs=settings).items():
                    if isinstance(values, list) and name != "attention_mask":
                        column = columns.setdefault(name, [np.empty(0, np.int32)] * len(queries))
                        for row, ids in zip(part, values, strict=True):
                            column[row] = np.asarray(ids, np.int32)
        return columns

    def forward(self, inputs: Ids, rows: Ints) -> Floats:
        """Give the log-odds of some rows.

        Padding stands after a row; for a language model, whose last token gives the answer, before it, and positions are counted
        without it. The token is that of the model's configuration, by which some models find the end of a row.

        Args:
            inputs: What ``encode`` gave.
            rows: Shape (b,). Which.

        Returns:
            Shape (b,).

        Raises:
            StageError: The model cannot read these rows.
        """
        import torch  # noqa: PLC0415 - heavy

        reader = self.reader
        known = (reader.config.get_text_config().pad_token_id, reader.tokenizer.pad_token_id, 0)
        padded = pad(inputs, rows, {"input_ids": next(number for number in known if number is not None)}, left=self.answers)
        given: dict[str, object] = {"modality": "message" if "message" in reader[0].modality_config else "text"}
        if self.answers:
            padded["position_ids"] = np.maximum(padded["attention_mask"].cumsum(1) - 1, 0)
            given["logits_to_keep"] = 1
        given |= {name: torch.from_numpy(ids).to(reader.device) for name, ids in padded.items()}
        try:
            with torch.inference_mode():
                logits = reader(given)["scores"].double().cpu().numpy()
        except (IndexError, RuntimeError, ValueError) as error:
            if type(error).__name__ == "OutOfMemoryError":  # batches are made smaller
                raise
            alone = len(rows) > 1 and not isinstance(error, IndexError)  # such is a number that the model has no token for
            fix = _ALONE if alone else "a model and a tokenizer that were saved together"
            size = f"{len(rows)} pair(s) of up to {padded['input_ids'].shape[1]} tokens"
            raise StageError(f"{_STAGE} cannot read {size}", [first_line(error)], fix=fix) from error
        return to_log_odds(logits, self.label, reader)


def load_classifier(
    name: str,
    *,
    label: int | str | None = None,
    max_length: int | None = None,
    device: str | None = None,
    verbose: bool = False,
    dtype: Dtype = "fp32",
    padded: bool = True,
) -> Classifier:
    """Load a model that judges pairs.

    Args:
        name: A folder, or a name on the model hub.
        label: As in ``labels.find_label``.
        max_length: Tokens that are read; None: what the model was saved with.
        device: As in ``loading.find_device``.
        verbose: Show progress bars.
        dtype: As in ``dtypes.check_dtype``.
        padded: Whether rows of different lengths will be read together.

    Returns:
        The model, ready.

    Raises:
        MissingError: It cannot be loaded.
        PipelineError: It has other labels, answers or an activation than can be read, fewer positions, or cannot be padded.
    """
    reader = load_reader(name, _STAGE, device=device, verbose=verbose, dtype=dtype)
    answers = reader[0].transformer_task in ("text-generation", "any-to-any")
    found = keep_answers(reader, name, label) if answers else find_label(reader, label)
    check_activation(reader, name)
    model = Classifier(reader, found, find_limit(reader, max_length), answers)
    quicken(reader, {layer for layer in reader.modules() if getattr(layer, "out_features", 0) == reader.num_labels})
    if padded:
        _check_padding(model, name, _APART[dtype])
    return model


def find_limit(reader: CrossEncoder, max_length: int | None) -> int:
    """Tell how many tokens are read: what is asked for, else what the model was saved with, but no more than it has positions."""
    positions = _count_positions(reader.transformers_model)
    if max_length is None:
        saved = reader[0].processing_kwargs.get("text", {}).get("max_length") or reader.max_seq_length
        return min(int(saved or _NO_LIMIT), positions)
    if max_length > positions:
        fix = f"cross_encoder(model, max_length={positions})"
        problem = f"max_length is {max_length}, the model reads {positions} tokens at most"
        raise PipelineError("cross_encoder cannot read so much", [problem], fix=fix)
    return max_length


def _count_positions(model: PreTrainedModel) -> int:
    """Count the tokens that have a position; RoBERTa's kin begin to count after the number of the padding."""
    from torch.nn import Embedding  # noqa: PLC0415 - heavy

    tables = (layer for layer in model.modules() if isinstance(getattr(layer, "position_embeddings", None), Embedding))
    first = max((layer.padding_idx + 1 for layer in tables if isinstance(getattr(layer, "padding_idx", None), int)), default=0)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _NO_LIMIT
    return int(positions) - first if positions > 0 else _NO_LIMIT  # XLNet has -1: any number


def _check_padding(model: Classifier, name: str, tolerance: float) -> None:
    """Read a pair alone and beside a longer one, and refuse a model whose score of it moves."""
    inputs = model.encode([""] * 2, ["a"] * 2, ["a", "a " * 8])
    alone, beside = (float(model.forward(inputs, np.arange(rows))[0]) for rows in (1, 2))
    if abs(alone - beside) > tolerance * max(1.0, abs(alone)):
        problem = f"a pair scores {alone:.4g} alone and {beside:.4g} beside a longer one"
        raise PipelineError(f"{_STAGE} cannot pad what {name!r} reads", [problem], fix=_ALONE)
