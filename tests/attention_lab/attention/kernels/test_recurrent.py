"""Retention against its matrix, and the delta rules against those of Qwen3-Next and a loop."""

from __future__ import annotations

import pytest
import torch
from kernel_layers import BATCH, HEAD, HEADS, inputs, layer
from torch.nn import functional as F
from transformers.models.qwen3_next import modeling_qwen3_next as qwen

from attention_lab.attention import Cache

DELTAS = ["deltanet", "gated_deltanet"]


@pytest.mark.parametrize("length", [7, 64, 150])
def test_retention_is_its_matrix(length: int) -> None:
    attention, sequence = layer("retention", "decoder_self"), inputs(length).requires_grad_()
    exists = torch.ones(BATCH, length, dtype=torch.bool)
    exists[0, 3:5], exists[1, -1] = False, False
    call, value = attention.call(sequence, mask=exists)
    output, weights = attention.core(call, value, weights=True)
    matrix = torch.zeros(BATCH, HEADS, length, length, dtype=torch.float64)
    for head in range(HEADS):
        gamma = 1.0 - 2.0 ** (-5.0 - head)
        for distance in range(length):
            products = (call.query[:, head, distance:] * call.key[:, head, : length - distance]).sum(-1)
            rows = torch.arange(distance, length)
            matrix[:, head, rows, rows - distance] = products * gamma**distance / HEAD**0.5
    matrix = matrix * exists[:, None, None]
    torch.testing.assert_close(weights, matrix, atol=1e-12, rtol=0)
    torch.testing.assert_close(output, matrix @ value, atol=1e-11, rtol=0)
    ours, theirs = (
        torch.autograd.grad(o.square().sum(), sequence, retain_graph=True)[0] for o in (output, matrix @ value)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


def test_retention_turns_queries_and_keys_by_their_position() -> None:
    """Its weights depend on the distance alone, but for the decay."""
    attention = layer("retention", "decoder_self", rotary=False)  # whatever the model has
    same = inputs(1).expand(-1, 9, -1)
    weights = attention(same, weights=True)[1]
    torch.testing.assert_close(weights[:, :, 3:, 3:], weights[:, :, :6, :6], atol=1e-5, rtol=0)  # angles are float32
    assert not torch.allclose(weights[:, 0, 8, 5], weights[:, 0, 8, 8] * (1 - 2**-5) ** 3)


def gates(attention, sequence: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log α and β, (B, L, H)"""
    kernel = attention.core.kernel
    beta = (sequence @ kernel.strength).sigmoid()
    if not hasattr(kernel, "rate"):
        return torch.zeros_like(beta), beta
    return -kernel.rate.exp() * F.softplus(sequence @ kernel.fade + kernel.bias), beta


@pytest.mark.parametrize("length", [7, 64, 150])
@pytest.mark.parametrize("rule", [qwen.torch_recurrent_gated_delta_rule, qwen.torch_chunk_gated_delta_rule])
@pytest.mark.parametrize("name", DELTAS)
def test_the_delta_rules_are_those_of_qwen(name: str, rule, length: int) -> None:
    attention = layer(name, "decoder_self", dtype=torch.float32)
    sequence = inputs(length, dtype=torch.float32)
    call, value = attention.call(sequence)
    query, key, values = (x.transpose(1, 2) for x in (call.query, call.key, value))
    decay, beta = gates(attention, sequence)
    expected, _ = rule(query, key, values, g=decay, beta=beta, use_qk_l2norm_in_kernel=True)
    # Theirs divides queries by √D besides, and leaves it to the norm behind to take it out again.
    output, _ = attention.core(call, value)
    torch.testing.assert_close(output, expected.transpose(1, 2) * HEAD**0.5, atol=1e-5, rtol=0)


def loop(attention, sequence: torch.Tensor, exists: torch.Tensor | None = None) -> torch.Tensor:
    """S_t = α_t S_{t−1} (I − β_t k kᵀ) + β_t v kᵀ and o_t = S_t q, each row and head alone, existing positions only."""
    call, value = attention.call(sequence)
    decay, beta = gates(attention, sequence)
    rows = []
    for b in range(BATCH):
        heads = []
        for h in range(HEADS):
            state, outputs = torch.zeros(HEAD, HEAD, dtype=torch.float64), []
            for t in range(sequence.shape[1]):
                q, k = (x[b, h, t] / (x[b, h, t].square().sum() + 1e-6).sqrt() for x in (call.query, call.key))
                if exists is None or exists[b, t]:
                    erased = torch.eye(HEAD, dtype=torch.float64) - beta[b, t, h] * torch.outer(k, k)
                    state = decay[b, t, h].exp() * state @ erased + beta[b, t, h] * torch.outer(value[b, h, t], k)
                outputs.append(state @ q)
            heads.append(torch.stack(outputs))
        rows.append(torch.stack(heads))
    return torch.stack(rows)


@pytest.mark.parametrize("name", DELTAS)
def test_chunks_and_steps_have_the_output_and_gradients_of_the_loop(name: str) -> None:
    attention, sequence = layer(name, "decoder_self"), inputs(75).requires_grad_()
    expected = loop(attention, sequence)
    output, _ = attention.core(*attention.call(sequence))
    torch.testing.assert_close(output, expected, atol=1e-12, rtol=0)
    cache = Cache()
    stepped = torch.cat([attention.core(*attention.call(x, cache=cache))[0] for x in sequence.split(1, 1)], 2)
    torch.testing.assert_close(stepped, expected, atol=1e-12, rtol=0)
    theirs = torch.autograd.grad(expected.square().sum(), sequence)[0]
    for way in (output, stepped):
        ours = torch.autograd.grad(way.square().sum(), sequence)[0]
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", DELTAS)
def test_positions_that_do_not_exist_neither_write_nor_fade(name: str) -> None:
    attention, sequence = layer(name, "decoder_self"), inputs(20)
    exists = torch.ones(BATCH, 20, dtype=torch.bool)
    exists[0, 5:9], exists[1, 0] = False, False
    output, _ = attention.core(*attention.call(sequence, mask=exists))
    torch.testing.assert_close(output, loop(attention, sequence, exists), atol=1e-12, rtol=0)


def test_what_is_written_last_under_a_key_is_what_is_read() -> None:
    attention = layer("deltanet", "decoder_self")
    with torch.no_grad():
        attention.core.kernel.strength.fill_(50.0)  # β = 1: all that stood there is erased
    call, value = attention.call(inputs(4).abs())
    key = torch.zeros_like(call.key)
    for position, direction in enumerate((0, 1, 0, 2)):
        key[:, :, position, direction] = 1.0
    call.query.copy_(key[:, :, [0, 1, 0, 1]])
    call.key.copy_(key)
    output, _ = attention.core(call, value)
    torch.testing.assert_close(output, value[:, :, [0, 1, 2, 1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", DELTAS)
def test_a_vector_of_zeros_gives_a_finite_gradient(name: str) -> None:
    attention, sequence = layer(name, "decoder_self"), inputs(5)
    with torch.no_grad():
        for projection in (attention.heads.query, attention.heads.key):
            projection.bias.zero_()
    sequence[:, 2] = 0.0
    (gradient,) = torch.autograd.grad(attention(sequence.requires_grad_())[0].sum(), sequence)
    assert gradient.abs().max() < 1e5
