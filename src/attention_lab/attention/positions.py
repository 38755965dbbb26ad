"""Positions: how a model without recurrence learns about order. Positions are absolute and count from 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal(positions: Tensor, width: int) -> Tensor:
    """Sines at even and cosines at odd indices (Vaswani et al. 2017, section 3.5).

    positions (L,) → (L, width), float32; wavelengths from 2π to 10000·2π. No parameters, no longest length.
    """
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10000.0) / width))
    angles = positions.unsqueeze(-1).float() * rates
    table = torch.zeros(len(positions), width, device=positions.device)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : width // 2]
    return table


def rotary(vectors: Tensor, start: int = 0) -> Tensor:
    """Turn pairs of features by an angle that grows with the position (Su et al. 2021, arXiv 2104.09864, equation 34).

    vectors (B, H, L, D), the first of them at position `start` → the same shape. A dot product of a turned query and
    a turned key depends on their distance alone. Features i and i + D/2 are a pair; with an odd D the last stays.
    """
    half = vectors.shape[-1] // 2
    positions = torch.arange(start, start + vectors.shape[-2], device=vectors.device)
    rates = torch.exp(torch.arange(half, device=vectors.device) * (-math.log(10000.0) / half))
    angles = positions.unsqueeze(-1).float() * rates
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    first, second, rest = vectors[..., :half], vectors[..., half : 2 * half], vectors[..., 2 * half :]
    return torch.cat((first * cos - second * sin, second * cos + first * sin, rest), -1)
