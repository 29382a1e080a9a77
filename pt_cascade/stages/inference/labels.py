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
    """Find the number of the relevant label: the one that is asked for; the only one; of two the one whose name means relevant."""
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
    found = "it does not say which one means relevant" if label is None else f"none of them is {label!r}"
    choice = ", or ".join(f"label={number} for {name}" for number, name in sorted(names.items()))
    fix = f"cross_encoder(model, label=...) with the label that means relevant: {choice}"
    raise PipelineError("cannot choose a label", [f"the model has {have}; {found}"], fix=fix)


def to_log_odds(logits: Floats, label: int, reader: CrossEncoder) -> Floats:
    """Give log p/(1-p) of a label, shape (b,), from logits, shape (b, labels).

    p is the softmax of the labels where they exclude each other, and the sigmoid of the label's own logit where they do not.
    """
    own = logits[:, label]
    apart = type(reader.activation_fn).__name__ not in _SOFTMAX or reader.config.problem_type == "multi_label_classification"
    if logits.shape[1] == 1 or apart:
        return own
    odds: Floats = own - np.logaddexp.reduce(np.delete(logits, label, axis=1), axis=1)
    return odds
