"""Attributions from gradients of each output's log-probability F with respect to source token vectors or weights.

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
GAP = 0.05  # how far the sum of integrated gradients may be from what it should be, as a share of that
LEAST = 1e-9  # nats; avoids a division by 0 if nothing changes


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
        Scores (B, Q, S), and F(x) − F(x′) (B, Q), to which the scores of each output sum if the integral is exact
        (completeness; section 3 of the paper).
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
    arXiv 2204.11073, with a sum in place of their mean) → (B, Q, Lk)

    The gradient is taken with respect to an addend to the weights, so it includes the effect of one layer's weights on
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
    """The gradients of each output with respect to each of the tensors: [tensor][output]; 0 if it does not depend on
    the tensor. Outputs are summed over rows, which do not affect one another."""
    found: list[list[Tensor]] = [[] for _ in of]
    for number, log in enumerate(logs):
        kept = number < len(logs) - 1
        # Impossible values have the log-probability −∞ and no gradient.
        total = torch.where(log.isfinite(), log, 0.0).sum()
        gradients = torch.autograd.grad(total, list(of), retain_graph=kept, allow_unused=True)
        for column, tensor, gradient in zip(found, of, gradients, strict=True):
            column.append(torch.zeros_like(tensor) if gradient is None else gradient)
    return found


@torch.no_grad()
def _vectors(asked: Asked, source: Tensor) -> Tensor:
    """The input vectors of the model's first layer (B, S, W)."""
    model = asked.model
    segments = segments_of(asked.batch.source, model.config) if isinstance(model, SpanExtractor) else None
    return model.embedding(source, segments=segments)


def _repeated(batch: Batch, times: int) -> Batch:
    target = None if batch.target is None else batch.target.repeat(times, 1)
    return Batch([], batch.source.repeat(times, 1), batch.source_mask.repeat(times, 1), target)
