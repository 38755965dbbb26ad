"""Heads against implementations that are not ours, and what their caches hold."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch.nn import functional as F

from attention_lab.attention import Cache, MultiHeadAttention, Place, mechanism
from attention_lab.errors import InputError

BATCH, HEADS, QUERIES, KEYS, WIDTH, HEAD = 2, 4, 5, 7, 48, 12


def angles(length: int, width: int) -> torch.Tensor:
    """(length, width / 2): position times rate."""
    return torch.arange(length)[:, None] * (1.0 / 10000 ** (torch.arange(0, width, 2) / width))


def turning(length: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (1, length, width) as Hugging Face's layers take them."""
    twice = torch.cat((angles(length, width), angles(length, width)), -1)[None]
    return twice.cos(), twice.sin()


def causal(length: int) -> torch.Tensor:
    """(1, 1, length, length) to be added to scores."""
    return torch.full((length, length), -torch.inf).triu(1)[None, None]


def layer(name: str, options: dict | None = None, place: Place = "decoder_self", seed: int = 0) -> MultiHeadAttention:
    torch.manual_seed(seed)
    attention = MultiHeadAttention(WIDTH, HEADS, mechanism(name, options), place, rotary=True).eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return attention


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_grouped_queries_are_those_of_llama(key_heads: int) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaAttention

    config = LlamaConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=key_heads,
        attention_bias=True,
        attn_implementation="eager",
    )
    theirs, ours = LlamaAttention(config, 0).eval(), layer("grouped_query", {"key_heads": key_heads})
    theirs.q_proj.load_state_dict(ours.heads.query.state_dict())
    theirs.k_proj.load_state_dict(ours.heads.key.state_dict())
    theirs.v_proj.load_state_dict(ours.heads.value.state_dict())
    theirs.o_proj.load_state_dict(ours.output.state_dict())
    inputs = torch.randn(BATCH, KEYS, WIDTH)
    expected, seen = theirs(inputs, turning(KEYS, HEAD), causal(KEYS))
    output, weights = ours(inputs, weights=True)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, seen, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "key_heads"), [("multi_query", 1), ("grouped_query", 2)])
def test_shared_keys_are_those_of_pytorch(name: str, key_heads: int) -> None:
    ours = layer(name, place="cross").double()
    inputs, memory = torch.randn(BATCH, QUERIES, WIDTH).double(), torch.randn(BATCH, KEYS, WIDTH).double()
    query = ours.heads.query(inputs).view(BATCH, QUERIES, HEADS, HEAD).transpose(1, 2)
    key = ours.heads.key(memory).view(BATCH, KEYS, key_heads, HEAD).transpose(1, 2)
    value = ours.heads.value(memory).view(BATCH, KEYS, key_heads, HEAD).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    expected = ours.output(mixed.transpose(1, 2).reshape(BATCH, QUERIES, WIDTH))
    torch.testing.assert_close(ours(inputs, memory)[0], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("interleaved", [False, True])
def test_latent_attention_is_that_of_deepseek(interleaved: bool) -> None:
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention

    rank, rotary = 10, 6
    config = DeepseekV3Config(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        q_lora_rank=None,
        kv_lora_rank=rank,
        qk_nope_head_dim=HEAD,
        qk_rope_head_dim=rotary,
        v_head_dim=HEAD,
        rope_interleave=interleaved,
        attn_implementation="eager",
    )
    theirs = DeepseekV3Attention(config, 0).eval()
    if interleaved:
        parts = {"heads": "latent", "position": "rotary", "interleaved": True, "rank": rank, "rotary": rotary}
        ours = layer("composed", parts)
    else:
        ours = layer("latent", {"rank": rank, "rotary": rotary})
    heads = ours.heads
    # Theirs has W_DKV and W_KR in one matrix, and W_UK and W_UV of a head beside each other.
    expanded = torch.cat((heads.key.weight.view(HEADS, HEAD, rank), heads.value.weight.view(HEADS, HEAD, rank)), 1)
    with torch.no_grad():
        theirs.q_proj.weight.copy_(heads.query.weight)
        theirs.kv_a_proj_with_mqa.weight.copy_(torch.cat((heads.latent.weight, heads.rotary.weight)))
        theirs.kv_a_layernorm.weight.copy_(heads.norm.weight)
        theirs.kv_b_proj.weight.copy_(expanded.flatten(0, 1))
        theirs.o_proj.weight.copy_(ours.output.weight)
    inputs = torch.randn(BATCH, KEYS, WIDTH)
    expected, seen = theirs(inputs, turning(KEYS, rotary), causal(KEYS))
    output, weights = ours(inputs, weights=True)
    torch.testing.assert_close(output - ours.output.bias, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, seen, atol=1e-5, rtol=0)


@torch.no_grad()
def test_latent_attention_is_that_of_a_plain_loop() -> None:
    attention = layer("latent", {"rank": 10, "rotary": 6}).double()
    heads, inputs = attention.heads, torch.randn(1, QUERIES, WIDTH).double()
    weights = attention(inputs, weights=True)[1].detach()

    def turned(vector: torch.Tensor, position: int) -> list[complex]:
        """Features i and i + 3 as a complex number, turned."""
        rates = [10000 ** (-i / 3) for i in range(3)]
        pairs = zip(vector[:3].tolist(), vector[3:].tolist(), strict=True)
        return [complex(*pair) * cmath.exp(1j * position * rate) for pair, rate in zip(pairs, rates, strict=True)]

    for head in range(HEADS):
        for i in range(QUERIES):
            raw = []
            query = (heads.query.weight @ inputs[0, i]).view(HEADS, HEAD + 6)[head]
            for j in range(i + 1):
                latent = heads.latent.weight @ inputs[0, j]
                latent = latent / (latent.square().mean() + 1e-6).sqrt() * heads.norm.weight
                content = float(query[:HEAD] @ (heads.key.weight @ latent).view(HEADS, HEAD)[head])
                pairs = zip(turned(query[HEAD:], i), turned(heads.rotary.weight @ inputs[0, j], j), strict=True)
                place = sum((q * k.conjugate()).real for q, k in pairs)
                raw.append(math.exp((content + place) / math.sqrt(HEAD + 6)))
            expected = torch.tensor([r / sum(raw) for r in raw] + [0.0] * (QUERIES - 1 - i)).double()
            # angles are float32 in ours
            torch.testing.assert_close(weights[0, head, i], expected, atol=1e-6, rtol=0)


def test_nothing_turns_in_cross_attention_and_the_latent_is_exact() -> None:
    attention = layer("latent", {"rank": 10, "rotary": 6}, place="cross").double()
    heads = attention.heads
    inputs, memory = torch.randn(BATCH, QUERIES, WIDTH).double(), torch.randn(BATCH, KEYS, WIDTH).double()
    query = (inputs @ heads.query.weight.T).view(BATCH, QUERIES, HEADS, HEAD + 6)
    latent = memory @ heads.latent.weight.T
    latent = latent / (latent.square().mean(-1, keepdim=True) + 1e-6).sqrt() * heads.norm.weight
    key = (latent @ heads.key.weight.T).view(BATCH, KEYS, HEADS, HEAD)
    scores = torch.einsum("bqhd,bkhd->bhqk", query[..., :HEAD], key)
    scores = scores + torch.einsum("bqhd,bkd->bhqk", query[..., HEAD:], memory @ heads.rotary.weight.T)
    weights = (scores / math.sqrt(HEAD + 6)).softmax(-1)
    value = (latent @ heads.value.weight.T).view(BATCH, KEYS, HEADS, HEAD)
    mixed = torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2)
    output, seen = attention(inputs, memory, weights=True)
    torch.testing.assert_close(seen, weights, atol=1e-12, rtol=0)
    torch.testing.assert_close(output, attention.output(mixed), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("name", "options", "numbers"),
    [
        ("scaled_dot_product", {}, 2 * WIDTH),
        ("multi_query", {}, 2 * HEAD),
        ("grouped_query", {}, 2 * 2 * HEAD),
        ("latent", {}, WIDTH // 2 + HEAD // 2),
        ("latent", {"rank": 5, "rotary": 4}, 5 + 4),
    ],
)
def test_a_cache_keeps_so_many_numbers_for_each_position(name: str, options: dict, numbers: int) -> None:
    cache = Cache()
    layer(name, options)(torch.randn(1, KEYS, WIDTH), cache=cache)
    assert sum(tensor.numel() for tensor in cache.kept.values()) == KEYS * numbers


@pytest.mark.parametrize(
    "parts",
    [
        {"heads": "latent", "operation": "differential"},
        {"heads": "latent", "score": "general"},
        {"heads": "latent", "score": "additive", "operation": "talking_heads"},
        {"heads": "latent", "pattern": "hashed"},
        {"heads": "latent", "pattern": "local", "window": 3},
        {"key_heads": 2, "operation": "differential"},
        {"key_heads": 1, "operation": "differential"},
    ],
)
def test_heads_compose_with_what_looks_at_queries_and_keys(parts: dict) -> None:
    attention = layer("composed", parts).double()
    sequence = torch.randn(BATCH, KEYS, WIDTH).double()
    full, weights = attention(sequence, weights=True)
    assert weights.shape == (BATCH, HEADS, KEYS, KEYS)
    cache = Cache()
    steps = [attention(sequence[:, step : step + 1], cache=cache)[0] for step in range(KEYS)]
    torch.testing.assert_close(torch.cat(steps, 1), full)


def test_heads_that_share_a_key_share_both_its_maps() -> None:
    attention = layer("composed", {"key_heads": 2, "operation": "differential"})
    memory = torch.randn(BATCH, KEYS, WIDTH)
    kept = attention.heads.remember(memory, attention.core.position, torch.arange(KEYS)[None])
    key, value = attention.heads.recall(kept)
    for head in range(HEADS):
        shared = head // 2
        torch.testing.assert_close(key[:, 2 * head], kept["key"][:, 2 * shared], atol=0, rtol=0)
        torch.testing.assert_close(key[:, 2 * head + 1], kept["key"][:, 2 * shared + 1], atol=0, rtol=0)
        torch.testing.assert_close(value[:, head], kept["value"][:, shared], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grouped_query", {"key_heads": 3}, "3 does not divide the 4 heads"),
        ("grouped_query", {"key_heads": 0}, "key_heads of grouped_query must be above 0, not 0"),
        ("latent", {"rank": 0}, "rank of latent must be above 0, not 0"),
        ("latent", {"rotary": 0}, "rotary of latent must be above 0, not 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layer(name, options)


def test_two_maps_need_heads_of_even_width() -> None:
    with pytest.raises(InputError, match="33 / 3 heads is not even"):
        MultiHeadAttention(33, 3, mechanism("differential"), "cross")
