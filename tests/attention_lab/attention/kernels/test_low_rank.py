"""Linformer against a plain loop, Nyströmformer against that of Hugging Face and the softmax it stands for."""

from __future__ import annotations

import math

import pytest
import torch
from kernel_layers import BATCH, HEAD, HEADS, WIDTH, inputs, layer
from transformers.models.nystromformer import NystromformerConfig
from transformers.models.nystromformer.modeling_nystromformer import NystromformerSelfAttention


def test_linformer_is_a_softmax_over_slots_of_keys_and_values() -> None:
    attention = layer("linformer", "encoder_self", rank=5)
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    call, value = attention.call(inputs(9), mask=mask)
    output, weights = attention.core(call, value, weights=True)
    kernel = attention.core.kernel
    assert kernel.keys.shape == kernel.values.shape == (5, 64)
    for b in range(BATCH):
        keys = int(mask[b].sum())
        for h in range(HEADS):
            slots = sum(torch.outer(kernel.keys[:, j], call.key[b, h, j]) for j in range(keys))
            contents = sum(torch.outer(kernel.values[:, j], value[b, h, j]) for j in range(keys))
            for i in range(9):
                chosen = (slots @ call.query[b, h, i] / math.sqrt(HEAD)).exp()
                chosen = chosen / chosen.sum()
                torch.testing.assert_close(output[b, h, i], chosen @ contents, atol=1e-12, rtol=0)
                torch.testing.assert_close(
                    weights[b, h, i, :keys], chosen @ kernel.values[:, :keys], atol=1e-12, rtol=0
                )


def test_linformer_takes_positions_beyond_the_longest_for_the_last() -> None:
    attention = layer("linformer", "encoder_self", length=6)
    weights = attention(inputs(9), weights=True)[1]
    for position in (6, 7, 8):
        torch.testing.assert_close(weights[..., position], weights[..., 5], atol=0, rtol=0)
    assert not torch.allclose(weights[..., 4], weights[..., 5])


def nystromformer(attention, length: int, landmarks: int) -> NystromformerSelfAttention:
    """Theirs, with the projections of ours and without the convolution, in float64."""
    config = NystromformerConfig(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_landmarks=landmarks,
        segment_means_seq_len=length,
    )
    theirs = NystromformerSelfAttention(config).double().eval()
    theirs.conv_kernel_size = None
    theirs.init_option = "exact"  # each matrix by its own norm, as in the paper's equation 14
    for name in ("query", "key", "value"):
        getattr(theirs, name).load_state_dict(getattr(attention.heads, name).state_dict())
    return theirs


@pytest.mark.parametrize(("length", "landmarks"), [(24, 24), (24, 6), (2, 1), (150, 10), (12, 32)])
def test_nystrom_is_that_of_hugging_face(length: int, landmarks: int) -> None:
    attention = layer("nystrom", "encoder_self", landmarks=landmarks, rotary=False)
    call, value = attention.call(inputs(length))
    output, _ = attention.core(call, value)
    expected = nystromformer(attention, length, min(length, landmarks))(inputs(length))[0]
    torch.testing.assert_close(output.transpose(1, 2).flatten(2), expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("length", [5, 32])
def test_nystrom_is_softmax_attention_where_every_key_is_a_landmark(length: int) -> None:
    attention = layer("nystrom", "encoder_self")
    call, _ = attention.call(inputs(length))
    expected = (call.query @ call.key.transpose(-2, -1) / math.sqrt(HEAD)).softmax(-1)
    torch.testing.assert_close(attention.core.weights(call), expected, atol=1e-12, rtol=0)


def test_nystrom_with_padding_is_that_of_each_row_alone() -> None:
    """Rows of more, as many and fewer keys than landmarks and of none, with padding between keys too."""
    attention = layer("nystrom", "encoder_self", landmarks=6)
    rows = torch.cat((inputs(20, 1), inputs(20, 2)))[[0, 1, 2, 3, 0]].requires_grad_()
    exists = torch.arange(20) < torch.tensor([[20], [13], [6], [4], [0]])
    exists[1, 3] = False
    call, value = attention.call(rows, mask=exists)
    output, weights = attention.core(call, value, weights=True)
    for row in range(4):
        there = exists[row]
        alone, value_alone = attention.call(rows[row : row + 1])
        alone.__dict__.update(query=alone.query[:, :, there], key=alone.key[:, :, there])
        alone.where.__dict__.update(queries=alone.where.queries[:, there], keys=alone.where.keys[:, there])
        expected, expected_weights = attention.core(alone, value_alone[:, :, there], weights=True)
        torch.testing.assert_close(output[row : row + 1, :, there], expected, atol=1e-11, rtol=0)
        seen = weights[row : row + 1][:, :, there]
        torch.testing.assert_close(seen[..., there], expected_weights, atol=1e-11, rtol=0)
        assert (seen[..., ~there] == 0.0).all()
    assert (output[4] == 0.0).all()
    (gradient,) = torch.autograd.grad(output.square().sum(), rows)
    assert gradient.isfinite().all()
    assert gradient[:4].abs().amax(-1)[exists[:4]].min() > 0.0


def test_nystrom_comes_near_to_softmax_attention_with_more_landmarks() -> None:
    errors = []
    for landmarks in (1, 8, 32, 60):
        attention = layer("nystrom", "encoder_self", landmarks=landmarks, rotary=False)
        slow = torch.linspace(0.0, 3.0, 60, dtype=torch.float64)[:, None] * inputs(1)  # near positions are alike
        call, _ = attention.call(slow)
        exact = (call.query @ call.key.transpose(-2, -1) / math.sqrt(HEAD)).softmax(-1)
        errors.append(float((attention.core.weights(call) - exact).detach().abs().sum(-1).mean()))
    assert errors[0] > 2.0 * errors[1]
    assert errors[3] < 1e-12
