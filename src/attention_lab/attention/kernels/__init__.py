"""Kernels: mechanisms that are no composition of score, normaliser and pattern.

A kernel is built from the layer's sizes and takes a `Call` and values (B, H, Lk, Dv) and returns the mixed values
(B, H, Lq, Dv). It is linear in the values, so it has weights all the same: what it makes of the values v = I.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from attention_lab.attention.contract import Call
from attention_lab.attention.operations import Operation
from attention_lab.attention.positions import Position


class Kernel(nn.Module):
    """recurrent: a cache holds a state of constant size, under names of the kernel's own, instead of all keys."""

    recurrent = False

    def forward(self, call: Call, value: Tensor) -> Tensor:
        """value (B, H, Lk, Dv) → (B, H, Lq, Dv)"""
        raise NotImplementedError


class Kernelled(nn.Module):
    """A kernel in the place of a composition."""

    reach: int | None = None

    def __init__(self, kernel: Kernel, position: Position, operation: Operation) -> None:
        super().__init__()
        self.kernel = kernel
        self.position = position
        self.operation = operation

    @property
    def recurrent(self) -> bool:
        return self.kernel.recurrent

    def path(self, call: Call) -> str:
        """What a call computes."""
        return "recurrent" if call.cache is not None and self.recurrent else "kernel"

    def forward(self, call: Call, value: Tensor, *, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """value (B, H, Lk, Dv) → mixed values (B, H, Lq, Dv), and the effective weights if they are asked for."""
        return self.kernel(call, value), self.weights(call) if weights else None

    def weights(self, call: Call) -> Tensor:
        """The effective weights (B, H, Lq, Lk): the kernel's answer to v = I."""
        keys = call.key.shape[-2]
        one = torch.eye(keys, dtype=call.key.dtype, device=call.key.device)
        return self.kernel(call, one.expand(*call.key.shape[:2], keys, keys))


KERNELS: dict[str, Callable[..., Kernel]] = {}
