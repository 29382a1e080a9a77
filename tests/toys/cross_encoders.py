"""Tiny cross-encoders of random weights, of many architectures, saved as transformers and sentence-transformers save them."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers.processors import TemplateProcessing

LIMIT = 48
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_DECODER = {**_SMALL, "num_key_value_heads": 2, "head_dim": 8}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_LONG = {"max_position_embeddings": LIMIT}
_LONGER = {"max_position_embeddings": LIMIT + 2}  # such models begin to count positions after that of the padding

# By name: the configuration, its settings, and how its tokenizer marks a pair.
CLASSIFIERS: dict[str, tuple[type, dict[str, Any], str]] = {
    "bert": (transformers.BertConfig, {**_SMALL, **_LONG}, "cls"),
    "roberta": (transformers.RobertaConfig, {**_SMALL, **_LONGER, "type_vocab_size": 1}, "s"),
    "xlm-roberta": (transformers.XLMRobertaConfig, {**_SMALL, **_LONGER, "type_vocab_size": 1}, "s"),
    "distilbert": (transformers.DistilBertConfig, {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, **_LONG}, "cls"),
    "electra": (transformers.ElectraConfig, {**_SMALL, **_LONG, "embedding_size": 16}, "cls"),
    "deberta-v2": (
        transformers.DebertaV2Config,
        {**_SMALL, **_LONG, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
        "cls",
    ),
    "albert": (transformers.AlbertConfig, {**_SMALL, **_LONG, "embedding_size": 16}, "cls"),
    "mpnet": (transformers.MPNetConfig, {**_SMALL, **_LONGER}, "s"),
    "modernbert": (
        transformers.ModernBertConfig,
        {**_SMALL, **_LONG, "global_attn_every_n_layers": 2, "local_attention": 8},
        "cls",
    ),
    "gpt2": (transformers.GPT2Config, {**_GPT2, "n_positions": LIMIT}, "eos"),
    "llama": (transformers.LlamaConfig, {**_DECODER, **_LONG}, "eos"),
    "t5": (transformers.T5Config, {**_T5, "feed_forward_proj": "gated-gelu"}, "t5"),
}
ANSWERING: dict[str, tuple[type, dict[str, Any], str]] = {
    "qwen2": (transformers.Qwen2Config, {**_SMALL, "num_key_value_heads": 2, **_LONG}, "eos"),
    "qwen3": (transformers.Qwen3Config, {**_DECODER, **_LONG}, "eos"),
}
_MARKS = {
    "cls": (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "s": (["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    "eos": (["<pad>", "<unk>", "<eos>"], "$A <eos>", "$A <eos> $B <eos>"),
    "t5": (["<pad>", "</s>", "<unk>"], "$A </s>", "$A </s> $B </s>"),
}
_NAMES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]",),
    "eos_token": ("</s>", "<eos>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def make_tokenizer(
    style: str, limit: int | None = LIMIT, words: tuple[str, ...] = ("yes", "no")
) -> transformers.PreTrainedTokenizerFast:
    """Make a tokenizer of letters and some words that marks a pair in one of four styles."""
    marks, single, pair = _MARKS[style]
    letters = string.ascii_lowercase + string.digits
    pieces = [*marks, *words, "heat", "flow", "body", *letters, *(f"##{letter}" for letter in letters)]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    unknown = next(mark for mark in marks if "unk" in mark.lower())
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(numbers, unk_token=unknown))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=[(mark, numbers[mark]) for mark in marks])
    named = {name: mark for name, choices in _NAMES.items() for mark in marks if mark in choices}
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if style == "cls" else [])]
    extra = {} if limit is None else {"model_max_length": limit}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_input_names=inputs, **named, **extra)


def save(kind: str, folder: Path, *, tokenizer: transformers.PreTrainedTokenizerFast | None = None, **changes: Any) -> Path:
    """Save a model of random weights, large enough to tell texts apart, and its tokenizer, as transformers does."""
    config_class, settings, style = {**CLASSIFIERS, **ANSWERING}[kind]
    tokenizer = make_tokenizer(style) if tokenizer is None else tokenizer
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "eos", "bos", "cls", "sep")}
    if kind == "t5":
        ids["decoder_start_token_id"] = 0
    config = config_class(**{"vocab_size": len(tokenizer), **settings, **ids, "num_labels": 1, **changes})
    load = transformers.AutoModelForCausalLM if kind in ANSWERING else transformers.AutoModelForSequenceClassification
    torch.manual_seed(len(kind))
    model = load.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_((0.15 if kind == "t5" else 0.3) / weight.std().clamp(min=1e-6))  # a T5 does not scale its attention
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


Save = Callable[..., Path]
