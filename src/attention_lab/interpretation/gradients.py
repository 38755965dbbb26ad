"""Attributions by gradients of the log-probability F of each output: by vectors of the source tokens, or by weights.

Shapes: B rows, S source tokens, Q outputs, W width, K steps; H heads, Lq and Lk of one layer of attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attention_lab.attention import Place
from attention_lab.batching import Batch
from attention_lab.interpretation.asked import Asked, log_probabilities
from attention_lab.interpretation.hooks import Used, embedded, reweighted
from attention_lab.transformer import SpanExtractor
from attention_lab.transformer.models import segments_of

AT_ONCE = 64  # points of the quadrature; bounds the memory
GAP = 0.05  # of what integrated gradients should sum up to: how far they may be from it
LEAST = 1e-9  # nats, so that what changes nothing is no division by 0


def gradient_x_input(asked: Asked) -> Tensor:
    """∂F/∂x · x for the vector x of each source token (Shrikumar et al. 2016, arXiv 1605.01713) → (B, Q, S)"""
    vectors = _vectors(asked, asked.batch.source).requires_grad_()
    with embedded(asked.model, vectors):
        logs = asked.log_probabilities()
    return torch.stack([(gradient * vectors.detach()).sum(-1) for gradient in _gradients(logs, [vectors])[0]], 1)


def integrated_gradients(asked: Asked, steps: int) -> tuple[Tensor, Tensor]:
    """(x − x′) · ∫ ∂F(x′ + α(x − x′))/∂x dα (Sundararajan et al. 2017, arXiv 1703.01365, equation 1), by Gauss-Legendre
    quadrature.

    The baseline x′ has <unk> in place of each word; special tokens stay.

    Args:
        steps: K, points of the quadrature.

    Returns:
        Scores (B, Q, S), and F(x) − F(x′) (B, Q), which is what the scores of each output sum up to where the integral
        is exact (completeness; section 3 of the paper).
    """
    source = asked.batch.source
    unknown = source.clone()
    for row, words in enumerate(asked.sources):
        places = [token for token, owner in enumerate(words.owners) if owner is not None]
        unknown[row, places] = asked.reading.unknown
    end, start = _vectors(asked, source), _vectors(asked, unknown)
    points, shares = np.polynomial.legendre.leggauss(steps)
    alphas = torch.tensor((points + 1.0) / 2.0, dtype=end.dtype, device=end.device)
    weights = torch.tensor(shares / 2.0, dtype=end.dtype, device=end.device)
    found = torch.zeros((), device=end.device)
    for some, share in zip(alphas.split(AT_ONCE), weights.split(AT_ONCE), strict=True):
        path = start + some[:, None, None, None] * (end - start)  # (K, B, S, W)
        vectors = path.flatten(0, 1).detach().requires_grad_()
        with embedded(asked.model, vectors):
            logs = log_probabilities(asked.model, _repeated(asked.batch, len(some)), asked.said.repeat(len(some), 1))
        scores = []
        for gradient in _gradients(logs, [vectors])[0]:
            mean = (gradient.unflatten(0, (len(some), -1)) * share[:, None, None, None]).sum(0)
            scores.append((mean * (end - start)).sum(-1))
        found = found + torch.stack(scores, 1)
    with torch.no_grad():
        whole = torch.stack(asked.log_probabilities(), 1)
        with embedded(asked.model, start):
            nothing = torch.stack(asked.log_probabilities(), 1)
    return found, whole - nothing


def gradient_x_attention(asked: Asked, place: Place) -> Tensor:
    """Σ over layers, heads and queries of A · relu(∂F/∂A) for the weights A of a place (Barkan et al. 2021, Grad-SAM,
    arXiv 2204.11073, with a sum for their mean) → (B, Q, Lk)

    The gradient is that of something added to the weights, so that it takes in all that the weights of one layer do to
    those of the next.
    """
    used: list[Tensor] = []
    added: list[Tensor] = []

    def add(own: Used) -> Tensor:
        used.append(own.weights.detach())
        added.append(torch.zeros_like(own.weights, requires_grad=True))
        return own.weights + added[-1]

    with reweighted(asked.model, add, [place]):
        logs = asked.log_probabilities()
    by_layer = _gradients(logs, added)
    return torch.stack(
        [
            sum(((w * g.relu()).sum((1, 2)) for w, g in zip(used, gradients, strict=True)), start=torch.zeros(()))
            for gradients in zip(*by_layer, strict=True)
        ],
        1,
    )


def _gradients(logs: Sequence[Tensor], of: Sequence[Tensor]) -> list[list[Tensor]]:
    """The gradient of each output, summed over rows, which do not touch one another, for each of the tensors: [tensor]
    [output]. 0 where an output does not depend on it."""
    found: list[list[Tensor]] = [[] for _ in of]
    for number, log in enumerate(logs):
        kept = number < len(logs) - 1
        # What cannot be has the log-probability −∞, and no gradient.
        total = torch.where(log.isfinite(), log, 0.0).sum()
        gradients = torch.autograd.grad(total, list(of), retain_graph=kept, allow_unused=True)
        for column, tensor, gradient in zip(found, of, gradients, strict=True):
            column.append(torch.zeros_like(tensor) if gradient is None else gradient)
    return found


@torch.no_grad()
def _vectors(asked: Asked, source: Tensor) -> Tensor:
    """What the model makes of the tokens before its first layer (B, S, W)."""
    model = asked.model
    segments = segments_of(asked.batch.source, model.config) if isinstance(model, SpanExtractor) else None
    return model.embedding(source, segments=segments)


def _repeated(batch: Batch, times: int) -> Batch:
    target = None if batch.target is None else batch.target.repeat(times, 1)
    return Batch([], batch.source.repeat(times, 1), batch.source_mask.repeat(times, 1), target)
