"""Each option of the blocks against PyTorch's functions or a block of transformers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from oracles import BATCH
from test_models import PAD, VOCABULARY, config
from torch import nn
from torch.nn import functional as F

from attention_lab.attention.positions import Rotary, sinusoidal
from attention_lab.errors import InputError
from attention_lab.transformer.blocks import DecoderBlock, Embedding, EncoderBlock, FeedForward, Residual, norm

WIDTH, LENGTH, INNER = 12, 7, 17


def filled(module: Any) -> Any:
    """In float64, with numbers in all parameters."""
    torch.manual_seed(0)
    module = module.double().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def vectors() -> torch.Tensor:
    return torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("epsilon", [1e-5, 0.7])
@pytest.mark.parametrize("normalisation", ["layer", "rms"])
def test_norms(normalisation: str, epsilon: float) -> None:
    made = filled(norm(config(normalisation=normalisation, epsilon=epsilon)))
    inputs = vectors()
    if normalisation == "layer":
        expected = F.layer_norm(inputs, (WIDTH,), made.weight, made.bias, epsilon)
    else:
        expected = made.weight * inputs / (inputs.square().mean(-1, keepdim=True) + epsilon).sqrt()
    torch.testing.assert_close(made(inputs), expected)


@pytest.mark.parametrize("kind", ["pre", "post", "sandwich"])
def test_where_a_block_normalises(kind: str) -> None:
    around = filled(Residual(config(norm=kind)))
    inputs, sublayer = vectors(), torch.sin

    def normed(layer: Any, tensor: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(tensor, (WIDTH,), layer.weight, layer.bias)

    expected = {
        "pre": lambda: inputs + sublayer(normed(around.norm, inputs)),
        "post": lambda: normed(around.norm, inputs + sublayer(inputs)),
        "sandwich": lambda: inputs + normed(around.after, sublayer(normed(around.norm, inputs))),
    }[kind]()
    torch.testing.assert_close(around(inputs, sublayer), expected)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu"])
def test_the_feed_forward_layer(activation: str, gated: bool) -> None:
    layer = filled(FeedForward(config(activation=activation, gated=gated)))
    inputs = vectors()

    def bent(x: torch.Tensor) -> torch.Tensor:
        match activation:
            case "relu":
                return x.clamp(min=0)
            case "gelu":
                return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
            case "gelu_tanh":  # Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2
                return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
            case _:
                return x / (1 + torch.exp(-x))

    hidden = inputs @ layer.inner.weight.T + layer.inner.bias
    hidden = bent(inputs @ layer.gate.weight.T + layer.gate.bias) * hidden if gated else bent(hidden)
    torch.testing.assert_close(layer(inputs), hidden @ layer.outer.weight.T + layer.outer.bias)


def test_a_block_of_gemma_2() -> None:
    """Sandwich, RMS norms and a gated gelu in one: an independent implementation."""
    from transformers import Gemma2Config
    from transformers.models.gemma2.modeling_gemma2 import Gemma2DecoderLayer, Gemma2RotaryEmbedding

    theirs_config = Gemma2Config(
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=4,
        query_pre_attn_scalar=4,
        attn_logit_softcapping=None,
        num_hidden_layers=1,
        rms_norm_eps=1e-5,
        layer_types=["full_attention"],
        attn_implementation="eager",
    )
    theirs = Gemma2DecoderLayer(theirs_config, layer_idx=0)
    options = {"normalisation": "rms", "activation": "gelu_tanh", "gated": True, "position": "rotary"}
    ours = DecoderBlock(config(architecture="decoder", norm="sandwich", **options)).eval()
    pairs = {
        "itself.heads.query": theirs.self_attn.q_proj,
        "itself.heads.key": theirs.self_attn.k_proj,
        "itself.heads.value": theirs.self_attn.v_proj,
        "itself.output": theirs.self_attn.o_proj,
        "feedforward.gate": theirs.mlp.gate_proj,
        "feedforward.inner": theirs.mlp.up_proj,
        "feedforward.outer": theirs.mlp.down_proj,
        "around_itself.norm": theirs.input_layernorm,
        "around_itself.after": theirs.post_attention_layernorm,
        "around_feedforward.norm": theirs.pre_feedforward_layernorm,
        "around_feedforward.after": theirs.post_feedforward_layernorm,
    }
    torch.manual_seed(2)
    for name, layer in pairs.items():
        nn.init.normal_(layer.weight, std=0.4)
        gain = 1.0 if layer.weight.ndim == 1 else 0.0  # theirs is 1 + weight
        ours.get_submodule(name).weight.data.copy_(layer.weight.data + gain)
    inputs = vectors().float()
    positions = Gemma2RotaryEmbedding(theirs_config)(inputs, torch.arange(LENGTH).unsqueeze(0))
    mask = torch.zeros(LENGTH, LENGTH).masked_fill(torch.ones(LENGTH, LENGTH).triu(1) > 0, -torch.inf)
    expected = theirs(inputs, position_embeddings=positions, attention_mask=mask[None, None])
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(inputs)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize("normed", [False, True])
def test_embeddings_are_the_sum_of_their_parts(normed: bool, scale: float | None) -> None:
    options = {"position": "learned", "segments": 3, "embedding_norm": normed, "embedding_scale": scale}
    made = filled(Embedding(config(**options)))
    tokens = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(4))
    segments = torch.randint(0, 3, (BATCH, LENGTH), generator=torch.Generator().manual_seed(5))
    for kinds in (None, segments):
        expected = made.tokens.weight[tokens] * (math.sqrt(WIDTH) if scale is None else scale)
        expected = expected + made.learned.weight[2 : 2 + LENGTH]
        expected = expected + made.segments.weight[torch.zeros_like(segments) if kinds is None else kinds]
        if normed:
            expected = F.layer_norm(expected, (WIDTH,), made.norm.weight, made.norm.bias)
        torch.testing.assert_close(made(tokens, start=2, segments=kinds), expected)


@pytest.mark.parametrize(
    ("position", "added", "turned"),
    [
        ("none", False, False),
        ("sinusoidal", True, False),
        ("rotary", False, True),
        ("sinusoidal_rotary", True, True),
    ],
)
def test_sines_are_added_to_embeddings_and_rotary_turns_self_attention(
    position: str, added: bool, turned: bool
) -> None:
    options = config(position=position)
    made = filled(Embedding(options))
    tokens = torch.full((1, LENGTH), VOCABULARY - 1)
    sines = sinusoidal(torch.arange(2, 2 + LENGTH), WIDTH).double()
    plain = made.tokens.weight[tokens] * math.sqrt(WIDTH)
    torch.testing.assert_close(made(tokens, start=2), plain + sines if added else plain)
    block = DecoderBlock(options)
    assert isinstance(block.itself.core.position, Rotary) == turned
    assert block.cross is not None
    assert not isinstance(block.cross.core.position, Rotary)


def test_a_text_longer_than_the_learned_positions_is_refused_with_a_sentence() -> None:
    made, tokens = Embedding(config(position="learned")), torch.full((BATCH, LENGTH), VOCABULARY - 1)
    most = made.learned.num_embeddings
    made(tokens, start=most - LENGTH)
    with pytest.raises(InputError, match=f"a text of {most + 1} tokens is longer than the model's {most} learned pos"):
        made(tokens, start=most - LENGTH + 1)


@pytest.mark.parametrize(
    ("changes", "dropped"),
    [
        ({"embedding_dropout": 0.5}, {"embedding"}),
        ({"feedforward_dropout": 0.5}, {"feedforward"}),
        ({"dropout": 0.5}, {"embedding", "residual"}),
        ({"dropout": 0.5, "embedding_dropout": 0.0}, {"residual"}),
        ({"attention_dropout": 0.5}, {"attention"}),
    ],
)
def test_each_dropout_has_its_place(changes: dict[str, float], dropped: set[str]) -> None:
    """A layer whose dropout is on gives something else each time, and the others do not."""
    options = config(**changes)
    tokens, inputs = torch.full((BATCH, LENGTH), PAD + 5), vectors().float()
    block = EncoderBlock(options)
    calls = {
        "embedding": (Embedding(options), lambda layer: layer(tokens)),
        "feedforward": (block.feedforward, lambda layer: layer(inputs)),
        "residual": (block.around_attention, lambda layer: layer(inputs, torch.sin)),
        "attention": (block.attention, lambda layer: layer(inputs)[0]),
    }
    found = {name for name, (layer, run) in calls.items() if not torch.equal(run(layer.train()), run(layer))}
    assert found == dropped
    assert all(torch.equal(run(layer.eval()), run(layer)) for layer, run in calls.values())
