"""What a cross-encoder's outputs mean: which label is the relevant one, and its log-odds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pt_cascade.errors import PipelineError

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from pt_cascade.ranking import Floats

_RELEVANT = {"relevant", "positive", "pos", "true", "yes", "1", "label1"}
_SOFTMAX = ("Identity", "Softmax", "LogSoftmax")


def find_label(reader: CrossEncoder, label: int | str | None) -> int:
    """Find the label that means relevant: the one that is named; of two the one whose name says so; the only one.

    Args:
        reader: The model as sentence-transformers knows it.
        label: Its number or name, or None.

    Returns:
        Its number.

    Raises:
        PipelineError: There is no such label, or none is named and it cannot be told.
    """
    named = reader.config.id2label if len(reader.config.id2label) == reader.num_labels else {}
    names = {number: str(named.get(number, f"LABEL_{number}")) for number in range(reader.num_labels)}
    meant = [number for number, name in names.items() if re.sub("[^a-z0-9]", "", name.lower()) in _RELEVANT]
    if label is None and len(names) == 1:
        return 0
    if label is None and len(names) == 2 and len(meant) == 1:  # noqa: PLR2004 - relevant or not
        return meant[0]
    for number, name in names.items():
        if label in (number, name):
            return number
    have = ", ".join(f"{number} {name}" for number, name in sorted(names.items()))
    found = "which one means relevant is not said" if label is None else f"none of them is {label!r}"
    choice = ", or ".join(f"label={number} for {name}" for number, name in sorted(names.items()))
    fix = f"cross_encoder(model, label=...) with the label that means relevant: {choice}"
    raise PipelineError("cross_encoder cannot choose a label", [f"the model has {have}; {found}"], fix=fix)


def check_activation(reader: CrossEncoder, name: str) -> None:
    """Refuse a model that was saved with an activation after which its scores would stand in another order than their log-odds."""
    import torch  # noqa: PLC0415 - heavy

    activation = type(reader.activation_fn).__name__
    if reader.num_labels > 1:
        kept = activation in (*_SOFTMAX, "Sigmoid")
    else:
        rising = reader.activation_fn(torch.linspace(-9, 9, 181, dtype=torch.float64)[:, None])
        kept = bool((rising.diff(dim=0) > 0).all())
    if not kept:
        problem = f"it was saved with the activation {activation}, which does not keep the order of its outputs"
        fix = "CrossEncoder(model, activation_fn=torch.nn.Identity()).save_pretrained(folder), of sentence-transformers"
        raise PipelineError(f"cross_encoder cannot rank by {name!r}", [problem], fix=fix)


def to_log_odds(logits: Floats, label: int, reader: CrossEncoder) -> Floats:
    """Give log p/(1-p) of a label, shape (b,), from logits, shape (b, labels).

    Where labels exclude each other p is their softmax, and the log-odds the label's logit less the log-sum-exp of the others. Where
    each is judged by itself, p is the sigmoid of its logit.
    """
    own = logits[:, label]
    apart = type(reader.activation_fn).__name__ not in _SOFTMAX or reader.config.problem_type == "multi_label_classification"
    if logits.shape[1] == 1 or apart:
        return own
    odds: Floats = own - np.logaddexp.reduce(np.delete(logits, label, axis=1), axis=1)
    return odds
