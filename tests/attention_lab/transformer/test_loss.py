from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from attention_lab.transformer import loss
from attention_lab.transformer.loss import projected_cross_entropy

N, WIDTH, VOCABULARY = 13, 7, 11


@pytest.fixture
def values() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(N, WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, dtype=torch.float64, requires_grad=True)
    return hidden, weight, torch.randint(VOCABULARY, (N,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("chunk", [1, 40, 10_000])
def test_it_is_the_cross_entropy_of_pytorch(values, smoothing: float, chunk: int, monkeypatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", chunk)
    hidden, weight, truth = values
    smoothed, nll, correct = projected_cross_entropy(hidden, weight, truth, smoothing)
    logits = hidden @ weight.T
    expected = F.cross_entropy(logits, truth, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(smoothed, expected)
    torch.testing.assert_close(nll, F.cross_entropy(logits, truth, reduction="sum"))
    assert int(correct) == int((logits.argmax(-1) == truth).sum())
    ours = torch.autograd.grad(smoothed * 3.0, (hidden, weight))
    theirs = torch.autograd.grad(expected * 3.0, (hidden, weight))
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right)


def test_a_bias_gets_its_gradient(values, monkeypatch) -> None:
    monkeypatch.setattr(loss, "CHUNK", 40)
    hidden, weight, truth = values
    bias = torch.randn(VOCABULARY, dtype=torch.float64, requires_grad=True)
    smoothed, nll, _ = projected_cross_entropy(hidden, weight, truth, 0.1, bias)
    logits = hidden @ weight.T + bias
    expected = F.cross_entropy(logits, truth, label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(smoothed, expected)
    torch.testing.assert_close(nll, F.cross_entropy(logits, truth, reduction="sum"))
    ours = torch.autograd.grad(smoothed, (hidden, weight, bias))
    for left, right in zip(ours, torch.autograd.grad(expected, (hidden, weight, bias)), strict=True):
        torch.testing.assert_close(left, right)


def test_it_gives_the_same_without_gradients(values) -> None:
    hidden, weight, truth = values
    with torch.inference_mode():
        quiet = projected_cross_entropy(hidden, weight, truth, 0.1)
    loud = projected_cross_entropy(hidden, weight, truth, 0.1)
    for left, right in zip(quiet, loud, strict=True):
        torch.testing.assert_close(left.clone(), right.detach())
