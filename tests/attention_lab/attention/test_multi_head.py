"""The layer against PyTorch's, and what it keeps in its cache."""

from __future__ import annotations

import torch
from torch import nn

from attention_lab.attention import MultiHeadAttention, mechanism

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 33


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
