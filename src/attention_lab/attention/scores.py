"""Scores: how well a key answers a query, before anything is normalised.

Shapes, here and in all of `attention/`: B batch, H heads, Lq queries, Lk keys, D width of one head.
Every score takes query (B, H, Lq, D) and key (B, H, Lk, D) and returns scores (B, H, Lq, Lk).
A score that is a dot product of (possibly transformed) queries and keys has a `scale`; it can be fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Dot(nn.Module):
    """q·k: global attention (Luong et al. 2015, arXiv 1508.04025, section 3.1, "dot").

    Scores grow with √D, so the softmax saturates for wide heads: use it for narrow heads or as the baseline that
    shows why the scale is there.
    """

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.scale: float = 1.0

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return (query * self.scale) @ key.transpose(-2, -1)


class ScaledDot(Dot):
    """q·k/√D (Vaswani et al. 2017, arXiv 1706.03762, equation 1): scores of unit variance at any width."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__(heads, width)
        self.scale = 1.0 / math.sqrt(width)


class Additive(nn.Module):
    """vᵀ tanh(q + k) (Bahdanau et al. 2014, arXiv 1409.0473, appendix A.1.2).

    The paper's W and U are the query and key projections of the layer; each head has a vector v of its own.
    Costs Lq·Lk·D tanh evaluations and as much memory, so it suits sentences, not books.
    """

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.empty(heads, width))
        nn.init.uniform_(self.vector, -math.sqrt(3.0 / width), math.sqrt(3.0 / width))

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        hidden = torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))  # (B, H, Lq, Lk, D)
        return torch.einsum("bhqkd,hd->bhqk", hidden, self.vector.to(hidden.dtype))


class Constant(nn.Module):
    """0 for every pair: after the softmax all keys weigh the same.

    The control of "Attention is not Explanation" (Jain & Wallace 2019, arXiv 1902.10186): what a model can do
    without choosing where to look.
    """

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        return query.new_zeros(*query.shape[:-1], key.shape[-2])


SCORES: dict[str, Callable[[int, int], nn.Module]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "additive": Additive,
    "constant": Constant,
}
