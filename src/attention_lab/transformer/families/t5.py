"""T5 (Raffel et al. 2020, arXiv 1910.10683) and T5 v1.1 (Shazeer 2020, arXiv 2002.05202): layers without biases,
unscaled scores, and positions as numbers added to the scores."""

from __future__ import annotations

from typing import Any

from attention_lab.transformer.config import Chosen, Config
from attention_lab.transformer.families.table import Table, activation, below, load, refuse, tied, token
from attention_lab.transformer.models import EncoderDecoder

ATTENTION: Table = {"heads.query": "q", "heads.key": "k", "heads.value": "v", "output": "o"}
ENCODER_BLOCK: Table = {
    **below("attention.", "layer.0.SelfAttention.", ATTENTION),
    "around_attention.norm": "layer.0.layer_norm",
    "around_feedforward.norm": "layer.1.layer_norm",
}
DECODER_BLOCK: Table = {
    **below("itself.", "layer.0.SelfAttention.", ATTENTION),
    "around_itself.norm": "layer.0.layer_norm",
    **below("cross.", "layer.1.EncDecAttention.", ATTENTION),
    "around_cross.norm": "layer.1.layer_norm",
    "around_feedforward.norm": "layer.2.layer_norm",
}
PLAIN: Table = {"feedforward.inner": "wi", "feedforward.outer": "wo"}
GATED: Table = {"feedforward.gate": "wi_0", "feedforward.inner": "wi_1", "feedforward.outer": "wo"}
# In T5 all layers share the first layer's numbers; here each has a copy.
NUMBERS = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def _table(feedforward: Table) -> Table:
    return {
        "embedding.tokens": "shared",
        **below("encoder.blocks.*.", "encoder.block.*.", ENCODER_BLOCK),
        **below("encoder.blocks.*.", "encoder.block.*.layer.1.DenseReluDense.", feedforward),
        "encoder.blocks.*.attention.core.position.numbers": f"encoder.{NUMBERS}",
        "encoder.norm": "encoder.final_layer_norm",
        **below("decoder.blocks.*.", "decoder.block.*.", DECODER_BLOCK),
        **below("decoder.blocks.*.", "decoder.block.*.layer.2.DenseReluDense.", feedforward),
        "decoder.blocks.*.itself.core.position.numbers": f"decoder.{NUMBERS}",
        "decoder.norm": "decoder.final_layer_norm",
        "output": "lm_head.weight",
    }


def t5(model: Any) -> EncoderDecoder:
    """Convert `T5ForConditionalGeneration`, v1.0 (relu, tied) or v1.1 (gated gelu, untied output)."""
    theirs = model.config
    heads, head, width = theirs.num_heads, theirs.d_kv, theirs.d_model
    refuse(
        model,
        heads * head != width,
        f"its {heads} heads of width {head} are not {width} wide together, as heads here must be",
    )
    own = Chosen(
        name="t5",
        options={
            "buckets": theirs.relative_attention_num_buckets,
            "distance": theirs.relative_attention_max_distance,
        },
    )
    config = Config(
        architecture="encoder_decoder",
        task="translation",
        vocabulary=theirs.vocab_size,
        labels=(),
        pad=token(model, "pad_token_id"),
        start=token(model, "decoder_start_token_id", "pad_token_id"),
        end=token(model, "eos_token_id"),
        positions=getattr(theirs, "n_positions", 512),
        layers=theirs.num_layers,
        decoder_layers=theirs.num_decoder_layers,
        width=width,
        heads=heads,
        feedforward=theirs.d_ff,
        dropout=theirs.dropout_rate,
        attention_dropout=theirs.dropout_rate,
        feedforward_dropout=theirs.dropout_rate,
        norm="pre",
        normalisation="rms",
        epsilon=theirs.layer_norm_epsilon,
        activation=activation(model, theirs.dense_act_fn),
        gated=theirs.is_gated_act,
        tied=tied(model),
        position="none",
        mechanisms={"encoder_self": own, "decoder_self": own, "cross": Chosen(name="dot")},
        embedding_scale=1.0,
        output_scale=width**-0.5 if theirs.scale_decoder_outputs else 1.0,
    )
    return load(lambda: EncoderDecoder(config), _table(GATED if config.gated else PLAIN), model)
