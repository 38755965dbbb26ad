"""Every mechanism against an implementation that is not ours, or a plain loop where there is none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from attention_lab.attention import MultiHeadAttention, mechanism
from attention_lab.attention.contract import Sizes, here
from attention_lab.attention.positions import Rotary, sinusoidal

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 33
SIZES = Sizes(heads=HEADS, head=12, width=WIDTH, length=64, place="encoder_self")


def test_scaled_dot_product_is_multi_head_attention_of_pytorch() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double().eval()
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention(WIDTH, HEADS, mechanism("scaled_dot_product"), "cross").double().eval()
    with torch.no_grad():
        for layer, weight, bias in zip(
            (ours.heads.query, ours.heads.key, ours.heads.value),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        ours.output.load_state_dict(theirs.out_proj.state_dict())
    query, memory = torch.randn(BATCH, QUERIES, WIDTH).double(), torch.randn(BATCH, KEYS, WIDTH).double()
    kept = torch.tensor([[True] * KEYS, [True] * 4 + [False] * 3])
    for weights in (True, False):
        expected, seen = theirs(query, memory, memory, key_padding_mask=~kept, average_attn_weights=False)
        output, used = ours(query, memory, mask=kept, weights=weights)
        torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
        if used is not None:
            torch.testing.assert_close(used, seen, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["dot", "scaled_dot_product", "additive", "uniform"])
def test_weights_are_those_of_a_plain_loop(name: str) -> None:
    torch.manual_seed(1)
    attention = MultiHeadAttention(WIDTH, HEADS, mechanism(name), "cross").double().eval()
    inputs, memory = torch.randn(BATCH, QUERIES, WIDTH).double(), torch.randn(BATCH, KEYS, WIDTH).double()
    weights = attention(inputs, memory, weights=True)[1].detach()
    query = attention.heads.query(inputs).view(BATCH, QUERIES, HEADS, -1).detach()
    key = attention.heads.key(memory).view(BATCH, KEYS, HEADS, -1).detach()
    size = query.shape[-1]

    def score(q: torch.Tensor, k: torch.Tensor, head: int) -> float:
        products = sum(float(a) * float(b) for a, b in zip(q, k, strict=True))
        if name == "additive":
            vector = attention.core.score.vector[head].detach()
            return sum(float(v) * math.tanh(float(a + b)) for v, a, b in zip(vector, q, k, strict=True))
        return {"dot": products, "scaled_dot_product": products / math.sqrt(size), "uniform": 0.0}[name]

    for b in range(BATCH):
        for h in range(HEADS):
            for i in range(QUERIES):
                raw = [math.exp(score(query[b, i, h], key[b, j, h], h)) for j in range(KEYS)]
                for j in range(KEYS):
                    assert float(weights[b, h, i, j]) == pytest.approx(raw[j] / sum(raw), abs=1e-12)


def test_sinusoidal_positions_are_those_of_the_paper() -> None:
    table = sinusoidal(torch.arange(11), 7)
    for position in range(11):
        for index in range(7):
            angle = position / 10000 ** (2 * (index // 2) / 7)
            expected = math.sin(angle) if index % 2 == 0 else math.cos(angle)
            assert float(table[position, index]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("start", [0, 5])
def test_rotary_positions_are_those_of_llama(start: int) -> None:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    torch.manual_seed(0)
    query, key = torch.randn(BATCH, HEADS, QUERIES, 12), torch.randn(BATCH, HEADS, QUERIES, 12)
    angles = torch.cat((angles_of(start), angles_of(start)), -1)[None]
    expected = apply_rotary_pos_emb(query, key, angles.cos(), angles.sin())
    turn = Rotary(SIZES).turn
    torch.testing.assert_close(turn(query, here(QUERIES, start=start)), expected[0])
    torch.testing.assert_close(turn(key, here(QUERIES, start=start)), expected[1])


@pytest.mark.parametrize("start", [0, 5])
def test_interleaved_rotary_positions_are_those_of_gptj(start: int) -> None:
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb

    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, QUERIES, 12)
    angles = angles_of(start)[None]
    expected = apply_rotary_pos_emb(query.transpose(1, 2), angles.sin(), angles.cos()).transpose(1, 2)
    torch.testing.assert_close(Rotary(SIZES, interleaved=True).turn(query, here(QUERIES, start=start)), expected)


def angles_of(start: int) -> torch.Tensor:
    """(QUERIES, 6): position times rate."""
    return torch.arange(start, start + QUERIES)[:, None] * (1.0 / 10000 ** (torch.arange(0, 12, 2) / 12))
