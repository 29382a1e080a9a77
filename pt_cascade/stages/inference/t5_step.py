"""The first word of a T5's answer, without the products that a single step of its decoder does not need.

At its first step the decoder has one token. Its attention to itself is then its value, whatever the weights. And its attention to
the n tokens that were read needs no keys and values of theirs: as q·(K x) = (Kᵀq)·x, the one query is brought to the tokens, and as
Σ aᵢ V xᵢ = V Σ aᵢ xᵢ, their mean is brought back. That saves 2 of the d x d products a token and a decoder layer, an eighth of all
the work of a T5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.models.t5.modeling_t5 import T5Attention

READ = ("EncDecAttention.k", "EncDecAttention.v")  # the layers whose weights are read here, so that they stay torch's own


def first_logits(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Give the logits of the first word, shape (b, words), of ids and mask of shape (b, n), padded on the right.

    Where a version of transformers names its layers otherwise, the model computes them itself.
    """
    read = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    start = torch.full_like(ids[:, :1], model.config.decoder_start_token_id)
    try:
        return _step(model, read, mask, start)
    except AttributeError:
        logits: Tensor = model(encoder_outputs=(read,), attention_mask=mask, decoder_input_ids=start).logits[:, 0]
        return logits


def _step(model: PreTrainedModel, read: Tensor, mask: Tensor, start: Tensor) -> Tensor:
    hidden = model.get_input_embeddings()(start[:, 0]).to(read.dtype)
    unread = (mask == 0)[:, None]
    for block in model.decoder.block:
        own, other, dense = block.layer
        hidden = hidden + own.SelfAttention.o(own.SelfAttention.v(own.layer_norm(hidden)))
        hidden = hidden + _attend(other.EncDecAttention, other.layer_norm(hidden), read, unread)
        hidden = dense(hidden)
    hidden = model.decoder.final_layer_norm(hidden)
    if _scales(model.config):
        hidden = hidden * model.config.d_model**-0.5
    logits: Tensor = model.get_output_embeddings()(hidden)
    return logits


def _scales(config: PretrainedConfig) -> bool:
    """Tell whether the output layer is given scaled numbers: in T5, where it is the embeddings too, not in T5 1.1 or mT5."""
    scale = getattr(config, "scale_decoder_outputs", None)  # older transformers: by the tied embeddings
    return bool(config.model_type == "t5" and config.tie_word_embeddings) if scale is None else bool(scale)


def _attend(attention: T5Attention, hidden: Tensor, read: Tensor, unread: Tensor) -> Tensor:
    """Attend from one token, shape (b, d), to those that were read, shape (b, n, d)."""
    heads, size = attention.n_heads, attention.key_value_proj_dim
    keys, values = (layer.weight.view(heads, size, -1) for layer in (attention.k, attention.v))
    query = torch.einsum("bhs,hsd->bhd", attention.q(hidden).view(-1, heads, size), keys)
    weights = (query @ read.transpose(1, 2)).masked_fill_(unread, -torch.inf).softmax(-1)
    mean = torch.einsum("bhd,hsd->bhs", weights @ read, values)
    out: Tensor = attention.o(mean.reshape(len(hidden), -1))
    return out
