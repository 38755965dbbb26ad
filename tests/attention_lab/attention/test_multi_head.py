"""The layer against PyTorch's, and what it keeps in its cache."""

from __future__ import annotations

import pytest
import torch
from oracles import copy_attention
from torch import nn

from attention_lab.attention import Cache, MultiHeadAttention, Place, mechanism

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 33


def test_scaled_dot_product_is_multi_head_attention_of_pytorch() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double().eval()
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention(WIDTH, HEADS, mechanism("scaled_dot_product"), "cross").double().eval()
    copy_attention(ours, theirs)
    query, memory = torch.randn(BATCH, QUERIES, WIDTH).double(), torch.randn(BATCH, KEYS, WIDTH).double()
    kept = torch.tensor([[True] * KEYS, [True] * 4 + [False] * 3])
    for weights in (True, False):
        expected, seen = theirs(query, memory, memory, key_padding_mask=~kept, average_attn_weights=False)
        output, used = ours(query, memory, mask=kept, weights=weights)
        torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
        if used is not None:
            torch.testing.assert_close(used, seen, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("name", "place", "length", "path"),
    [
        ("scaled_dot_product", "encoder_self", 10, "fused"),
        ("scaled_dot_product", "encoder_self", 600, "fused"),
        ("cosine", "decoder_self", 600, "fused"),
        ("alibi", "encoder_self", 600, "fused"),
        ("output_gate", "cross", 600, "fused"),
        ("additive", "encoder_self", 600, "explicit"),
        ("talking_heads", "encoder_self", 600, "explicit"),
        ("local", "encoder_self", 600, "blocked"),
        ("local", "cross", 600, "fused"),
        ("linear", "encoder_self", 100, "linear"),
        ("linear", "decoder_self", 100, "chunked"),
        ("fnet", "encoder_self", 100, "kernel"),
    ],
)
def test_the_path_that_is_explained_is_the_one_that_is_taken(
    name: str, place: Place, length: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_float32_matmul_precision("highest")
    layer = MultiHeadAttention(WIDTH, HEADS, mechanism(name), place).eval()
    inputs = torch.randn(1, length, WIDTH)
    memory = torch.randn(1, length + 1, WIDTH) if place == "cross" else None
    assert layer.explain(inputs, memory).startswith(f"{path}: ")
    asked = layer.explain(inputs, memory, weights=True)
    assert asked.startswith("explicit" if hasattr(layer.core, "score") else path)
    taken = []
    for method in ("_fused", "_blocked", "weights"):
        if hasattr(layer.core, method):
            real = getattr(layer.core, method)
            monkeypatch.setattr(
                layer.core, method, lambda *given, real=real, method=method: taken.append(method) or real(*given)
            )
    layer(inputs, memory)
    if hasattr(layer.core, "score"):
        assert taken[0] == {"explicit": "weights", "fused": "_fused", "blocked": "_blocked"}[path]


def test_explaining_a_step_leaves_the_cache_alone() -> None:
    layer = MultiHeadAttention(WIDTH, HEADS, mechanism("linear"), "decoder_self").eval()
    cache = Cache()
    layer(torch.randn(1, 5, WIDTH), cache=cache)
    before = {name: tensor.clone() for name, tensor in cache.kept.items()}
    assert layer.explain(torch.randn(1, 1, WIDTH), cache=cache).startswith("recurrent: ")
    assert cache.length == 5
    assert all(torch.equal(cache.kept[name], tensor) for name, tensor in before.items())


def test_the_fused_kernel_gives_way_to_dropout_and_to_onednn() -> None:
    layer = MultiHeadAttention(WIDTH, HEADS, mechanism("scaled_dot_product"), "encoder_self", dropout=0.1)
    inputs = torch.randn(1, 20, WIDTH)
    torch.set_float32_matmul_precision("highest")
    assert layer.train().explain(inputs).startswith("explicit")
    assert layer.eval().explain(inputs).startswith("fused")
    torch.set_float32_matmul_precision("medium")
    try:
        assert layer.explain(inputs).startswith("explicit")
        assert layer.explain(torch.randn(1, 600, WIDTH)).startswith("fused")
    finally:
        torch.set_float32_matmul_precision("highest")
