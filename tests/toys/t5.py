"""Tiny T5 models of random weights, saved with a real tokenizer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import transformers

SIZE = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 32128, "decoder_start_token_id": 0}


def save_model(model: Any, folder: Path, tokenizer: Path | None) -> str:
    """Save a model, with the files of a tokenizer if one is given."""
    model.save_pretrained(folder)
    for file in tokenizer.glob("*token*") if tokenizer else ():
        shutil.copy(file, folder)
    return str(folder)


def make_t5() -> transformers.T5ForConditionalGeneration:
    """A T5, its output layer its embeddings."""
    torch.manual_seed(0)
    return transformers.T5ForConditionalGeneration(transformers.T5Config(**SIZE, n_positions=512, initializer_factor=1.5))


def make_mt5() -> transformers.MT5ForConditionalGeneration:
    """An mT5, its output layer apart from its embeddings as in every mT5."""
    torch.manual_seed(1)
    model = transformers.MT5ForConditionalGeneration(transformers.MT5Config(**SIZE))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(32128, 32) / 4)
    return model
