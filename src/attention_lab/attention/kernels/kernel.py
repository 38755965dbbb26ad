"""The interface of kernels: mechanisms that are not compositions of score, normaliser and pattern."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from attention_lab.attention.contract import Call, Weights


class Kernel(nn.Module, ABC):
    """Built from the layer's sizes; takes a `Call` and values of any width.

    weighs: what kind of weights it has, these being its output for the values v = I; "none" if it mixes features too.
    recurrent: the cache holds a state of constant size, under the kernel's own names, instead of all keys.
    """

    weighs: Weights = "effective"
    recurrent = False

    @abstractmethod
    def forward(self, call: Call, value: Tensor) -> Tensor:
        """value (B, H, Lk, Dv) → (B, H, Lq, Dv)"""
