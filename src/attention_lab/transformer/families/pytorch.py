"""PyTorch's own Transformer: an encoder and a decoder, without embeddings."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import functional as F

from attention_lab.transformer.config import Chosen, Config
from attention_lab.transformer.families.table import Activation, Part, Table, below, load, refuse, third
from attention_lab.transformer.stacks import Decoder, Encoder

ATTENTION: Table = {
    "heads.query": Part("in_proj_", third(0)),
    "heads.key": Part("in_proj_", third(1)),
    "heads.value": Part("in_proj_", third(2)),
    "output": "out_proj",
}
FEEDFORWARD: Table = {"feedforward.inner": "linear1", "feedforward.outer": "linear2"}
ENCODER_BLOCK: Table = {
    **below("attention.", "self_attn.", ATTENTION),
    "around_attention.norm": "norm1",
    **FEEDFORWARD,
    "around_feedforward.norm": "norm2",
}
DECODER_BLOCK: Table = {
    **below("itself.", "self_attn.", ATTENTION),
    "around_itself.norm": "norm1",
    **below("cross.", "multihead_attn.", ATTENTION),
    "around_cross.norm": "norm2",
    **FEEDFORWARD,
    "around_feedforward.norm": "norm3",
}
TABLE: Table = {
    **below("encoder.blocks.*.", "encoder.layers.*.", ENCODER_BLOCK),
    "encoder.norm": "encoder.norm",
    **below("decoder.blocks.*.", "decoder.layers.*.", DECODER_BLOCK),
    "decoder.norm": "decoder.norm",
}


def from_pytorch(model: nn.Transformer) -> tuple[Encoder, Decoder]:
    """Convert `torch.nn.Transformer` to our encoder and decoder, with copies of its weights, in eval mode.

    It has no embeddings, so the result is not a complete model. Encoder and decoder take (B, L, W), whatever its
    `batch_first`.

    Raises:
        InputError: it has a feature that our blocks lack; the message says which.
    """
    encoder, decoder = model.encoder, model.decoder
    custom = not isinstance(encoder, nn.TransformerEncoder) or not isinstance(decoder, nn.TransformerDecoder)
    refuse(model, custom, "it has an encoder or a decoder of its own kind")
    refuse(model, (encoder.norm is None) != (decoder.norm is None), "one of its stacks has a norm on top")
    first: Any = encoder.layers[0]
    known: dict[Any, Activation] = {F.relu: "relu", F.gelu: "gelu"}
    refuse(model, first.activation not in known, f"its activation is {first.activation}; known are relu and gelu")
    plain = Chosen(name="scaled_dot_product")
    config = Config(
        architecture="encoder_decoder",
        task="translation",
        vocabulary=1,
        labels=(),
        pad=0,
        start=0,
        end=0,
        positions=1,
        layers=len(encoder.layers),
        decoder_layers=len(decoder.layers),
        width=model.d_model,
        heads=model.nhead,
        feedforward=first.linear1.out_features,
        dropout=first.dropout1.p,
        attention_dropout=first.self_attn.dropout,
        feedforward_dropout=first.dropout.p,
        norm="pre" if first.norm_first else "post",
        epsilon=first.norm1.eps,
        activation=known[first.activation],
        position="none",
        mechanisms={"encoder_self": plain, "decoder_self": plain, "cross": plain},
        final_norm=encoder.norm is not None,
    )
    both = load(lambda: nn.ModuleDict({"encoder": Encoder(config), "decoder": Decoder(config)}), TABLE, model)
    found: Any = (both["encoder"], both["decoder"])
    return found[0], found[1]
