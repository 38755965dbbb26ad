"""What a kernel is: a mechanism that is no composition of score, normaliser and pattern."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from attention_lab.attention.contract import Call, Weights


class Kernel(nn.Module, ABC):
    """Built from the layer's sizes; takes a `Call` and values of any width.

    weighs: what its weights are, which are what it makes of the values v = I; none if it is not linear in the values.
    recurrent: a cache holds a state of constant size, under names of the kernel's own, instead of all keys.
    """

    weighs: Weights = "effective"
    recurrent = False

    @abstractmethod
    def forward(self, call: Call, value: Tensor) -> Tensor:
        """value (B, H, Lk, Dv) → (B, H, Lq, Dv)"""
