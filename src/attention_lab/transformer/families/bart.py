"""Marian (Junczys-Dowmunt et al. 2018, arXiv 1804.00344) and BART (Lewis et al. 2019, arXiv 1910.13461): the original
encoder-decoder, with learned positions and a bias on the output."""

from __future__ import annotations

from typing import Any

from attention_lab.transformer.config import Chosen, Config
from attention_lab.transformer.families.table import Part, Table, activation, below, load, refuse, tied, token
from attention_lab.transformer.models import EncoderDecoder

ATTENTION: Table = {
    "heads.query": "q_proj",
    "heads.key": "k_proj",
    "heads.value": "v_proj",
    "output": "out_proj",
}
FEEDFORWARD: Table = {
    "feedforward.inner": "fc1",
    "feedforward.outer": "fc2",
    "around_feedforward.norm": "final_layer_norm",
}
ENCODER_BLOCK: Table = {
    **below("attention.", "self_attn.", ATTENTION),
    "around_attention.norm": "self_attn_layer_norm",
    **FEEDFORWARD,
}
DECODER_BLOCK: Table = {
    **below("itself.", "self_attn.", ATTENTION),
    "around_itself.norm": "self_attn_layer_norm",
    **below("cross.", "encoder_attn.", ATTENTION),
    "around_cross.norm": "encoder_attn_layer_norm",
    **FEEDFORWARD,
}
MARIAN: Table = {
    "embedding.tokens": "model.shared",
    "embedding.learned": "model.encoder.embed_positions",
    "target_embedding.learned": "model.decoder.embed_positions",
    **below("encoder.blocks.*.", "model.encoder.layers.*.", ENCODER_BLOCK),
    **below("decoder.blocks.*.", "model.decoder.layers.*.", DECODER_BLOCK),
    "output": "lm_head.weight",
    "output_bias": Part("final_logits_bias", lambda bias: bias[0]),
}
OFFSET = 2  # rows before the first position, left over from a numbering that reserved them for padding
BART: Table = {
    **MARIAN,
    "embedding.learned": Part("model.encoder.embed_positions", lambda rows: rows[OFFSET:]),
    "embedding.norm": "model.encoder.layernorm_embedding",
    "target_embedding.learned": Part("model.decoder.embed_positions", lambda rows: rows[OFFSET:]),
    "target_embedding.norm": "model.decoder.layernorm_embedding",
}


def marian(model: Any) -> EncoderDecoder:
    """Convert `MarianMTModel`; its sinusoids become learned positions, since their features are ordered differently."""
    refuse(
        model,
        not model.config.share_encoder_decoder_embeddings,
        "source and target have separate vocabularies, but there is one here",
    )
    config = _config(model, embedding_norm=False)
    return load(lambda: EncoderDecoder(config), MARIAN, model)


def bart(model: Any) -> EncoderDecoder:
    """Convert `BartForConditionalGeneration`."""
    config = _config(model, embedding_norm=True)
    return load(lambda: EncoderDecoder(config), BART, model)


def _config(model: Any, *, embedding_norm: bool) -> Config:
    theirs = model.config
    for name in ("ffn_dim", "attention_heads"):
        left, right = getattr(theirs, f"encoder_{name}"), getattr(theirs, f"decoder_{name}")
        refuse(model, left != right, f"encoder_{name} is {left}, decoder_{name} is {right}, but here they are one")
    plain = Chosen(name="scaled_dot_product")
    return Config(
        architecture="encoder_decoder",
        task="translation",
        vocabulary=theirs.vocab_size,
        labels=(),
        pad=token(model, "pad_token_id"),
        start=token(model, "decoder_start_token_id"),
        end=token(model, "eos_token_id"),
        positions=theirs.max_position_embeddings,
        layers=theirs.encoder_layers,
        decoder_layers=theirs.decoder_layers,
        width=theirs.d_model,
        heads=theirs.encoder_attention_heads,
        feedforward=theirs.encoder_ffn_dim,
        dropout=theirs.dropout,
        attention_dropout=theirs.attention_dropout,
        feedforward_dropout=theirs.activation_dropout,
        norm="post",
        activation=activation(model, theirs.activation_function),
        tied=tied(model),
        position="learned",
        mechanisms={"encoder_self": plain, "decoder_self": plain, "cross": plain},
        embedding_scale=None if theirs.scale_embedding else 1.0,
        embedding_norm=embedding_norm,
        target_embedding=True,
        output_bias=True,
    )
