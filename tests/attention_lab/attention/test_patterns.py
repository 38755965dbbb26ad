"""Patterns against the masks of others, and against what their papers say in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oracles import HEADS, call_of, composition, sizes, vectors

from attention_lab.attention.contract import Place, here
from attention_lab.attention.patterns import PATTERNS

LENGTH = 23


def allowed(name: str, length: int = LENGTH, place: Place = "encoder_self", **options: int) -> torch.Tensor:
    """(L, L) of the first head and row."""
    query = vectors(length)
    found = PATTERNS[name](sizes(place), **options)(call_of(query, query))
    assert found is not None
    return found[0, 0]


IN_WORDS: dict[str, tuple[dict[str, int], Callable[[int, int], bool]]] = {
    "causal": ({}, lambda i, j: j <= i),
    "local": ({"window": 3}, lambda i, j: i - 3 <= j <= i + 3),
    "dilated": ({"window": 2, "dilation": 3}, lambda i, j: j in (i - 6, i - 3, i, i + 3, i + 6)),
    "strided": ({"stride": 5}, lambda i, j: abs(i - j) < 5 or abs(i - j) in (5, 10, 15, 20)),
    "block_local": ({"block": 4}, lambda i, j: i // 4 == j // 4),
    "global_window": ({"window": 2, "tokens": 3}, lambda i, j: i < 3 or j < 3 or abs(i - j) <= 2),
    "prefix": ({"prefix": 6}, lambda i, j: j < 6 or j <= i),
}


@pytest.mark.parametrize("name", IN_WORDS)
def test_a_pattern_is_what_its_paper_says(name: str) -> None:
    options, expected = IN_WORDS[name]
    table = torch.tensor([[expected(i, j) for j in range(LENGTH)] for i in range(LENGTH)])
    assert torch.equal(allowed(name, **options), table)


@pytest.mark.parametrize("name", [name for name in PATTERNS if name != "full"])
def test_no_key_beyond_the_reach_is_allowed_and_one_at_it_is(name: str) -> None:
    pattern = PATTERNS[name](sizes("encoder_self"))
    if pattern.reach is None:
        assert allowed(name, 60).nonzero().diff(dim=-1).abs().max() > 20
        return
    length = 3 * pattern.reach + 7
    assert int(allowed(name, length).nonzero().diff(dim=-1).abs().max()) == pattern.reach


def test_a_window_is_longformers() -> None:
    """Their window of 4 is ours of 2; sequences in one piece, no global attention."""
    from transformers import LongformerConfig
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = LongformerConfig(
        hidden_size=33,
        num_attention_heads=3,
        num_hidden_layers=1,
        attention_window=[4],
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    theirs = LongformerSelfAttention(config, 0).eval()
    for linear in (theirs.query, theirs.key, theirs.value):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    query = vectors(24).float()
    nothing = torch.zeros(len(query), 24)
    (found, *_) = theirs(
        query.transpose(1, 2).flatten(2),
        attention_mask=nothing,
        is_index_masked=nothing.bool(),
        is_index_global_attn=nothing.bool(),
        is_global_attn=False,
    )
    ours = composition("encoder_self", pattern="local", pattern_options={"window": 2})
    mixed, _ = ours.float()(call_of(query, query), query)
    torch.testing.assert_close(mixed.transpose(1, 2).flatten(2), found, atol=1e-5, rtol=0)


def test_a_sliding_window_is_that_of_transformers() -> None:
    """Their window w is ours of w − 1 in a decoder."""
    from transformers.masking_utils import sliding_window_overlay

    theirs = sliding_window_overlay(4)
    table = torch.tensor([[bool(theirs(0, 0, i, j)) and j <= i for j in range(LENGTH)] for i in range(LENGTH)])
    query = vectors(LENGTH)
    ours = composition("decoder_self", pattern="local", pattern_options={"window": 3})
    assert torch.equal(ours.mask(call_of(query, query, causal=True))[0, 0], table)


def test_bigbird_draws_blocks_that_are_there_and_spreads_them() -> None:
    options = {"window": 0, "tokens": 0, "block": 4, "blocks": 2}
    length = 64
    found = allowed("bigbird", length, **options)
    blocks = found.view(16, 4, 16, 4).float().mean((1, 3))
    drawn = blocks * (1 - torch.eye(16))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}  # whole blocks
    assert (drawn.sum(1) <= 2).all()
    assert float(drawn.sum()) >= 20  # of 32 draws, some fall on the diagonal or twice on the same block
    assert (drawn.sum(0) > 0).sum() >= 10
    # With padding only blocks that exist are drawn.
    query = vectors(length)
    exists = (torch.arange(length) < 24).expand(2, -1)
    padded = PATTERNS["bigbird"](sizes("encoder_self"), **options)(call_of(query, query, exists=exists))
    assert not padded[0, 0, :24, 24:].any()
    assert padded[0, 0, :24, :24].view(6, 4, 24).any(-1).all()


def test_hashing_keeps_near_keys_and_drops_far_ones() -> None:
    torch.manual_seed(0)
    query = torch.nn.functional.normalize(vectors(400), dim=-1)
    found = PATTERNS["hashed"](sizes("encoder_self"), buckets=8, rounds=2)(call_of(query, query))
    assert found is not None
    cosine = query @ query.transpose(-2, -1)
    off = ~torch.eye(400, dtype=torch.bool)
    shares = [
        float(found[:, :, off][(cosine[:, :, off] >= low) & (cosine[:, :, off] < high)].double().mean())
        for low, high in ((-1.0, -0.5), (-0.5, 0.0), (0.0, 0.5), (0.5, 1.0))
    ]
    assert shares == sorted(shares)
    assert shares[-1] > 3 * shares[0]
    assert found.diagonal(dim1=-2, dim2=-1).all()
    assert found.shape[1] == HEADS


def test_a_window_of_a_target_over_a_source_is_at_the_same_position() -> None:
    """Luong's local-m."""
    query, key = vectors(5), vectors(9, 2)
    ours = composition("cross", pattern="local", pattern_options={"window": 1})
    weights = ours.weights(call_of(query, key))
    for i in range(5):
        assert set((weights[0, 0, i] > 0).nonzero().flatten().tolist()) == {j for j in (i - 1, i, i + 1) if j >= 0}
    late = ours.weights(call_of(query[..., 3:4, :], key, queries=here(1, start=3)))
    torch.testing.assert_close(late, weights[..., 3:4, :])
