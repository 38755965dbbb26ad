"""Fused projection to the vocabulary and cross-entropy, a few rows at a time.

The logits are by far the largest tensor of a small Transformer: predictions × vocabulary, several times over for the
softmax, its gradient and the label smoothing. Computed in chunks that fit into the processor's cache, together with
their gradient, they are never in memory as a whole. Shapes: N predictions, W width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 2_000_000  # logits at a time


class _ProjectedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, truth: Tensor, smoothing: float
    ) -> tuple[Tensor, ...]:
        smoothed = hidden.new_zeros((), dtype=torch.float32 if hidden.dtype != torch.float64 else torch.float64)
        nll, correct = torch.zeros_like(smoothed), torch.zeros_like(smoothed)
        wanted = any(ctx.needs_input_grad)
        grad_hidden = torch.empty_like(hidden) if wanted else None
        grad_weight = torch.zeros_like(weight) if wanted else None
        grad_bias = torch.zeros_like(bias) if wanted and bias is not None else None
        size = weight.shape[0]
        step = max(1, CHUNK // size)
        for start in range(0, len(hidden), step):
            rows, labels = hidden[start : start + step], truth[start : start + step].unsqueeze(-1)
            logits = (rows @ weight.T).to(smoothed.dtype)
            if bias is not None:
                logits += bias
            top, guess = logits.max(-1, keepdim=True)
            mean = logits.mean(-1, keepdim=True)
            chosen = logits.gather(-1, labels)
            share = logits.sub_(top).exp_()
            total = share.sum(-1, keepdim=True)
            log_total = total.log() + top
            nll += (log_total - chosen).sum()
            smoothed += (log_total - (1.0 - smoothing) * chosen - smoothing * mean).sum()
            correct += (guess == labels).sum()
            if grad_hidden is None or grad_weight is None:
                continue
            # ∂/∂logits: the softmax minus the smoothed labels
            gradient = share.div_(total).sub_(smoothing / size)
            gradient.scatter_add_(-1, labels, gradient.new_full(labels.shape, smoothing - 1.0))
            if grad_bias is not None:
                grad_bias += gradient.sum(0)
            gradient = gradient.to(rows.dtype)
            grad_hidden[start : start + step] = gradient @ weight.to(rows.dtype)
            grad_weight += gradient.T @ rows
        if grad_hidden is not None and grad_weight is not None:
            ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.mark_non_differentiable(nll, correct)
        return smoothed, nll, correct

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        for_bias = None if grad_bias is None else grad_bias * gradients[0]
        return grad_hidden * gradients[0], grad_weight * gradients[0], for_bias, None, None


def projected_cross_entropy(
    hidden: Tensor, weight: Tensor, truth: Tensor, smoothing: float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of softmax(hidden · weightᵀ + bias) with label smoothing (Szegedy et al. 2016, section 7).

    Args:
        hidden: (N, W); weight: (V, W), of the output projection; bias: (V,); truth: (N,), the labels.
        smoothing: share of each label's probability that is spread over the vocabulary.

    Returns:
        Sums over the predictions: the smoothed loss (once differentiable), −log p of the label in nats, and the number
        of times the label was the most probable token.
    """
    smoothed, nll, correct = _ProjectedCrossEntropy.apply(hidden, weight, bias, truth, smoothing)
    return smoothed, nll, correct
