"""Mixing without attention: a Fourier transform in its place."""

from __future__ import annotations

import torch
from torch import Tensor

from attention_lab.attention.contract import Call, Sizes
from attention_lab.attention.kernels.kernel import Kernel


class FNet(Kernel):
    """Re(DFT over positions of the DFT over features) (Lee-Thorp et al. 2021, arXiv 2105.03824, equation 3).

    Nothing is learned or selected: all positions are mixed, in L log L. For a cheap encoder, and to see how much of
    attention is just mixing. It mixes features too, so it has no weights between positions.

    Each sequence is transformed at its true length, so padding changes nothing. It works on the inputs themselves, all
    heads together: use it with heads without projections (`bare`).
    """

    weighs = "none"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads

    def forward(self, call: Call, value: Tensor) -> Tensor:
        inputs = value.transpose(1, 2).flatten(2)  # (B, L, W)
        exists = call.where.exists
        if exists is None:
            mixed = torch.fft.fft2(inputs).real
        else:
            mixed = torch.zeros_like(inputs)
            lengths = exists.sum(-1)
            for length in lengths.unique().tolist():
                if length:
                    there = exists & (lengths == length).unsqueeze(-1)  # sequences of that length
                    rows = inputs[there].unflatten(0, (-1, length))
                    mixed[there] = torch.fft.fft2(rows).real.flatten(0, 1)
        return mixed.unflatten(-1, (self.heads, -1)).transpose(1, 2)
