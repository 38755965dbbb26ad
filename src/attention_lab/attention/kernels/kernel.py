"""What a kernel is: a mechanism that is no composition of score, normaliser and pattern."""

from __future__ import annotations

from torch import Tensor, nn

from attention_lab.attention.contract import Call


class Kernel(nn.Module):
    """Built from the layer's sizes; takes a `Call` and values of any width.

    recurrent: a cache holds a state of constant size, under names of the kernel's own, instead of all keys.
    weighs: it is linear in the values, so it has weights all the same: what it makes of the values v = I.
    """

    recurrent = False
    weighs = True

    def forward(self, call: Call, value: Tensor) -> Tensor:
        """value (B, H, Lk, Dv) → (B, H, Lq, Dv)"""
        raise NotImplementedError
