"""Language models that answer yes or no: what they read, as sentence-transformers writes it, and the log-odds of yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pt_cascade.errors import MissingError, PipelineError
from pt_cascade.stages.classifiers import find_limit
from pt_cascade.stages.loading import find_device, loading
from pt_cascade.stages.precision import find_dtype, quicken
from pt_cascade.stages.token_ids import pad

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import CrossEncoder
    from transformers import PretrainedConfig

    from pt_cascade.ranking import Floats, Ints
    from pt_cascade.stages.precision import Precision
    from pt_cascade.stages.token_ids import Ids

_STAGE = "cross_encoder"
_TOKENIZED = 64


class Causal(NamedTuple):
    """A causal language model, loaded; of its output layer only the answers are left.

    Attributes:
        reader: The model as sentence-transformers knows it: its chat template, its cutting of what is too long.
        device: Where it is.
    """

    reader: CrossEncoder
    device: str

    def find_long(self, queries: list[str]) -> set[str]:  # noqa: ARG002 - as a Classifier
        """Find none: a chat is cut from the right, its last words put back, as sentence-transformers does."""
        return set()

    def encode(self, prefixes: list[str], queries: list[str], texts: list[str], full: set[str]) -> Ids:  # noqa: ARG002
        """Write each pair as the model's chat template does, the prompt as its system message; without one, one after the other.

        Args:
            prefixes: Shape (n,). The prompt of each row.
            queries: Shape (n,).
            texts: Shape (n,).
            full: Not used.

        Returns:
            The ids of each row.
        """
        ids: list[NDArray[np.int32]] = [np.empty(0, np.int32)] * len(queries)
        for prefix in dict.fromkeys(prefixes):
            rows = [row for row, one in enumerate(prefixes) if one == prefix]
            for start in range(0, len(rows), _TOKENIZED):
                part = rows[start : start + _TOKENIZED]
                written = self.reader.preprocess([[queries[row], texts[row]] for row in part], prompt=prefix or None)
                for row, line, read in zip(part, written["input_ids"].numpy(), written["attention_mask"].numpy(), strict=True):
                    ids[row] = line[read.astype(bool)].astype(np.int32)
        return {"input_ids": ids}

    def forward(self, inputs: Ids, rows: Ints) -> Floats:
        """Give the log-odds of yes against no as the next word.

        Padding stands before a row, and positions are counted without it, so that a row is read as it would be alone.

        Args:
            inputs: What ``encode`` gave.
            rows: Shape (b,). Which.

        Returns:
            Shape (b,).
        """
        import torch  # noqa: PLC0415 - heavy

        padded = pad(inputs, rows, {"input_ids": self.reader.tokenizer.pad_token_id}, left=True)
        padded["position_ids"] = np.maximum(padded["attention_mask"].cumsum(1) - 1, 0)
        with torch.inference_mode():
            given = {name: torch.from_numpy(ids).to(self.device) for name, ids in padded.items()}
            logits = self.reader.transformers_model(**given, use_cache=False, logits_to_keep=1).logits[:, -1].double()
        yes, *no = logits.cpu().numpy().T
        odds: Floats = yes - sum(no)
        return odds


def load_causal(
    name: str,
    config: PretrainedConfig,
    *,
    label: int | str | None = None,
    max_length: int | None = None,
    device: str | None = None,
    verbose: bool = False,
    precision: Precision = "fp32",
) -> Causal:
    """Load a causal language model that was trained to answer yes or no, e.g. Qwen3-Reranker.

    Args:
        name: A folder, or a name on the model hub.
        config: Its configuration.
        label: Must be None: it has none.
        max_length: Tokens that are read; None: what the model was made for.
        device: As in ``loading.find_device``.
        verbose: Show progress bars.
        precision: As in ``precision.check_precision``.

    Returns:
        The model, ready.

    Raises:
        MissingError: It cannot be loaded, or sentence-transformers does not know its answers.
        PipelineError: A label is asked for, or more positions than it has.
    """
    if label is not None:
        problem = f"label is {label!r}, but the model answers yes or no"
        raise PipelineError("cross_encoder cannot choose a label", [problem], fix="cross_encoder(model)")
    where = find_device(device, _STAGE)
    dtype = find_dtype(precision, where, _STAGE)
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - heavy

    with loading(name, _STAGE, verbose=verbose):
        reader = CrossEncoder(name, device=str(where), max_length=max_length, model_kwargs={"dtype": dtype}).eval()
        reader.preprocess([["query", "document"]])  # refuses a chat template that has no place for them
    find_limit(config, reader.tokenizer, max_length)
    _keep_answers(reader, name)
    quicken(reader.transformers_model, {reader.transformers_model.get_output_embeddings()})
    return Causal(reader, str(where))


def _keep_answers(reader: CrossEncoder, name: str) -> None:
    """Leave the rows of yes and no in the output layer, in float32."""
    from sentence_transformers.cross_encoder.modules import LogitScore  # noqa: PLC0415 - heavy

    from pt_cascade.stages.linears import Float32Linear  # noqa: PLC0415 - heavy

    asked = next((module for module in reader if isinstance(module, LogitScore)), None)
    if asked is None or len(reader) != 2:  # noqa: PLR2004 - the model, and what reads its answer
        problem = f"sentence-transformers reads it through {', '.join(type(module).__name__ for module in reader)}"
        raise MissingError(f"cross_encoder cannot ask {name!r}", [problem], fix="a model that ends in a LogitScore module")
    answers = [number for number in (asked.true_token_id, asked.false_token_id) if number is not None]
    model = reader.transformers_model
    model.set_output_embeddings(Float32Linear(model.get_output_embeddings(), answers))
