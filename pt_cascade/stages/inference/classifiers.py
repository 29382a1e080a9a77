"""Models that judge a pair, as sentence-transformers reads them, with the same score in any batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.errors import PipelineError, StageError, first_line
from pt_cascade.numbers import count_of
from pt_cascade.stages.inference.batching import pad
from pt_cascade.stages.inference.causal_lm import keep_answers
from pt_cascade.stages.inference.labels import find_label, to_log_odds
from pt_cascade.stages.inference.loading import load_reader

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import CrossEncoder
    from transformers import PreTrainedModel

    from pt_cascade.ranking import Floats
    from pt_cascade.stages.inference.batching import Ids, Rows
    from pt_cascade.stages.inference.loading import ModelSpec

_NO_LIMIT = 1_000_000  # transformers writes 1e30 where a tokenizer was saved without one
_APART = {"fp32": 1e-4, "bf16": 0.1}
_ALONE = "cross_encoder(model, batch_tokens=1), which reads each pair alone"


class Classifier(NamedTuple):
    """A sequence classifier, or a language model that answers yes or no, loaded."""

    reader: CrossEncoder  # the model as sentence-transformers knows it: tokenizer, settings, prompts, modules
    label: int  # which output means relevant
    limit: int  # tokens of query and document together
    answers: bool  # whether it is a language model, whose next word is the answer

    @property
    def device(self) -> str:
        """The device of the model."""
        return str(self.reader.device)

    @property
    def prompt(self) -> str:
        """The prompt that it was saved with; empty where there is none."""
        return str(self.reader.prompts.get(self.reader.default_prompt_name) or "")

    def find_full(self, rows: Rows) -> list[str]:
        """List the different queries, each with its prompt, that leave no token for a document."""
        alone = [(prompt, query, "") for prompt, query in dict.fromkeys((prompt, query) for prompt, query, _ in rows)]
        lengths = map(len, self.encode(alone)["input_ids"])
        return [query for (_, query, _), length in zip(alone, lengths, strict=True) if length >= self.limit]

    def encode(self, rows: Rows) -> Ids:
        """Tokenize pairs as sentence-transformers does, but without padding."""
        columns: dict[str, list[NDArray[np.int32]]] = {}
        settings = {"common": {"return_tensors": None}, "text": {"padding": False, "max_length": self.limit}}
        for prompt in dict.fromkeys(prompt for prompt, _, _ in rows):
            places = [place for place, row in enumerate(rows) if row[0] == prompt]
            pairs = [list(rows[place][1:]) for place in places]
            for name, values in self.reader.preprocess(pairs, prompt=prompt or None, processing_kwargs=settings).items():
                if isinstance(values, list) and name != "attention_mask":
                    column = columns.setdefault(name, [np.empty(0, np.int32)] * len(rows))
                    for place, ids in zip(places, values, strict=True):
                        column[place] = np.asarray(ids, np.int32)
        return columns

    def forward(self, ids: Ids) -> Floats:
        """Give the log-odds of b pairs, shape (b,).

        Padding stands after a row; for a language model, whose last token gives the answer, before it, and positions are counted
        without it. The padding token is that of the model's configuration, by which some models find the end of a row.
        """
        import torch  # noqa: PLC0415 - heavy

        reader = self.reader
        known = (reader.config.get_text_config().pad_token_id, reader.tokenizer.pad_token_id, 0)
        padded = pad(ids, {"input_ids": next(number for number in known if number is not None)}, left=self.answers)
        given: dict[str, object] = {"modality": "message" if "message" in reader[0].modality_config else "text"}
        if self.answers:
            padded["position_ids"] = np.maximum(padded["attention_mask"].cumsum(1) - 1, 0)
            given["logits_to_keep"] = 1
        given |= {name: torch.from_numpy(values).to(reader.device) for name, values in padded.items()}
        try:
            with torch.inference_mode():
                logits = reader(given)["scores"].double().cpu().numpy()
        except (IndexError, RuntimeError, ValueError) as error:
            if type(error).__name__ == "OutOfMemoryError":  # batches are made smaller
                raise
            count, longest = padded["input_ids"].shape
            alone = count > 1 and not isinstance(error, IndexError)  # an IndexError is an id that the model has no token for
            fix = _ALONE if alone else "a model and a tokenizer that were saved together"
            raise StageError(
                f"cannot read {count_of(count, 'pair')} of up to {longest} tokens", [first_line(error)], fix=fix
            ) from error
        return to_log_odds(logits, self.label, reader)


def load_classifier(spec: ModelSpec, label: int | str | None, max_length: int | None, *, padded: bool) -> Classifier:
    """Load a model that judges pairs; where rows will be ``padded``, refuse one whose scores change with padding."""
    reader = load_reader(spec)
    from pt_cascade.stages.inference.dtypes import replace_layers  # noqa: PLC0415 - heavy

    answers = reader[0].transformer_task in ("text-generation", "any-to-any")
    found = keep_answers(reader, spec.name, label) if answers else find_label(reader, label)
    model = Classifier(reader, found, find_limit(reader, max_length), answers)
    replace_layers(reader, {layer for layer in reader.modules() if getattr(layer, "out_features", 0) == reader.num_labels})
    if padded:
        _check_padding(model, spec.name, _APART[spec.dtype])
    return model


def find_limit(reader: CrossEncoder, max_length: int | None) -> int:
    """Find how many tokens are read: ``max_length``, else what the model was saved with, but no more than it has positions."""
    positions = _count_positions(reader.transformers_model)
    if max_length is None:
        saved = reader[0].processing_kwargs.get("text", {}).get("max_length") or reader.max_seq_length
        return min(int(saved or _NO_LIMIT), positions)
    if max_length > positions:
        fix = f"cross_encoder(model, max_length={positions})"
        problem = f"max_length is {max_length}, the model reads {positions} tokens at most"
        raise PipelineError("max_length is too large", [problem], fix=fix)
    return max_length


def _count_positions(model: PreTrainedModel) -> int:
    """Count the tokens that have a position; RoBERTa and its like begin to count after the number of the padding."""
    from torch.nn import Embedding  # noqa: PLC0415 - heavy

    tables = (layer for layer in model.modules() if isinstance(getattr(layer, "position_embeddings", None), Embedding))
    first = max((layer.padding_idx + 1 for layer in tables if isinstance(getattr(layer, "padding_idx", None), int)), default=0)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _NO_LIMIT
    return int(positions) - first if positions > 0 else _NO_LIMIT  # XLNet has -1: any number


def _check_padding(model: Classifier, name: str, tolerance: float) -> None:
    """Score a pair alone and beside a longer one, and refuse a model whose score of it changes."""
    pairs = model.encode([("", "a", "a"), ("", "a", "a " * 8)])
    alone, beside = (float(model.forward({name: rows[:count] for name, rows in pairs.items()})[0]) for count in (1, 2))
    if abs(alone - beside) > tolerance * max(1.0, abs(alone)):
        problem = f"a pair scores {alone:.4g} alone and {beside:.4g} with a longer pair"
        raise PipelineError(f"the scores of {name!r} change with padding", [problem], fix=_ALONE)
