"""Low-rank kernels: a few slots stand between queries and keys, so time grows with L·slots.

Each slot combines keys from the whole sequence, so they are for an encoder's self-attention only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from attention_lab.attention.contract import Call, Sizes
from attention_lab.attention.kernels.kernel import Kernel
from attention_lab.attention.normalisers import Softmax


class Linformer(Kernel):
    """softmax(q·(Ek)/√D)·(Fv) with learned E, F (rank, `length`) (Wang et al. 2020, arXiv 2006.04768, equation 7; all
    heads share E and F: section 4, "headwise sharing").

    Each slot mixes keys by their positions, so it suits texts of similar length and layout. Weights are softmax(…)·F:
    of any sign, like F. Positions from `length` on are treated as the last one.

    Args:
        rank: number of slots.
    """

    def __init__(self, sizes: Sizes, *, rank: int = 32) -> None:
        super().__init__()
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.keys = nn.Parameter(torch.empty(rank, sizes.length))
        self.values = nn.Parameter(torch.empty(rank, sizes.length))
        for matrix in (self.keys, self.values):
            nn.init.normal_(matrix, std=1.0 / math.sqrt(rank))  # preserves norms (the paper's theorem 2)

    def forward(self, call: Call, value: Tensor) -> Tensor:
        exists = call.where.existing(call.key)
        columns = call.where.keys.clamp(max=self.keys.shape[1] - 1)
        for_keys, for_values = (m.to(value.dtype)[:, columns].movedim(0, 1)[:, None] for m in (self.keys, self.values))
        slots = for_keys @ (call.key * exists)  # (P, 1, rank, Lk) · (B, H, Lk, D)
        weights = ((call.query * self.scale) @ slots.transpose(-2, -1)).softmax(-1)
        return weights @ (for_values @ (value * exists))


class Nystrom(Kernel):
    """softmax(q k̃ᵀ) · softmax(q̃ k̃ᵀ)⁺ · softmax(q̃ kᵀ) with scores / √D, where q̃, k̃ are the means of segments
    (Xiong et al. 2021, arXiv 2102.03902, section 3): a softmax matrix from few of its rows and columns.

    For long texts, where softmax attention is wanted but too expensive. Segments divide each sequence without its
    padding, so padding changes nothing. If a sequence has no more keys than landmarks, every key is a landmark, and the
    result is exactly softmax attention. The Moore-Penrose inverse ⁺ is approximated in a few iterations. Weights may be
    negative. The paper also adds a convolution over values, which is left out here.

    Args:
        landmarks: number of segments.
    """

    ITERATIONS = 6

    def __init__(self, sizes: Sizes, *, landmarks: int = 32) -> None:
        super().__init__()
        self.scale = 1.0 / math.sqrt(sizes.head)
        self.landmarks = landmarks
        self.softmax = Softmax(sizes)

    def forward(self, call: Call, value: Tensor) -> Tensor:
        query, key, exists = call.query * self.scale, call.key, call.where.exists
        if exists is None:
            exists = torch.ones_like(call.where.keys, dtype=torch.bool)  # (1, L)
        lengths = exists.sum(-1, keepdim=True)  # (B, 1)
        segments = self._segments(exists, lengths)  # (B, m, L)
        used = segments.any(-1)[:, None, None, :]
        means = segments.to(value.dtype)
        means = (means / means.sum(-1, keepdim=True).clamp(min=1.0)).unsqueeze(1)
        some_queries, some_keys = means @ query, means @ key  # (B, H, m, D)

        to_landmarks = self.softmax(query @ some_keys.transpose(-2, -1), used)  # (B, H, L, m)
        read = means @ value  # (B, H, m, Dv): the values of the landmarks if each is a single key
        exact = (lengths <= self.landmarks)[:, None, :, None]
        if not exact.all():
            between = (some_queries @ some_keys.transpose(-2, -1)).softmax(-1)  # no mask: where used, none is empty
            from_landmarks = self.softmax(some_queries @ key.transpose(-2, -1), exists[:, None, None, :])
            read = torch.where(exact, read, self._inverse(between) @ (from_landmarks @ value))
        return to_landmarks @ read

    def _segments(self, exists: Tensor, lengths: Tensor) -> Tensor:
        """Which positions belong to which segment, (B, m, L): as even as possible, at most one key each if keys are
        few."""
        rank = exists.cumsum(-1) - 1
        segment = rank * self.landmarks // lengths.clamp(min=1)
        numbers = torch.arange(self.landmarks, device=exists.device)[:, None]
        return (segment.unsqueeze(-2) == numbers) & exists.unsqueeze(-2)

    def _inverse(self, matrix: Tensor) -> Tensor:
        """The Moore-Penrose inverse of matrices (…, m, m) whose rows sum to 1."""
        # Each matrix is divided by its own largest column sum, so that sequences and heads stay independent.
        inverse = matrix.transpose(-2, -1) / matrix.sum(-2).amax(-1)[..., None, None]
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        for _ in range(self.ITERATIONS):
            product = matrix @ inverse
            inverse = inverse @ (13.0 * one - product @ (15.0 * one - product @ (7.0 * one - product))) / 4.0
        return inverse
