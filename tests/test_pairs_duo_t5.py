"""DuoT5 at the end of a cascade, scored once and replayed. The model is tiny and its weights random: it proves the mechanism."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
from judges import Judge
from test_company import TEXT
from toys import ToyRetriever, topics

from pt_cascade import Cascade
from pt_cascade.execution.answers import finish
from pt_cascade.execution.scoring import score
from pt_cascade.stages.duo_t5 import duo_t5

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SIZE = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 32128, "decoder_start_token_id": 0}


def test_duo_t5_is_scored_once_and_replayed(tmp_path: Path, t5_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers pass every check; at other cut-offs the replay scores as the live stage, to what its own batches move it."""
    monkeypatch.setenv("PT_CASCADE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZE, initializer_factor=2.0))
    model.save_pretrained(tmp_path / "duo")
    for file in t5_tokenizer.glob("*token*"):
        shutil.copy(file, tmp_path / "duo")
    last = duo_t5(tmp_path / "duo", device="cpu", aggregation="sym-sum")
    cascade = Cascade.of(ToyRetriever(docs=12, levels=3) % 8 >> TEXT >> Judge(3) % 4 >> last % 2)
    table = score(cascade, topics(3))
    assert np.ptp(table.duels["duo_t5"].p) > 0.01
    for cutoffs in ((8, 4, 2), (5, 3, None)):
        live = cascade.with_cutoffs(*cutoffs).transform(topics(3))
        ours = finish(table, cascade, cutoffs)
        assert ours["docno"].tolist() == live["docno"].tolist()
        np.testing.assert_allclose(ours["score"], live["score"], atol=1e-5)
        assert ((ours["score"] >= 0) & (ours["score"] <= 2 * (cutoffs[1] - 1))).all()
