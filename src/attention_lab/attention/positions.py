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
