"""Dropout that is cheaper than the layers around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Set a share of the elements to 0 in training and scale the others up (Srivastava et al. 2014).

    On a CPU PyTorch draws a float for each element; a random byte suffices and is about ten times as fast. The share
    is then rounded to a multiple of 1/256 (0.1 becomes 26/256 ≈ 0.102); the scale matches the rounded share, so the
    expected value is preserved.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, tensor: Tensor) -> Tensor:
        if not self.training or self.share == 0.0:
            return tensor
        if tensor.device.type != "cpu":
            return F.dropout(tensor, self.share)
        dropped = min(255, max(1, round(self.share * 256)))
        words = torch.empty((tensor.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: tensor.numel()].view(tensor.shape) >= dropped
        return tensor * kept.to(tensor.dtype).mul_(256 / (256 - dropped))

    def extra_repr(self) -> str:
        return f"share={self.share}"
