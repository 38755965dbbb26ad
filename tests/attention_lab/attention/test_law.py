"""The law, for every row of the catalogue: whatever the weights are, they keep these promises.

Every dimension has a prime of its own, so that a transposed axis fails.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_lab.attention import CATALOGUE, KeyValueCache, MultiHeadAttention, mechanism
from attention_lab.attention.patterns import causal
from attention_lab.errors import InputError

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 33  # 33 = 3 heads of 11

every_mechanism = pytest.mark.parametrize("name", CATALOGUE)


def layer(name: str, dropout: float = 0.0) -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(WIDTH, HEADS, mechanism(name), dropout=dropout).double().eval()


def inputs(length: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, length, WIDTH, dtype=torch.float64, generator=generator)


def by_hand(attention: MultiHeadAttention, weights: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """The output as a plain sum over keys."""
    value = attention.value(memory).view(BATCH, -1, HEADS, WIDTH // HEADS)
    mixed = torch.zeros(BATCH, weights.shape[2], HEADS, WIDTH // HEADS, dtype=torch.float64)
    for head in range(HEADS):
        for key in range(weights.shape[3]):
            mixed[:, :, head] += weights[:, head, :, key, None] * value[:, key, None, head]
    return attention.output(mixed.flatten(2))


@every_mechanism
def test_output_is_the_weighted_sum_of_values(name: str) -> None:
    attention, query, memory = layer(name), inputs(QUERIES), inputs(KEYS, 2)
    output, weights = attention(query, memory, weights=True)
    assert weights.shape == (BATCH, HEADS, QUERIES, KEYS)
    torch.testing.assert_close(output, by_hand(attention, weights, memory))


@every_mechanism
def test_fast_path_equals_explicit_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attention, query, memory = layer(name), inputs(QUERIES), inputs(KEYS, 2)
    mask = torch.rand(BATCH, 1, QUERIES, KEYS, generator=torch.Generator().manual_seed(3)) < 0.7
    mask[0, 0, 0] = False
    explicit, _ = attention(query, memory, mask=mask, weights=True)
    monkeypatch.setattr(MultiHeadAttention, "FUSED_FROM", 1)
    fast, nothing = attention(query, memory, mask=mask)
    assert nothing is None
    torch.testing.assert_close(fast, explicit)


@every_mechanism
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**31), share=st.floats(0.0, 1.0))
def test_masked_keys_get_exactly_nothing_and_rows_sum_to_one_or_nothing(name: str, seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(BATCH, 1, QUERIES, KEYS, generator=generator) < share
    _, weights = layer(name)(inputs(QUERIES, seed), inputs(KEYS, seed + 1), mask=mask, weights=True)
    mask = mask.expand_as(weights)
    assert (weights[~mask] == 0.0).all()
    assert (weights >= 0.0).all()
    torch.testing.assert_close(weights.sum(-1), mask.any(-1).double())


@every_mechanism
def test_a_query_that_may_attend_to_nothing_gives_nothing_and_no_nan(name: str) -> None:
    attention = layer(name)
    query, memory = inputs(QUERIES).requires_grad_(), inputs(KEYS, 2).requires_grad_()
    mask = torch.ones(BATCH, 1, QUERIES, KEYS, dtype=torch.bool)
    mask[1, :, 2] = False
    output, weights = attention(query, memory, mask=mask, weights=True)
    assert (weights[1, :, 2] == 0.0).all()
    torch.testing.assert_close(output[1, 2], attention.output.bias)
    gradients = torch.autograd.grad(output.sum(), (query, memory), materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][1, 2] == 0.0).all()


@every_mechanism
def test_a_causal_layer_does_not_look_ahead(name: str) -> None:
    attention, sequence = layer(name), inputs(KEYS)
    positions = torch.arange(KEYS)
    mask = causal(positions, positions)
    before, _ = attention(sequence, mask=mask)
    changed = sequence.clone()
    changed[:, 4:] = inputs(KEYS, 9)[:, 4:]
    after, _ = attention(changed, mask=mask)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@every_mechanism
def test_padding_changes_nothing(name: str) -> None:
    attention, query, memory = layer(name), inputs(QUERIES), inputs(KEYS, 2)
    mask = torch.ones(BATCH, 1, 1, KEYS + 4, dtype=torch.bool)
    mask[..., KEYS:] = False
    padded = torch.cat((memory, inputs(4, 8) * 100.0), 1)
    torch.testing.assert_close(attention(query, padded, mask=mask)[0], attention(query, memory)[0])


@every_mechanism
def test_rows_of_a_batch_do_not_touch(name: str) -> None:
    attention, query, memory = layer(name), inputs(QUERIES), inputs(KEYS, 2)
    together, _ = attention(query, memory)
    alone, _ = attention(query[1:], memory[1:])
    torch.testing.assert_close(together[1:], alone)


@every_mechanism
def test_step_by_step_equals_the_full_pass(name: str) -> None:
    attention, sequence, memory = layer(name), inputs(KEYS), inputs(QUERIES, 2)
    positions = torch.arange(KEYS)
    full, _ = attention(sequence, mask=causal(positions, positions))
    cross, _ = attention(sequence, memory)
    cache, fixed = KeyValueCache(), KeyValueCache(fixed=True)
    for step in range(KEYS):
        token = sequence[:, step : step + 1]
        torch.testing.assert_close(attention(token, cache=cache)[0], full[:, step : step + 1])
        torch.testing.assert_close(attention(token, memory, cache=fixed)[0], cross[:, step : step + 1])
    assert cache.length == KEYS
    assert fixed.length == QUERIES


@every_mechanism
def test_keys_have_no_order_of_their_own(name: str) -> None:
    attention, query, memory = layer(name), inputs(QUERIES), inputs(KEYS, 2)
    order = torch.randperm(KEYS, generator=torch.Generator().manual_seed(4))
    output, weights = attention(query, memory, weights=True)
    shuffled, moved = attention(query, memory[:, order], weights=True)
    torch.testing.assert_close(output, shuffled)
    torch.testing.assert_close(weights[..., order], moved)


@every_mechanism
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    attention = layer(name)
    query, memory = inputs(2).requires_grad_(), inputs(3, 2).requires_grad_()
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert torch.autograd.gradcheck(lambda q, m: attention(q, m, mask=mask)[0], (query, memory))


@every_mechanism
def test_weights_returned_are_the_weights_used_with_dropout_too(name: str) -> None:
    attention, query, memory = layer(name, dropout=0.5).train(), inputs(QUERIES), inputs(KEYS, 2)
    output, weights = attention(query, memory, weights=True)
    assert (weights == 0.0).any()
    torch.testing.assert_close(output, by_hand(attention, weights, memory))


@every_mechanism
def test_bfloat16_stays_within_two_percent(name: str) -> None:
    attention, query, memory = layer(name), inputs(QUERIES), inputs(KEYS, 2)
    exact, _ = attention(query, memory)
    rough, _ = attention.bfloat16()(query.bfloat16(), memory.bfloat16())
    assert (rough.double() - exact).abs().max() / exact.abs().max() < 0.02


def test_uniform_weighs_every_key_alike() -> None:
    mask = torch.tensor([True, True, False, True, False, False, False])
    _, weights = layer("uniform")(inputs(QUERIES), inputs(KEYS, 2), mask=mask, weights=True)
    torch.testing.assert_close(weights, (mask.double() / 3).expand_as(weights))


def test_an_unknown_mechanism_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no mechanism 'sofmax'; choose one of scaled_dot_product, dot, additive"):
        mechanism("sofmax")
