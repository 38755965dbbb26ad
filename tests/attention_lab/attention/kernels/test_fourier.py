"""FNet against that of Hugging Face and the double sum of the transform."""

from __future__ import annotations

import math

import pytest
import torch
from kernel_layers import BATCH, HEADS, WIDTH, inputs, layer
from transformers.models.fnet import FNetConfig
from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform


def test_fnet_is_that_of_hugging_face() -> None:
    theirs = FNetBasicFourierTransform(FNetConfig(hidden_size=WIDTH, use_tpu_fourier_optimizations=False))
    output, weights = layer("fnet", "encoder_self")(inputs(10), weights=True)
    assert weights is None
    torch.testing.assert_close(output, theirs(inputs(10))[0], atol=1e-11, rtol=0)


def transformed(rows: torch.Tensor) -> torch.Tensor:
    """(L, W): Re Σ_n Σ_c x[n, c] e^(−2πi(nk/L + cm/W))"""
    length = len(rows)
    found = torch.zeros(length, WIDTH, dtype=torch.float64)
    n, c = torch.arange(length).double()[:, None], torch.arange(WIDTH).double()
    for k in range(length):
        for m in range(WIDTH):
            found[k, m] = (rows * torch.cos(2 * math.pi * (n * k / length + c * m / WIDTH))).sum()
    return found


@pytest.mark.parametrize("lengths", [(6, 6), (6, 4), (4, 4), (1, 0)])
def test_each_row_is_transformed_at_its_own_length(lengths: tuple[int, int]) -> None:
    sequence = inputs(6).requires_grad_()
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    output, _ = layer("fnet", "encoder_self")(sequence, mask=mask)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(output[row, :length], transformed(sequence[row, :length]), atol=1e-11, rtol=0)
        assert (output[row, length:] == 0.0).all()
    (gradient,) = torch.autograd.grad(output.square().sum(), sequence)
    assert (gradient[~mask] == 0.0).all()
    assert (gradient[mask] != 0.0).any() or not mask.any()


def test_what_does_not_exist_may_stand_anywhere() -> None:
    sequence = inputs(6)
    mask = torch.tensor([[False, True, True, False, True, True], [True, True, False, True, True, False]])
    output, _ = layer("fnet", "encoder_self")(sequence, mask=mask)
    for row in range(BATCH):
        torch.testing.assert_close(output[row, mask[row]], transformed(sequence[row, mask[row]]), atol=1e-11, rtol=0)


def test_nothing_is_learned_and_nothing_projected() -> None:
    attention = layer("fnet", "encoder_self")
    assert not list(attention.parameters())
    assert attention.heads.query_heads == HEADS
    assert isinstance(attention.output, torch.nn.Identity)
