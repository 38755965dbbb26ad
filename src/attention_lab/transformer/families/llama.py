"""Llama (Touvron et al. 2023, arXiv 2302.13971 and 2307.09288): a decoder with rotary positions, SwiGLU and RMS norms;
since Llama 2, groups of heads can share keys and values."""

from __future__ import annotations

from typing import Any

from attention_lab.transformer.config import Chosen, Config
from attention_lab.transformer.families.table import Table, activation, below, load, refuse, tied, token
from attention_lab.transformer.models import LanguageModel

BLOCK: Table = {
    "itself.heads.query": "self_attn.q_proj",
    "itself.heads.key": "self_attn.k_proj",
    "itself.heads.value": "self_attn.v_proj",
    "itself.output": "self_attn.o_proj",
    "around_itself.norm": "input_layernorm",
    "feedforward.gate": "mlp.gate_proj",
    "feedforward.inner": "mlp.up_proj",
    "feedforward.outer": "mlp.down_proj",
    "around_feedforward.norm": "post_attention_layernorm",
}
LLAMA: Table = {
    "embedding.tokens": "model.embed_tokens",
    **below("decoder.blocks.*.", "model.layers.*.", BLOCK),
    "decoder.norm": "model.norm",
    "output": "lm_head.weight",
}


def llama(model: Any) -> LanguageModel:
    """Convert `LlamaForCausalLM`."""
    theirs = model.config
    heads, head, width = theirs.num_attention_heads, theirs.head_dim, theirs.hidden_size
    refuse(model, heads * head != width, f"its {heads} heads are {head} wide, but heads here are {width} / {heads}")
    rope = theirs.rope_parameters
    refuse(model, rope["rope_type"] != "default", f"its rotary positions are scaled ({rope['rope_type']})")
    config = Config(
        architecture="decoder",
        task="generation",
        vocabulary=theirs.vocab_size,
        labels=(),
        pad=token(model, "pad_token_id", "eos_token_id"),
        start=token(model, "bos_token_id"),
        end=token(model, "eos_token_id"),
        positions=theirs.max_position_embeddings,
        layers=0,
        decoder_layers=theirs.num_hidden_layers,
        width=width,
        heads=heads,
        feedforward=theirs.intermediate_size,
        dropout=0.0,
        attention_dropout=theirs.attention_dropout,
        norm="pre",
        normalisation="rms",
        epsilon=theirs.rms_norm_eps,
        activation=activation(model, theirs.hidden_act),
        gated=True,
        tied=tied(model),
        position="none",  # the mechanism has its own
        mechanisms={
            "decoder_self": Chosen(
                name="rotary",
                options={"base": float(rope["rope_theta"]), "key_heads": theirs.num_key_value_heads},
            )
        },
        embedding_scale=1.0,
    )
    return load(lambda: LanguageModel(config), LLAMA, model)
