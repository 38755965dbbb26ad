"""Kernels: mechanisms that are not compositions of score, normaliser and pattern.

A kernel is built from the layer's sizes; it takes a `Call` and values (B, H, Lk, Dv) and returns the mixed values
(B, H, Lq, Dv). As it is linear in the values it still has weights: its output for the values v = I ("effective
weights"). A kernel that also mixes features has none.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from attention_lab.attention.contract import Call
from attention_lab.attention.kernels.fourier import FNet
from attention_lab.attention.kernels.kernel import Kernel
from attention_lab.attention.kernels.linear import Cosformer, Linear, Performer
from attention_lab.attention.kernels.low_rank import Linformer, Nystrom
from attention_lab.attention.kernels.recurrent import Delta, GatedDelta, Retention
from attention_lab.attention.operations import Operation
from attention_lab.attention.positions import Position

__all__ = ["KERNELS", "Kernel", "Kernelled"]


class Kernelled(nn.Module):
    """A kernel, with the interface of a composition."""

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
        """The path a call takes: recurrent (from a state), chunked (causal) or linear (all keys at once) for kernels
        with a state; kernel for the others."""
        if not self.recurrent:
            return "kernel"
        if call.cache is not None and not call.cache.fixed:
            return "recurrent"
        return "chunked" if call.where.causal else "linear"

    def forward(self, call: Call, value: Tensor, *, weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """value (B, H, Lk, Dv) → mixed values (B, H, Lq, Dv) and, if requested, the effective weights.

        A step from a state has no weights to return: the keys they would belong to are gone.
        """
        there = self.kernel.weighs != "none" and self.path(call) != "recurrent"
        mixed = self._exactly(call, value)
        return mixed, self.weights(call) if weights and there else None

    def weights(self, call: Call) -> Tensor:
        """The effective weights (B, H, Lq, Lk): the kernel's output for v = I."""
        keys = call.key.shape[-2]
        one = torch.eye(keys, dtype=call.key.dtype, device=call.key.device)
        # What the cache keeps was computed from the true values.
        return self._exactly(replace(call, cache=None), one.expand(*call.key.shape[:2], keys, keys))

    def _exactly(self, call: Call, value: Tensor) -> Tensor:
        """Run the kernel in float32 at least, whatever the layer's dtype: sums over a whole text need the precision."""
        if call.where.allowed is not None:
            raise ValueError("a kernel makes no pairs of queries and keys, so it cannot apply a mask of pairs")
        wide = torch.promote_types(value.dtype, torch.float32)
        call = replace(call, inputs=call.inputs.to(wide), query=call.query.to(wide), key=call.key.to(wide))
        with torch.autocast(value.device.type, enabled=False):
            return self.kernel(call, value.to(wide)).to(value.dtype)


KERNELS: dict[str, type[Kernel]] = {
    "linear": Linear,
    "performer": Performer,
    "cosformer": Cosformer,
    "linformer": Linformer,
    "nystrom": Nystrom,
    "retention": Retention,
    "delta": Delta,
    "gated_delta": GatedDelta,
    "fnet": FNet,
}
