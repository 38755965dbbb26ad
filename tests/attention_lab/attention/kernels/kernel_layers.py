"""What tests of kernels share: a layer, its inputs, and the largest tensor that a computation makes."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from attention_lab.attention import MultiHeadAttention, Place, mechanism

BATCH, HEADS, WIDTH, HEAD = 2, 3, 33, 11


def layer(
    name: str,
    place: Place,
    *,
    length: int = 64,
    dtype: torch.dtype = torch.float64,
    rotary: bool = True,
    **options: Any,
) -> Any:
    """With every parameter away from where it starts."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(WIDTH, HEADS, mechanism(name, options), place, rotary=rotary, length=length)
    with torch.no_grad():
        for parameter in attention.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return attention.to(dtype).eval()


def inputs(length: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, length, WIDTH, dtype=torch.float64, generator=generator).to(dtype)


class Largest(TorchDispatchMode):
    """Inside of it, `numel` is that of the largest tensor made so far."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(t.numel() for t in tree_iter(made) if isinstance(t, torch.Tensor))])
        return made
